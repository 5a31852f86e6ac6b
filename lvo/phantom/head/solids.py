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
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
_STRIDE = 4
_MARGIN_MM = 4.5
"""What is cut out round a box: edges are soft, and textures move them."""
_STRAIGHT_MM, _CURVE = 45.0, 0.004
"""Half of the widest box within which a grid is taken as straight; mm by which it bends, per square mm."""


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
    coarse : x, y, z of every fourth point along each axis and of the last, on the processor, (3, z, y, x).
    at : indices of those points along z, y, x.
    gap_mm : the longest way from one of them to the next.
    layers : for each array axis the smallest and largest x, y, z of every layer of points, each (3, layers).
    """

    where: Where
    canvas: Canvas
    coarse: F32
    at: tuple[list[int], ...]
    gap_mm: float
    layers: tuple[tuple[F32, F32], ...]

    @classmethod
    def of(cls, where: Where, canvas: Canvas) -> Ground:
        """Look at a grid once."""
        points = coarse_points(where)
        coarse = torch.stack([points.x, points.y, points.z]).cpu().numpy()
        gap = 0.0
        for axis in (1, 2, 3):
            if coarse.shape[axis] > 1:
                gap = max(gap, float((np.diff(coarse, axis=axis) ** 2).sum(0).max()) ** 0.5)
        at = tuple(_every(n) for n in where.shape)
        layers = tuple(
            (
                _between(coarse.min(axis=others), index, n),
                _between(coarse.max(axis=others), index, n),
            )
            for others, index, n in zip(((2, 3), (1, 3), (1, 2)), at, where.shape, strict=True)
        )
        return cls(where, canvas, coarse, at, gap, layers)

    @property
    def lowest(self) -> float:
        """Smallest canonical z of the grid, mm (to within the coarse spacing)."""
        return float(self.layers[0][0][2].min()) - 1

    def crop(self, low: Point, high: Point, side: float = 1.0) -> Plot | None:
        """The part of the grid that holds a canonical box, or None; `side` -1 mirrors the box."""
        if side < 0:
            low, high = (-high[0], low[1], low[2]), (-low[0], high[1], high[2])
        least, most = np.array(low) - _MARGIN_MM, np.array(high) + _MARGIN_MM
        spans: list[tuple[int, int]] = []
        for bottom, top in self.layers:
            hit = np.flatnonzero(((top > least[:, None]) & (bottom < most[:, None])).all(0))
            if len(hit) == 0:
                return None
            spans.append((int(hit[0]), int(hit[-1]) + 1))
        cuts = [slice(*span) for span in self._narrowed(spans, least, most)]
        if any(c.start >= c.stop for c in cuts):
            return None
        w, tissue = self.where, self.canvas
        fields = (tissue.hu, tissue.uptake, tissue.bone, tissue.grey, tissue.white, tissue.csf)
        place = Where(*(_view(t, cuts).contiguous() for t in (w.x, w.y, w.z)))
        return Plot(place, Canvas(*(_view(t, cuts) for t in fields)))

    def _narrowed(self, spans: list[tuple[int, int]], least: F64, most: F64) -> list[tuple[int, int]]:
        """What of some layers holds a box, as the grid is nearly straight round its middle."""
        centre, half = 0.5 * (least + most), 0.5 * (most - least)
        if half.max() > _STRAIGHT_MM or min(self.coarse.shape) < 2:
            return spans
        near = [
            min(max(round(0.5 * (a + b - 1) / _STRIDE), 0), len(index) - 1)
            for (a, b), index in zip(spans, self.at, strict=True)
        ]
        slope = np.empty((3, 3))
        for axis, (k, index) in enumerate(zip(near, self.at, strict=True)):
            ends = [*near], [*near]
            ends[0][axis], ends[1][axis] = max(k - 1, 0), min(k + 1, len(index) - 1)
            before, behind = (self.coarse[:, e[0], e[1], e[2]] for e in ends)
            slope[:, axis] = (behind - before) / (index[ends[1][axis]] - index[ends[0][axis]])
        back = np.linalg.inv(slope)
        away = centre - self.coarse[:, near[0], near[1], near[2]]
        reach = half + _CURVE * (np.abs(away).max() + half.max()) ** 2
        middle = back @ away + [index[k] for k, index in zip(near, self.at, strict=True)]
        room = np.abs(back) @ reach
        return [
            (max(a, math.ceil(m - r)), min(b, math.floor(m + r) + 1))
            for (a, b), m, r in zip(spans, middle.tolist(), room.tolist(), strict=True)
        ]

    def crop_tube(
        self, points: tuple[Point, ...], radii: tuple[float, ...], side: float = 1.0
    ) -> Plot | None:
        """The part of the grid that holds a chain of round cones."""
        return self.crop(*bounds(points, max(radii) + 0.5), side)


def coarse_points(where: Where) -> Where:
    """Every fourth point of a grid along each axis, and the last."""
    k, j, i = (torch.tensor(_every(n), device=where.x.device) for n in where.shape)
    return Where(*(c[k[:, None, None], j[:, None], i] for c in (where.x, where.y, where.z)))


def _view(whole: Tensor, cuts: list[slice]) -> Tensor:
    """``whole[cuts]`` in one step instead of three: boxes are cut by the hundred."""
    stride = whole.stride()
    first = whole.storage_offset() + sum(c.start * s for c, s in zip(cuts, stride, strict=True))
    return whole.as_strided([c.stop - c.start for c in cuts], stride, first)


def _every(n: int) -> list[int]:
    """Every fourth index below n, and the last."""
    index = list(range(0, n, _STRIDE))
    return index if index[-1] == n - 1 else [*index, n - 1]


def _between(extent: F32, index: list[int], n: int) -> F32:
    """Extents (3, coarse layers) at all n layers, between those of the coarse ones, as the grid is smooth."""
    return np.stack([np.interp(np.arange(n), index, row) for row in extent])


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
    w, o = plot.where, points[0]  # from the first point, as small numbers lose less
    x, y, z = w.x * side - o[0], w.y - o[1], w.z - o[2]
    square = (x * x).addcmul_(y, y).addcmul_(z, z)
    for (a, b), (ra, rb) in zip(itertools.pairwise(points), itertools.pairwise(radii), strict=True):
        first, along = [p - q for p, q in zip(a, o, strict=True)], [q - p for p, q in zip(a, b, strict=True)]
        length = sum(v * v for v in along) or 1.0
        way = (x * along[0]).add_(y, alpha=along[1]).add_(z, alpha=along[2])
        way.sub_(sum(p * q for p, q in zip(first, along, strict=True)))
        distance = square
        if any(first):
            distance = square.add(x, alpha=-2 * first[0]).add_(y, alpha=-2 * first[1])
            distance = distance.add_(z, alpha=-2 * first[2]).add_(sum(p * p for p in first))
        t = (way * (1 / length)).clamp_(0, 1)
        # |p - a - t along|^2 = |p - a|^2 - t (2 way - t length)
        distance = distance.addcmul(t, way, value=-2).addcmul_(t, t, value=length)
        distance.clamp_(min=0).sqrt_().sub_(t.mul_(rb - ra).add_(ra))
        best = distance if best is None else torch.minimum(best, distance, out=best)
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
