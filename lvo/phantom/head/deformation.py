"""Smooth differences of shape between one head and the canonical one, and the bend of its neck."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from lvo.phantom.head.lattice import curved

F64 = npt.NDArray[np.float64]
_KNOT = 40.0
_LOW = (-280.0, -280.0, -480.0)
_HIGH = (280.0, 280.0, 240.0)
_SPAN = np.array(_HIGH) - np.array(_LOW)
KNOTS = tuple(int(n) for n in (np.ceil(_SPAN / _KNOT).astype(int)[::-1] + 3))
"""Count of knots along z, y, x; the same number on both sides of the midline."""
_COARSE_MM = 10.0
"""Spacing of the lattice on which the map is inverted; cubic interpolation between is right to 0.05 mm."""
_PIECE = 16384


class DeformationRanges(BaseModel):
    """How heads differ in shape.

    Cranial length, breadth and height have coefficients of variation of 3 to 4 % within a population
    (Gordon et al., ANSUR 1988); a neck flexes or extends by some 20 degrees on a scanner's head rest.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: tuple[float, float] = (-0.05, 0.02)
    stretch: tuple[float, float] = (-0.035, 0.035)
    limit: float = 0.06
    roughness_mm: tuple[float, float] = (1.2, 2.6)
    neck_from_mm: tuple[float, float] = (-66.0, -54.0)
    neck_slope: tuple[float, float] = (-0.35, 0.4)
    neck_curve: tuple[float, float] = (-0.25, 0.25)
    neck_side_slope: tuple[float, float] = (-0.1, 0.1)
    neck_twist_degrees: tuple[float, float] = (-8.0, 8.0)


@dataclass(frozen=True, slots=True)
class Bend:
    """How a neck bends below `start` (canonical z, mm).

    Attributes
    ----------
    slope, curve : mm that it runs to the back for every mm down, at first and gained over 100 mm.
    side : mm to the left for every mm down.
    twist : radians by which the shoulders are turned against the head.
    """

    start: float = -60.0
    slope: float = 0.0
    curve: float = 0.0
    side: float = 0.0
    twist: float = 0.0

    def moved(self, p: Tensor) -> Tensor:
        """Displacement of points (..., 3), mm."""
        down = torch.clamp(self.start - p[..., 2], min=0)
        down = down * down / (down + 25)  # no kink
        back = 75 * torch.tanh((self.slope * down + self.curve * down**2 / 200) / 75)
        left = 40 * torch.tanh(self.side * down / 40)
        turn = self.twist * torch.clamp(down / 160, 0, 1)
        x, y = p[..., 0], p[..., 1] - 40
        cos, sin = torch.cos(turn) - 1, torch.sin(turn)
        return torch.stack([left + cos * x - sin * y, back + sin * x + cos * y, torch.zeros_like(x)], dim=-1)


@dataclass(frozen=True, slots=True, eq=False)
class Deformation:
    """A smooth map between one head and the canonical one.

    Head position of canonical point p: ``(p + bend(p)) * stretch + s(p)``, with s a cubic B-spline of 40 mm
    knots.

    Attributes
    ----------
    stretch : float64, shape (3,), size of this head along x, y, z relative to the canonical head.
    knots : float64, shape (kz, ky, kx, 3), displacement coefficients (x, y, z), mm; see `KNOTS`.
    bend : of the neck.
    """

    stretch: F64
    knots: F64
    bend: Bend = Bend()

    def from_canonical(self, points: npt.ArrayLike) -> F64:
        """Where canonical points (n, 3) lie in this head, head-frame mm, shape (n, 3)."""
        p = torch.from_numpy(np.asarray(points, dtype=np.float64).reshape(-1, 3))
        moved: F64 = self._forward(p).numpy()
        return moved

    def to_canonical(self, points: npt.ArrayLike) -> F64:
        """Canonical positions of head points, shape (n, 3), mm; the inverse, to 0.005 mm."""
        target = torch.from_numpy(np.asarray(points, dtype=np.float64).reshape(-1, 3))
        stretch = torch.from_numpy(self.stretch)
        return np.asarray(self._inverse(target, target / stretch, 14), dtype=np.float64)

    def field(self, affine: F64, shape: tuple[int, int, int], device: torch.device | None = None) -> Field:
        """Canonical places of a lattice's points, ready to be read off.

        Parameters
        ----------
        affine : (4, 4), array index (k, j, i) to head-frame (x, y, z), mm; any rotation and spacing.
        shape : (z, y, x) of the lattice
        device : of the tensors; None is the CPU.
        """
        device = device or torch.device("cpu")
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        # One point further at either end, so that the mirror image has the same lattice.
        counts = [int(np.ceil((n + 1) * s / _COARSE_MM)) + 1 for n, s in zip(shape, spacing, strict=True)]
        counts = [max(2, c) for c in counts]
        # Iterations on a coarser lattice bring this one so near that two remain to be done.
        rough = [c // 2 + 1 for c in counts]
        target, sparse = (
            torch.from_numpy(_spread(affine, shape, c)).to(device, torch.float32) for c in (counts, rough)
        )
        stretch = torch.tensor(self.stretch, dtype=torch.float32, device=device)
        moved = self._inverse(sparse, sparse / stretch, 6) - sparse / stretch
        for axis, (few, many) in enumerate(zip(rough, counts, strict=True)):
            moved = curved(moved, axis, np.linspace(0, few - 1, many))
        found = self._inverse(target, target / stretch + moved, 1).permute(3, 0, 1, 2).contiguous()
        steps = np.array([(n + 1) / (c - 1) for n, c in zip(shape, counts, strict=True)])
        return Field(found, steps)

    def mirrored(self) -> Deformation:
        """The same of the mirror image."""
        knots = self.knots[:, :, ::-1] * np.array((-1.0, 1.0, 1.0))
        bend = replace(self.bend, side=-self.bend.side, twist=-self.bend.twist)
        return Deformation(self.stretch, np.ascontiguousarray(knots), bend)

    def _forward(self, p: Tensor) -> Tensor:
        """Head positions of canonical points (..., 3)."""
        stretch = torch.tensor(self.stretch, dtype=p.dtype, device=p.device)
        out = p * stretch + self._spline(p)
        if self.bend != Bend(self.bend.start):
            out = out + self.bend.moved(p) * stretch
        return out

    def _inverse(self, target: Tensor, start: Tensor, rounds: int) -> Tensor:
        """Canonical positions of head points (..., 3), from a first guess."""
        stretch = torch.tensor(self.stretch, dtype=target.dtype, device=target.device)
        p = start
        for _ in range(rounds):
            p = p + (target - self._forward(p)) / stretch
        return p

    def _spline(self, p: Tensor) -> Tensor:
        """Displacement at points (..., 3), mm."""
        flat = p.reshape(-1, 3)
        blocks = _blocks(self, p.device, p.dtype)
        counts = self.knots.shape[2::-1]
        cell = torch.zeros(len(flat), dtype=torch.long, device=p.device)
        weights = torch.ones(len(flat), 1, dtype=p.dtype, device=p.device)
        for axis in (2, 1, 0):
            t = torch.clamp((flat[:, axis] - _LOW[axis]) * (1 / _KNOT), 0, counts[axis] - 3 - 1e-4)
            base = t.floor()
            cell = cell * (counts[axis] - 3) + base.long()
            weights = (weights[:, :, None] * _weights(t - base)[:, None, :]).flatten(1)
        pieces = zip(cell.split(_PIECE), weights.split(_PIECE), strict=True)
        moved = [torch.bmm(w[:, None, :], blocks.index_select(0, c))[:, 0] for c, w in pieces]
        return torch.cat(moved).reshape(p.shape)


@functools.lru_cache(maxsize=4)
def _blocks(deformation: Deformation, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The 64 knots that act within every cell between knots, (cells, 64, 3)."""
    knots = torch.from_numpy(deformation.knots).to(device, dtype)
    near = knots.unfold(0, 4, 1).unfold(1, 4, 1).unfold(2, 4, 1)  # z, y, x, c, k, j, i
    return near.permute(0, 1, 2, 4, 5, 6, 3).reshape(-1, 64, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """Canonical places of a lattice, kept at points some 10 mm apart.

    Attributes
    ----------
    points : (3, z, y, x), canonical x, y, z, mm.
    steps : lattice points between two of them, along z, y, x; the first lies at index -1.
    """

    points: Tensor
    steps: F64

    def at(self, index: tuple[F64, F64, F64]) -> tuple[Tensor, Tensor, Tensor]:
        """Canonical x, y, z, mm, at the lattice's indices k, j, i (a grid of all their combinations)."""
        out = []
        for c in self.points:
            for axis in (2, 1, 0):
                c = curved(c, axis, (index[axis] + 1) / self.steps[axis])
            out.append(c.contiguous())
        return out[0], out[1], out[2]


def sample_deformation(
    rng: np.random.Generator, ranges: DeformationRanges | None = None, roughness_mm: float | None = None
) -> Deformation:
    """Draw size, proportions, a smooth displacement and the bend of a neck.

    Parameters
    ----------
    rng : numpy Generator
    ranges : how heads differ
    roughness_mm : sd of the smooth displacement, mm; None draws it.
    """
    r = ranges or DeformationRanges()
    u = rng.uniform
    rough = u(*r.roughness_mm) if roughness_mm is None else roughness_mm
    # A cubic B-spline of unit-variance coefficients has sd 0.35 on average in three dimensions.
    knots = rng.normal(0, rough / 0.35, (*KNOTS, 3))
    stretch = np.clip(u(*r.size) + u(*r.stretch, 3), -r.limit, r.limit)
    bend = Bend(
        u(*r.neck_from_mm), u(*r.neck_slope), u(*r.neck_curve), u(*r.neck_side_slope),
        np.radians(u(*r.neck_twist_degrees)),
    )  # fmt: skip
    return Deformation(1 + stretch, knots, bend)


def _weights(f: Tensor) -> Tensor:
    """The four cubic B-splines that are not 0 a share `f` (n,) beyond a knot, (n, 4)."""
    g, square = 1 - f, f * f
    cube = square * f
    inner = (3 * cube - 6 * square + 4, -3 * cube + 3 * square + 3 * f + 1)
    return torch.stack([g * g * g, *inner, cube], dim=1) / 6


def _spread(affine: F64, shape: tuple[int, int, int], counts: list[int]) -> F64:
    """Points (z, y, x, 3) evenly over a lattice and one point beyond either end of it, mm."""
    axes = [np.linspace(-1, n, c) for n, c in zip(shape, counts, strict=True)]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    points: F64 = index @ affine[:3, :3].T + affine[:3, 3]
    return points
