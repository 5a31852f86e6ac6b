"""Where the detector's box lies on a training patient: as an imperfect pose would place it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from scipy.spatial.transform import Rotation

from lvo.imaging.resample import Grid
from lvo.phantom.image import Lattice


class PoseError(BaseModel):
    """Standard deviations of the misplacement of a head in the box, about each axis.

    The released pose network's, measured on the benchmark, are 2.3 degrees, 3.5 mm and 0.025.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    turn_deg: float = 2.5
    shift_mm: float = 2.6
    scale: float = 0.028


def box_lattice(grid: Grid, move: npt.NDArray[np.float64] | None = None) -> Lattice:
    """The voxels of a head-frame grid, moved by a 4 by 4."""
    return Lattice(grid.affine if move is None else move @ grid.affine, grid.shape)


def coarser(lattice: Lattice, step: int) -> Lattice:
    """Blocks of `step` voxels along each axis as voxels."""
    affine = lattice.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.full(3, (step - 1) / 2)
    affine[:3, :3] *= step
    z, y, x = (n // step for n in lattice.shape)
    return Lattice(affine, (z, y, x))


def unscanned(
    lattice: Lattice, pose: npt.NDArray[np.float64], coverage: tuple[float, float], device: torch.device
) -> torch.Tensor:
    """Voxels of a head-frame lattice below the first or above the last slice, bool (z, y, x)."""
    step, (low, high) = (pose @ lattice.affine)[2], coverage
    k, j, i = (torch.arange(n, device=device) * float(s) for n, s in zip(lattice.shape, step, strict=False))
    height = k[:, None, None] + j[:, None] + i + float(step[3])
    return (height < low) | (height > high)


def pose_error(
    rng: np.random.Generator, *, turn_deg: float, shift_mm: float, scale: float
) -> npt.NDArray[np.float64]:
    """A move of the box by a random turn, shift and scale, 4 by 4."""
    out = np.eye(4)
    turn = Rotation.from_rotvec(np.radians(rng.normal(0, turn_deg, 3))).as_matrix()
    out[:3, :3] = turn * np.exp(rng.normal(0, scale) if scale else 0.0)
    out[:3, 3] = rng.normal(0, shift_mm, 3)
    return out
