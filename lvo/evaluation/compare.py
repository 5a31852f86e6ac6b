"""Several sets of results on the same studies, with paired differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Segment
from lvo.evaluation.bootstrap import RESAMPLES, calibration_gaps, gap_error
from lvo.evaluation.cases import Case
from lvo.evaluation.figures import Member, highest_site
from lvo.evaluation.metrics import Estimate
from lvo.evaluation.strata import SEGMENT_GROUPS
from lvo.study import Record

F64 = npt.NDArray[np.float64]
Score = Callable[[Case], Sequence[float] | None]
COMPARED = ("any", "ICA-I, ICA-T or M1", "ICA-T or M1", "M2", "BA")
"""Rows of the segment table that are compared."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure that can be computed again on resampled studies.

    Attributes
    ----------
    score : what one study adds to it; None where the figure is not of this study.
    figure : the figure, of stacked scores.
    """

    name: str
    score: Score
    figure: Callable[[F64], float]


class Compared(Record):
    """One figure for every set of results, and how the others differ from the first."""

    measure: str
    values: tuple[float | None, ...]
    differences: tuple[Estimate, ...]


class Comparison(Record):
    """Sets of results side by side; the first is what the others are held against."""

    models: tuple[str, ...]
    rows: tuple[Compared, ...]


def compare(
    sets: Sequence[tuple[str, Sequence[Case]]], *, seed: int = 0, resamples: int = RESAMPLES
) -> Comparison:
    """Compare sets of results of the same studies.

    Parameters
    ----------
    sets : name and cases of each; a study that one of them lacks is left out.
    """
    if len(sets) < 2:
        raise ValueError("nothing to compare with")
    by_name = [{c.study: c for c in cases} for _, cases in sets]
    common = [s for s in by_name[0] if all(s in cases for cases in by_name)]
    paired = [[cases[s] for s in common] for cases in by_name]
    rows = tuple(_compared(measure, paired, seed, resamples) for measure in measures())
    return Comparison(
        models=tuple(name for name, _ in sets), rows=tuple(r for r in rows if r.differences[0].n)
    )


def _compared(measure: Measure, paired: list[list[Case]], seed: int, resamples: int) -> Compared:
    scores = [[measure.score(c) for c in cases] for cases in paired]
    kept = [i for i in range(len(paired[0])) if all(s[i] is not None for s in scores)]
    strata = [[k for k, i in enumerate(kept) if bool(paired[0][i].occlusions) is x] for x in (True, False)]
    tables = [np.array([s[i] for i in kept], dtype=np.float64) for s in scores]
    if not kept or not np.isfinite(values := [measure.figure(t) for t in tables]).all():
        nothing = Estimate(value=None, n=0)
        return Compared(
            measure=measure.name, values=(None,) * len(scores), differences=(nothing,) * (len(scores) - 1)
        )
    rng, draws = np.random.default_rng(seed), []
    for _ in range(resamples):
        pick = np.concatenate([rng.choice(s, len(s)) for s in strata if s])
        draws.append([measure.figure(t[pick]) for t in tables])
    differences = np.array(draws)[:, 1:] - np.array(draws)[:, :1]
    low, high = np.quantile(differences, [0.025, 0.975], axis=0)
    found = zip(values[1:], low, high, strict=True)
    return Compared(
        measure=measure.name,
        values=tuple(values),
        differences=tuple(
            Estimate(value=v - values[0], low=float(a), high=float(b), n=len(kept)) for v, a, b in found
        ),
    )


def measures() -> tuple[Measure, ...]:
    """What is compared."""
    found: list[Measure] = []
    rows = {name: segments for name, segments in SEGMENT_GROUPS if name in COMPARED}
    for name, segments in rows.items():
        found.append(Measure(f"AUC by study, {name}", _by_study(segments), _area))
    for name, segments in rows.items():
        found.append(Measure(f"AUC by site, {name}", _by_site(segments), _area))
    for name, segments in rows.items():
        found.append(Measure(f"sensitivity of all, {name}", _hit(segments), _mean))
    return (
        *found,
        Measure(
            "specificity of all", lambda c: None if c.occlusions else [c.analysed and not c.suspected], _mean
        ),
        Measure("side right, detected by all", _right("side"), _mean),
        Measure("segment right, detected by all", _right("segment"), _mean),
        Measure("median distance, detected by all, mm", _error, lambda t: float(np.median(t))),
        Measure("calibration error, study", _study_gaps, gap_error),
        Measure("calibration error, all sites", _site_gaps, gap_error),
    )


def _member(case: Case, segments: frozenset[Segment]) -> Member:
    return Member(case, tuple(o for o in case.occlusions if o.segment in segments))


def _by_study(segments: frozenset[Segment]) -> Score:
    def score(case: Case) -> Sequence[float] | None:
        if not case.analysed or (case.occlusions and not _member(case, segments).occlusions):
            return None
        return case.probability, bool(case.occlusions)

    return score


def _by_site(segments: frozenset[Segment]) -> Score:
    def score(case: Case) -> Sequence[float] | None:
        member = _member(case, segments)
        if not case.analysed or (case.occlusions and not member.occlusions):
            return None
        p = member.site() if case.occlusions else highest_site(case, segments)
        return None if p is None else (p, bool(case.occlusions))

    return score


def _hit(segments: frozenset[Segment]) -> Score:
    return lambda case: [case.suspected] if _member(case, segments).occlusions else None


def _right(what: str) -> Score:
    def score(case: Case) -> Sequence[float] | None:
        if not case.occlusions or not case.suspected:
            return None
        return [Member(case, case.occlusions).all_right(lambda o, f: getattr(o, what) is getattr(f, what))]

    return score


def _error(case: Case) -> Sequence[float] | None:
    errors = Member(case, case.occlusions).errors() if case.occlusions and case.suspected else []
    return [float(np.mean(errors))] if errors else None


def _study_gaps(case: Case) -> Sequence[float] | None:
    return calibration_gaps([case.probability], [bool(case.occlusions)]).tolist() if case.analysed else None


def _site_gaps(case: Case) -> Sequence[float] | None:
    found = case.sites()
    return calibration_gaps([p for p, _ in found], [y for _, y in found]).tolist() if found else None


def _mean(table: F64) -> float:
    return float(table.mean())


def _area(table: F64) -> float:
    """Area under the curve of (score, label) rows; the same as `metrics.roc_auc`, without its interval."""
    positive, negative = table[table[:, 1] == 1, 0], np.sort(table[table[:, 1] == 0, 0])
    if not len(positive) or not len(negative):
        return float("nan")
    placed = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
    return float(placed.mean() / (2 * len(negative)))
