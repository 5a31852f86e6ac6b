"""A training view bent: turned, stretched and shifted smoothly, image and labels alike.

Heads and the courses of arteries differ in more ways than phantoms do: with bent views a network keeps more
of what it knows on real anatomy (`docs/experiments.md`). Never mirrored: left stays left.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat
from torch.nn.functional import affine_grid, grid_sample, interpolate

from lvo.training.box_place import pose_error

_KNOTS = (5, 6, 7)
"""Places (z, y, x) between which a view is shifted smoothly: every 24 mm of the box."""
_IMAGED = {"cta": False, "ncct": False, "vessel": True, "state": True}
"""What lies on the box, and whether it is labels."""


class WarpRanges(BaseModel):
    """How far views are bent; with `chance` 0 they are not.

    Attributes
    ----------
    chance : of a view to be bent at all.
    turn_deg, scale : standard deviations of a turn about each axis and of the logarithm of the size.
    bend_mm : standard deviation of a smooth shift along each axis.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    chance: float = Field(default=0.0, ge=0, le=1)
    turn_deg: NonNegativeFloat = 3.0
    scale: NonNegativeFloat = 0.05
    bend_mm: NonNegativeFloat = 2.5


def warp(item: dict[str, npt.NDArray[Any]], rng: np.random.Generator, ranges: WarpRanges) -> None:
    """Bend a whole view, in place; what was beyond the box is its border, with no vessel.

    Parameters
    ----------
    item : ``cta`` at 1 mm; ``ncct``, ``vessel`` and ``state`` of any voxel size on the same box; (z, y, x).
        Images become float32.
    """
    turn = pose_error(rng, turn_deg=ranges.turn_deg, shift_mm=0.0, scale=ranges.scale)[:3, :3]
    bend = rng.normal(0, ranges.bend_mm, (3, *_KNOTS))
    size = item["cta"].shape  # of the box in mm too: its voxels are of 1 mm
    where = {shape: _where(shape, size, turn, bend) for shape in {item[name].shape for name in _IMAGED}}
    for name, labels in _IMAGED.items():
        values = torch.from_numpy(np.ascontiguousarray(item[name], dtype=np.float32))[None, None]
        bent = grid_sample(
            values,
            where[item[name].shape],
            mode="nearest" if labels else "bilinear",
            padding_mode="zeros" if labels else "border",
            align_corners=False,
        )
        item[name] = bent[0, 0].numpy().astype(np.uint8 if labels else np.float32)


def _where(
    shape: tuple[int, ...],
    size: tuple[int, ...],
    turn: npt.NDArray[np.float64],
    bend: npt.NDArray[np.float64],
) -> torch.Tensor:
    """Where each voxel's value comes from, (1, z, y, x, 3) of x, y, z in halves of the box's size."""
    half = np.array(size[::-1]) / 2
    turned = np.column_stack([turn * half / half[:, None], np.zeros(3)])
    grid = affine_grid(torch.from_numpy(turned).float()[None], [1, 1, *shape], align_corners=False)
    knots = torch.from_numpy(bend / half[:, None, None, None]).float()[None]
    return grid + interpolate(knots, shape, mode="trilinear", align_corners=True).movedim(1, -1)
