"""Who is told what: tiers, opening hours, covering centres, and text without patient data."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from lvo.anatomy import THROMBECTOMY_SEGMENTS, Segment, Side, Tier
from lvo.errors import ConfigInvalid, PathNotFound
from lvo.pathway import UnknownCentre, decide_alert, load_network, recipients
from lvo.study import INTENDED_USE, Finding, HeadPose, ModelRef, Reason, Status, StudyResult

EXAMPLE = Path(__file__).parents[2] / "configs" / "pathway" / "example.yaml"
NETWORK = load_network(EXAMPLE)
WEEKDAY_NOON = datetime(2026, 1, 14, 12, 0, tzinfo=UTC)
WEEKDAY_NIGHT = datetime(2026, 1, 14, 23, 0, tzinfo=UTC)
MODEL = ModelRef(name="m", version="0", digest="0" * 64, backend="onnxruntime-cpu")
PHI = "DOE^JANE 1931-02-03"


def result(*sites: tuple[Segment, Side, float], status: Status | None = None, reasons=()) -> StudyResult:
    analysed = status is not Status.NOT_ANALYSED
    pose = HeadPose(
        matrix=((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)),
        pitch_deg=0, roll_deg=0, yaw_deg=0, scale=1, residual_mm=1, support=1, accepted=True,
    )  # fmt: skip
    return StudyResult(
        software_version="0",
        study_instance_uid="1.2.3",
        created_at=WEEKDAY_NOON.isoformat(),
        status=status or (Status.SUSPECTED if sites else Status.NOT_SUSPECTED),
        probability=max((p for *_, p in sites), default=0.04) if analysed else None,
        findings=tuple(
            Finding(segment=seg, side=side, probability=p, position_lps_mm=(0, 0, 0),
                    sop_instance_uid="1.2.3.4", series_instance_uid="1.2.3.5", slice_number=7)
            for seg, side, p in sites
        ),
        reasons=tuple(reasons),
        pose=pose if analysed else None,
        model=MODEL if analysed else None,
    )  # fmt: skip


@pytest.mark.parametrize("segment", list(Segment))
def test_every_segment_is_paged_or_shown(segment: Segment) -> None:
    alert = decide_alert(result((segment, segment.sides[0], 0.9)), NETWORK, psc="eastfield", at=WEEKDAY_NOON)
    paged = segment in THROMBECTOMY_SEGMENTS
    assert alert.tier is (Tier.THROMBECTOMY if paged else Tier.MEDIUM_VESSEL)
    assert alert.csc == ("harbour" if paged else None)
    assert [c.id for c in recipients(alert, NETWORK)] == ["eastfield", "harbour"][: 1 + paged]
    assert segment.label in alert.text and "90 %" in alert.text and INTENDED_USE in alert.text


def test_side_is_the_one_found() -> None:
    left, right = (
        decide_alert(result((Segment.M1, side, 0.9)), NETWORK, psc="eastfield", at=WEEKDAY_NOON).text
        for side in (Side.LEFT, Side.RIGHT)
    )
    assert "left M1" in left and "right" not in left
    assert "right M1" in right and "left" not in right
    basilar = result((Segment.BASILAR, Side.MIDLINE, 0.9))
    assert "midline" not in decide_alert(basilar, NETWORK, psc="eastfield", at=WEEKDAY_NOON).text


def test_a_paged_segment_outranks_a_likelier_medium_vessel() -> None:
    mixed = result((Segment.A2, Side.LEFT, 0.97), (Segment.M2, Side.RIGHT, 0.6))
    alert = decide_alert(mixed, NETWORK, psc="eastfield", at=WEEKDAY_NOON)
    assert alert.tier is Tier.THROMBECTOMY
    assert alert.text.index("right M2") < alert.text.index("left A2")


@pytest.mark.parametrize(
    ("at", "csc"),
    [
        (WEEKDAY_NOON, "harbour"),
        (WEEKDAY_NIGHT, "summit"),
        (datetime(2026, 1, 17, 12, 0, tzinfo=UTC), "summit"),  # a Saturday
        (datetime(2026, 7, 15, 7, 30, tzinfo=UTC), "harbour"),  # 08:30 in London in summer
        (datetime(2026, 7, 15, 17, 30, tzinfo=UTC), "summit"),  # 18:30 in London in summer
    ],
)
def test_closed_centre_is_covered_by_its_own_clock(at: datetime, csc: str) -> None:
    alert = decide_alert(result((Segment.M1, Side.LEFT, 0.9)), NETWORK, psc="eastfield", at=at)
    assert alert.csc == csc
    assert ("closed now" in alert.text) == (csc == "summit")


def test_cover_comes_before_the_next_centre_of_the_route_and_silence_is_said() -> None:
    day = {"opens": "08:00", "closes": "18:00", "time_zone": "UTC"}
    raw = {
        "name": "n",
        "psc": [{"id": "p", "name": "P", "route": ["a", "b"]}],
        "csc": [
            {"id": "a", "name": "A", "hours": day},
            {"id": "b", "name": "B", "hours": {**day, "closes": "23:30"}},
            {"id": "c", "name": "C", "hours": {**day, "opens": "17:00", "closes": "07:00"}, "covers": ["a"]},
        ],
    }
    network = type(NETWORK).model_validate(raw)
    suspected = result((Segment.M1, Side.LEFT, 0.9))

    def told(hour: int) -> str | None:
        return decide_alert(suspected, network, psc="p", at=WEEKDAY_NOON.replace(hour=hour)).csc

    assert [told(h) for h in (12, 22, 3)] == ["a", "c", "c"]
    nobody = decide_alert(suspected, network, psc="p", at=WEEKDAY_NOON.replace(hour=7))
    assert nobody.csc is None and nobody.tier is Tier.THROMBECTOMY
    assert "none has been told: telephone A" in nobody.text


def test_not_analysed_is_urgent_gives_reasons_and_leaks_no_free_text() -> None:
    reasons = [
        Reason(code="no-arterial-contrast", message=f"No contrast in {PHI}"),
        Reason(code="something-new", message=PHI),
        Reason(code="series-skipped", message=PHI, kind="information"),
    ]
    failed = result(status=Status.NOT_ANALYSED, reasons=reasons)
    alert = decide_alert(failed, NETWORK, psc="eastfield", at=WEEKDAY_NIGHT)
    assert alert.tier is Tier.NOT_ANALYSED and alert.csc is None
    assert "by eye now" in alert.text and "not a negative" in alert.text
    assert "no arterial contrast in the head" in alert.text and "[something-new]" in alert.text
    assert "series-skipped" not in alert.text and "DOE" not in alert.text


def test_nothing_suspected_is_not_an_all_clear() -> None:
    alert = decide_alert(result(), NETWORK, psc="eastfield", at=WEEKDAY_NOON)
    assert alert.tier is Tier.NONE and alert.csc is None
    assert "does not exclude" in alert.text


def test_certainty_is_never_claimed() -> None:
    sure = result((Segment.M1, Side.LEFT, 0.9999))
    assert "over 99 %" in decide_alert(sure, NETWORK, psc="eastfield", at=WEEKDAY_NOON).text


def test_unknown_centre_and_naive_time_are_refused() -> None:
    with pytest.raises(UnknownCentre):
        decide_alert(result(), NETWORK, psc="nowhere", at=WEEKDAY_NOON)
    with pytest.raises(ValueError, match="time zone"):
        decide_alert(result(), NETWORK, psc="eastfield", at=datetime(2026, 1, 14, 12, 0))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: Example", "colour: red\nname: Example", "colour"),
        ("route: [summit]", "route: [nowhere]", "nowhere"),
        ("covers: [harbour]", "covers: [summit]", "summit"),
        ('opens: "08:00"', "opens: 18:00", "in quotes"),
        ("Europe/London", "Mars/Olympus", "time zone"),
        ("https://alerts", "http://alerts", "https"),
        ("[MILLBROOK_CT]", "[EASTFIELD_CT]", "used twice"),
        ("route: [summit]", "route: []", "route"),
        ("psc:", "psc: [", "not YAML"),
    ],
)
def test_a_wrong_network_is_refused_with_the_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = EXAMPLE.read_text()
    assert old in text
    path = tmp_path / "network.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigInvalid, match=r"network\.yaml") as caught:
        load_network(path)
    assert said in str(caught.value)


def test_missing_network_file(tmp_path: Path) -> None:
    with pytest.raises(PathNotFound):
        load_network(tmp_path / "none.yaml")


def test_senders_are_recognised() -> None:
    assert NETWORK.psc_of_ae_title("EASTFIELD_CT ").id == "eastfield"
    assert NETWORK.psc_of_api_key("millbrook-gateway").id == "millbrook"
    assert NETWORK.psc_of_ae_title("STRANGER") is None
    assert yaml.safe_load(EXAMPLE.read_text())["psc"][0]["id"] == "eastfield"
