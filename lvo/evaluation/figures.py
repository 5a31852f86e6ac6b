"""The figures of one row of a table: its occluded studies against its patent ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pydantic import Field

from lvo.anatomy import Segment
from lvo.evaluation.bootstrap import median_by_study
from lvo.evaluation.cases import Case, Occlusion, distance
from lvo.evaluation.metrics import Estimate, Proportion, proportion, roc_auc
from lvo.study import Finding, Record


class Group(Record):
    """Figures of the studies that a row of a table stands for. The unit is the study.

    A study is *detected* when its status is ``suspected``. Side, segment and distance are those of the
    finding that answers an occlusion (`lvo.evaluation.cases.Case.matched`), among detected studies; side
    or segment is right when it is for every occlusion of the study in this row, and an occlusion that no
    finding answers is wrong.
    """

    key: tuple[str, ...] = Field(description="What the row stands for, one name per column.")
    studies: int = Field(description="Occluded studies.")
    occlusions: int
    patent: int = Field(description="Patent studies they are held against.")
    not_analysed: int
    not_analysed_patent: int
    auc_study: Estimate
    auc_site: Estimate
    sensitivity: Proportion
    sensitivity_all: Proportion
    specificity: Proportion
    specificity_all: Proportion
    side_right: Proportion
    segment_right: Proportion
    position_error_mm: Estimate


@dataclass(frozen=True, slots=True)
class Member:
    """An occluded study and those of its occlusions that belong to a row."""

    case: Case
    occlusions: tuple[Occlusion, ...]

    def site(self) -> float | None:
        """Highest probability at its true sites; None where the model gives one of them none."""
        found = [self.case.site(o.segment, (o.side,)) for o in self.occlusions]
        known = [p for p in found if p is not None]
        return max(known) if len(known) == len(found) else None

    def all_right(self, right: Callable[[Occlusion, Finding], bool]) -> bool:
        """Whether every occlusion is answered, and rightly."""
        match = self.case.matched()
        return all(o in match and right(o, match[o]) for o in self.occlusions)

    def errors(self) -> list[float]:
        """Distances of the findings that answer occlusions of known position, mm."""
        match = self.case.matched()
        return [distance(o, match[o]) for o in self.occlusions if o in match and o.position is not None]


def members(cases: Iterable[Case], wanted: Callable[[Case, Occlusion], bool]) -> list[Member]:
    """Studies with an occlusion that is wanted, and which of theirs are."""
    found = (Member(c, tuple(o for o in c.occlusions if wanted(c, o))) for c in cases)
    return [m for m in found if m.occlusions]


def group(
    key: tuple[str, ...],
    occluded: Sequence[Member],
    patent: Sequence[Case],
    segments: frozenset[Segment] | None = None,
) -> Group:
    """Figures of a row.

    Parameters
    ----------
    segments : whose sites a patent study is scored by; None takes those of the row's occlusions.
    """
    answered = [m for m in occluded if m.case.analysed]
    detected = [m for m in answered if m.case.suspected]
    negative = [c for c in patent if c.analysed]
    cleared = sum(not c.suspected for c in negative)
    right = [m.all_right(lambda o, f: f.side is o.side) for m in detected]
    named = [m.all_right(lambda o, f: f.segment is o.segment) for m in detected]
    return Group(
        key=key,
        studies=len(occluded),
        occlusions=sum(len(m.occlusions) for m in occluded),
        patent=len(patent),
        not_analysed=len(occluded) - len(answered),
        not_analysed_patent=len(patent) - len(negative),
        auc_study=roc_auc([m.case.probability for m in answered], [c.probability for c in negative]),
        auc_site=site_auc(answered, negative, segments),
        sensitivity=proportion(len(detected), len(answered)),
        sensitivity_all=proportion(len(detected), len(occluded)),
        specificity=proportion(cleared, len(negative)),
        specificity_all=proportion(cleared, len(patent)),
        side_right=proportion(sum(right), len(detected)),
        segment_right=proportion(sum(named), len(detected)),
        position_error_mm=median_by_study([m.errors() for m in detected]),
    )


def highest_site(case: Case, segments: Iterable[Segment]) -> float | None:
    """Highest probability at any site of these segments, on any side; None where the model has none."""
    return max((p for s in segments if (p := case.site(s, s.sides)) is not None), default=None)


def site_auc(
    answered: Sequence[Member], negative: Sequence[Case], segments: frozenset[Segment] | None = None
) -> Estimate:
    """Area by site: the true site of an occluded study against the highest of a patent one.

    An occluded study scores only by what is said of where its clot is; a patent study by the highest of
    both sides of all the segments. So the area is lower than that of any score that takes no side.
    """
    if segments is None:
        segments = frozenset(o.segment for m in answered for o in m.occlusions)
    positive = [p for m in answered if (p := m.site()) is not None]
    others = [p for c in negative if (p := highest_site(c, segments)) is not None]
    if len(positive) < len(answered) or len(others) < len(negative):
        return Estimate(value=None, n=0)
    return roc_auc(positive, others)
