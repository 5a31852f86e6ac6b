"""What the pose network sees: a volume on a coarse LPS grid, encoded; shared with its training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lvo.study import Volume

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

COARSE_MM = 4.0
"""Voxel size of the network's input before blocks of eight become channels."""
CELL_MM = 8.0
"""Voxel size of the network's output."""
CHANNELS = 24
COORDINATE_SCALE_MM = 100.0
MULTIPLE = 16
"""Coarse grids are padded to a multiple of this many voxels: 8 mm cells, halved three times."""
OUTSIDE_HU = -1024.0


@dataclass(frozen=True, slots=True)
class Coarse:
    """A volume on a regular 4 mm grid.

    Attributes
    ----------
    hu : float32, shape (z, y, x), HU; `OUTSIDE_HU` where nothing was scanned
    valid : float32, same shape: 1 where something was scanned
    to_lps : float64, shape (4, 4), index (k, j, i) to LPS mm
    """

    hu: F32
    valid: F32
    to_lps: F64


def encode(hu: F32, valid: F32) -> F32:
    """Turn a coarse grid into network channels.

    Parameters
    ----------
    hu, valid : float32, shape (z, y, x), every side a multiple of `MULTIPLE`

    Returns
    -------
    float32, shape (24, z / 2, y / 2, x / 2): soft-tissue window, bone window and scanned mask of
    each of the eight voxels of a cell.
    """
    stacked = np.stack([np.clip(hu, -150, 250) / 200, np.clip(hu, -1000, 1500) / 1000, valid])
    c, z, y, x = stacked.shape
    blocks = stacked.reshape(c, z // 2, 2, y // 2, 2, x // 2, 2).transpose(0, 2, 4, 6, 1, 3, 5)
    return np.ascontiguousarray(blocks.reshape(CHANNELS, z // 2, y // 2, x // 2), dtype=np.float32)


def pad_to_multiple(coarse: Coarse) -> Coarse:
    """Pad the far end of every axis with unscanned voxels."""
    pad = [(0, -n % MULTIPLE) for n in coarse.hu.shape]
    hu = np.pad(coarse.hu, pad, constant_values=OUTSIDE_HU)
    return Coarse(hu, np.pad(coarse.valid, pad), coarse.to_lps)


def cell_centres(coarse: Coarse) -> F64:
    """LPS mm of the centres of the 8 mm cells, shape (z / 2, y / 2, x / 2, 3)."""
    axes = [np.arange(n // 2) * 2 + 0.5 for n in coarse.hu.shape]
    index = np.stack([*np.meshgrid(*axes, indexing="ij"), np.ones([len(a) for a in axes])], axis=-1)
    centres: F64 = (index @ coarse.to_lps.T)[..., :3]
    return centres


def thin(volume: Volume, target_mm: float = COARSE_MM) -> tuple[F32, F64]:
    """Cheaply bring a volume near a voxel size by averaging two samples along every finer axis.

    Returns
    -------
    array : float32, shape (z, y, x), HU
    affine : float64, shape (4, 4), its index (k, j, i) to LPS mm
    """
    steps = [max(1, int(target_mm / s + 0.1)) for s in volume.spacing]
    counts = [max(1, n // s) for n, s in zip(volume.array.shape, steps, strict=True)]
    total = np.zeros(counts, np.float32)
    offsets = [_samples(s, n) for s, n in zip(steps, volume.array.shape, strict=True)]
    number = 0
    for a in offsets[0]:
        for b in offsets[1]:
            for c in offsets[2]:
                part = volume.array[a :: steps[0], b :: steps[1], c :: steps[2]]
                total += part[: counts[0], : counts[1], : counts[2]]
                number += 1
    affine = volume.affine.copy()
    affine[:3, 3] += volume.affine[:3, :3] @ [float(np.mean(o)) for o in offsets]
    affine[:3, :3] *= steps
    return np.asarray(total / number, dtype=np.float32), affine


def _samples(step: int, count: int) -> list[int]:
    """Which samples of every `step` are averaged: the two in its middle."""
    return [o for o in sorted({(step - 1) // 2, step // 2}) if o < count]


def on_grid(array: F32, affine: F64, to_lps: F64, shape: tuple[int, int, int]) -> Coarse:
    """Sample an array on another grid, linearly.

    Parameters
    ----------
    array, affine : as `thin` returns them
    to_lps : float64, shape (4, 4), index of the new grid to LPS mm
    shape : of the new grid (z, y, x)
    """
    step = np.linalg.inv(affine) @ to_lps
    hu = ndimage.affine_transform(
        array, step[:3, :3], step[:3, 3], shape, order=1, mode="nearest", prefilter=False, output=np.float32
    )
    valid = inside(step, array.shape, shape)
    padding = hu < -1500  # scanners mark what lies outside the reconstruction circle with low values
    valid &= ~padding
    hu[~valid] = OUTSIDE_HU
    return Coarse(np.clip(hu, OUTSIDE_HU, 4000), valid.astype(np.float32), to_lps)


def inside(step: F64, source: tuple[int, ...], shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """Which voxels of a grid fall within a source array, given the map between their indices."""
    ok = np.ones(shape, bool)
    k, j, i = np.ix_(*(np.arange(n, dtype=np.float32) for n in shape))
    for axis, n in enumerate(source):
        a, b, c, d = (np.float32(v) for v in step[axis])
        position = a * k + b * j + c * i + d
        ok &= (position >= -0.5) & (position <= n - 0.5)
    return ok


def coarse_lps(array: F32, affine: F64, limit_mm: float = 1200.0) -> Coarse:
    """Put a thinned array on the axis-aligned 4 mm grid that bounds it.

    Raises
    ------
    ValueError
        When the volume is longer than `limit_mm` or smaller than 20 mm along an axis: no head scan.
    """
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in array.shape], indexing="ij")).reshape(3, -1)
    lps = affine[:3, :3] @ corners + affine[:3, 3:]
    low, high = lps.min(1), lps.max(1)
    extent = high - low
    if not np.isfinite(extent).all() or extent.max() > limit_mm or extent.min() < 20:
        raise ValueError(f"the volume measures {' x '.join(f'{v:.0f}' for v in extent)} mm")
    shape = np.ceil(extent / COARSE_MM).astype(int)
    to_lps = np.zeros((4, 4))
    to_lps[0, 2] = to_lps[1, 1] = to_lps[2, 0] = COARSE_MM
    to_lps[:3, 3], to_lps[3, 3] = low + COARSE_MM / 2, 1
    return on_grid(array, affine, to_lps, (int(shape[2]), int(shape[1]), int(shape[0])))


def settings() -> dict[str, Any]:
    """Everything a training run must share with inference, for the exported model's metadata."""
    return {"coarse_mm": COARSE_MM, "cell_mm": CELL_MM, "channels": CHANNELS, "scale_mm": COORDINATE_SCALE_MM}
