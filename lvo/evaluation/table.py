"""A report as markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lvo.evaluation.bootstrap import CalibrationError
from lvo.evaluation.compare import Comparison
from lvo.evaluation.figures import Group
from lvo.evaluation.metrics import Estimate
from lvo.evaluation.report import Report, Table

Column = tuple[str, Callable[[Group], str]]


def _distance(estimate: Estimate) -> str:
    if estimate.value is None:
        return "–"
    return f"{estimate.value:.1f} ({estimate.low:.1f}–{estimate.high:.1f})"


_OCCLUDED: tuple[Column, ...] = (
    ("studies", lambda g: str(g.studies)),
    ("not analysed", lambda g: str(g.not_analysed)),
    ("AUC, study", lambda g: str(g.auc_study)),
    ("AUC, site", lambda g: str(g.auc_site)),
    ("detected of analysed", lambda g: str(g.sensitivity)),
    ("detected of all", lambda g: str(g.sensitivity_all)),
    ("side right", lambda g: str(g.side_right)),
    ("segment right", lambda g: str(g.segment_right)),
    ("median distance, mm", lambda g: _distance(g.position_error_mm)),
)
_PATENT: tuple[Column, ...] = (
    ("patent", lambda g: str(g.patent)),
    ("patent not analysed", lambda g: str(g.not_analysed_patent)),
    ("cleared of analysed", lambda g: str(g.specificity)),
    ("cleared of all", lambda g: str(g.specificity_all)),
)
_COLUMNS = {"occlusion": _OCCLUDED, "study": _OCCLUDED + _PATENT, "patent": _PATENT}

_NOTES = """\
The unit is the study: one with occlusions in two segments stands in both rows, and is detected in both \
when it is suspected.

- AUC (study): probability of any occlusion, the row's studies against all analysed patent studies (where \
a table also has columns of patent studies, against the row's own).
- AUC (site): the highest probability at a study's true sites of the row, against the highest of both sides \
of the row's segments in each patent study; – where the model gives a site no probability.
- 'of analysed' leaves out studies that were not analysed, 'of all' counts them as missed, or as not \
cleared. They are never negatives.
- Side, segment and distance: of the finding that answers the clot (with one clot the most probable), among \
detected studies; distance from the middle of the clot.
- Intervals: AUC, DeLong on the logit scale (Newcombe's where its variance vanishes); shares, Wilson; \
distances and calibration errors, percentile bootstrap of studies (2000, fixed seed). The calibration error \
has ten bins of equal width; 'by chance' is what a perfectly calibrated model stays under in 97.5 % of sets \
like this."""


def as_markdown(report: Report, *, title: str, measured_on: str, comparison: Comparison | None = None) -> str:
    """Write a report as markdown.

    Parameters
    ----------
    measured_on : the set the figures were measured on; no figure stands without it.
    comparison : with other results on the same studies, if there are any.
    """
    parts = [
        f"# {title}",
        f"Measured on: {measured_on}. Research use only. Intervals are 95 % confidence intervals.",
        _overall(report),
        *(_comparison(comparison) if comparison else ()),
        _part(report.segments),
        *map(_part, report.strata),
        "## Not analysed, by reason",
        markdown(
            ("reason", "occluded", "patent"),
            [(f"`{r.code}`", str(r.occluded), str(r.patent)) for r in report.not_analysed],
        )
        if report.not_analysed
        else "None.",
        "## How these were measured",
        _NOTES,
    ]
    return "\n\n".join(parts) + "\n"


def _overall(report: Report) -> str:
    g = report.overall
    models = "; ".join(f"{name}: {count}" for name, count in report.models.items())
    rows = [
        ("model: answers", models or "none"),
        ("studies", f"{report.studies} ({report.occluded} occluded, {report.patent} patent)"),
        (
            "not analysed",
            f"{g.not_analysed} occluded, {g.not_analysed_patent} patent; "
            f"of these without any result: {report.without_result}",
        ),
        ("ROC AUC", str(g.auc_study)),
        ("sensitivity, analysed studies", str(g.sensitivity)),
        ("sensitivity, not analysed counted as missed", str(g.sensitivity_all)),
        ("specificity, analysed studies", str(g.specificity)),
        ("specificity, not analysed counted as not cleared", str(g.specificity_all)),
        ("side right, of detected", str(g.side_right)),
        ("segment right, of detected", str(g.segment_right)),
        ("median distance from the clot, mm", _distance(g.position_error_mm)),
        ("expected calibration error, study", _calibration(report.calibration)),
        ("expected calibration error, all sites", _calibration(report.calibration_sites)),
        ("Brier score", "–" if report.brier is None else f"{report.brier:.3f}"),
    ]
    return markdown(("measure", "value"), rows)


def _calibration(error: CalibrationError) -> str:
    if error.value is None or error.chance is None:
        return "–"
    return f"{error.value:.4f} ({error.low:.4f}–{error.high:.4f}); by chance under {error.chance:.4f}"


def _part(table: Table) -> str:
    columns = _COLUMNS[table.scope]
    rows = [(*g.key, *(show(g) for _, show in columns)) for g in table.rows]
    body = markdown((*table.names, *(name for name, _ in columns)), rows) if rows else "No occlusions."
    return f"## {table.title}\n\n{body}"


def _comparison(comparison: Comparison) -> tuple[str, ...]:
    first, *others = comparison.models
    header = ["measure", "studies", first]
    for name in others:
        header += [name, f"{name} less {first}"]
    rows = []
    for row in comparison.rows:
        cells = [row.measure, str(row.differences[0].n), _bare(row.values[0])]
        for value, difference in zip(row.values[1:], row.differences, strict=True):
            cells += [_bare(value), _signed(difference)]
        rows.append(cells)
    note = (
        "On the studies that every set of results can be measured on; a difference has its paired percentile "
        "bootstrap interval (studies, resampled within occluded and within patent, 2000, fixed seed). "
        "Where two sets answer every study alike the interval is of no width, which is no proof of equality."
    )
    return "## Side by side", note, markdown(header, rows)


def _bare(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _signed(estimate: Estimate) -> str:
    if estimate.value is None:
        return "–"
    return f"{estimate.value:+.3g} ({estimate.low:+.3g} to {estimate.high:+.3g})"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
