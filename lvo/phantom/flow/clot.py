"""Where a clot lies: how long it is, where it begins in its segment, which branches it runs on into."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from lvo.anatomy import Segment, Side
from lvo.phantom.vessels.routes import MNI_SCALE
from lvo.phantom.vessels.tree import Tree

Array = npt.NDArray[np.float64]
_NEAR_END = 3
"""Points from the end of a branch within which another is its continuation."""
_NEVER_ENTERED = frozenset({"PComA", "AComA", "ophthalmic", "lenticulostriate", "anterior choroidal"})

_IN_SITU = frozenset({Segment.ICA_INTRACRANIAL, Segment.V4, Segment.BASILAR})


class SegmentAbsent(ValueError):
    """An occlusion was asked for where this patient has no artery; take another seed or segment."""


class ClotRanges(BaseModel):
    """Size, place and attenuation of clots.

    Length is Gamma(1.70, 10.9 mm): mean 18.5, median 16.1, IQR 7.6 to 25.2 mm in a published series of
    anterior occlusions. A clot is denser than blood in 69 % of proven MCA occlusions (more is seen on thin
    slices): published means are 48 to 54 HU and 1.2 times the other side, partial volume included; on CTA it
    is about as on NCCT. Calcified emboli are a few per cent of all (Walker et al., AJNR 2014;35:2078;
    Dobrocky et al., Neuroradiology 2017: 1 to 6 %).

    Attributes
    ----------
    length_shape, length_scale_mm, length_mm : of the gamma distribution, and its ends; anatomical.
    start : low and high of the place of the proximal end, as a share of the segment's length.
    cervical_start_mm, cervical_length_mm : of an ICA-C occlusion from the bulb, low and high.
    basilar_tip, basilar_tip_start : chance that a basilar clot is carried to the tip, and its start.
    other_branch : chance to run on into each branch but the largest, where the clot's own branch ends.
    carotid_t : the same at the terminus of the ICA, so that M1 and A1 are both blocked.
    side_branch : chance to reach into a branch that leaves in the clot's course.
    side_reach_mm : low and high of how far, anatomical.
    hyperdense_vessel : chance that a clot is denser than blood.
    hu_mean, hu_sd, hu : of such a clot, with its low and high end.
    isodense_hu : low and high of the others: about that of blood.
    calcified, calcified_hu : chance, and low and high attenuation.
    cervical_calcified : chance in the ICA-C.
    partial, partial_lumen : chance that a rim of contrast is left, and its share of the lumen.
    in_situ : chance that a clot of the ICA-I, V4 or BA is a local thrombus, not an embolus.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    length_shape: float = 1.70
    length_scale_mm: float = 10.9
    length_mm: tuple[float, float] = (2.0, 80.0)
    start: tuple[float, float] = (0.0, 0.95)
    cervical_start_mm: tuple[float, float] = (0.0, 10.0)
    cervical_length_mm: tuple[float, float] = (20.0, 110.0)
    basilar_tip: float = 0.4
    basilar_tip_start: tuple[float, float] = (0.6, 0.95)
    other_branch: float = 0.35
    carotid_t: float = 0.6
    side_branch: float = 0.15
    side_reach_mm: tuple[float, float] = (1.0, 6.0)
    hyperdense_vessel: float = 0.69
    hu_mean: float = 55.0
    hu_sd: float = 4.0
    hu: tuple[float, float] = (50.0, 65.0)
    isodense_hu: tuple[float, float] = (38.0, 48.0)
    calcified: float = 0.04
    calcified_hu: tuple[float, float] = (120.0, 400.0)
    cervical_calcified: float = 0.02
    partial: float = 0.04
    partial_lumen: tuple[float, float] = (0.05, 0.3)
    in_situ: float = 0.35


@dataclass(frozen=True, slots=True, eq=False)
class Clot:
    """A clot in a tree.

    Attributes
    ----------
    branch, start_mm : the branch it begins in, and where along it, head-frame mm.
    length_mm : along its main course, head-frame mm.
    pieces : (branch, first point, last point), all of it filled; the main course first.
    hu, calcified : attenuation.
    lumen : share of the lumen that stays open; 0 for a complete occlusion.
    kind : embolus, thrombus or tandem.
    """

    branch: int
    start_mm: float
    length_mm: float
    pieces: tuple[tuple[int, int, int], ...]
    hu: float = 57.5
    calcified: bool = False
    lumen: float = 0.0
    kind: str = "embolus"

    def points(self, tree: Tree) -> Array:
        """Centreline of the clot, (n, 3) head-frame mm."""
        return np.concatenate([tree.branches[i].points[a : b + 1] for i, a, b in self.pieces])

    def mask(self, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Points of the whole tree that it fills, (n,), numbered through from `offsets` of the branches."""
        found = np.zeros(int(offsets[-1]), dtype=bool)
        for i, first, last in self.pieces:
            found[offsets[i] + first : offsets[i] + last + 1] = True
        return found


def place(
    tree: Tree,
    segment: Segment,
    side: Side,
    rng: np.random.Generator,
    ranges: ClotRanges,
    *,
    tandem: bool = False,
) -> Clot:
    """Put a clot into a segment.

    Parameters
    ----------
    tandem : it is one of a cervical and an intracranial clot of the same carotid.

    Raises
    ------
    ValueError
        If this patient has no such segment.
    """
    options = [i for i, b in enumerate(tree.branches) if b.structure == segment.value and b.side is side]
    if not options:
        raise SegmentAbsent(f"this patient has no {side} {segment}")
    where = _course(tree, segment, options, rng, ranges)
    cervical = segment is Segment.ICA_CERVICAL
    calcified, partial, in_situ, dense = rng.random(4) < (
        ranges.cervical_calcified if cervical else ranges.calcified,
        ranges.partial,
        1.0 if cervical else ranges.in_situ if segment in _IN_SITU else 0.0,
        ranges.hyperdense_vessel,
    )
    soft, like_blood = (
        np.clip(rng.normal(ranges.hu_mean, ranges.hu_sd), *ranges.hu),
        rng.uniform(*ranges.isodense_hu),
    )
    hard = rng.uniform(*ranges.calcified_hu)
    rim = rng.uniform(*ranges.partial_lumen)
    return replace(
        where,
        hu=float(hard if calcified else soft if dense else like_blood),
        calcified=bool(calcified),
        lumen=float(rim) if partial else 0.0,
        kind="tandem" if tandem else "thrombus" if in_situ else "embolus",
    )


def _course(
    tree: Tree, segment: Segment, options: list[int], rng: np.random.Generator, ranges: ClotRanges
) -> Clot:
    """Where the clot begins and what it fills."""
    if segment is Segment.ICA_CERVICAL:
        first = [i for i in options if tree.branches[i].parent not in options]
        start = MNI_SCALE * float(rng.uniform(*ranges.cervical_start_mm))
        length = float(rng.uniform(*ranges.cervical_length_mm))
        return _run(tree, first[0], start, length * MNI_SCALE, rng, ranges)
    sizes = [tree.branches[i].length * float(tree.branches[i].radius.mean()) ** 2 for i in options]
    at = int(rng.choice(options, p=np.array(sizes) / sum(sizes)))
    share = float(rng.uniform(*ranges.start))
    length = float(np.clip(rng.gamma(ranges.length_shape, ranges.length_scale_mm), *ranges.length_mm))
    if segment is Segment.BASILAR and rng.random() < ranges.basilar_tip:
        at, share = options[-1], float(rng.uniform(*ranges.basilar_tip_start))
    return _run(tree, at, share * tree.branches[at].length, length * MNI_SCALE, rng, ranges)


def _run(
    tree: Tree, at: int, start: float, length: float, rng: np.random.Generator, ranges: ClotRanges
) -> Clot:
    """Follow the blood from the clot's beginning until its length is used up."""
    main: list[tuple[int, int, int]] = []
    aside: list[tuple[int, int, int]] = []
    todo, used, seen = [(at, start, length, True)], 0.0, set[int]()
    while todo:
        i, begin, left, on_main = todo.pop()
        if i in seen:
            continue
        seen.add(i)
        arc = tree.branches[i].arc
        first = min(int(np.searchsorted(arc, begin - 1e-6)), len(arc) - 2)
        last = max(int(np.searchsorted(arc, arc[first] + left, side="right")) - 1, first + 1)
        (main if on_main else aside).append((i, first, last))
        used += float(arc[last] - arc[first]) if on_main else 0.0
        left -= float(arc[last] - arc[first])
        todo += _sideways(tree, i, first, last, rng, ranges)
        if last == len(arc) - 1 and left > 0.5:
            todo += _onwards(tree, i, left, on_main, rng, ranges)
    arc = tree.branches[at].arc
    return Clot(at, float(arc[main[0][1]]), used, (*main, *aside))


def _sideways(
    tree: Tree, at: int, first: int, last: int, rng: np.random.Generator, ranges: ClotRanges
) -> list[tuple[int, float, float, bool]]:
    """Branches in the clot's course that it reaches into."""
    found = []
    end = len(tree.branches[at].points) - 1 - _NEAR_END
    for i, b in enumerate(tree.branches):
        if b.parent == at and first < b.parent_point <= last and b.parent_point < end:
            enters = rng.random() < ranges.side_branch and b.structure not in _NEVER_ENTERED
            reach = MNI_SCALE * float(rng.uniform(*ranges.side_reach_mm))
            if enters:
                found.append((i, 0.0, min(reach, b.length - 1.0), False))
    return found


def _onwards(
    tree: Tree, at: int, left: float, on_main: bool, rng: np.random.Generator, ranges: ClotRanges
) -> list[tuple[int, float, float, bool]]:
    """Continuations at the end of a branch: the largest always, the others by chance."""
    end = len(tree.branches[at].points) - 1 - _NEAR_END
    here = tree.branches[at]
    onward: list[tuple[float, int, float]] = [
        (float(b.radius[:5].mean()), i, 0.0)
        for i, b in enumerate(tree.branches)
        if b.parent == at and b.parent_point >= end and b.structure not in _NEVER_ENTERED
    ]
    if here.joins >= 0:
        into = tree.branches[here.joins]
        onward.append((float(into.radius.mean()), here.joins, float(into.arc[here.join_point])))
    onward.sort(reverse=True)
    chance = ranges.carotid_t if here.structure == Segment.ICA_TERMINUS.value else ranges.other_branch
    found = []
    for number, (_, i, begin) in enumerate(onward):
        share = 1.0 if number == 0 else float(rng.uniform(0.3, 1.0))
        if number == 0 or rng.random() < chance:
            found.append((i, begin, left * share, on_main and number == 0))
    return found[::-1]
