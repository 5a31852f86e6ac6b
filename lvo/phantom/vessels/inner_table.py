"""The inner surface of the average skull, to lay sinuses and surface veins on it."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lvo.phantom.head.atlas import load_atlas
from lvo.phantom.head.skull_maps import bone_maps

Array = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]
_SMOOTH_VOXELS = 1.0
_SURE_MM = 11.0
"""Up to here the skull's own map of distances is exact; beyond, plain distances do."""


def depth_and_outward(points: Array) -> tuple[Array, Array]:
    """How deep points lie under the inner table, and which way is out.

    Parameters
    ----------
    points : (n, 3), canonical head-frame mm

    Returns
    -------
    depth : (n,), mm under the inner surface of the skull, negative in bone and beyond.
    outward : (n, 3), unit vectors away from the brain.
    """
    low, step, field = _field()
    at = (points - low) / step
    last = np.array(field.shape[2::-1]) - 1
    voxel = np.clip(np.rint(at), 0, last).astype(np.intp)
    found = field[voxel[:, 2], voxel[:, 1], voxel[:, 0]].astype(np.float64)
    slope = found[:, 1:]
    beyond = ((at - voxel) * slope).sum(1) * step  # first order within the voxel
    norm = np.linalg.norm(slope, axis=1, keepdims=True)
    return -(found[:, 0] + beyond), slope / np.maximum(norm, 1e-6)


def settle(points: Array, depth_mm: float | Array, rounds: int = 4) -> Array:
    """Points (n, 3) moved straight out or in until they lie at a depth (n,) under the inner table."""
    for _ in range(rounds):
        depth, outward = depth_and_outward(points)
        points = points + outward * np.clip(depth - depth_mm, -12, 12)[:, None]
    return points


@functools.lru_cache(maxsize=1)
def _field() -> tuple[Array, float, F32]:
    """First point (x, y, z), step, and (z, y, x, 4): signed distance, its slope along x, y, z."""
    atlas = load_atlas()
    step = float(atlas.affine[2, 0])
    near = bone_maps()[0]
    inside = near < 0
    far = step * (ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside))
    distance = np.where(np.abs(near) < _SURE_MM, near, far)
    distance = ndimage.gaussian_filter(distance, _SMOOTH_VOXELS)
    dz, dy, dx = np.gradient(distance, step)
    low = np.asarray(atlas.affine[:3, 3], dtype=np.float64)
    return low, step, np.stack([distance, dx, dy, dz], axis=-1).astype(np.float32)
