"""Trunks of a real arterial tree: guided shortest ways through the lumen, cut where they part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from lvo.anatomy import Side
from lvo.phantom.real.guide import Guide
from lvo.phantom.real.lumen import Lumen, walk
from lvo.phantom.real.sources import AnatomyUnusable
from lvo.phantom.vessels.variants import BOTH

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Key = tuple[str, Side]
_NEAR_MM, _CORRIDOR_MM = 7.0, 4.0
"""A voxel so near a guide's branch may be its end; ways are dearer the further off the guide they are."""
_AMISS_MM = 6.0
"""A way whose mean distance from its guide is larger is another vessel."""
_LEAST_VOXELS, _SEEN = 6, 0.7
_TERMINUS_MM, _MIDLINE_MM = 4.0, 3.0
CAROTID = ("ICA-C", "ICA-I", "ICA-T")
PARENT: dict[str, str] = {
    "ICA-I": "ICA-C", "ICA-T": "ICA-I", "M1": "ICA-T", "M2s": "M1", "M2i": "M1", "A1": "ICA-T", "A2": "A1",
    "V4": "VA", "P1": "BA", "P2": "P1",
}  # fmt: skip
"""What each trunk goes on from."""


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """A lumen in the head frame beside its guide.

    Attributes
    ----------
    points, radius : of its voxels, (n, 3) and (n,), head-frame mm.
    """

    lumen: Lumen
    guide: Guide
    points: Array
    radius: Array

    @classmethod
    def of(cls, lumen: Lumen, guide: Guide) -> Space:
        """Bring a lumen to the head frame."""
        turn = guide.matrix[:3, :3]
        scale = float(np.cbrt(np.linalg.det(turn)))
        return cls(lumen, guide, lumen.points @ turn.T + guide.matrix[:3, 3], lumen.radius * scale)

    def along(self, line: Array) -> tuple[Array, Index]:
        """Distance of every voxel from a line's points (m, 3), and number of the nearest one."""
        gap, near = cKDTree(line).query(self.points)
        return gap, near

    def end(self, line: Array, *, last: bool, start: int | None = None, least: int = 0) -> int:
        """The voxel nearest to the first or last that is seen of a line, -1 where nothing is.

        Parameters
        ----------
        start : a voxel to which it shall be connected.
        least : point of the line beyond which it shall lie.
        """
        gap, near = self.along(line)
        whole = self.lumen.piece == self.lumen.piece[start] if start is not None else True
        close = np.flatnonzero((gap < _NEAR_MM) & (self.lumen.medial > 0.6) & (near > least) & whole)
        if not len(close):
            return -1
        rank = near[close] if last else -near[close]
        best = close[rank >= rank.max() - 2]
        return int(best[np.argmin(gap[best])])

    def ways(self, start: int, ends: Sequence[int], lines: Sequence[Array]) -> list[Index]:
        """Ways from one voxel to others that keep to the lines; they part once and do not meet again."""
        gap, _ = self.along(np.concatenate(lines))
        graph = self.lumen.weighted(1 + (gap / _CORRIDOR_MM) ** 2)
        cost, before = dijkstra(graph, directed=False, indices=start, return_predecessors=True)
        none = np.zeros(0, np.int64)
        found = [walk(before, e) if e >= 0 and np.isfinite(cost[e]) else none for e in ends]
        return [
            w if len(w) > 1 and cKDTree(line).query(self.points[w])[0].mean() < _AMISS_MM else none
            for w, line in zip(found, lines, strict=True)
        ]

    def cut(self, way: Index, place: Array) -> int:
        """Index into a way where it passes a place (3,) most closely."""
        return int(np.argmin(np.linalg.norm(self.points[way] - place, axis=1)))


def find_trunks(space: Space) -> dict[Key, Index]:
    """Voxels of every trunk that the angiogram shows, by name and side, in the direction of flow.

    Raises
    ------
    AnatomyUnusable
        A carotid's end, an M1 or the basilar artery is not to be seen.
    """
    trunks: dict[Key, Index] = {}
    for side in BOTH:
        trunks |= _carotid(space, side)
    _part_anterior(space, trunks)
    return trunks | _basilar(space)


def _carotid(space: Space, side: Side) -> dict[Key, Index]:
    """One carotid with its middle and anterior cerebral arteries."""
    g = space.guide
    start = space.end(g.line(CAROTID, side), last=False)
    names = (("M1", "M2s"), ("M1", "M2i"), ("A1", "A2"))
    lines = [g.line((*CAROTID, *n), side) for n in names]
    least = [int(_SEEN * len(g.at(n[0], side).points)) for n in names]
    ends = [-1] if start < 0 else [
        space.end(g.line(n, side), last=True, start=start, least=k) for n, k in zip(names, least, strict=True)
    ]  # fmt: skip
    if max(ends[:2]) < 0:
        raise AnatomyUnusable(f"the angiogram shows no {side} carotid with its middle cerebral artery")
    upper, lower, front = space.ways(start, ends, lines)
    stem = upper if len(upper) else lower
    if not len(stem):
        raise AnatomyUnusable(f"the angiogram shows no way from the {side} carotid to M2")
    fork = shared(upper, lower) if len(upper) and len(lower) else space.cut(stem, g.at("M1", side).points[-1])
    top = shared(stem, front) if len(front) else space.cut(stem, g.at("ICA-T", side).points[-1])
    if fork <= top + _LEAST_VOXELS:
        fork = min(max(space.cut(stem, g.at("M1", side).points[-1]), top + _LEAST_VOXELS), len(stem) - 2)
    found = _up_carotid(space, stem[: top + 1], side)
    found["M1", side] = stem[top : fork + 1]
    for name, way in (("M2s", upper), ("M2i", lower)):
        if len(way) > fork + _LEAST_VOXELS:
            found[name, side] = way[fork:]
    if len(front) > top + 2 * _LEAST_VOXELS:
        found["A1", side] = front[top:]
    return found


def _up_carotid(space: Space, way: Index, side: Side) -> dict[Key, Index]:
    """The carotid cut where it enters the skull and below its end."""
    g = space.guide
    arc = np.linalg.norm(np.diff(space.points[way], axis=0), axis=1)[::-1].cumsum()[::-1]
    last = max(1, int(np.count_nonzero(arc > max(_TERMINUS_MM, g.at("ICA-T", side).length))))
    entry = space.cut(way, g.at("ICA-I", side).points[0])
    below = g.at("ICA-I", side).points[0, 2] < space.points[way[0], 2] - 3.0
    if below or entry < _LEAST_VOXELS or entry >= last:
        return {("ICA-I", side): way[: last + 1], ("ICA-T", side): way[last:]}
    return {
        ("ICA-C", side): way[: entry + 1],
        ("ICA-I", side): way[entry : last + 1],
        ("ICA-T", side): way[last:],
    }


def _part_anterior(space: Space, trunks: dict[Key, Index]) -> None:
    """Cut the anterior cerebral arteries where the two sides come nearest, at the communicating artery."""
    left, right = (trunks.get(("A1", side)) for side in BOTH)
    for side in BOTH:
        way = trunks.get(("A1", side))
        if way is None:
            continue
        at = space.cut(way, space.guide.at("A1", side).points[-1])
        if left is not None and right is not None:
            other = right if side is Side.LEFT else left
            gap, _ = cKDTree(space.points[other]).query(space.points[way])
            beside = np.linalg.norm(space.points[way] - space.points[way[at]], axis=1) < 9.0
            at = int(np.argmin(np.where(beside, np.round(gap), np.inf)))
        at = min(max(at, 3), len(way) - 4)
        trunks["A1", side], trunks["A2", side] = way[: at + 1], way[at:]


def _basilar(space: Space) -> dict[Key, Index]:
    """The basilar artery, what it comes from and what it divides into."""
    g = space.guide
    line = g.at("BA", Side.LEFT).points
    starts = [space.end(g.line(("VA", "V4"), side), last=False) for side in BOTH]
    both = [g.at("V4", side).points for side in BOTH]
    both = [p[np.linspace(0, len(p) - 1, 60).astype(int)] for p in both]
    # A slab may end before the vertebral arteries part: then what shows of them lies in the midline.
    middle = np.concatenate([0.5 * (both[0] + both[1]), line])
    low = space.end(middle, last=False)
    if low < 0:
        raise AnatomyUnusable("the angiogram shows no basilar artery")
    lines = [np.concatenate([middle, g.line(("P1", "P2"), side)]) for side in BOTH]
    ends = [
        space.end(
            g.line(("P1", "P2"), side), last=True, start=low, least=int(_SEEN * len(g.at("P1", side).points))
        )
        for side in BOTH
    ]
    left, right = space.ways(low, ends, lines)
    stem = left if len(left) else right
    if not len(stem):
        raise AnatomyUnusable("the angiogram shows no way from the basilar to a posterior cerebral artery")
    tip = shared(left, right) if len(left) and len(right) else space.cut(stem, line[-1])
    if tip < 2:
        raise AnatomyUnusable("the angiogram shows too little of the basilar artery")
    found: dict[Key, Index] = {}
    for side, way in zip(BOTH, (left, right), strict=True):
        if len(way) > tip + 2 * _LEAST_VOXELS:
            at = min(max(space.cut(way, g.at("P1", side).points[-1]), tip + 4), len(way) - 4)
            found["P1", side], found["P2", side] = way[tip : at + 1], way[at:]
    lines = [np.concatenate([g.line(("VA", "V4"), side), line]) for side in BOTH]
    down = space.ways(int(stem[tip]), starts, lines)
    return found | _vertebral(space, stem[: tip + 1], down)


def _vertebral(space: Space, basilar: Index, down: list[Index]) -> dict[Key, Index]:
    """The basilar artery from where the vertebral ones unite, and these, cut where they pierce the dura."""
    found: dict[Key, Index] = {}
    # What ends in the midline is still basilar artery: the slab begins above where the vertebrals unite.
    down = [w if len(w) and abs(space.points[w[-1], 0]) > _MIDLINE_MM else w[:0] for w in down]
    both = [w for w in down if len(w)]
    if not both:
        return {("BA", Side.MIDLINE): basilar}
    if len(both) == 2:
        unite = shared(*both)
    else:  # a vertebral artery leaves the midline
        unite = space.cut(both[0], space.guide.at("BA", Side.LEFT).points[0])
        amid = np.flatnonzero(np.abs(space.points[both[0], 0]) < _MIDLINE_MM)
        unite = max(unite, int(amid[-1]) if len(amid) else 0)
    unite = max(unite, 2)
    found["BA", Side.MIDLINE] = both[0][: unite + 1][::-1]
    for side, way in zip(BOTH, down, strict=True):
        if len(way) > unite + _LEAST_VOXELS:
            up = way[unite:][::-1]
            dura = space.guide.at("V4", side).points[0]
            at = space.cut(up, dura)
            if _LEAST_VOXELS < at < len(up) - _LEAST_VOXELS:
                found["VA", side], found["V4", side] = up[: at + 1], up[at:]
            else:
                found["V4", side] = up
    return found


def shared(one: Index, other: Index) -> int:
    """Index of the last voxel that two ways from one start have in common."""
    n = min(len(one), len(other))
    apart = np.flatnonzero(one[:n] != other[:n])
    return int(apart[0]) - 1 if len(apart) else n - 1
