"""What the average head says of the brain, as smooth maps: surfaces, ventricles, nuclei, tentorium."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from lvo.phantom.head.atlas import Atlas, load_atlas
from lvo.phantom.head.canvas import Where
from lvo.phantom.head.skull_maps import bone_maps

F32 = npt.NDArray[np.float32]
Grids = tuple[F32, F32, F32]

SHARP = ("ventricle", "pia", "cortex", "nuclei")
"""Channels of the first stack, which have edges.

ventricle : mm to the wall of the ventricles, negative inside.
pia : depth under the brain's surface, mm, sulci filled in; negative outside.
cortex : the same, greater where the surface has no cortex (brainstem, corpus callosum).
nuclei : log of the odds of grey against white in nuclei and cerebellum, -4 elsewhere.
"""
SMOOTH = ("away x", "away y", "away z", "offset x", "offset y", "offset z", "core", "tentorium", "ventricle")
"""Channels of the second stack, which are smooth.

away : unit vector away from the ventricles.
offset : from here to the nearest place on the brain's surface, mm.
core : distance to what no sulcus reaches (nuclei, ventricles, corpus callosum, brainstem), mm.
tentorium : mm above the tentorium or its continuation to the front, negative below.
ventricle : as in the first stack.
"""
_RIM_MM = 1.7
"""Fluid between brain and skull over the convexity, mm."""
_SIDE = (0, 12, 24, 36, 48, 58)
_TENT: dict[int, tuple[float, ...]] = {
    12: (34, 16, 5, 3, 2, 2), 24: (34, 20, 8, 4, 2, 2), 36: (34, 24, 12, 6, 2, 2), 42: (34, 25, 15, 7, 3, 2),
    48: (35, 26, 16, 9, 4, 2), 54: (36, 26, 16, 10, 6, 2), 60: (35, 24, 17, 12, 8, 4),
    66: (32, 22, 16, 12, 9, 7), 72: (26, 20, 16, 12, 10, 7), 78: (21, 18, 15, 12, 9, 8),
    84: (15, 14, 12, 10, 8, 8), 90: (11, 10, 9, 8, 8, 9), 98: (9, 9, 8, 7, 7, 7),
}  # fmt: skip
"""Height of the tentorium of the average head at distances from the midline (`_SIDE`) for every y, mm."""
INCISURA: tuple[tuple[float, ...], tuple[float, ...]] = (
    (-10, 10, 22, 32, 40, 46, 50, 53),
    (13, 17, 21, 20.5, 17, 11, 5, 0),
)
"""y of the free edge of the tentorium, and its distance from the midline, mm."""


def sample_sharp(where: Where) -> dict[str, Tensor]:
    """`SHARP` at points, each (z, y, x)."""
    return dict(zip(SHARP, _sampled(_on(0, where.x.device), where), strict=True))


def sample_smooth(where: Where) -> dict[str, Tensor]:
    """`SMOOTH` at points, each (z, y, x)."""
    return dict(zip(SMOOTH, _sampled(_on(1, where.x.device), where), strict=True))


def sample_tentorium(where: Where) -> Tensor:
    """`tentorium` of `SMOOTH` alone at points, (z, y, x)."""
    at = SMOOTH.index("tentorium")
    return _sampled(_on(1, where.x.device)[:, at : at + 1], where)[0]


def _sampled(maps: Tensor, where: Where) -> Tensor:
    atlas = load_atlas()
    grid = []
    for c, axis in ((where.x, 0), (where.y, 1), (where.z, 2)):
        low, step = float(atlas.affine[axis, 3]), float(atlas.affine[axis, 2 - axis])
        grid.append((c - low) * (2 / (step * (maps.shape[4 - axis] - 1))) - 1)
    at = torch.stack(grid, dim=-1)[None]
    return functional.grid_sample(maps, at, align_corners=True, padding_mode="border")[0]


@functools.lru_cache(maxsize=8)
def _on(which: int, device: torch.device) -> Tensor:
    return torch.from_numpy(brain_maps()[which])[None].to(device)


@functools.lru_cache(maxsize=1)
def brain_maps() -> tuple[F32, F32]:
    """`SHARP` and `SMOOTH` on the atlas grid, float32 (channels, z, y, x)."""
    atlas = load_atlas()
    step = float(atlas.affine[2, 0])
    x, y, z = _axes(atlas)
    grids = (x, y, z)
    grey, white, csf = atlas.probability[:3]
    cavity = bone_maps()[0]
    ventricle, normal = _ventricles(csf, grids, step)
    tent = _tentorium(grids)
    tissue = (grey + white) * (cavity < 1) + csf * np.clip(1.5 - ventricle, 0, 1)
    # Between splenium and vermis averaging leaves more fluid than anybody has.
    tissue = tissue + 0.4 * np.clip(
        2 - 2 * ((x / 14) ** 2 + ((y - 45) / 17) ** 2 + ((z - 34) / 11) ** 2), 0, 1
    )
    pia = _signed(0.5 - tissue, step, -1)
    pia = np.maximum(pia, -cavity - _RIM_MM - 8 * (1 - _convexity(grids)) - 14 * _ramp(-cavity, 4, 9))
    pia = np.minimum(pia, np.abs(x) - 0.7 + _fissure_ends(white, ventricle, grids, step))
    pia = np.minimum(pia, np.abs(tent) - 0.7 + _tent_ends(grids))
    stem, nuclei = _stem_and_callosum(white, grids), _nuclei(grey, white, pia, tent, grids)
    core = (ventricle < 1.5) | (stem > 0.5) | (nuclei > 0) & (tent > 0) | (_hippocampus(grids) < 1)
    core_mm = _coarse_distance(core, step)
    offset = _to_surface(pia, step)
    cortex = pia + 6 * ndimage.gaussian_filter(stem, 0.8)
    sharp = np.stack([ventricle, pia, cortex, nuclei]).astype(np.float32)
    smooth = np.stack([*normal, *offset, core_mm, tent, ventricle]).astype(np.float32)
    return sharp, smooth


def _axes(atlas: Atlas) -> Grids:
    n = atlas.probability.shape[1:]
    z, y, x = (
        (atlas.affine[2 - a, 3] + np.arange(n[a]) * atlas.affine[2 - a, a]).astype(np.float32)
        for a in range(3)
    )
    return x[None, None, :], y[None, :, None], z[:, None, None]


def _signed(soft: F32, step: float, sign: int = 1) -> F32:
    """Signed distance to where a soft field is 0, mm, `sign` 1 for negative inside (soft below 0)."""
    mask = soft < 0
    far = (ndimage.distance_transform_edt(~mask) - ndimage.distance_transform_edt(mask)).astype(np.float32)
    far = (far - 0.5 * np.sign(far)) * step
    slope = np.sqrt(sum(g**2 for g in np.gradient(soft, step)))
    near = np.clip(soft / np.maximum(slope, 0.05), -3, 3)
    share = np.clip((2.5 - np.abs(far)) / 1.5, 0, 1)
    return np.asarray(sign * (share * near + (1 - share) * far), dtype=np.float32)


def _coarse_distance(mask: npt.NDArray[np.bool_], step: float) -> F32:
    """Distance to a mask, mm, worked out on every other voxel."""
    half = ndimage.distance_transform_edt(~mask[::2, ::2, ::2]) * 2 * step
    zoom = [n / m for n, m in zip(mask.shape, half.shape, strict=True)]
    full = ndimage.zoom(half.astype(np.float32), zoom, order=1, grid_mode=False)
    return np.asarray(full, dtype=np.float32)


def _ramp(value: F32, low: float, high: float) -> F32:
    return np.asarray(np.clip((value - low) / (high - low), 0, 1), dtype=np.float32)


# ----------------------------------------------------------------------------- parts


def _ventricles(csf: F32, grids: Grids, step: float) -> tuple[F32, list[F32]]:
    """Signed distance to the walls of all ventricles, and the direction away from them."""
    x, y, z = grids
    side = np.abs(x)
    lateral = (side < 40) & (y > -42) & (y < 75) & (z > 27) & (z < 68) & ((side < 33) | (y > 25))
    # What lies over the quadrigeminal plate and between the hemispheres is cistern.
    cistern = (side < 11) & (y > 29 + 0.1 * np.maximum(45 - z, 0)) | (side < 3.1) & ((y < -24) | (z > 58))
    third = (side < 6) & (y > -3) & (y < 30) & (z > 20 + 0.1 * y) & (z < 46)
    fourth = (side < 14) & (y > 27) & (y < 56) & (z > -22) & (z < 14) & (y > 31 - 0.15 * z)
    room = (lateral & ~cistern | third | fourth).astype(np.float32)
    soft = 0.45 - csf * ndimage.gaussian_filter(room, 0.6)
    distance = np.minimum(_signed(soft, step), _horns(grids))
    septum = 1.2 - side - 3 * (1 - _ramp(z, 44, 47) * _ramp(30 - y, 0, 4))
    distance = np.maximum(distance, septum)
    smooth = ndimage.gaussian_filter(distance, 2.0)
    slope = np.gradient(smooth, step)
    norm = np.sqrt(sum(g**2 for g in slope)) + 0.15
    return distance, [np.asarray(slope[a] / norm, dtype=np.float32) for a in (2, 1, 0)]


def _horns(grids: Grids) -> F32:
    """Distance to narrow temporal and occipital horns and the aqueduct, which averaging has lost."""
    chains: tuple[tuple[tuple[float, float, float, float], ...], ...] = (
        ((27, 42, 38, 3.0), (33, 36, 27, 1.6), (35, 22, 17, 0.7), (32, 8, 13, 0.9), (29, 1, 13, 0.5)),
        ((26, 46, 40, 3.5), (27, 58, 37, 1.6), (25, 72, 33, 0.0), (23, 80, 31, -1.2)),
        ((0, 25, 26, 0.6), (0, 33, 17, 0.6), (0, 38, 8, 0.9)),
    )
    best = np.full(np.broadcast_shapes(*(g.shape for g in grids)), 90, np.float32)
    for chain in chains:
        for a, b in itertools.pairwise(chain):
            best = np.minimum(best, _cone(grids, a, b))
    return best


def _cone(grids: Grids, a: tuple[float, ...], b: tuple[float, ...]) -> F32:
    """Distance to a round cone on either side, its ends given as (x, y, z, radius)."""
    away = [np.abs(grids[0]) - a[0], grids[1] - a[1], grids[2] - a[2]]
    along = [q - p for p, q in zip(a[:3], b[:3], strict=True)]
    t = sum(w * v for w, v in zip(away, along, strict=True)) / sum(v * v for v in along)
    t = np.clip(t, 0, 1)
    square = sum((w - t * v) ** 2 for w, v in zip(away, along, strict=True))
    return np.asarray(np.sqrt(square) - (a[3] + t * (b[3] - a[3])), dtype=np.float32)


def _convexity(grids: Grids) -> F32:
    """1 where the average brain reaches up to the skull, soft; there averaging has eaten into it."""
    _x, y, z = grids
    occiput = _ramp(y, 40, 55) * _ramp(z, -14, -2)
    crown = _ramp(np.asarray(z - 0.3 * np.maximum(-y, 0), dtype=np.float32), 42, 56)
    return np.asarray(np.maximum(crown, np.maximum(occiput, _ramp(y, 30, 45) * _ramp(z, 8, 18))))


def _tentorium(grids: Grids) -> F32:
    """Height above the tentorium, mm at right angles to it."""
    x, y, _z = grids
    rows = np.array([np.interp(np.abs(x[0, 0]), _SIDE, r) for r in _TENT.values()])
    at = np.array(list(_TENT), dtype=float)
    height = np.stack([np.interp(y[0, :, 0], at, rows[:, i]) for i in range(rows.shape[1])], axis=1)
    height = ndimage.gaussian_filter(height, 1.5)
    steep = np.sqrt(1 + sum(g**2 for g in np.gradient(height, float(x[0, 0, 1] - x[0, 0, 0]))))
    return np.asarray((grids[2] - height[None]) / steep[None], dtype=np.float32)


def _tent_ends(grids: Grids) -> F32:
    """0 where there is a tentorium, mm beyond its edges."""
    x, y, _z = grids
    edge = np.interp(y, *INCISURA).astype(np.float32)
    return np.maximum(np.maximum(edge - np.abs(x), 0), np.maximum(22 - y, 0))


def _fissure_ends(white: F32, ventricle: F32, grids: Grids, step: float) -> F32:
    """0 where the midline is a cleft between the hemispheres, mm beyond, shape (z, y, 1)."""
    middle = int(np.argmin(np.abs(grids[0][0, 0])))
    y, z = grids[1][:, :, 0], grids[2][:, 0]
    strip = white[:, :, middle - 1 : middle + 2].mean(-1)
    joined = (strip > 0.35) | (ventricle[:, :, middle] < 2)
    joined |= (y > -24) & (y < 36) & (z < 46) | (z < 36) & (y >= 36) | (y > -16) & (z < 34)
    joined |= (z < 6) | (y > 60) & (z < 40 - 0.45 * (y - 48))
    away = ndimage.distance_transform_edt(joined) * step
    return np.asarray(away[:, :, None], dtype=np.float32)


def _stem_and_callosum(white: F32, grids: Grids) -> F32:
    """1 in brainstem and corpus callosum and just around them, soft."""
    x, y, z = grids
    side = np.abs(x)
    stem = (
        (white > 0.5) & (side < 19) & (y > 4) & (y < 46) & (z < 31) & (y < 34 + 0.4 * np.maximum(-z, 0) + 4)
    )
    callosum = (white > 0.5) & (side < 9) & (y > -44) & (y < 58) & (z > 26) & (z < 66)
    grown = ndimage.binary_dilation(stem | callosum, iterations=1)
    soft = ndimage.gaussian_filter(grown.astype(np.float32), 1.0)
    return np.asarray(np.clip(soft * 1.3, 0, 1), dtype=np.float32)


def _nuclei(grey: F32, white: F32, pia: F32, tent: F32, grids: Grids) -> F32:
    """Log odds of grey against white in nuclei and cerebellum."""
    x, y, z = grids
    side = np.abs(x)
    odds = np.clip(np.log((grey + 0.02) / (white + 0.02)), -3, 3)
    thalamus = ((side - 12) / 9) ** 2 + ((y - 20 - 0.5 * (side - 12)) / 15) ** 2 + ((z - 42) / 10) ** 2
    pallidum = ((side - 20) / 5) ** 2 + ((y - 7) / 9) ** 2 + ((z - 33) / 7) ** 2
    for place, strength in ((thalamus, 2.6), (pallidum, 2.2)):
        odds = np.maximum(odds, strength * np.clip(2.2 - 1.5 * place, -2, 1))
    near = 1.3 - ((side - 15) / 22) ** 2 - ((y - 1) / 35) ** 2 - ((z - 40) / 23) ** 2
    box = np.clip(3 * near, 0, 1) * _ramp(pia, 1.5, 4)
    cerebellum = _ramp(-tent, 0, 2) * _ramp(y, 24, 34) * _ramp(22 - z, 0, 6) * (1 - _stem_only(white, grids))
    inside = np.maximum(box * (tent > 0), cerebellum)
    return np.asarray(-4 + inside * (odds + 4), dtype=np.float32)


def _stem_only(white: F32, grids: Grids) -> F32:
    x, y, z = grids
    near = _ramp(17 - np.abs(x), 0, 3) * _ramp(33 - 0.2 * z - y, 0, 3)
    return near * (white > 0.5)


def _hippocampus(grids: Grids) -> F32:
    x, y, z = grids
    side = np.abs(x)
    return np.asarray(((side - 27) / 7) ** 2 + ((y - 20) / 20) ** 2 + ((z - 16 - 0.3 * (y - 20)) / 6) ** 2)


def _to_surface(pia: F32, step: float) -> list[F32]:
    """From every voxel to the brain's surface, along a smooth field that has no ridges, (x, y, z)."""
    smooth = ndimage.gaussian_filter((pia > 0).astype(np.float32), 3.5)
    slope = np.gradient(smooth, step)
    norm = np.sqrt(sum(g**2 for g in slope)) + 0.004
    depth = np.clip(pia, -6, 26)
    out = [ndimage.gaussian_filter(-g / norm * depth, 1.2) for g in slope]
    return [out[2], out[1], out[0]]
