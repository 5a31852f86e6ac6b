"""A report as markdown tables."""

from __future__ import annotations

from collections.abc import Sequence

from lvo.evaluation.metrics import Estimate
from lvo.evaluation.report import Group, Report

HEADER = (
    "occlusions", "not analysed", "AUC, study", "AUC, site", "detected of analysed", "detected of all",
    "side right", "segment right", "median distance, mm",
)  # fmt: skip


def as_markdown(report: Report, *, title: str, measured_on: str) -> str:
    """Write a report as markdown.

    Parameters
    ----------
    measured_on : the set the figures were measured on; no figure stands without it.
    """
    parts = [
        f"# {title}",
        f"Measured on: {measured_on}. Research use only. Intervals are 95 % confidence intervals.",
        _overall(report),
        "## By segment",
        _table(("segment",), report.segments),
        "## By collateral grade (0 none to 3 good)",
        _table(("collateral",), report.by_collateral),
        "## By clot length",
        _table(("clot",), report.by_length),
        "## Segment, collateral grade and clot length",
        _table(("segment", "collateral", "clot"), report.cells),
        _NOTES,
    ]
    return "\n\n".join(parts) + "\n"


_NOTES = (
    "AUC (study): probability of any occlusion, the row's occlusions against all analysed patent studies. "
    "AUC (site): probability at the true segment and side, against the higher of both sides in each patent "
    "study; – where the model gives a site no probability. "
    "Side, segment and distance: of the leading finding, among detected occlusions. Studies that were "
    "not analysed never count as negatives; 'detected of all' counts them as missed."
)


def _overall(report: Report) -> str:
    reasons = ", ".join(f"{code} {count}" for code, count in sorted(report.not_analysed_reasons.items()))
    rows = [
        ("studies", f"{report.studies} ({report.occluded} occluded, {report.patent} patent)"),
        (
            "not analysed",
            f"{report.not_analysed_occluded} occluded, {report.not_analysed_patent} patent"
            f"{f' ({reasons})' if reasons else ''}; of these without any result: {report.without_result}",
        ),
        ("ROC AUC", str(report.auc)),
        ("sensitivity, analysed studies", str(report.sensitivity)),
        ("sensitivity, not analysed counted as missed", str(report.sensitivity_all)),
        ("specificity, analysed studies", str(report.specificity)),
        ("expected calibration error", _plain(report.calibration_error)),
        ("Brier score", _plain(report.brier)),
    ]
    return _markdown(("measure", "value"), rows)


def _table(names: tuple[str, ...], groups: Sequence[Group]) -> str:
    if not groups:
        return "No occlusions."
    rows = [
        (
            *g.key,
            str(g.occlusions),
            str(g.not_analysed),
            *map(str, (g.auc_study, g.auc_site, g.sensitivity, g.sensitivity_all)),
            *map(str, (g.side_right, g.segment_right)),
            _distance(g.position_error_mm),
        )
        for g in groups
    ]
    return _markdown((*names, *HEADER), rows)


def _distance(estimate: Estimate) -> str:
    if estimate.value is None:
        return "–"
    return f"{estimate.value:.1f} ({estimate.low:.1f}–{estimate.high:.1f})"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
