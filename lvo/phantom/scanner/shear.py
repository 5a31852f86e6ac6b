"""Slices that lean because the gantry is tilted while the table moves level: a sheared lattice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Affine = npt.NDArray[np.float64]
Shape = tuple[int, int, int]


def upright(affine: Affine, shape: Shape) -> tuple[Affine, Shape]:
    """The orthogonal lattice whose slices hold those of a leaning one, each shifted along its columns.

    Parameters
    ----------
    affine : index (k, j, i) to mm; axes j and i are orthogonal, axis k may lean along j.

    Returns
    -------
    affine, shape : `affine` and `shape` themselves where nothing leans.
    """
    row = affine[:3, 1] / np.linalg.norm(affine[:3, 1])
    slip = float(affine[:3, 0] @ row)  # mm along the columns from slice to slice
    if abs(slip) < 1e-9:
        return affine, shape
    pixel = float(np.linalg.norm(affine[:3, 1]))
    more = int(np.ceil(abs(slip) * (shape[0] - 1) / pixel)) + 2
    out = affine.copy()
    out[:3, 0] -= slip * row
    if slip < 0:
        out[:3, 3] -= affine[:3, 1] * (more - 1)
    return out, (shape[0], shape[1] + more, shape[2])


def lean(hu: Tensor, affine: Affine, wanted: tuple[Affine, Shape]) -> Tensor:
    """Values (z, y, x) on the lattice of `upright`, brought to the leaning one by linear interpolation."""
    target, shape = wanted
    if tuple(hu.shape) == shape:
        return hu
    inverse = np.linalg.inv(affine[:3, :3])
    out = hu.new_empty(shape)
    for k in range(shape[0]):
        start = float((inverse @ (target[:3, 0] * k + target[:3, 3] - affine[:3, 3]))[1])
        first = int(np.floor(start))
        share = start - first
        rows = torch.clamp(torch.arange(first, first + shape[1] + 1, device=hu.device), 0, hu.shape[1] - 1)
        plane = hu[k].index_select(0, rows)
        out[k] = torch.lerp(plane[:-1], plane[1:], share)
    return out
