"""Signed distances of simple solids, and drawing them only on the part of a grid where they can be."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lvo.phantom.head.canvas import Canvas, Where, inside

Point = tuple[float, float, float]
"""Canonical head-frame (x, y, z), mm."""
_STRIDE = 4


@dataclass(frozen=True, slots=True, eq=False)
class Plot:
    """A box cut out of a grid (views, so that what is drawn in it is drawn in the grid).

    Attributes
    ----------
    where, canvas : points and tissue in the box.
    """

    where: Where
    canvas: Canvas

    def offset(self, centre: Point, side: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """Points relative to a centre that is given for the left side; `side` -1 mirrors it."""
        w = self.where
        return w.x * side - centre[0], w.y - centre[1], w.z - centre[2]

    def put(
        self,
        share: Tensor,
        hu: Tensor | float,
        *,
        uptake: Tensor | float = 0.0,
        bone: float = 0.0,
        white: float = 0.0,
        csf: float = 0.0,
    ) -> None:
        """`Canvas.put` with fewer passes over memory."""
        c, keep = self.canvas, 1 - share
        for field, value in ((c.hu, hu), (c.uptake, uptake), (c.bone, bone), (c.white, white), (c.csf, csf)):
            field.mul_(keep)
            if isinstance(value, Tensor):
                field.addcmul_(share, value)
            elif value:
                field.add_(share, alpha=value)
        c.grey.mul_(keep)

    def fill(
        self,
        distance: Tensor,
        hu: Tensor | float,
        *,
        soft_mm: float = 1.0,
        uptake: Tensor | float = 0.0,
        bone: float = 0.0,
    ) -> None:
        """Put a tissue inside a surface, given by its signed distance (negative inside)."""
        self.put(inside(distance, soft_mm), hu, uptake=uptake, bone=bone)

    def points(self, mask: Tensor) -> tuple[tuple[Tensor, ...], Where]:
        """Indices of the points in a mask, and the points, in one line: for what is dear and rare."""
        index = mask.nonzero(as_tuple=True)
        w = self.where
        return index, Where(w.x[index][None, None], w.y[index][None, None], w.z[index][None, None])


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """A grid with the coordinates of every fourth point, so that boxes are found without reading it all.

    Attributes
    ----------
    where, canvas : points and tissue.
    coarse : x, y, z of every fourth point along each axis and of the last, on the processor.
    gap_mm : the longest way from one of them to the next.
    limits : smallest and largest x, y, z.
    layers : for each array axis the smallest and largest x, y, z of every coarse layer, each (3, layers).
    """

    where: Where
    canvas: Canvas
    coarse: tuple[npt.NDArray[np.float32], ...]
    gap_mm: float
    limits: tuple[tuple[float, float], ...]
    layers: tuple[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]], ...]

    @classmethod
    def of(cls, where: Where, canvas: Canvas) -> Ground:
        """Look at a grid once."""
        points = coarse_points(where)
        coarse = torch.stack([points.x, points.y, points.z]).cpu().numpy()
        gap = 0.0
        for axis in (1, 2, 3):
            if coarse.shape[axis] > 1:
                gap = max(gap, float((np.diff(coarse, axis=axis) ** 2).sum(0).max()) ** 0.5)
        limits = tuple((float(c.min()) - 1, float(c.max()) + 1) for c in coarse)
        layers = tuple(
            (coarse.min(axis=others), coarse.max(axis=others)) for others in ((2, 3), (1, 3), (1, 2))
        )
        return cls(where, canvas, (coarse[0], coarse[1], coarse[2]), gap, limits, layers)

    @property
    def lowest(self) -> float:
        """Smallest canonical z of the grid, mm (to within the coarse spacing)."""
        return self.limits[2][0]

    def crop(self, low: Point, high: Point, side: float = 1.0) -> Plot | None:
        """The part of the grid that holds a canonical box, or None; `side` -1 mirrors the box."""
        if side < 0:
            low, high = (-high[0], low[1], low[2]), (-low[0], high[1], high[2])
        margin = 1.2 * self.gap_mm  # of a point in the box, both coarse neighbours are this near to it
        if any(least > b or most < a for a, b, (least, most) in zip(low, high, self.limits, strict=True)):
            return None
        # First whole layers along each axis, which is quick, then the points of the layers that are left.
        spans: list[tuple[int, int]] = []
        for least_of, most_of in self.layers:
            hit = np.ones(least_of.shape[1], dtype=bool)
            for k, (a, b) in enumerate(zip(low, high, strict=True)):
                hit &= (most_of[k] > a - margin) & (least_of[k] < b + margin)
            index = np.flatnonzero(hit)
            if len(index) == 0:
                return None
            spans.append((int(index[0]), int(index[-1]) + 1))
        block = tuple(slice(*span) for span in spans)
        near = np.ones([b - a for a, b in spans], dtype=bool)
        for c, a, b in zip(self.coarse, low, high, strict=True):
            near &= (c[block] > a - margin) & (c[block] < b + margin)
        cuts = []
        for axis, (n, span) in enumerate(zip(self.where.shape, spans, strict=True)):
            index = np.flatnonzero(near.any(axis=tuple(a for a in range(3) if a != axis))) + span[0]
            if len(index) == 0:
                return None
            first, last = (min(int(i) * _STRIDE, n - 1) for i in index[[0, -1]])
            cuts.append(slice(first, last + 1))
        w, tissue = self.where, self.canvas
        fields = (tissue.hu, tissue.uptake, tissue.bone, tissue.grey, tissue.white, tissue.csf)
        return Plot(
            Where(*(_view(t, cuts) for t in (w.x, w.y, w.z))), Canvas(*(_view(t, cuts) for t in fields))
        )

    def crop_tube(
        self, points: tuple[Point, ...], radii: tuple[float, ...], side: float = 1.0
    ) -> Plot | None:
        """The part of the grid that holds a chain of round cones."""
        return self.crop(*bounds(points, max(radii) + 0.5), side)


def coarse_points(where: Where) -> Where:
    """Every fourth point of a grid along each axis, and the last."""
    axes = [_every(n, where.x.device) for n in where.shape]
    return Where(*(c[axes[0]][:, axes[1]][:, :, axes[2]] for c in (where.x, where.y, where.z)))


def _view(whole: Tensor, cuts: list[slice]) -> Tensor:
    """``whole[cuts]`` in one step instead of three: boxes are cut by the hundred."""
    stride = whole.stride()
    first = whole.storage_offset() + sum(c.start * s for c, s in zip(cuts, stride, strict=True))
    return whole.as_strided([c.stop - c.start for c in cuts], stride, first)


def _every(n: int, device: torch.device) -> Tensor:
    """Every fourth index below n, and the last."""
    index = list(range(0, n, _STRIDE))
    return torch.tensor(index if index[-1] == n - 1 else [*index, n - 1], device=device)


# ----------------------------------------------------------------------------- solids


def ellipsoid(offset: tuple[Tensor, Tensor, Tensor], radii: Point) -> Tensor:
    """Signed distance to an ellipsoid about 0, right to first order at its surface."""
    u, v, w = (o * (1 / r) for o, r in zip(offset, radii, strict=True))
    length = torch.sqrt(u * u + v * v + w * w)
    slope = torch.sqrt((u * (1 / radii[0])) ** 2 + (v * (1 / radii[1])) ** 2 + (w * (1 / radii[2])) ** 2)
    # length / slope is at least the smallest radius, but for rounding near the centre
    return (length - 1) * torch.clamp(length / (slope + 1e-6), min=min(radii))


def ellipse(dx: Tensor, dy: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """Signed distance to an ellipse about 0, right to first order; radii may vary from point to point."""
    u, v = dx / a, dy / b
    length = torch.sqrt(u * u + v * v)
    slope = torch.sqrt((u / a) ** 2 + (v / b) ** 2) + 1e-6
    least = torch.minimum(torch.as_tensor(a, device=dx.device), torch.as_tensor(b, device=dx.device))
    return (length - 1) * torch.maximum(length / slope, least)


def tube(plot: Plot, points: tuple[Point, ...], radii: tuple[float, ...], side: float = 1.0) -> Tensor:
    """Signed distance to a chain of round cones; `points` are given for the left side."""
    best: Tensor | None = None
    w = plot.where
    for (a, b), (ra, rb) in zip(itertools.pairwise(points), itertools.pairwise(radii), strict=True):
        along = [q - p for p, q in zip(a, b, strict=True)]
        square = sum(v * v for v in along) or 1.0
        dx, dy, dz = w.x * side - a[0], w.y - a[1], w.z - a[2]
        t = torch.clamp((dx * along[0] + dy * along[1] + dz * along[2]) * (1 / square), 0, 1)
        dx, dy, dz = dx - t * along[0], dy - t * along[1], dz - t * along[2]
        distance = torch.sqrt(dx * dx + dy * dy + dz * dz) - (ra + t * (rb - ra))
        best = distance if best is None else torch.minimum(best, distance)
    assert best is not None
    return best


def bounds(points: tuple[Point, ...], margin: float) -> tuple[Point, Point]:
    """The box round some points."""
    lows = [min(p[a] for p in points) - margin for a in range(3)]
    highs = [max(p[a] for p in points) + margin for a in range(3)]
    return (lows[0], lows[1], lows[2]), (highs[0], highs[1], highs[2])


def cut(*distances: Tensor) -> Tensor:
    """What several solids have in common."""
    return functools.reduce(torch.maximum, distances)


def join(*distances: Tensor) -> Tensor:
    """Several solids as one."""
    return functools.reduce(torch.minimum, distances)


def table(value: Tensor, at: tuple[float, ...], values: tuple[float, ...]) -> Tensor:
    """Piecewise linear interpolation, `at` ascending; constant beyond its ends."""
    out = torch.full_like(value, values[0])
    for (a, b), (u, v) in zip(itertools.pairwise(at), itertools.pairwise(values), strict=True):
        if u != v:
            out = out + torch.clamp((value - a) * (1 / (b - a)), 0, 1) * (v - u)
    return out


def turned(dx: Tensor, dy: Tensor, degrees: float) -> tuple[Tensor, Tensor]:
    """Coordinates along axes turned by an angle."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return dx * c + dy * s, dy * c - dx * s
