"""Figures of a set of results against the truth: overall, per segment, and by every stratum known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from lvo.anatomy import Segment
from lvo.evaluation.bootstrap import CalibrationError, calibration_error
from lvo.evaluation.cases import Case, Occlusion, read_cases
from lvo.evaluation.figures import Group, group, members
from lvo.evaluation.metrics import brier_score
from lvo.evaluation.strata import ORDER, SEGMENT_GROUPS, STRATA, Scope, Stratum, with_orders
from lvo.study import Record


class Table(Record):
    """Rows of one breakdown; see `lvo.evaluation.strata.Stratum` for the scope."""

    title: str
    names: tuple[str, ...]
    scope: Scope
    rows: tuple[Group, ...]


class NotAnalysed(Record):
    """How often a rejection stopped an analysis; a study may have several."""

    code: str
    occluded: int
    patent: int


class Report(Record):
    """Accuracy of a set of results. Studies that were not analysed never count as negatives.

    Attributes
    ----------
    models : every model that answered, with the number of its answers.
    calibration_sites : over every site of every analysed study, pooled.
    """

    studies: int
    occluded: int
    patent: int
    without_result: int
    models: dict[str, int]
    overall: Group
    calibration: CalibrationError
    calibration_sites: CalibrationError
    brier: float | None
    not_analysed: tuple[NotAnalysed, ...]
    segments: Table
    strata: tuple[Table, ...]


def evaluate_folder(truth_csv: Path, results: Path, orders: Path | None = None) -> Report:
    """Compare a folder of results with the truth.

    Parameters
    ----------
    truth_csv, results : see `lvo.evaluation.cases.read_cases`.
    orders : the benchmark's table, to break the figures down by what it ordered.
    """
    cases = read_cases(truth_csv, results)
    return evaluate(cases if orders is None else with_orders(cases, orders))


def evaluate(cases: Iterable[Case]) -> Report:
    """Compare answers with the truth; figures and intervals are those of `Group`."""
    cases = tuple(cases)
    answered = [c for c in cases if c.analysed]
    patent = [c for c in cases if not c.occlusions]
    labels = [bool(c.occlusions) for c in answered]
    probabilities = [c.probability for c in answered]
    segments = _segments(cases, patent)
    return Report(
        studies=len(cases),
        occluded=len(cases) - len(patent),
        patent=len(patent),
        without_result=sum(c.result is None for c in cases),
        models=_models(answered),
        overall=group(("any",), members(cases, lambda *_: True), patent),
        calibration=calibration_error(probabilities, labels),
        calibration_sites=calibration_error(*_sites(answered)),
        brier=brier_score(probabilities, labels),
        not_analysed=_reasons(cases),
        segments=segments,
        strata=tuple(t for s in STRATA if (t := _table(s, cases)).rows),
    )


def _segments(cases: tuple[Case, ...], patent: list[Case]) -> Table:
    rows = []
    for name, segments in SEGMENT_GROUPS:
        if found := members(cases, _in(segments)):
            rows.append(group((name,), found, patent, segments))
    return Table(title="By segment", names=("segment",), scope="occlusion", rows=tuple(rows))


def _table(stratum: Stratum, cases: tuple[Case, ...]) -> Table:
    """Rows in reading order; none where no study says where it stands."""
    patent = [c for c in cases if not c.occlusions]
    occluded = [c for c in cases if c.occlusions]
    keys: set[tuple[str, ...]] = set()
    if stratum.scope == "occlusion":
        keys |= {key for c in occluded for o in c.occlusions for key in stratum.of(c, o)}
    else:
        keys |= {key for c in cases for key in stratum.of(c, None)}
    rows = []
    for key in sorted(keys, key=lambda key: [ORDER.get(name, name) for name in key]):
        if stratum.scope == "occlusion":
            rows.append(group(key, members(occluded, _under(stratum, key)), patent))
            continue
        here = [c for c in cases if key in stratum.of(c, None)]
        some = members(here, lambda *_: stratum.scope == "study")
        without = [c for c in here if not c.occlusions]
        if some or without:
            rows.append(group(key, some, without))
    return Table(title=stratum.title, names=stratum.names, scope=stratum.scope, rows=tuple(rows))


def _in(segments: frozenset[Segment]) -> Callable[[Case, Occlusion], bool]:
    return lambda _case, o: o.segment in segments


def _under(stratum: Stratum, key: tuple[str, ...]) -> Callable[[Case, Occlusion], bool]:
    return lambda case, o: key in stratum.of(case, o)


def _sites(cases: list[Case]) -> tuple[list[list[float]], list[list[bool]]]:
    """Probability and truth of every site that the model answers, study by study."""
    found = [answers for c in cases if (answers := c.sites())]
    return [[p for p, _ in answers] for answers in found], [[y for _, y in answers] for answers in found]


def _models(cases: list[Case]) -> dict[str, int]:
    found = [c.result.model for c in cases if c.result is not None and c.result.model is not None]
    return dict(Counter(f"{m.name} {m.version} ({m.digest[:12]}, {m.backend})" for m in found))


def _reasons(cases: tuple[Case, ...]) -> tuple[NotAnalysed, ...]:
    """How often each rejection stopped an analysis."""
    counts: Counter[tuple[str, bool]] = Counter()
    for case in cases:
        if case.analysed:
            continue
        codes = {"no-result"} if case.result is None else set()
        codes |= {r.code for r in case.result.reasons if r.kind == "rejection"} if case.result else set()
        counts.update((code, bool(case.occlusions)) for code in codes)
    codes = {code for code, _ in counts}
    return tuple(
        NotAnalysed(code=c, occluded=counts[c, True], patent=counts[c, False]) for c in sorted(codes)
    )
