"""Smooth fields on every other point of a grid, brought back to all of its points."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lvo.phantom.head.canvas import Where

F64 = npt.NDArray[np.float64]
Shape = tuple[int, int, int]
_COARSE_MM, _SLOW_MM = 2.05, 4.1


@dataclass(frozen=True, slots=True)
class Thinned:
    """A grid and the coarser one that stands for it.

    Attributes
    ----------
    shape : (z, y, x) of the grid.
    factors : points of the grid per point of the coarse one, along z, y, x.
    """

    shape: Shape
    factors: Shape

    @classmethod
    def of(cls, shape: Shape, spacing: F64, coarse_mm: float = _COARSE_MM) -> Thinned:
        """The coarsest grid with points at most `coarse_mm` apart; `spacing` is along z, y, x, mm."""
        a, b, c = (max(1, int(coarse_mm / s)) if n > 1 else 1 for n, s in zip(shape, spacing, strict=True))
        return cls(shape, (a, b, c))

    @property
    def same(self) -> bool:
        """Whether both have the same points."""
        return all(f == 1 for f in self.factors)

    @property
    def coarse_index(self) -> tuple[F64, F64, F64]:
        """Where the coarse points lie, in indices of the grid, along z, y, x; the last may lie beyond."""
        a, b, c = (
            f * np.arange((n - 1 + f - 1) // f + 1, dtype=np.float64)
            for n, f in zip(self.shape, self.factors, strict=True)
        )
        return a, b, c

    def full(self, coarse: Tensor) -> Tensor:
        """Trilinear values at all points: (z, y, x) of the coarse grid to `shape`."""
        out = coarse
        for axis in (2, 1, 0):  # the long axis last: everything before is small
            out = _finer(out, axis, self.factors[axis], self.shape[axis])
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """The points of a grid at three densities, for fields that vary fast, slowly and very slowly.

    Attributes
    ----------
    where, coarse, slow : all points, those about 2 mm apart, and those about 4 mm apart.
    to_coarse, to_slow : how grid and coarse grid, coarse and slow grid belong together.
    """

    where: Where
    coarse: Where
    slow: Where
    to_coarse: Thinned
    to_slow: Thinned

    @classmethod
    def of(cls, shape: Shape, spacing: F64, at: Callable[[tuple[F64, F64, F64]], Where]) -> Levels:
        """Look up a grid at its three densities; `at` gives the points at indices k, j, i."""
        first = Thinned.of(shape, spacing)
        k, j, i = first.coarse_index
        second = Thinned.of((len(k), len(j), len(i)), spacing * np.array(first.factors), _SLOW_MM)
        a, b, c = (s * f for s, f in zip(second.coarse_index, first.factors, strict=True))
        every = tuple(np.arange(n, dtype=np.float64) for n in shape)
        where = at((every[0], every[1], every[2]))
        coarse = where if first.same else at((k, j, i))
        return cls(where, coarse, coarse if second.same else at((a, b, c)), first, second)

    def raised(self, field: Tensor) -> Tensor:
        """From the slow grid to the coarse one."""
        return self.to_slow.full(field)

    def blocks(self, voxels: int = 150_000) -> Iterator[tuple[slice, slice, Thinned]]:
        """Slices of the grid and of the coarse one that make up blocks along z, and how they belong together.

        Blocks that stay in a processor's cache are drawn several times as fast; elsewhere there is but one.
        """
        t = self.to_coarse
        n, f = t.shape[0], t.factors[0]
        rows = n
        if self.where.x.device.type == "cpu":
            rows = min(n, max(1, voxels // (t.shape[1] * t.shape[2] * f)) * f)
        for first in range(0, n, rows):
            count = min(rows, n - first)
            part = Thinned((count, t.shape[1], t.shape[2]), t.factors)
            start = first // f
            yield slice(first, first + count), slice(start, start + len(part.coarse_index[0])), part


def _finer(field: Tensor, axis: int, factor: int, count: int) -> Tensor:
    """Linear interpolation along one axis."""
    n = field.shape[axis]
    if factor == 1:
        return field if n == count else field.narrow(axis, 0, count)
    if factor != 2:
        at = np.arange(count) / factor
        return interpolated(field, axis, at)
    size = list(field.shape)
    size[axis] = 2 * n - 1
    out = field.new_empty(size)
    even = [slice(None)] * 3
    odd = list(even)
    even[axis], odd[axis] = slice(0, None, 2), slice(1, None, 2)
    out[tuple(even)] = field
    low, high = field.narrow(axis, 0, n - 1), field.narrow(axis, 1, n - 1)
    torch.lerp(low, high, 0.5, out=out[tuple(odd)])
    return out if out.shape[axis] == count else out.narrow(axis, 0, count)


def interpolated(field: Tensor, axis: int, at: F64) -> Tensor:
    """Linear interpolation of a field along an axis at fractional indices `at`, going straight on beyond."""
    weights = _weights(tuple(float(v) for v in at), field.shape[axis]).to(field.device)
    moved = torch.tensordot(weights, field, dims=([1], [axis]))
    return torch.movedim(moved, 0, axis)


def curved(field: Tensor, axis: int, at: F64) -> Tensor:
    """As `interpolated`, but cubic."""
    weights = _curved_weights(tuple(float(v) for v in at), field.shape[axis]).to(field.device)
    moved = torch.tensordot(weights, field, dims=([1], [axis]))
    return torch.movedim(moved, 0, axis)


@functools.lru_cache(maxsize=64)
def _curved_weights(at: tuple[float, ...], count: int) -> Tensor:
    """Matrix (len(at), count) of the polynomials through the four points round each place."""
    place, nodes = np.array(at), min(4, count)
    first = np.clip(np.floor(place).astype(int) - (nodes - 1) // 2, 0, count - nodes)
    matrix = np.zeros((len(place), count))
    rows = np.arange(len(place))
    for node in range(nodes):
        others = [k for k in range(nodes) if k != node]
        share = [(place - first - k) / (node - k) for k in others]
        matrix[rows, first + node] = np.prod(share, axis=0) if share else 1.0
    return torch.from_numpy(matrix.astype(np.float32))


@functools.lru_cache(maxsize=32)
def _weights(at: tuple[float, ...], count: int) -> Tensor:
    """Matrix (len(at), count) of linear interpolation."""
    place = np.array(at)
    first = np.clip(np.floor(place), 0, max(count - 2, 0)).astype(int)
    share = place - first
    matrix = np.zeros((len(place), count), np.float32)
    rows = np.arange(len(place))
    matrix[rows, first] = 1 - share
    if count > 1:
        matrix[rows, first + 1] = share
    return torch.from_numpy(matrix)
