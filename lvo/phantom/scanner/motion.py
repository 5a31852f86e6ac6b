"""A head that moves while the table carries it through the gantry: every slice shows it where it was then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional

from lvo.phantom.scanner.artefacts import enlarge

Affine = npt.NDArray[np.float64]
F64 = npt.NDArray[np.float64]
Kind = Literal["still", "step", "drift", "swing"]


class MotionRanges(BaseModel):
    """How patients move. Ranges are (low, high), drawn uniformly; sizes in the logarithm.

    Visible motion is reported in 5 to 15 % of emergency head CT; most of it is a few mm.

    Attributes
    ----------
    probability : of any motion
    weights : of a step, a drift and a swing (to and fro)
    size_mm : of the movement in plane
    along : movement along the table, relative to that in plane
    turn_deg : turn about the table's axis at the full movement
    step_mm : table travel during a step
    back : probability that the head comes back after a step, within `swing_mm`
    swing_mm : table travel in which a swing comes and goes once
    ghost : share of a second position in slices that see the head move, 0 to 0.5
    rotation_mm : table travel during one rotation: the second position is that much later
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    probability: float = 0.12
    weights: tuple[float, float, float] = (0.5, 0.25, 0.25)
    size_mm: tuple[float, float] = (0.5, 8.0)
    along: tuple[float, float] = (-0.4, 0.4)
    turn_deg: tuple[float, float] = (-4.0, 4.0)
    step_mm: tuple[float, float] = (1.0, 8.0)
    back: float = 0.3
    swing_mm: tuple[float, float] = (8.0, 40.0)
    ghost: tuple[float, float] = (0.0, 0.5)
    rotation_mm: tuple[float, float] = (1.0, 6.0)


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """Where the head is when each slice is scanned.

    Attributes
    ----------
    kind : what the patient did; "still" leaves images as they are
    z : float64 (n,), gantry mm, evenly spaced
    shift : float64 (n, 3), gantry mm (x, y, z) from where the head lies
    turn : float64 (n,), radians about the table's axis, from x to y
    centre : gantry (x, y) about which it turns
    ghost, later_mm : share of a second position, and table travel until it
    """

    kind: Kind
    z: F64
    shift: F64
    turn: F64
    centre: tuple[float, float] = (0.0, 0.0)
    ghost: float = 0.0
    later_mm: float = 0.0

    def at(self, z: F64) -> F64:
        """Shift along x, y, z (mm) and turn (radians) when slices at gantry z are scanned, (..., 4)."""
        columns = [np.interp(z, self.z, v) for v in (*self.shift.T, self.turn)]
        return np.stack(columns, axis=-1)

    def points(self, lps: npt.ArrayLike) -> F64:
        """Where points (n, 3) of the resting head appear in the images, gantry mm."""
        p = np.asarray(lps, dtype=np.float64).reshape(-1, 3)
        seen = p.copy()
        for _ in range(4):  # the slice that shows a point depends on where it has gone
            dx, dy, dz, turn = self.at(seen[:, 2]).T
            x, y = p[:, 0] - self.centre[0], p[:, 1] - self.centre[1]
            seen[:, 0] = self.centre[0] + np.cos(turn) * x - np.sin(turn) * y + dx
            seen[:, 1] = self.centre[1] + np.sin(turn) * x + np.cos(turn) * y + dy
            seen[:, 2] = p[:, 2] + dz
        return seen

    @property
    def largest_mm(self) -> float:
        """Longest way from the resting place, without turns."""
        return float(np.linalg.norm(self.shift, axis=1).max())


_KINDS: tuple[Kind, ...] = ("step", "drift", "swing")


def sample_motion(
    rng: np.random.Generator,
    ranges: MotionRanges,
    coverage: tuple[float, float],
    centre: tuple[float, float],
) -> Motion:
    """Draw what a patient does while the slices between two gantry z are scanned, from low to high."""
    low, high = coverage
    z = np.linspace(low, high, max(2, int((high - low) / 0.25) + 1))
    if rng.random() >= ranges.probability:
        return Motion("still", z, np.zeros((len(z), 3)), np.zeros(len(z)), centre)
    weights = np.array(ranges.weights)
    kind = _KINDS[int(rng.choice(3, p=weights / weights.sum()))]
    size = float(np.exp(rng.uniform(*np.log(ranges.size_mm))))
    course = _course(rng, ranges, kind, z)
    angle = rng.uniform(0, 2 * np.pi)
    direction = np.array([np.cos(angle), np.sin(angle), rng.uniform(*ranges.along)])
    turn = np.radians(rng.uniform(*ranges.turn_deg)) * size / ranges.size_mm[1]
    return Motion(
        kind,
        z,
        size * course[:, None] * direction,
        turn * course,
        centre,
        float(rng.uniform(*ranges.ghost)),
        float(rng.uniform(*ranges.rotation_mm)),
    )


def _course(rng: np.random.Generator, ranges: MotionRanges, kind: Kind, z: F64) -> F64:
    """How far along its movement the head is at each z, 0 to 1 (or -1 to 1)."""
    start = rng.uniform(z[0], z[-1])
    width, period = rng.uniform(*ranges.step_mm), rng.uniform(*ranges.swing_mm)
    if kind == "drift":
        end = rng.uniform(start, z[-1])
        return np.asarray(np.clip((z - start) / max(end - start, width), 0, 1))
    if kind == "swing":
        inside = np.clip((z - start) / period + 2, 0, 1) * np.clip((start - z) / period + 2, 0, 1)
        return np.asarray(np.sin(2 * np.pi * (z - start) / period) * inside)
    gone = 1 / (1 + np.exp(np.clip((start - z) * 4 / width, -50, 50)))
    if rng.random() < ranges.back:
        gone = gone - 1 / (1 + np.exp(np.clip((start + period - z) * 4 / width, -50, 50)))
    return np.asarray(gone)


_MOVED = 0.03  # mm, and mm at 100 mm from the centre: less is not drawn
_PIECE = 16


def move(hu: Tensor, affine: Affine, motion: Motion, *, ghosts: bool = True, nearest: bool = False) -> None:
    """Show a resting head as it moved, in place.

    Parameters
    ----------
    hu : float32 (z, y, x)
    affine : its index (k, j, i) to gantry mm, any orientation
    ghosts : mix in the second position; False for truth
    nearest : take the nearest voxel, for labels
    """
    if motion.kind == "still":
        return
    stack = bool(
        np.abs(affine[:2, 0]).max() < 1e-6
    )  # slices as they are scanned, one at a time, tilted or not
    piece = _PIECE if stack else hu.shape[0]
    reach = int(motion.largest_mm / np.linalg.norm(affine[:3, 0])) + 2 if stack else 0
    source = hu.clone()
    for first in range(0, hu.shape[0], piece):
        last = min(first + piece, hu.shape[0])
        heights = _heights(affine, hu.shape, first, last)
        now, later = motion.at(heights), motion.at(heights + motion.later_mm)
        ghost = motion.ghost if ghosts and _size(later - now) > _MOVED else 0.0
        if _size(now) <= _MOVED and ghost == 0:
            continue
        low = max(0, first - reach)
        part, slices = source[low : last + reach], (low, first, last)
        look = _seen_flat if stack else _seen
        seen = look(part, affine, slices, motion, 0.0, nearest)
        if ghost > 0:
            seen = torch.lerp(seen, look(part, affine, slices, motion, motion.later_mm, nearest), ghost)
        hu[first:last] = seen


def _heights(affine: Affine, shape: torch.Size, first: int, last: int) -> F64:
    """Gantry z that occur in slices first to last, mm."""
    ends = np.array(np.meshgrid([first, last - 1], [0, shape[1]], [0, shape[2]], indexing="ij")).reshape(
        3, -1
    )
    z = affine[2, :3] @ ends + affine[2, 3]
    return np.linspace(z.min(), z.max(), 65)


def _size(positions: F64) -> float:
    """Largest way among positions (n, 4), mm."""
    return float(max(np.abs(positions[:, :3]).max(), 100 * np.abs(positions[:, 3]).max()))


def _seen_flat(
    part: Tensor, affine: Affine, slices: tuple[int, int, int], motion: Motion, later_mm: float, nearest: bool
) -> Tensor:
    """As `_seen`, for slices as they are scanned: neighbours are mixed, then moved in their plane."""
    low, first, last = slices
    k = np.arange(first, last)
    middle = affine[2, 1] * (part.shape[1] - 1) / 2
    dx, dy, dz, turn = motion.at(affine[2, 0] * k + affine[2, 3] + middle + later_mm).T
    place = np.clip(k - dz / affine[2, 0] - low, 0, len(part) - 1.001)
    place = np.round(place) if nearest else place
    below = np.floor(place).astype(int)
    share = torch.from_numpy((place - below).astype(np.float32)).to(part.device)[:, None, None]
    mixed = torch.lerp(part[below.tolist()], part[(below + 1).tolist()], share)
    # Pixel (i, j) of the image shows the resting head's gantry point R(-turn)(p - d - c) + c.
    c, s = np.cos(turn), np.sin(turn)
    turns = np.stack([np.stack([c, s], -1), np.stack([-s, c], -1)], -2)  # (n, 2, 2), of gantry x, y
    to_gantry = affine[:2, [2, 1]]
    height, width = part.shape[1:]
    half = np.diag([2 / (width - 1), 2 / (height - 1)])  # index to the -1 to 1 of grid_sample
    inward = half @ np.linalg.inv(to_gantry)
    linear = inward @ turns @ to_gantry @ np.linalg.inv(half)
    origin = affine[:2, 3] + to_gantry @ [(width - 1) / 2, (height - 1) / 2]  # where grid (0, 0) lies
    centre = np.array(motion.centre)
    moved = (turns @ (origin - centre - np.stack([dx, dy], -1))[..., None])[..., 0] + centre
    theta = np.concatenate([linear, ((moved - origin) @ inward.T)[..., None]], -1)
    grid = functional.affine_grid(
        torch.from_numpy(theta.astype(np.float32)).to(part.device),
        [len(k), 1, height, width],
        align_corners=True,
    )
    mode = "nearest" if nearest else "bilinear"
    out: Tensor = functional.grid_sample(
        mixed[:, None], grid, mode=mode, align_corners=True, padding_mode="border"
    )
    return out[:, 0]


def _seen(
    part: Tensor, affine: Affine, slices: tuple[int, int, int], motion: Motion, later_mm: float, nearest: bool
) -> Tensor:
    """Slices first to last as they are scanned; `part` starts at slice low."""
    low, first, last = slices
    shape = (last - first, *part.shape[1:])
    fine = bool(np.linalg.norm(affine[:3, :3], axis=0).max() <= 1.2)
    factors = [2 if fine and n > 3 else 1 for n in shape]  # where to look changes smoothly
    k, j, i = (
        (torch.arange(-(-(n - 1) // s) + 1, device=part.device, dtype=torch.float32) * s + start).reshape(
            view
        )
        for n, s, start, view in zip(shape, factors, (first, 0, 0), ((-1, 1, 1), (-1, 1), (-1,)), strict=True)
    )
    x, y, z = (float(r[0]) * k + float(r[1]) * j + float(r[2]) * i + float(r[3]) for r in affine[:3])
    path = np.c_[motion.shift, np.cos(motion.turn), np.sin(motion.turn)].astype(np.float32)
    table = torch.from_numpy(path).to(part.device)
    pace = float(motion.z[-1] - motion.z[0]) / (len(motion.z) - 1)
    at = torch.clamp((z + (later_mm - float(motion.z[0]))) / pace, 0, len(motion.z) - 1.001)
    base = at.long()
    dx, dy, dz, cos, sin = torch.lerp(table[base], table[base + 1], (at - base)[..., None]).unbind(-1)
    x, y, z = x - dx - motion.centre[0], y - dy - motion.centre[1], z - dz
    x, y = cos * x + sin * y + motion.centre[0], cos * y - sin * x + motion.centre[1]
    rows = [
        float(r[0]) * x + float(r[1]) * y + float(r[2]) * z + float(r[3]) for r in np.linalg.inv(affine)[:3]
    ]
    rows[0] = rows[0] - low
    places = torch.stack([rows[n] * (2 / (part.shape[n] - 1)) - 1 for n in (2, 1, 0)])
    grid = enlarge(places, shape, factors).movedim(0, -1)[None]
    out: Tensor = functional.grid_sample(
        part[None, None],
        grid,
        mode="nearest" if nearest else "bilinear",
        align_corners=True,
        padding_mode="border",
    )
    return out[0, 0]
