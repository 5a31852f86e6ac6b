from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from lvo.report.text import render
from lvo.study import Reason, Role, SeriesRecord, StudyResult

MakeResult = Callable[..., StudyResult]


def shown(result: StudyResult) -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(render(result))
    return console.export_text()


@pytest.mark.parametrize("status", ["suspected", "not_suspected", "not_analysed"])
def test_every_status_says_what_it_is_and_what_it_is_not(make_result: MakeResult, status: str) -> None:
    text = shown(make_result(status))
    headlines = {
        "suspected": "OCCLUSION SUSPECTED",
        "not_suspected": "NO OCCLUSION SUSPECTED",
        "not_analysed": "NOT ANALYSED",
    }
    assert headlines[status] in text
    assert "Not a medical device" in text


def test_a_finding_is_shown_with_side_segment_and_place(make_result: MakeResult) -> None:
    text = shown(make_result("suspected"))
    assert "left M1" in text
    assert "97.0%" in text
    assert "20.0, -2.0, 17.0" in text
    assert "88" in text


def test_headers_cannot_inject_markup(make_result: MakeResult) -> None:
    series = SeriesRecord(
        series_instance_uid="1",
        description="[red]CTA[/nonsense]",
        role=Role.CTA,
        chosen=True,
        why="Best.",
        instances=9,
    )
    reason = Reason(code="x", message="odd [/bold] text", kind="caution")
    text = shown(make_result("not_suspected", series=(series,), reasons=(reason,)))
    assert "[red]CTA[/nonsense]" in text
    assert "odd [/bold] text" in text
