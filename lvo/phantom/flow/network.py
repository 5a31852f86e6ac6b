"""The arterial tree as a network of resistances.

Stretches between junctions resist as Poiseuille's law says, 8 μ L / (π r⁴), integrated over the radius
profile; blood of 3.5 mPa s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from lvo.phantom.vessels.routes import MNI_SCALE
from lvo.phantom.vessels.tree import Tree

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

POISEUILLE = 8 * 3.5e-3 / np.pi * 1e9 / (133.322 * 60e6)
"""8 μ / π for lengths and radii in mm, in mmHg min / ml."""
_EXPANSION = 1.52 * 1060 / 2 * 1e12 * (1e-6 / 60) ** 2 / 133.322
"""Loss behind a stenosis, mmHg, by (A / a - 1)² Q² / A² with areas in mm² and flow in ml/min: Young and Tsai,
J Biomech 1973;6:395."""
_EXPANSION_MMHG = 40.0
"""Loss for which that of a stenosis, which rises with the square of flow, is made linear."""
_LEAST_RADIUS_MM, _LEAST_RESISTANCE = 0.15, 1e-5
_NEAR_END = 3
"""A branch that leaves within so many points of an end is its continuation, and the rest a stump."""


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Junctions (nodes) and the stretches between them (edges); anatomical mm.

    All branches' points are numbered through ("flat"), branch after branch.

    Attributes
    ----------
    offsets : (branches + 1,) flat number of every branch's first point.
    step, area : (n,) mm to the next point (0 at a branch's end), mm² of open lumen on the way there.
    node : (n,) junction at a point, -1 where there is none.
    tail, head, first, last : (edges,) junctions and flat points at both ends, in the order of the points.
    resistance : (edges,) mmHg min / ml; infinite where the lumen is shut.
    ends : (leaves,) branches that feed tissue at their far end.
    nodes : number of junctions, the last of which is outside the tree: any artery of the neck.
    """

    offsets: Index
    step: Array
    area: Array
    node: Index
    tail: Index
    head: Index
    first: Index
    last: Index
    resistance: Array
    ends: Index
    nodes: int

    @property
    def edge_of(self) -> Index:
        """Edge that leads from each flat point to the next, (n,); -1 at the end of a branch."""
        edge = np.full(len(self.step), -1)
        inner = np.ones(len(self.step), dtype=bool)
        inner[self.offsets[1:] - 1] = False
        edge[inner] = np.repeat(np.arange(len(self.first)), self.last - self.first)
        return edge

    @property
    def end_nodes(self) -> Index:
        """Junction at the far end of each of `ends`."""
        return self.node[self.offsets[self.ends + 1] - 1]


@dataclass(frozen=True, slots=True, eq=False)
class Bypass:
    """Vessels too small to be drawn: (k,) junctions at both ends, ml/min/mmHg, and volume in ml."""

    tail: Index
    head: Index
    conductance: Array
    volume: Array

    @classmethod
    def none(cls) -> Bypass:
        """No vessels."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A tree's points, numbered through, and what is connected where; anatomical mm.

    Attributes
    ----------
    offsets, step, ends : as in `Network`.
    radius : (n,) between each flat point and the next.
    expansion : (n,) mmHg by the square of ml/min that are lost where the lumen widens again.
    mouths, tips : (links,) flat points that are one junction: on the mother vessel, and at a branch's end.
    """

    offsets: Index
    step: Array
    radius: Array
    expansion: Array
    mouths: Index
    tips: Index
    ends: Index


def lay_out(tree: Tree) -> Layout:
    """Number a tree's points through and find its junctions."""
    offsets = np.concatenate([[0], np.cumsum([len(b.points) for b in tree.branches])])
    points = np.concatenate([b.points for b in tree.branches])
    step = np.zeros(len(points))
    step[:-1] = np.sqrt((np.diff(points, axis=0) ** 2).sum(axis=1)) / MNI_SCALE
    step[offsets[1:] - 1] = 0.0
    middle = np.maximum(_calibre(tree), _LEAST_RADIUS_MM)
    ranks = np.array([(b.parent, b.parent_point, b.joins, b.join_point) for b in tree.branches])
    child, into = np.flatnonzero(ranks[:, 0] >= 0), np.flatnonzero(ranks[:, 2] >= 0)
    mouths = np.concatenate(
        [offsets[ranks[child, 0]] + ranks[child, 1], offsets[ranks[into, 2]] + ranks[into, 3]]
    )
    tips = np.concatenate([offsets[child], offsets[into + 1] - 1])
    mothers = np.concatenate([ranks[child, 0], ranks[into, 2]])
    onward = mothers[mouths >= offsets[mothers + 1] - 1 - _NEAR_END]
    ends = np.setdiff1d(np.arange(len(ranks)), np.concatenate([onward, into]))
    return Layout(offsets, step, middle, np.zeros(len(step)), mouths, tips, ends)


def narrowed(layout: Layout, healthy: Tree, tree: Tree) -> Layout:
    """Layout of a tree with the branches and points of a healthy one, whose layout is given, and other radii.

    Only the drawn change counts: a twig that is too thin to be solved for is no stenosis.
    """
    ratio = _calibre(tree) / _calibre(healthy)
    area = np.pi * layout.radius**2
    loss = _EXPANSION * np.maximum(ratio**-2 - 1, 0.0) ** 2 / area**2
    fall = np.maximum(loss - np.append(loss[1:], 0.0), 0.0)
    fall[layout.offsets[1:] - 1] = 0.0
    return replace(layout, radius=layout.radius * ratio, expansion=fall)


def with_expansion(network: Network, layout: Layout, flow: Array) -> Network:
    """The network with the losses behind stenoses, made linear.

    Parameters
    ----------
    flow : (edges,) ml/min in health, which a stenosis does not exceed.
    """
    by_square, resist = np.add.reduceat(layout.expansion, network.first), network.resistance
    if not by_square.any():
        return network
    most = 2 * _EXPANSION_MMHG / (resist + np.sqrt(resist**2 + 4 * by_square * _EXPANSION_MMHG))
    return replace(network, resistance=resist + by_square * np.minimum(np.abs(flow), most))


def _calibre(tree: Tree) -> Array:
    """Radius between each flat point and the next, (n,), anatomical mm."""
    radius = np.concatenate([b.radius for b in tree.branches]) / MNI_SCALE
    middle: Array = (radius + np.append(radius[1:], radius[-1])) / 2
    return middle


def build(layout: Layout, lumen: Array | None = None) -> Network:
    """Make the network of a tree.

    Parameters
    ----------
    lumen : (n,) share of the cross-section that is open at every flat point: 1 free, 0 shut. The network is
        cut exactly there: stretches are open up to the last free point.
    """
    free = np.ones(len(layout.step)) if lumen is None else lumen
    node, nodes = _number(layout, free)
    cuts = np.flatnonzero(node >= 0)
    is_end = np.zeros(len(free), dtype=bool)
    is_end[layout.offsets[1:] - 1] = True
    inner = ~is_end[cuts[:-1]]
    first, last = cuts[:-1][inner], cuts[1:][inner]
    area, resistance = _calibrate(layout, first, np.minimum(free, np.append(free[1:], 1.0)))
    ends = (node[first], node[last], first, last)
    return Network(layout.offsets, layout.step, area, node, *ends, resistance, layout.ends, nodes)


def rebuild(network: Network, layout: Layout) -> Network:
    """The network of the same tree without clots, as wide as `layout` says."""
    area, resistance = _calibrate(layout, network.first, np.ones(len(layout.step)))
    return replace(network, area=area, resistance=resistance)


def _calibrate(layout: Layout, first: Index, narrow: Array) -> tuple[Array, Array]:
    """Open area at every flat point, and resistance of the edges that start at `first`."""
    area = np.pi * layout.radius**2 * narrow
    with np.errstate(divide="ignore", invalid="ignore"):
        resist = np.where(layout.step > 0, np.pi**2 * POISEUILLE * layout.step / area**2, 0.0)
    # Summed edge by edge: a running sum over the tree could not hold an infinite piece.
    return area, np.maximum(np.add.reduceat(resist, first), _LEAST_RESISTANCE)


def _number(layout: Layout, free: Array) -> tuple[Index, int]:
    """Junction of every flat point, and how many there are. A mouth that is covered by clot is shut."""
    cut = np.zeros(len(free), dtype=bool)
    cut[layout.offsets[:-1]] = cut[layout.offsets[1:] - 1] = cut[layout.mouths] = True
    change = np.diff((free <= 0).astype(np.int8))
    cut[:-1] |= change == 1
    cut[1:] |= change == -1
    number = np.cumsum(cut) - 1
    linked = free[layout.mouths] > 0
    rows, columns = number[layout.mouths[linked]], number[layout.tips[linked]]
    count = int(number[-1]) + 1
    graph = sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    found, label = connected_components(graph, directed=False)
    return np.where(cut, label[number], -1).astype(np.int64), int(found) + 1
