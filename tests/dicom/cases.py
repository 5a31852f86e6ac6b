"""A small head with bone, brain and lit vessels, and ways to spoil its files."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom

from lvo.study import Volume

SHAPE = (56, 48, 48)
STEP, PIXEL = 1.5, 4.5


def affine(step: float, shape: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    """Axial, feet to head, centred on the LPS origin."""
    out = np.eye(4)
    out[:3, :3] = [[0, 0, PIXEL], [0, PIXEL, 0], [step, 0, 0]]
    out[:3, 3] = -out[:3, :3] @ ((np.array(shape) - 1) / 2)
    return out


@cache
def head(*, contrast: bool = True, shape: tuple[int, int, int] = SHAPE, step: float = STEP) -> Volume:
    """HU of an ellipsoid head: scalp, skull, brain, vessels, and a metal marker on the left; read only."""
    aff = affine(step, shape)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    x, y, z = np.moveaxis(index @ aff[:3, :3].T + aff[:3, 3], -1, 0)
    radius = np.sqrt((x / 78) ** 2 + (y / 95) ** 2 + (z / 110) ** 2)
    hu = np.full(shape, -1000.0)
    hu[radius < 1.0] = 20
    hu[radius < 0.93] = 1100
    hu[radius < 0.8] = 35
    if contrast:
        for across in (-30, -15, 15, 30):
            hu[(np.hypot(x - across, y) < 6) & (radius < 0.7)] = 320
    hu[(np.abs(x - 40) < 5) & (np.abs(y + 20) < 5) & (np.abs(z - 10) < 4)] = 2500
    array = hu.astype(np.int16)
    array.flags.writeable = aff.flags.writeable = False  # one head is shared by many tests
    return Volume(array, aff)


def edit(path: Path, change: Callable[[pydicom.Dataset], None]) -> None:
    """Change one file in place."""
    ds = pydicom.dcmread(path)
    change(ds)
    ds.save_as(path)


def marker_lps(volume: Volume) -> npt.NDArray[np.float64]:
    """Centre of the metal marker in LPS mm, from the volume's own affine."""
    index = np.argwhere(volume.array > 1800).mean(axis=0)
    return volume.affine[:3, :3] @ index + volume.affine[:3, 3]
