from __future__ import annotations

import io
from collections.abc import Callable
from typing import get_args

import pytest
from rich.console import Console

from lvo.report.text import render
from lvo.report.words import CAUSE, PHASE
from lvo.study import BolusPhase, BolusReport, CauseName, Reason, Role, SeriesRecord, StudyResult

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


@pytest.mark.parametrize(
    ("own", "other", "said"),
    [
        (0.43, 0.05, "lacks 43% of its contrast, that of the other side 5%."),
        (0.3, None, "lacks 30% of its contrast."),
        (0.43, 0.4, None),
        (None, None, None),
    ],
)
def test_what_the_brain_lacks_is_told_where_it_is_one_sided(
    make_result: MakeResult, own: float | None, other: float | None, said: str | None
) -> None:
    result = make_result("suspected")
    change = {"brain_deficit": own, "brain_deficit_other_side": other}
    text = shown(result.model_copy(update={"findings": (result.findings[0].model_copy(update=change),)}))
    assert said in text if said else "The brain that it feeds" not in text


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


BOLUS = BolusReport(
    left_ica_hu=312.4,
    right_ica_hu=None,
    basilar_hu=290.0,
    torcula_hu=240.0,
    phase="late",
    why="Torcula 240 HU.",
    cautions=("late-phase",),
)


def test_the_bolus_is_told_in_one_line_and_what_was_not_measured_is_named(make_result: MakeResult) -> None:
    text = shown(make_result("not_suspected", bolus=BOLUS))
    assert "Bolus: late phase" in text and "left ICA 312" in text
    assert "right ICA not measurable" in text


def test_a_cause_is_told_with_its_reason_and_nothing_where_there_is_none(make_result: MakeResult) -> None:
    result = make_result("suspected")
    assert "Looks like" not in shown(result)
    (finding,) = result.findings
    known = finding.model_copy(update={"cause": "high-grade-stenosis", "cause_why": "Only 4 mm are dark."})
    text = shown(result.model_copy(update={"findings": (known,)}))
    assert "left M1: Looks like: high-grade stenosis. Only 4 mm are dark." in text


def test_every_cause_and_phase_has_its_words() -> None:
    assert set(CAUSE) == set(get_args(CauseName))
    assert set(PHASE) == set(get_args(BolusPhase))
