"""What the average head says of bone, as distances: the cranial cavity, the skull's thickness, other bone."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from lvo.phantom.head.atlas import Atlas, load_atlas
from lvo.phantom.head.canvas import Where

F32 = npt.NDArray[np.float32]
_FAR = 12.0


def sample_bone_maps(where: Where) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The average head's bone at points.

    Parameters
    ----------
    where : points, each coordinate of shape (z, y, x)

    Returns
    -------
    cavity : mm to the inner surface of the cranial cavity, negative inside the cavity.
    plate : thickness of the bone that lies on that surface, mm; 0 where there is none.
    bone : mm to the surface of the average bone, negative inside it; blurred plates are not in it.
    vault : 1 where the skull is vault, 0 where it is base or face.
        All of the shape of the points, within +-12 mm; below the atlas its lowest slice goes on.
    """
    atlas = load_atlas()
    maps = _maps_on(where.x.device)
    grid = []
    for c, axis in ((where.x, 0), (where.y, 1), (where.z, 2)):
        low, step = float(atlas.affine[axis, 3]), float(atlas.affine[axis, 2 - axis])
        grid.append((c - low) * (2 / (step * (maps.shape[4 - axis] - 1))) - 1)
    at = torch.stack(grid, dim=-1)[None]
    found = functional.grid_sample(maps, at, align_corners=True, padding_mode="border")[0]
    return found[0], found[1], found[2], found[3]


@functools.lru_cache(maxsize=4)
def _maps_on(device: torch.device) -> Tensor:
    return torch.from_numpy(bone_maps())[None].to(device)


@functools.lru_cache(maxsize=1)
def bone_maps() -> F32:
    """`sample_bone_maps` on the atlas grid, float32 (4, z, y, x)."""
    atlas = load_atlas()
    step = float(atlas.affine[2, 0])
    z, y, x = _axes(atlas)
    grey, white, csf, bone, soft, air = atlas.probability
    # The sigmoid, transverse and sagittal sinuses are soft tissue inside the skull.
    deep = atlas.skin_depth > 9
    dural = soft * (deep & (z > -24) & (((np.abs(x) > 36) & (y > 38)) | ((np.abs(x) < 16) & (y > 72))))
    dural = dural + soft * (deep & (z > 30) & (np.abs(x) < 16))
    # The average jaw is a smear: `lvo.phantom.head.face` draws another.
    jaw = (np.abs(x) > 40) & (np.abs(x) < 57) & (y > -27) & (y < -10) & (z < -15)
    jaw = jaw | ((np.abs(x) > 45) & (np.abs(x) < 60) & (y > 5) & (y < 22) & (z < -23))
    bone = bone * ~jaw
    content = ndimage.gaussian_filter(grey + white + csf + dural, 0.5)
    labels, _ = ndimage.label(content > 0.5)
    brain = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    cavity = _signed(content, brain, step)
    outside, _ = ndimage.label(air > 0.5)
    inner_air = air * (outside != outside[-1, 0, 0])
    # Bone has no part in the wall of the nasopharynx.
    throat = (np.abs(x) < 14) & (y > -16) & (y < 12) & (z < -23)
    inner_air, bone = inner_air * ~throat, bone * ~throat
    skull = ndimage.gaussian_filter(content * brain + bone + inner_air, 0.5)
    outer = _signed(skull, skull > 0.5, step)
    other = _signed(bone + 0.7 * inner_air, bone + 0.7 * inner_air > 0.5, step)
    vault = _vault(x, y, z)
    thickness = np.clip(ndimage.gaussian_filter(np.clip(cavity - outer, 0, 25), 1.5), 1.5, 12)
    plate = vault * thickness + (1 - vault) * _floor(x, y, z)
    return np.stack([cavity, plate, other, vault]).astype(np.float32)


def _axes(atlas: Atlas) -> tuple[F32, F32, F32]:
    n = atlas.probability.shape[1:]
    z, y, x = (
        (atlas.affine[2 - a, 3] + np.arange(n[a]) * atlas.affine[2 - a, a]).astype(np.float32)
        for a in range(3)
    )
    return z[:, None, None], y[None, :, None], x[None, None, :]


def _signed(soft: F32, mask: npt.NDArray[np.bool_], step: float) -> F32:
    """Signed distance to the surface of a mask, mm, placed between voxels by the soft values behind it."""
    far = ndimage.distance_transform_edt(~mask) - ndimage.distance_transform_edt(mask)
    far = (far - 0.5 * np.sign(far)) * step
    slope = np.sqrt(sum(g**2 for g in np.gradient(soft, step)))
    near = (0.5 - soft) / np.maximum(slope, 0.04)
    share = np.clip((2.5 - np.abs(far)) / 1.5, 0, 1)
    both = share * np.clip(near, -3, 3) + (1 - share) * far
    return np.asarray(np.clip(both, -_FAR, _FAR), np.float32)


def _rise(value: F32, low: float, high: float) -> F32:
    return np.asarray(np.clip((value - low) / (high - low), 0, 1), np.float32)


def _vault(x: F32, y: F32, z: F32) -> F32:
    """1 above a surface that runs over the orbits, the petrous ridges and the nuchal line."""
    side = np.abs(x)
    level = np.interp(y, [-60, -30, -20, 10, 25, 48, 62, 90], [17, 16, 8, -6, 4, 2, -14, -16])
    level = level - np.where(y < 30, 4 * _rise(side, 50, 60), 0)
    level = level + 60 * (1 - _rise(side, 6, 14)) * _rise(-y, -20, 0) * (1 - _rise(-y, 50, 58))
    return _rise(z - level.astype(np.float32), -3, 5)


def _floor(x: F32, y: F32, z: F32) -> F32:
    """Thickness of the plates under the brain, mm."""
    side = np.abs(x)
    out = np.full(np.broadcast_shapes(x.shape, y.shape, z.shape), 1.9, np.float32)
    out = np.where((y < -18) & (side > 12), 1.3, out)  # orbital roofs
    out = np.where((y < -22) & (side <= 12), 1.1, out)  # cribriform plate and ethmoid roof
    out = np.where((y > 42) & (z < 0), 3.0, out)  # cerebellar fossae
    clivus = (1 - _rise(side, 10, 15)) * _rise(y, 9, 13) * (1 - _rise(z, -6, 2)) * (1 - _rise(y, 38, 42))
    out = out + clivus * (7.5 - 2.5 * _rise(-z, 18, 34) - out)
    # No bone on the dura of sella, cavernous sinuses and Meckel's caves, nor across the foramen magnum.
    parasellar = (1 - _rise(side, 17, 21)) * _rise(y, -14, -10) * (1 - _rise(y, 9, 13)) * _rise(z, -16, -12)
    ridge = (
        (1 - _rise(side, 20, 24))
        * _rise(side, 10, 13)
        * _rise(y, 5, 9)
        * (1 - _rise(y, 20, 24))
        * _rise(z, -9, -6)
    )
    hole = (1 - _rise(np.hypot(side, (y - 50) * 0.85), 13, 17)) * (1 - _rise(z, -30, -26))
    out = out * (1 - parasellar) * (1 - ridge) * (1 - hole)
    return np.asarray(ndimage.gaussian_filter(out, 0.7), np.float32)
