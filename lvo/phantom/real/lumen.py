"""The lumen of an angiogram without background: a mask on an even grid, and the graph of its voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from lvo.phantom.real.sources import AnatomyUnusable
from lvo.study import Volume

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
STEPS_MM = (0.5, 0.8)
"""Finest and coarsest step of the grid on which the lumen is traced."""
_WEAK, _STRONG = 0.12, 0.35
"""Of the lumen's usual brightness: what is brighter than the first counts if it hangs on the second."""
_LEAST_MM3 = 8.0
_BRIDGE_MM, _BRIDGE_COST = 7.0, 5.0
"""Pieces no further apart are joined; such a way costs so many times its length."""
_PARTIAL = 0.3
"""By how many steps the distance to the background is longer than the radius."""


@dataclass(frozen=True, slots=True, eq=False)
class Lumen:
    """Voxels of the arteries.

    Attributes
    ----------
    points : (n, 3) LPS mm.
    radius : (n,) mm to the wall.
    medial : (n,) 0 at the wall to 1 in the middle of a vessel.
    graph : (n, n) sparse, mm between neighbours, dearer off the middle; symmetric.
    piece : (n,) number of the connected piece that a voxel belongs to.
    """

    points: Array
    radius: Array
    medial: Array
    graph: sparse.csr_array
    piece: Index

    def centres(self) -> Array:
        """Points in the middle of vessels, (k, 3) LPS mm."""
        return self.points[self.medial > 0.93]

    def weighted(self, factor: Array) -> sparse.csr_array:
        """The graph with every edge multiplied by the mean factor of its ends, (n,)."""
        coo = self.graph.tocoo()
        weight = coo.data * 0.5 * (factor[coo.row] + factor[coo.col])
        return sparse.csr_array((weight, (coo.row, coo.col)), shape=coo.shape)


def find_lumen(volume: Volume) -> Lumen:
    """The arteries of an angiogram whose background is about zero.

    Raises
    ------
    AnatomyUnusable
        There is nothing bright, or most of it is bright.
    """
    step = float(np.clip(min(volume.spacing), *STEPS_MM))
    bright, affine = _even(volume, step)
    positive = bright[bright > 0]
    if not len(positive) or len(positive) > 0.25 * bright.size:
        raise AnatomyUnusable("the angiogram's background is not zero, or it holds no arteries")
    usual = float(np.percentile(positive, 90))
    weak = bright > _WEAK * usual
    labels, count = ndimage.label(weak, np.ones((3, 3, 3)))
    numbers = np.arange(1, count + 1)
    peak = ndimage.maximum(bright, labels, numbers)
    size = ndimage.sum_labels(weak, labels, numbers) * step**3
    keep = np.concatenate([[False], (peak > _STRONG * usual) & (size >= _LEAST_MM3)])
    mask = keep[labels]
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), step)[1:-1, 1:-1, 1:-1]
    deepest = ndimage.maximum_filter(depth, size=5)
    index = np.argwhere(mask)
    at = tuple(index.T)
    medial = depth[at] / deepest[at]
    points = index @ affine[:3, :3].T + affine[:3, 3]
    graph = _graph(mask, index, 1 + 6 * (1 - medial) ** 2, step)
    graph = _bridged(graph, points)
    _, piece = connected_components(graph, directed=False)
    return Lumen(points, np.maximum(depth[at] - _PARTIAL * step, 0.3), medial, graph, piece.astype(np.int64))


def walk(before: npt.NDArray[np.int32], end: int) -> Index:
    """The way that predecessors say, from its source to `end`."""
    way = [end]
    while before[way[-1]] >= 0:
        way.append(int(before[way[-1]]))
    return np.array(way[::-1], np.int64)


def _even(volume: Volume, step: float) -> tuple[npt.NDArray[np.float32], Array]:
    """Brightness on an even grid along the volume's axes, cropped, and its affine (k, j, i to LPS)."""
    array = volume.array.astype(np.float32)
    occupied = np.argwhere(array > 0)
    if not len(occupied):
        raise AnatomyUnusable("the angiogram is empty")
    low = np.maximum(occupied.min(0) - 1, 0)
    high = np.minimum(occupied.max(0) + 2, array.shape)
    array = array[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    zoom = np.array(volume.spacing) / step
    shape = np.maximum(2, np.ceil((np.array(array.shape) - 1) * zoom).astype(int) + 1)
    even = ndimage.affine_transform(array, 1 / zoom, output_shape=tuple(shape.tolist()), order=1)
    affine = volume.affine.copy()
    affine[:3, 3] = volume.affine[:3, :3] @ low + volume.affine[:3, 3]
    affine[:3, :3] = volume.affine[:3, :3] / zoom
    return even, affine


def _graph(mask: npt.NDArray[np.bool_], index: Index, dear: Array, step_mm: float) -> sparse.csr_array:
    """Neighbours of every voxel among 26, with the length of the way between them times its dearness."""
    number = np.full(np.array(mask.shape) + 2, -1, np.int64)
    inner = index + 1
    number[tuple(inner.T)] = np.arange(len(index))
    rows, columns, data = [], [], []
    for step in product((-1, 0, 1), repeat=3):
        if step <= (0, 0, 0):
            continue
        other = number[tuple((inner + np.array(step)).T)]
        own = np.flatnonzero(other >= 0)
        rows.append(own)
        columns.append(other[own])
        length = step_mm * float(np.linalg.norm(step))
        data.append(length * 0.5 * (dear[own] + dear[other[own]]))
    return _symmetric(rows, columns, data, len(index))


def _bridged(graph: sparse.csr_array, points: Array) -> sparse.csr_array:
    """The graph with the shortest way between each piece and the larger ones near it."""
    count, piece = connected_components(graph, directed=False)
    order = np.argsort(-np.bincount(piece))
    rows, columns, data = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    done = np.flatnonzero(piece == order[0])
    for number in order[1:]:
        own = np.flatnonzero(piece == number)
        gap, near = cKDTree(points[done]).query(points[own])
        best = int(np.argmin(gap))
        if gap[best] <= _BRIDGE_MM:
            rows.append(own[[best]])
            columns.append(done[[near[best]]])
            data.append(gap[[best]] * _BRIDGE_COST)
        done = np.concatenate([done, own])
    if count == 1 or len(rows) == 1:
        return graph
    return sparse.csr_array(graph + _symmetric(rows, columns, data, len(points)))


def _symmetric(
    rows: Sequence[Index], columns: Sequence[Index], data: Sequence[Array], n: int
) -> sparse.csr_array:
    one, other, value = (np.concatenate(parts) for parts in (rows, columns, data))
    return sparse.csr_array(
        (np.tile(value, 2), (np.concatenate([one, other]), np.concatenate([other, one]))), shape=(n, n)
    )
