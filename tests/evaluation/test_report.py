"""From a truth table and a folder of results to a report."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lvo.anatomy import SITES, Segment, Side
from lvo.errors import PathNotFound, TruthInvalid
from lvo.evaluation import as_markdown, evaluate_folder
from lvo.evaluation.figures import Group
from lvo.evaluation.report import Report, Table
from lvo.study import (
    Finding,
    HeadPose,
    Point,
    SegmentProbability,
    Status,
    StudyResult,
)
from tests.evaluation.builders import MODEL, refused

POSE = HeadPose(
    matrix=((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)),
    pitch_deg=0, roll_deg=0, yaw_deg=0, scale=1, residual_mm=1, support=1, accepted=True,
)  # fmt: skip
HEADER = "study,seed,status,segment,side,clot_length_mm,collateral,bolus,position_x,position_y,position_z"
M1L, M1R = (Segment.M1, Side.LEFT), (Segment.M1, Side.RIGHT)
Found = tuple[Segment, Side, float, Point]


def answer(
    probability: float, *findings: Found, sites: dict[tuple[Segment, Side], float] | None = None
) -> StudyResult:
    sites = sites or {}
    return StudyResult(
        software_version="0", study_instance_uid="1.2", created_at="2026-01-01T00:00:00Z",
        status=Status.SUSPECTED if findings else Status.NOT_SUSPECTED,
        probability=probability, pose=POSE, model=MODEL,
        segments=tuple(
            SegmentProbability(segment=g, side=s, probability=sites.get((g, s), 0.05)) for g, s in SITES
        ),
        findings=tuple(
            Finding(segment=g, side=s, probability=p, position_lps_mm=at, sop_instance_uid="1.3",
                    series_instance_uid="1.4", slice_number=1)
            for g, s, p, at in findings
        ),
    )  # fmt: skip


def report(folder: Path, rows: str, **answers: StudyResult) -> Report:
    truth = folder / "truth.csv"
    truth.write_text(f"{HEADER}\n{rows}")
    for name, result in answers.items():
        (folder / name).mkdir()
        (folder / name / "result.json").write_text(result.model_dump_json())
    return evaluate_folder(truth, folder)


def table(found: Report, title: str) -> Table:
    (wanted,) = [t for t in found.strata if t.title.startswith(title)]
    return wanted


def only(groups: Table, *key: str) -> Group:
    (found,) = [g for g in groups.rows if g.key == key]
    return found


ROWS = """\
a,1,occluded,M1,left,10,2,arterial,30,0,0
b,2,occluded,M1,right,20,0,arterial,-30,0,0
c,3,occluded,ICA-T,left,5,1,arterial,20,0,0
d,4,occluded,M1,left,10,2,arterial,30,0,0
e,5,patent,,,,,arterial,,,
f,6,patent,,,,,arterial,,,
g,7,patent,,,,,arterial,,,
h,8,occluded,M1,left,10,2,arterial,30,0,0
"""


@pytest.fixture
def sample(tmp_path: Path) -> Report:
    return report(
        tmp_path,
        ROWS,
        a=answer(0.9, (*M1L, 0.9, (30, 3, 4)), sites={M1L: 0.9}),
        b=answer(0.8, (*M1L, 0.6, (30, 0, 0)), (*M1R, 0.5, (-30, 0, 0)), sites={M1R: 0.5}),
        c=answer(0.3),
        d=refused("no-arterial-contrast"),
        e=answer(0.1, sites={M1L: 0.05, M1R: 0.1}),
        f=answer(0.6, (*M1R, 0.6, (0, 0, 0)), sites={M1R: 0.6}),
        g=refused("pose-failed"),
    )


def test_not_analysed_counts_as_neither_negative_nor_hit(sample: Report) -> None:
    assert (sample.studies, sample.occluded, sample.patent) == (8, 5, 3)
    whole = sample.overall
    assert (whole.not_analysed, whole.not_analysed_patent, sample.without_result) == (2, 1, 1)
    reasons = {r.code: (r.occluded, r.patent) for r in sample.not_analysed}
    assert reasons == {"no-arterial-contrast": (1, 0), "pose-failed": (0, 1), "no-result": (1, 0)}
    assert (whole.sensitivity.count, whole.sensitivity.n) == (2, 3)
    assert (whole.sensitivity_all.count, whole.sensitivity_all.n) == (2, 5)
    assert (whole.specificity.count, whole.specificity.n) == (1, 2)
    assert (whole.specificity_all.count, whole.specificity_all.n) == (1, 3)
    assert whole.auc_study.value == pytest.approx(5 / 6)  # of 3 x 2 pairs only (c 0.3, f 0.6) is wrong


def test_figures_of_a_segment(sample: Report) -> None:
    m1 = only(sample.segments, "M1")
    assert (m1.occlusions, m1.not_analysed) == (4, 2)
    assert (m1.auc_study.value, m1.auc_study.n) == (1.0, 4)
    assert m1.auc_site.value == pytest.approx(3 / 4)  # 0.9 and 0.5 against the higher sides 0.1 and 0.6
    # the leading finding of b is on the wrong side, though the right place is listed second
    assert (m1.side_right.count, m1.segment_right.count, m1.side_right.n) == (1, 2, 2)
    assert m1.position_error_mm.value == pytest.approx((5 + 60) / 2)
    ica = only(sample.segments, "ICA-T")
    assert (ica.sensitivity.count, ica.sensitivity.n, ica.side_right.value) == (0, 1, None)
    joined = only(sample.segments, "ICA-T or M1")
    assert (joined.studies, joined.sensitivity.n, joined.auc_study.value) == (5, 3, pytest.approx(5 / 6))
    assert [g.key[0] for g in sample.segments.rows][-2:] == ["ICA-T", "M1"]


def test_every_occlusion_stands_once_in_each_table(sample: Report) -> None:
    for title in ("By collateral", "By clot length", "Segment, collateral"):
        assert sum(g.occlusions for g in table(sample, title).rows) == 5
    assert only(table(sample, "Segment, collateral"), "M1", "grade 2", "8 to 15 mm").occlusions == 3
    lengths = [g.key for g in table(sample, "By clot length").rows]
    assert lengths == [("< 8 mm",), ("8 to 15 mm",), ("≥ 15 mm",)]


def test_clots_are_told_apart_by_the_lumen_they_begin_in_where_the_truth_knows_it(tmp_path: Path) -> None:
    truth = tmp_path / "truth.csv"
    rows = ("a,1,occluded,M2,left,10,2,arterial,30,0,0,1.99", "b,2,occluded,M2,left,9,2,arterial,30,0,0,",
            "c,3,patent,,,,,,,,,")  # fmt: skip
    truth.write_text("\n".join([f"{HEADER},lumen_mm", *rows]))
    assert [g.key for g in table(evaluate_folder(truth, tmp_path), "Segment, and lumen").rows] == [
        ("M2", "1.6 to 2 mm")
    ]


def test_clots_that_the_scan_leaves_out_are_told_apart(tmp_path: Path) -> None:
    truth = tmp_path / "truth.csv"
    rows = ("a,1,occluded,ICA-C,left,40,2,arterial,30,0,0,0.0",
            "b,2,occluded,ICA-C,left,40,2,arterial,30,0,0,0.5",
            "c,3,occluded,M1,left,9,2,arterial,30,0,0,1.0", "d,4,occluded,M1,left,9,2,arterial,30,0,0,",
            "e,5,patent,,,,,,,,,")  # fmt: skip
    truth.write_text("\n".join([f"{HEADER},clot_scanned", *rows]))
    assert [g.key for g in table(evaluate_folder(truth, tmp_path), "Segment, of clots").rows] == [
        ("ICA-C", "hardly any"), ("ICA-C", "some of it"),
    ]  # fmt: skip


def test_two_occlusions_are_paired_by_distance(tmp_path: Path) -> None:
    rows = "a,1,occluded,M1,left,,,x,30,0,0\na,1,occluded,BA,midline,12,,x,0,20,-20\n"
    wrong_place = (Segment.P1, Side.RIGHT, 0.3, (-5.0, 20.0, -20.0))
    basilar = (Segment.BASILAR, Side.MIDLINE, 0.7, (0.0, 20.0, -21.0))
    found = report(tmp_path, rows, a=answer(0.9, basilar, (*M1L, 0.9, (32, 0, 0)), wrong_place))
    for name, error in (("M1", 2.0), ("BA", 1.0)):
        group = only(found.segments, name)
        assert (group.side_right.count, group.segment_right.count) == (1, 1)
        assert group.position_error_mm.value == pytest.approx(error)
    assert {g.key[0] for g in table(found, "By clot length").rows} == {"8 to 15 mm", "length unknown"}
    assert found.occluded == 1 and found.overall.auc_study.value is None
    assert (found.overall.sensitivity.n, found.overall.side_right.count) == (1, 1)


def test_study_is_wrong_when_one_of_its_occlusions_has_no_answer(tmp_path: Path) -> None:
    rows = "a,1,occluded,M1,left,9,1,x,30,0,0\na,1,occluded,M1,right,9,1,x,-30,0,0\n"
    m1 = only(report(tmp_path, rows, a=answer(0.9, (*M1L, 0.9, (30, 0, 0)))).segments, "M1")
    assert (m1.side_right.count, m1.side_right.n, m1.position_error_mm.n) == (0, 1, 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,1,patent,M1,left,,,,,,\n", "patent"),
        ("a,1,occluded,,,,,,,,\n", "occluded"),
        ("a,1,maybe,,,,,,,,\n", "maybe"),
        ("a,1,occluded,M9,left,,,,,,\n", "M9"),
        ("a,1,occluded,M1,midline,,,,,,\n", "midline"),
        ("a,1,occluded,M1,left,long,,,,,\n", "long"),
        ("a,1,patent,,,,,,,,\na,1,occluded,M1,left,9,1,x,1,1,1\n", "line 3"),
        ("a,1,occluded,M1,left,9,1,x,1,1,1\n" * 2, "line 3"),
    ],
)
def test_contradictory_truth_is_refused(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(TruthInvalid, match=message):
        report(tmp_path, rows)


def test_unusable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(PathNotFound):
        evaluate_folder(tmp_path / "none.csv", tmp_path)
    (tmp_path / "truth.csv").write_text("study,status\na,patent\n")
    with pytest.raises(TruthInvalid, match="segment"):
        evaluate_folder(tmp_path / "truth.csv", tmp_path)
    (tmp_path / "e.json").write_text('{"status": "not_suspected"}')
    with pytest.raises(TruthInvalid, match=r"e\.json"):
        report(tmp_path, "e,5,patent,,,,,,,,\n")


def test_markdown_has_a_row_per_group(sample: Report) -> None:
    text = as_markdown(sample, title="Accuracy", measured_on="a toy set")
    assert "a toy set" in text and "Research use only" in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3 + len(sample.strata)  # overall, segments, reasons
    for lines, groups in zip(tables[1:], (sample.segments, *sample.strata), strict=False):
        assert len(lines) == 2 + len(groups.rows)
        assert len({line.count("|") for line in lines}) == 1
    assert "66.7 % (20.8–93.9), 2/3" in text


def test_benchmark_script_writes_both_forms(sample: Report, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, str(root / "scripts/benchmark.py"), "--results", ".", "--against", "."]
    python = {"PYTHONPATH": str(root)}
    subprocess.run([*command, "--out", "r/report.md"], cwd=tmp_path, env=python, check=True)
    assert Report.model_validate_json((tmp_path / "r/report.json").read_text()) == sample
    text = (tmp_path / "r/report.md").read_text()
    assert "| M1 |" in text and "## Side by side" in text
    failed = subprocess.run([*command[:3], "no-such", "--out", "x.md"], cwd=tmp_path,
                            env=python, capture_output=True, text=True)  # fmt: skip
    assert failed.returncode == 2 and "path-not-found" in failed.stderr
