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
from torch.nn.functional import grid_sample, interpolate

from lvo.training.box_place import pose_error

_KNOTS = (5, 6, 7)
"""Places (z, y, x) between which a view is shifted smoothly: every 24 mm of the box."""


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
    for name in ("cta", "ncct", "vessel", "state"):
        labels = name in ("vessel", "state")
        values = torch.from_numpy(np.ascontiguousarray(item[name], dtype=np.float32))[None, None]
        where = _where(item[name].shape, size, turn, bend)
        bent = grid_sample(
            values,
            where,
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
    half = torch.tensor([n / 2 for n in reversed(size)], dtype=torch.float32)
    z, y, x = (torch.arange(n, dtype=torch.float32).add_(0.5).mul_(2 / n).sub_(1) for n in shape)
    at = torch.stack(torch.meshgrid(z, y, x, indexing="ij")[::-1], dim=-1) * half
    shift = interpolate(
        torch.from_numpy(bend.astype(np.float32))[None], shape, mode="trilinear", align_corners=True
    )
    moved = at @ torch.from_numpy(turn.T.astype(np.float32)) + shift[0].movedim(0, -1)
    return (moved / half)[None]
