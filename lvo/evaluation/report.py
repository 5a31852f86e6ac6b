"""Figures of a set of results against the truth: overall, per segment, per grade and clot length."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import Field

from lvo.anatomy import Segment
from lvo.evaluation.cases import Case, Occlusion, distance, read_cases
from lvo.evaluation.metrics import (
    Estimate,
    Proportion,
    brier_score,
    expected_calibration_error,
    median,
    proportion,
    roc_auc,
)
from lvo.study import Record

LENGTH_BOUNDS_MM = (8.0, 15.0)
LENGTH_NAMES = ("< 8 mm", "8 to 15 mm", "≥ 15 mm")
"""Bins of clot length."""
_ORDER = {name: f"{place:02d}" for names in (list(Segment), LENGTH_NAMES) for place, name in enumerate(names)}
"""What sorts otherwise than by its name, and its place."""


class Group(Record):
    """Figures of the occlusions that a row of a table stands for.

    An occlusion is *detected* when its study's status is ``suspected``. Side, segment and distance
    are those of the finding that answers it (`lvo.evaluation.cases.Case.matched`), among detected
    occlusions; one that no finding answers counts as wrong.
    """

    key: tuple[str, ...] = Field(description="Segment, collateral grade and clot length, or one of them.")
    occlusions: int
    not_analysed: int
    auc_study: Estimate
    auc_site: Estimate
    sensitivity: Proportion
    sensitivity_all: Proportion
    side_right: Proportion
    segment_right: Proportion
    position_error_mm: Estimate


Pair = tuple[Case, Occlusion]


class Report(Record):
    """Accuracy of a set of results. Studies that were not analysed never count as negatives."""

    studies: int
    occluded: int
    patent: int
    not_analysed_occluded: int
    not_analysed_patent: int
    without_result: int
    not_analysed_reasons: dict[str, int]
    auc: Estimate
    sensitivity: Proportion
    sensitivity_all: Proportion
    specificity: Proportion
    calibration_error: float | None
    brier: float | None
    segments: tuple[Group, ...]
    by_collateral: tuple[Group, ...]
    by_length: tuple[Group, ...]
    cells: tuple[Group, ...]


def evaluate_folder(truth_csv: Path, results: Path) -> Report:
    """Compare a folder of results with the truth; see `lvo.evaluation.cases.read_cases` for both."""
    return evaluate(read_cases(truth_csv, results))


def evaluate(cases: Iterable[Case]) -> Report:
    """Compare answers with the truth.

    Areas under the curve set a group's occlusions against all analysed patent studies. By study: the
    probability of any occlusion. By site: the probability at the true segment and side, against the
    higher of that segment's two sides in each patent study.
    """
    cases = tuple(cases)
    occluded = [c for c in cases if c.occlusions]
    patent = [c for c in cases if not c.occlusions]
    answered = [c for c in cases if c.analysed]
    positive = [c for c in answered if c.occlusions]
    negative = [c for c in answered if not c.occlusions]
    hits = sum(c.suspected for c in positive)
    labels = [bool(c.occlusions) for c in answered]
    probabilities = [c.probability for c in answered]
    groups: dict[tuple[str, str, str], list[Pair]] = {}
    for case in occluded:
        for o in case.occlusions:
            groups.setdefault((o.segment.value, _grade_name(o), _length_name(o)), []).append((case, o))
    return Report(
        studies=len(cases),
        occluded=len(occluded),
        patent=len(patent),
        not_analysed_occluded=len(occluded) - len(positive),
        not_analysed_patent=len(patent) - len(negative),
        without_result=sum(c.result is None for c in cases),
        not_analysed_reasons=_reasons(cases),
        auc=roc_auc([c.probability for c in positive], [c.probability for c in negative]),
        sensitivity=proportion(hits, len(positive)),
        sensitivity_all=proportion(hits, len(occluded)),
        specificity=proportion(sum(not c.suspected for c in negative), len(negative)),
        calibration_error=expected_calibration_error(probabilities, labels),
        brier=brier_score(probabilities, labels),
        segments=_groups(groups, negative, lambda key: key[:1]),
        by_collateral=_groups(groups, negative, lambda key: key[1:2]),
        by_length=_groups(groups, negative, lambda key: key[2:]),
        cells=_groups(groups, negative, lambda key: key),
    )


def _groups(
    pairs: dict[tuple[str, str, str], list[Pair]],
    patent: list[Case],
    part: Callable[[tuple[str, str, str]], tuple[str, ...]],
) -> tuple[Group, ...]:
    """Join the finest groups into those that share a part of their key, in reading order."""
    joined: dict[tuple[str, ...], list[Pair]] = {}
    for key, some in pairs.items():
        joined.setdefault(part(key), []).extend(some)
    keys = sorted(joined, key=lambda key: [_ORDER.get(name, name) for name in key])
    return tuple(_group(key, joined[key], patent) for key in keys)


def _group(key: tuple[str, ...], pairs: list[Pair], patent: list[Case]) -> Group:
    answered = [(c, o) for c, o in pairs if c.analysed]
    detected = [(c, o) for c, o in answered if c.suspected]
    matches = [(o, c.matched().get(o)) for c, o in detected]
    errors = [distance(o, f) for o, f in matches if f is not None and o.position is not None]
    return Group(
        key=key,
        occlusions=len(pairs),
        not_analysed=len(pairs) - len(answered),
        auc_study=roc_auc([c.probability for c, _ in answered], [c.probability for c in patent]),
        auc_site=_site_auc(answered, patent),
        sensitivity=proportion(len(detected), len(answered)),
        sensitivity_all=proportion(len(detected), len(pairs)),
        side_right=proportion(sum(f is not None and f.side is o.side for o, f in matches), len(matches)),
        segment_right=proportion(
            sum(f is not None and f.segment is o.segment for o, f in matches), len(matches)
        ),
        position_error_mm=median(errors),
    )


def _site_auc(answered: list[Pair], patent: list[Case]) -> Estimate:
    """Area by site; the sites of a patent study are those of the group's segments."""
    segments = {o.segment for _, o in answered}
    positive = [p for c, o in answered if (p := c.site(o.segment, (o.side,))) is not None]
    negative = []
    for case in patent:
        found = [p for s in segments if (p := case.site(s, s.sides)) is not None]
        if found:
            negative.append(max(found))
    if len(positive) < len(answered) or len(negative) < len(patent):
        return Estimate(value=None, n=0)
    return roc_auc(positive, negative)


def _grade_name(occlusion: Occlusion) -> str:
    return f"grade {occlusion.collateral or 'unknown'}"


def _length_name(occlusion: Occlusion) -> str:
    if occlusion.clot_length_mm is None:
        return "length unknown"
    longer = sum(occlusion.clot_length_mm >= bound for bound in LENGTH_BOUNDS_MM)
    return LENGTH_NAMES[longer]


def _reasons(cases: Iterable[Case]) -> dict[str, int]:
    """How often each rejection stopped an analysis."""
    counts: dict[str, int] = {}
    for case in cases:
        if case.analysed:
            continue
        codes = ["no-result"] if case.result is None else []
        codes += [r.code for r in case.result.reasons if r.kind == "rejection"] if case.result else []
        for code in sorted(set(codes)):
            counts[code] = counts.get(code, 0) + 1
    return counts
