"""A real arterial tree: its trunks, and every side branch that the lumen shows, named by the guide."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from lvo.anatomy import Side
from lvo.phantom.real.guide import Guide
from lvo.phantom.real.lumen import Lumen, walk
from lvo.phantom.real.trunks import PARENT, Index, Key, Space, find_trunks
from lvo.phantom.vessels.tree import STEP_MM, Branch
from lvo.phantom.vessels.variants import BOTH

Array = npt.NDArray[np.float64]
_ORDER = (
    "VA", "V4", "BA", "ICA-C", "ICA-I", "ICA-T", "M1", "M2s", "M2i", "A1", "A2", "P1", "P2",
)  # fmt: skip
STRUCTURE: dict[str, str] = {"M2s": "M2", "M2i": "M2"}
_OFFSPRING: dict[str, tuple[str, ...]] = {
    "M1": ("M2", "M3", "M4"), "M2": ("M2", "M3", "M4"), "M3": ("M3", "M4"), "M4": ("M4",),
    "A1": ("A3",), "A2": ("A3",), "A3": ("A3",),
    "P1": ("SCA", "P3"), "P2": ("P3",), "P3": ("P3",),
    "BA": ("SCA", "AICA"), "V4": ("PICA", "AICA"), "SCA": ("SCA",), "AICA": ("AICA",), "PICA": ("PICA",),
    "ICA-I": ("ophthalmic", "anterior choroidal", "PComA"), "ICA-T": ("anterior choroidal", "PComA"),
    "ophthalmic": ("ophthalmic",), "anterior choroidal": ("anterior choroidal",),
}  # fmt: skip
"""What may leave a structure, in the order in which it may change on its way."""
_DROPPED = frozenset({"PComA", "AComA"})
"""Ways between two arteries: the phantom's own join both."""
_LEAST_MM, _COVER_MM = 5.0, 1.6
_ASTRAY_MM = 22.0
"""A side branch further from every artery that it could be is none."""
_MOST = 160
LEAST_RADIUS_MM = {"M2": 0.75, "M3": 0.6, "A2": 0.75, "A3": 0.55, "P2": 0.7, "P3": 0.55, "SCA": 0.5}
"""Inflow fades along an artery, and what still shows is thinner than its lumen: that is this at least."""
_LATE_MM, _LARGE_MM = 12.0, 15.0
"""An M1 so much longer than the guide's is one that was not cut; a branch so long may be an M2."""
_SMOOTH_MM, _CALIBRE_MM = 0.9, 1.6


@dataclass(frozen=True, slots=True, eq=False)
class RealTree:
    """The arteries that an angiogram shows.

    Attributes
    ----------
    branches : head-frame mm, parents first.
    guide : the average tree moved to them.
    """

    branches: tuple[Branch, ...]
    guide: Guide

    def find(self, name: str, side: Side) -> int:
        """Index of a branch by name and side (or midline), -1 where there is none."""
        return next(
            (n for n, b in enumerate(self.branches) if b.name == name and b.side in (side, Side.MIDLINE)), -1
        )


def real_tree(lumen: Lumen, guide: Guide) -> RealTree:
    """Trunks and side branches of a lumen.

    Raises
    ------
    AnatomyUnusable
        A trunk without which there is no patient is not to be seen.
    """
    space = Space.of(lumen, guide)
    trunks = find_trunks(space)
    branches = _grown(space, trunks)
    if any([_divide_earlier(space, trunks, branches, side) for side in BOTH]):
        branches = _grown(space, trunks)
    return RealTree(_joined_vertebrals(branches), guide)


def _divide_earlier(space: Space, trunks: dict[Key, Index], branches: list[Branch], side: Side) -> bool:
    """End an M1 whose two trunks looked like one at a large branch near the end of the guide's M1.

    The guide's trunks may both have led into the same real one; the other is then a side branch.
    """
    way = trunks["M1", side]
    number = next(n for n, b in enumerate(branches) if b.name == "M1" and b.side is side)
    b = branches[number]
    usual = b.arc[int(np.argmin(np.linalg.norm(b.points - space.guide.at("M1", side).points[-1], axis=1)))]
    if b.length < usual + _LATE_MM:
        return False
    sizes = {
        c.parent_point: _reach(branches, n)
        for n, c in enumerate(branches)
        if c.parent == number and c.structure in ("M2", "M3")
    }
    large = [k for k, size in sizes.items() if size > _LARGE_MM and abs(b.arc[k] - usual) < _LATE_MM]
    place = b.points[min(large, key=lambda k: abs(float(b.arc[k] - usual)))] if large else None
    cut = space.cut(way, space.guide.at("M1", side).points[-1] if place is None else place)
    cut = min(max(cut, 6), len(way) - 6)
    onward = max(("M2s", "M2i"), key=lambda name: len(trunks.get((name, side), ())))
    rest = trunks.get((onward, side), way[-1:])
    trunks.pop(("M2s", side), None)
    trunks.pop(("M2i", side), None)
    trunks["M1", side], trunks[onward, side] = way[: cut + 1], np.concatenate([way[cut:], rest[1:]])
    return True


def _reach(branches: list[Branch], number: int) -> float:
    """Length of a branch with all that hangs on it, mm."""
    return branches[number].length + sum(
        _reach(branches, n) for n, b in enumerate(branches) if b.parent == number
    )


def _grown(space: Space, trunks: dict[Key, Index]) -> list[Branch]:
    """Trunks, parents first, then their side branches."""
    branches: list[Branch] = []
    index: dict[Key, int] = {}
    keys = sorted(trunks, key=lambda key: _ORDER.index(key[0]))
    for name, side in keys:
        parent = index.get((PARENT.get(name, ""), side), index.get((PARENT.get(name, ""), Side.MIDLINE), -1))
        points, radius = _course(space, trunks[name, side])
        if parent >= 0:
            points[0] = branches[parent].points[-1]
        end = len(branches[parent].points) - 1 if parent >= 0 else 0
        index[name, side] = len(branches)
        structure = STRUCTURE.get(name, name)
        radius = np.maximum(radius, LEAST_RADIUS_MM.get(structure, 0.0))
        branches.append(Branch(name, structure, side, points, radius, parent, end))
    ways = np.concatenate([trunks[key] for key in keys])
    owner = np.repeat(np.arange(len(keys)), [len(trunks[key]) for key in keys])
    _grow_sides(space, ways, owner, branches)
    return branches


def _joined_vertebrals(branches: list[Branch]) -> tuple[Branch, ...]:
    """The vertebral arteries open into the basilar."""
    ba = next(n for n, b in enumerate(branches) if b.name == "BA")
    out = []
    for b in branches:
        if b.name == "V4":
            points = b.points.copy()
            points[-1] = branches[ba].points[0]
            b = Branch(b.name, b.structure, b.side, points, b.radius, b.parent, b.parent_point, ba, 0)
        out.append(b)
    return tuple(out)


def _course(space: Space, way: Index) -> tuple[Array, Array]:
    """Smooth centreline of a way, a point every `STEP_MM`, and radii; head-frame mm."""
    return resampled(space.points[way], space.radius[way])


def resampled(points: Array, radius: Array) -> tuple[Array, Array]:
    """A rough line (n, 3) with radii (n,), smoothed with its ends held, a point every `STEP_MM`."""
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    fine = np.linspace(0, arc[-1], max(6, int(arc[-1] / 0.25) + 1))
    step = max(fine[1], 1e-6)
    line = np.stack([np.interp(fine, arc, points[:, k]) for k in range(3)], axis=1)
    chord = line[0] + np.linspace(0, 1, len(line))[:, None] * (line[-1] - line[0])
    line = chord + _held(line - chord, _SMOOTH_MM / step)
    wide = ndimage.gaussian_filter1d(np.interp(fine, arc, radius), _CALIBRE_MM / step, mode="nearest")
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    even = np.linspace(0, arc[-1], max(4, int(arc[-1] / STEP_MM) + 1))
    line = np.stack([np.interp(even, arc, line[:, k]) for k in range(3)], axis=1)
    return line, np.interp(even, arc, wide)


def _held(line: Array, sigma: float) -> Array:
    """A line (n, 3) that begins and ends at 0, smoothed as if it went on upside down beyond its ends."""
    n = len(line)
    odd = np.concatenate([-line[:0:-1], line, -line[-2::-1]])
    smooth: Array = ndimage.gaussian_filter1d(odd, sigma, axis=0, mode="nearest")[n - 1 : 2 * n - 1]
    return smooth


# ----------------------------------------------------------------------------- side branches


def _grow_sides(space: Space, ways: Index, owner: Index, branches: list[Branch]) -> None:
    """Add the longest way that is left to the tree until only short ones are left (Sato et al., 2000)."""
    graph = space.lumen.graph
    cost, before, _ = dijkstra(
        graph, directed=False, indices=np.unique(ways), return_predecessors=True, min_only=True
    )
    owned = np.full(len(space.points), -1)
    owned[ways] = owner
    every = cKDTree(space.points)
    free = np.isfinite(cost)
    _cover(every, space, ways, free)
    for _ in range(_MOST):
        left = np.flatnonzero(free)
        if not len(left):
            return
        tip = int(left[np.argmax(cost[left])])
        way = _back_to_tree(before, owned, tip)
        _cover(every, space, way, free)
        free[tip] = False
        points = space.points[way]
        parent = int(owned[way[0]])
        out = np.linalg.norm(points - points[0], axis=1).max()
        if parent < 0 or out < _LEAST_MM + space.radius[way[0]]:
            continue
        _append(space, way, parent, branches, owned)


def _back_to_tree(before: npt.NDArray[np.int32], owned: Index, tip: int) -> Index:
    """The way to a tip from the first voxel of the tree that lies on it."""
    way = walk(before, tip)
    inside = np.flatnonzero(owned[way] >= 0)
    return way[inside[-1] :] if len(inside) else way


def _cover(every: cKDTree, space: Space, way: Index, free: npt.NDArray[np.bool_]) -> None:
    """Voxels that belong to the vessel of a way are no more to be looked for."""
    near = every.query_ball_point(space.points[way], 1.3 * space.radius[way] + _COVER_MM)
    free[np.unique(np.concatenate([np.asarray(n, np.int64) for n in near]))] = False


def _append(space: Space, way: Index, parent: int, branches: list[Branch], owned: Index) -> None:
    """Add a side branch, in pieces where it changes its name."""
    up = branches[parent]
    side = up.side if up.side is not Side.MIDLINE else _side_of(space.points[way])
    names = _names(space, way, up.structure, side)
    if names is None:
        return
    for name, piece in names:
        up = branches[parent]
        points, radius = _course(space, way[piece])
        at = int(np.argmin(np.linalg.norm(up.points - points[0], axis=1)))
        points[0] = up.points[at]
        radius = np.maximum(radius, LEAST_RADIUS_MM.get(name, 0.0))
        number = sum(b.structure == name and b.side is side for b in branches) + 1
        owned[way[piece]] = len(branches)
        branches.append(Branch(f"real {name} {number}", name, side, points, radius, parent, at))
        parent = len(branches) - 1


def _side_of(points: Array) -> Side:
    return Side.LEFT if points[:, 0].mean() > 0 else Side.RIGHT


def _names(space: Space, way: Index, structure: str, side: Side) -> list[tuple[str, slice]] | None:
    """Structures along a side branch of `structure` with their part of the way; None if it is none."""
    options = _OFFSPRING.get(structure, ())
    lines = {
        name: np.concatenate(
            [b.points for b in space.guide.tree.branches if b.structure == name and b.side is side]
        )
        for name in options
    }
    if not lines:
        return None
    gaps = np.stack([cKDTree(line).query(space.points[way])[0] for line in lines.values()])
    if gaps.min(0).mean() > _ASTRAY_MM:
        return None
    chosen = _monotone(gaps)
    if options[chosen[-1]] in _DROPPED:
        return None
    cuts = np.concatenate([[0], np.flatnonzero(np.diff(chosen)) + 1, [len(way)]])
    return [
        (options[chosen[a]], slice(max(int(a) - (n > 0), 0), int(b)))
        for n, (a, b) in enumerate(pairwise(cuts))
    ]


def _monotone(gaps: Array) -> Index:
    """Row for every column with the least sum of gaps (rows, columns), never going back to an earlier row."""
    rows, n = gaps.shape
    total = np.minimum(gaps, 15.0)
    change, piece = 6.0, np.zeros((rows, n), np.int64)
    best = total[:, 0].copy()
    for k in range(1, n):
        came = np.arange(rows)
        value = best.copy()
        for r in range(1, rows):
            q = int(np.argmin(best[:r]))
            if best[q] + change < value[r]:
                value[r], came[r] = best[q] + change, q
        piece[:, k], best = came, value + total[:, k]
    out = np.empty(n, np.int64)
    out[-1] = int(np.argmin(best))
    for k in range(n - 1, 0, -1):
        out[k - 1] = piece[out[k], k]
    return out
