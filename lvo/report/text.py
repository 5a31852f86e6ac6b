"""A result as a table for the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from lvo.report.words import bolus_line, brain_line, cause_line, place
from lvo.study import Finding, Reason, Status, StudyResult

_STYLE = {
    Status.SUSPECTED: "bold white on red",
    Status.NOT_SUSPECTED: "bold white on blue",
    Status.NOT_ANALYSED: "bold black on yellow",
}
_HEADLINE = {
    Status.SUSPECTED: "OCCLUSION SUSPECTED",
    Status.NOT_SUSPECTED: "NO OCCLUSION SUSPECTED",
    Status.NOT_ANALYSED: "NOT ANALYSED - read the study now",
}
REASON_STYLE = {"rejection": "bold yellow", "repair": "cyan", "caution": "yellow", "information": "dim"}


def render(result: StudyResult) -> RenderableType:
    """The whole result: headline, findings, bolus, reasons, series, timings, and what this is not."""
    parts: list[RenderableType] = [Text(f" {_HEADLINE[result.status]} ", style=_STYLE[result.status])]
    if result.probability is not None:
        parts.append(Text(f"Probability of any occlusion: {result.probability:.1%}"))
    if result.findings:
        parts.append(_findings(result.findings))
        parts += (Text(f"{place(f)}: {line}") for f in result.findings if (line := cause_line(f)))
        parts += (Text(f"{place(f)}: {line}") for f in result.findings if (line := brain_line(f)))
    if result.bolus is not None:
        parts.append(Text(bolus_line(result.bolus)))
    if result.reasons:
        parts.append(_reasons(result.reasons))
    parts.append(_series(result))
    if result.alert is not None:
        parts.append(Text(f"Alert ({result.alert.tier.value}): {result.alert.text}"))
    parts.append(Text(_footer(result), style="dim"))
    parts.append(Text(result.intended_use, style="italic"))
    return Panel(Group(*parts), title=f"Study {escape(result.study_instance_uid or 'unknown')}", expand=False)


def _findings(findings: tuple[Finding, ...]) -> Table:
    table = Table(title="Findings", title_justify="left")
    for heading in ("Where", "Probability", "Position L, P, S (mm)", "Slice"):
        table.add_column(heading)
    for finding in findings:
        position = ", ".join(f"{value:.1f}" for value in finding.position_lps_mm)
        table.add_row(place(finding), f"{finding.probability:.1%}", position, str(finding.slice_number))
    return table


def _reasons(reasons: tuple[Reason, ...]) -> Table:
    table = Table(title="Reasons", title_justify="left")
    for heading in ("Kind", "Code", "What it means"):
        table.add_column(heading)
    for reason in reasons:
        table.add_row(Text(reason.kind, style=REASON_STYLE[reason.kind]), reason.code, escape(reason.message))
    return table


def _series(result: StudyResult) -> RenderableType:
    if not result.series:
        return Text("No series was found.")
    table = Table(title="Series", title_justify="left")
    for heading in ("No.", "Description", "Images", "Role", "Used", "Why"):
        table.add_column(heading)
    for series in result.series:
        table.add_row(
            "" if series.series_number is None else str(series.series_number),
            escape(series.description),
            str(series.instances),
            series.role.value,
            "yes" if series.chosen else "no",
            escape(series.why),
        )
    return table


def _footer(result: StudyResult) -> str:
    model = (
        f"model {result.model.name} {result.model.version} ({result.model.backend})"
        if result.model
        else "no model"
    )
    times = ", ".join(
        f"{stage} {seconds:.1f}" for stage, seconds in result.timings_s.items() if stage != "total"
    )
    total = result.timings_s.get("total")
    spent = "" if total is None else f". {total:.1f} s in all" + (f" ({times})" if times else "")
    return f"lvo {result.software_version}, {model}{spent}."
