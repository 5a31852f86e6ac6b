"""Occlusions and what they do downstream: which lumen is clot, and how much contrast reaches the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Segment, Side
from lvo.phantom.tree import Branch, Tree

CLOT_SHAPE, CLOT_SCALE_MM = 1.70, 10.9
"""Gamma distribution of clot length; reproduces mean 18.5, median 16.1, IQR 7.6-25.2 mm."""
COLLATERAL_FILL = ((0.0, 0.08), (0.08, 0.4), (0.4, 0.75), (0.75, 1.0))
"""Share of arterial contrast beyond the clot, by collateral grade 0 (none) to 3 (good)."""


@dataclass(frozen=True, slots=True)
class Occlusion:
    """A clot and where it sits.

    Attributes
    ----------
    start_mm, length_mm : along the branch and downstream of it, head-frame mm.
    fill : share of arterial contrast that reaches the lumen beyond it.
    points : (n, 3) centreline of the clot, head-frame mm.
    """

    segment: Segment
    side: Side
    branch: int
    start_mm: float
    length_mm: float
    collateral: int
    fill: float
    points: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Flow:
    """State of every artery point of a patient.

    Attributes
    ----------
    fill : per branch, (n,) share of arterial contrast, 0 to 1.
    clot : per branch, (n,) True where the lumen is clot.
    """

    fill: tuple[npt.NDArray[np.float64], ...]
    clot: tuple[npt.NDArray[np.bool_], ...]
    occlusions: tuple[Occlusion, ...] = ()


def patent(tree: Tree) -> Flow:
    """Contrast everywhere."""
    return Flow(
        tuple(np.ones(len(b.points)) for b in tree.branches),
        tuple(np.zeros(len(b.points), dtype=bool) for b in tree.branches),
    )


def occlude(
    tree: Tree,
    flow: Flow,
    segment: Segment,
    side: Side,
    rng: np.random.Generator,
    *,
    collateral: int | None = None,
    length_mm: float | None = None,
) -> Flow:
    """Add one occlusion; the lumen beyond it fills by collaterals or another feeder of the circle of Willis.

    Raises
    ------
    ValueError
        If this patient has no such segment.
    """
    options = [i for i, b in enumerate(tree.branches) if b.segment is segment and b.side is side]
    if not options:
        raise ValueError(f"this patient has no {side} {segment}")
    weight = np.array([tree.branches[i].radius.mean() ** 2 for i in options])
    at = int(rng.choice(options, p=weight / weight.sum()))
    branch = tree.branches[at]
    grade = int(rng.integers(4)) if collateral is None else collateral
    fill = float(rng.uniform(*COLLATERAL_FILL[grade]))
    length = (
        float(np.clip(rng.gamma(CLOT_SHAPE, CLOT_SCALE_MM), 3.0, 60.0)) if length_mm is None else length_mm
    )
    start = float(rng.uniform(0.0, 0.7)) * branch.length
    if segment is Segment.ICA_CERVICAL:
        start, length = float(rng.uniform(0, 8)), length + float(rng.uniform(20, 60))
    beyond = _distance_beyond(tree, at, start, rng)
    fills, clots = [f.copy() for f in flow.fill], [c.copy() for c in flow.clot]
    rise = float(rng.uniform(5, 40)) if rng.random() < 0.5 else 1e-3
    pieces = []
    for i, (distance, on_path) in beyond.items():
        inside = (distance >= 0) & (distance < length) & on_path
        after = (distance >= 0) & ~inside
        # Leptomeningeal collaterals fill backwards: the lumen next to the clot fills last.
        reach = np.clip(0.35 + 0.65 * np.clip(distance - length, 0, None) / rise, 0, 1)
        supply = _other_feeder(tree, flow, at, i, rng)
        value = np.maximum(fill * reach, supply)
        fills[i] = np.where(after, np.minimum(fills[i], value), fills[i])
        fills[i][inside] = 0.0
        clots[i] |= inside
        pieces.append(tree.branches[i].points[inside])
    clot = Occlusion(segment, side, at, start, length, grade, fill, np.concatenate(pieces))
    return Flow(tuple(fills), tuple(clots), (*flow.occlusions, clot))


def _distance_beyond(
    tree: Tree, at: int, start: float, rng: np.random.Generator
) -> dict[int, tuple[npt.NDArray[np.float64], bool]]:
    """Distance (mm) of every downstream point from the clot's beginning, and whether clot may run into it."""
    found = {at: (_arc(tree.branches[at]) - start, True)}
    order = list(range(len(tree.branches)))
    for i in order:
        b = tree.branches[i]
        if b.name == "AComA" or b.name == "PComA":
            continue
        feeders = [(b.parent, b.parent_point)] if b.parent >= 0 else []
        if b.name == "BA":  # both vertebral arteries open into it
            feeders = [
                (j, len(v.points) - 1) for j, v in enumerate(tree.branches) if v.joins == i and j in found
            ]
        for parent, point in feeders:
            if parent in found and i not in found and found[parent][0][point] >= 0:
                along = found[parent][0][point] + _arc(b)
                continues = point >= len(tree.branches[parent].points) - 2
                found[i] = (
                    along,
                    found[parent][1] and continues and bool(rng.random() < 0.75 or b.name in _MAIN),
                )
    return found


_MAIN = frozenset({"ICA-I", "ICA-T", "M1", "M2i", "A2", "P2", "BA", "M3s", "M3i", "M3a"})
"""Branches into which a clot that fills their parent's end always runs on."""


def _other_feeder(tree: Tree, flow: Flow, occluded: int, target: int, rng: np.random.Generator) -> float:
    """Contrast that reaches a branch by the circle of Willis although its parent is blocked."""
    clot, b = tree.branches[occluded], tree.branches[target]
    opposite = b.side.mirrored
    carotid = clot.segment in (Segment.ICA_CERVICAL, Segment.ICA_INTRACRANIAL)
    if b.name in ("A2", "pericallosal", "callosomarginal", "frontopolar") and clot.segment is not Segment.A2:
        across = tree.find("A1", opposite)
        joined = tree.find("AComA", Side.LEFT) >= 0 and across >= 0
        return (
            0.9
            if joined and tree.branches[across].radius.mean() > 0.6 and flow.fill[across].min() > 0.5
            else 0.0
        )
    if clot.segment is Segment.V4 and b.segment is not Segment.V4:
        across = tree.find("V4", clot.side.mirrored)
        return (
            1.0
            if across >= 0 and tree.branches[across].radius.mean() > 0.8 and flow.fill[across].min() > 0.5
            else 0.0
        )
    if clot.segment in (Segment.BASILAR, Segment.P1, Segment.V4) and b.name in ("P2", "P3", "P3t", "P1"):
        comm = tree.find("PComA", b.side)
        return 0.85 if comm >= 0 and tree.branches[comm].radius.mean() > 0.65 else 0.0
    if carotid and target != occluded and b.segment is not Segment.ICA_INTRACRANIAL:
        # One draw per patient and clot: the circle either reaches the terminus or it does not.
        return 0.85 if _circle_open(tree, clot.side) else 0.0
    return 0.0


def _circle_open(tree: Tree, side: Side) -> bool:
    here, across = tree.find("A1", side), tree.find("A1", side.mirrored)
    comm = tree.find("PComA", side)
    by_front = (
        min(here, across, tree.find("AComA", Side.LEFT)) >= 0
        and min(tree.branches[here].radius.mean(), tree.branches[across].radius.mean()) > 0.75
    )
    return by_front or (comm >= 0 and tree.branches[comm].radius.mean() > 0.9)


def _arc(b: Branch) -> npt.NDArray[np.float64]:
    steps = np.linalg.norm(np.diff(b.points, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])
