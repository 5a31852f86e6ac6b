"""Occlusions and what they do downstream: which lumen is clot, and when contrast reaches the rest.

Nothing here decides what fills: the arterial network does (:mod:`lvo.phantom.flow.network`), with its circle
of Willis and its collaterals. What is not fed through a clot keeps its patent values exactly, so that taking
an occlusion away changes nothing but what lies beyond it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from lvo.anatomy import Segment, Side
from lvo.phantom.flow.bolus import REFERENCE_DELAY_S, Curve, usual_curve
from lvo.phantom.flow.circulation import (
    Circulation,
    CirculationRanges,
    State,
    at_rest,
    flow_per_branch,
    solve_blocked,
    solve_healthy,
    solve_narrowed,
    standing,
)
from lvo.phantom.flow.clot import Clot, ClotRanges, place
from lvo.phantom.flow.collaterals import CollateralRanges, draw_bypass, draw_grades
from lvo.phantom.flow.network import lay_out, narrowed
from lvo.phantom.flow.transit import Mask, passed
from lvo.phantom.vessels.tree import Tree

Array = npt.NDArray[np.float64]
T = TypeVar("T", bound=np.generic)

_THROUGH = 0.03
"""A point is beyond a clot if more than this share of its blood came through the clot's place."""
_CAROTID = frozenset(
    {
        Segment.ICA_CERVICAL,
        Segment.ICA_INTRACRANIAL,
        Segment.ICA_TERMINUS,
        Segment.M1,
        Segment.M2,
        Segment.M3,
        Segment.A1,
        Segment.A2,
    }
)


class OcclusionRanges(BaseModel):
    """Circulation, collaterals and clots.

    Attributes
    ----------
    upstream_stasis : chance that contrast is also late in the standing column upstream of a clot, as in the
        pseudo-occlusion of the cervical ICA. It is the one change upstream of a clot, so 0 unless asked for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    upstream_stasis: float = 0.0
    circulation: CirculationRanges = Field(default_factory=CirculationRanges)
    collaterals: CollateralRanges = Field(default_factory=CollateralRanges)
    clots: ClotRanges = Field(default_factory=ClotRanges)


@dataclass(frozen=True, slots=True, eq=False)
class Occlusion:
    """A clot, where it sits, and what it leaves.

    Attributes
    ----------
    segment, side : as it was asked for.
    branch, start_mm, length_mm : where its proximal end lies and how long its main course is, head-frame mm.
    points : (n, 3) centreline of the clot, main course first, head-frame mm.
    hu, calcified : attenuation of the clot.
    lumen : share of the lumen that it leaves open; 0 for a complete occlusion.
    kind : embolus, thrombus, or tandem (one of a cervical and an intracranial clot of the same carotid).
    collateral : grade 0 to 3 of the hemisphere (of the midline, the worse one).
    fill : mean contrast beyond the clot relative to the same place without it, at the arterial peak of a
        usual bolus, 0 to 1.
    beyond : per branch, (n,) True where blood comes through the clot's place in health, clot included.
    """

    segment: Segment
    side: Side
    branch: int
    start_mm: float
    length_mm: float
    points: Array
    hu: float
    calcified: bool
    lumen: float
    kind: str
    collateral: int
    fill: float
    beyond: tuple[Mask, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """State of every artery point of a patient.

    Attributes
    ----------
    delay_s : per branch, (n,) seconds from the aortic root until contrast arrives; infinite where it never
        does.
    clot : per branch, (n,) True where the lumen is clot (or, for a partial one, clot and a rim of blood).
    patent_s : delay without the occlusions, but with the stenoses.
    occlusions : in the order in which they were asked for.
    ml_min : mean flow in the middle of each branch, (branches,), in the direction of its points.
    perfused : flow to the tissue that each branch feeds, of normal, (branches,), 0 to 1.
    """

    delay_s: tuple[Array, ...]
    clot: tuple[Mask, ...]
    patent_s: tuple[Array, ...]
    ml_min: Array
    perfused: Array
    occlusions: tuple[Occlusion, ...] = ()

    def fill(self, curve: Curve, time_s: float) -> tuple[Array, ...]:
        """Contrast per branch, (n,), as a share of its peak at the aortic root; 0 in a complete clot."""
        offsets = np.cumsum([0, *(len(d) for d in self.delay_s)])
        return _split(curve.seen(time_s, np.concatenate(self.delay_s)), offsets)

    def fill_beyond(self, occlusion: Occlusion, curve: Curve, time_s: float) -> float:
        """Mean contrast beyond one of the clots, relative to the same places without any."""
        return _fill_beyond(self, occlusion.beyond, curve, time_s)


def occlude(
    tree: Tree,
    sites: Sequence[tuple[Segment, Side]],
    rng: np.random.Generator,
    ranges: OcclusionRanges,
    *,
    healthy: Tree | None = None,
    collateral: int | None = None,
) -> Flow:
    """Block a patient's arteries; no sites leave them patent.

    Parameters
    ----------
    sites : several at once are solved together. A cervical ICA with another site of its side is tandem.
    rng : circulation, collaterals and clots have generators of their own, spawned from it, so that the patent
        state does not depend on the sites.
    healthy : the same branches and points with the radii from before any disease, for which tissue was made;
        None if `tree` is healthy.
    collateral : grade of both hemispheres, instead of drawing it.

    Raises
    ------
    ValueError
        If this patient has no such segment.
    """
    body, small, *own = rng.spawn(2 + len(sites))
    circulation = Circulation.draw(body, ranges.circulation)
    stasis = body.random() < ranges.upstream_stasis
    grades = draw_grades(small, ranges.collaterals, collateral)
    patent, block = _open_arteries(tree, healthy, circulation, grades, small, ranges.collaterals)
    offsets = patent.network.offsets
    clots = [
        place(tree, *site, r, ranges.clots, tandem=_is_tandem(*site, sites))
        for site, r in zip(sites, own, strict=True)
    ]
    masks = [c.mask(offsets) for c in clots]
    before = _split(patent.delay, offsets)
    if not clots:
        clear = _split(np.zeros(len(patent.delay), dtype=bool), offsets)
        return Flow(before, clear, before, flow_per_branch(patent), patent.perfused)
    through = [passed(patent.network, patent.solution, m, patent.bypass) > _THROUGH for m in masks]
    lumen = np.min([np.where(m, c.lumen, 1.0) for m, c in zip(masks, clots, strict=True)], axis=0)
    blocked = block(lumen)
    changed = np.logical_or.reduce([*through, standing(patent, blocked)] if stasis else through)
    time, clot = np.where(changed, blocked.delay, patent.delay), np.logical_or.reduce(masks)
    less = np.logical_or.reduceat(np.logical_or.reduce(through), offsets[:-1])
    perfused = np.where(less, blocked.perfused, patent.perfused)
    flow = Flow(_split(time, offsets), _split(clot, offsets), before, flow_per_branch(blocked), perfused)
    found = tuple(
        _describe(tree, flow, site, c, grades, _split(beyond, offsets))
        for site, c, beyond in zip(sites, clots, through, strict=True)
    )
    return replace(flow, occlusions=found)


def _open_arteries(
    tree: Tree,
    healthy: Tree | None,
    circulation: Circulation,
    grades: dict[Side, int],
    rng: np.random.Generator,
    ranges: CollateralRanges,
) -> tuple[State, Callable[[Array], State]]:
    """The state without clots, and a function that gives it with a share of the lumen left open, (n,)."""
    layout = lay_out(healthy or tree)
    usual = solve_healthy(tree, layout, circulation)
    anastomoses = draw_bypass(tree, usual.network, grades, rng, ranges)
    if healthy is None or _as_wide(tree, healthy):
        patent = at_rest(usual)
    else:
        layout = narrowed(layout, healthy, tree)
        patent = solve_narrowed(tree, layout, circulation, usual, anastomoses, ranges)
    return patent, lambda lumen: solve_blocked(tree, layout, lumen, circulation, usual, anastomoses)


def _describe(
    tree: Tree,
    flow: Flow,
    site: tuple[Segment, Side],
    clot: Clot,
    grades: dict[Side, int],
    beyond: tuple[Mask, ...],
) -> Occlusion:
    segment, side = site
    curve = usual_curve()
    return Occlusion(
        segment=segment,
        side=side,
        branch=clot.branch,
        start_mm=clot.start_mm,
        length_mm=clot.length_mm,
        points=clot.points(tree),
        hu=clot.hu,
        calcified=clot.calcified,
        lumen=clot.lumen,
        kind=clot.kind,
        collateral=grades.get(side, min(grades.values())),
        fill=_fill_beyond(flow, beyond, curve, curve.peak_s + REFERENCE_DELAY_S),
        beyond=beyond,
    )


def _fill_beyond(flow: Flow, beyond: tuple[Mask, ...], curve: Curve, time_s: float) -> float:
    late, usual, clot, here = (
        np.concatenate(parts) for parts in (flow.delay_s, flow.patent_s, flow.clot, beyond)
    )
    here = here & ~clot.astype(bool)
    if not here.any():
        return 0.0
    now, normal = curve.seen(time_s, late[here]), curve.seen(time_s, usual[here])
    return float(np.clip(now.sum() / max(float(normal.sum()), 1e-9), 0.0, 1.0))


def _is_tandem(segment: Segment, side: Side, sites: Sequence[tuple[Segment, Side]]) -> bool:
    """Whether a site is one of a cervical and an intracranial pair of one carotid."""
    same = {s for s, where in sites if where is side and s in _CAROTID}
    return segment in same and Segment.ICA_CERVICAL in same and len(same) > 1


def _as_wide(tree: Tree, healthy: Tree) -> bool:
    """Whether no radius has changed."""
    pairs = zip(tree.branches, healthy.branches, strict=True)
    return all(a.radius is b.radius or np.array_equal(a.radius, b.radius) for a, b in pairs)


def _split(flat: npt.NDArray[T], offsets: npt.NDArray[np.int64]) -> tuple[npt.NDArray[T], ...]:
    return tuple(flat[a:b] for a, b in pairwise(offsets.tolist()))
