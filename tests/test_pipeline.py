"""The route with a real resampler and writer, and stand-ins for the pose and the network."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lvo import analysis, pipeline
from lvo.anatomy import SITES, Segment, Side
from lvo.detector.cause import Cause
from lvo.detector.evidence import DEFICIT_GRID, EVIDENCE_GRID, VESSEL_CLASSES, Evidence, Tissue
from lvo.errors import OutputUnwritable, PathNotFound, SlicesMissing
from lvo.imaging.resample import HEAD_BOX, Grid, points_to_head
from lvo.report.folder import prepare_output
from lvo.study import (
    HeadPose,
    Reason,
    Role,
    SeriesRecord,
    SliceRef,
    Stack,
    Status,
    Study,
    StudyResult,
    Volume,
)

# The patient lies rotated by 10 degrees and shifted: a pose that is not the identity.
ANGLE = np.deg2rad(10.0)
SHIFT = np.array([12.0, -7.0, 1500.0])
CLOT_HEAD = (22.0, -3.0, 17.0)
SLICE_MM = 3.0
CAUSE = Cause("occlusion", "Clot is seen.")


def turned() -> npt.NDArray[np.float64]:
    c, s = np.cos(ANGLE), np.sin(ANGLE)
    matrix = np.eye(4)
    matrix[:3, :3] = [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    matrix[:3, 3] = -matrix[:3, :3] @ SHIFT
    return matrix


def pose_of(matrix: npt.NDArray[np.float64], **changes: Any) -> HeadPose:
    fields: dict[str, Any] = {
        "matrix": tuple(tuple(float(v) for v in row) for row in matrix),
        "pitch_deg": 0,
        "roll_deg": 0,
        "yaw_deg": 10,
        "scale": 1,
        "residual_mm": 1,
        "support": 0.9,
        "accepted": True,
    }
    return HeadPose(**(fields | changes))


def scan(contrast_hu: float, frame: str = "9.9", z_low: float = -75.0) -> Volume:
    """A head of brain and skull around the shifted origin, with bright tubes where arteries run."""
    nz, n, mm = 60, 88, 2.5
    first = SHIFT + (-mm * (n - 1) / 2, -mm * (n - 1) / 2, z_low)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, mm], [0, mm, 0], [SLICE_MM, 0, 0]])
    affine[:3, 3] = first
    z, y, x = np.meshgrid(
        z_low + SLICE_MM * np.arange(nz), first[1] - SHIFT[1] + mm * np.arange(n),
        first[0] - SHIFT[0] + mm * np.arange(n), indexing="ij",
    )  # fmt: skip
    radius = np.sqrt((x / 70) ** 2 + ((y - 10) / 85) ** 2 + ((z - 20) / 85) ** 2)
    hu = np.where(radius < 1.0, 1000.0, -1000.0)
    hu[radius < 0.93] = 35.0
    # Vessels are thin: what is as bright and thicker is taken for bone.
    middle_cerebral = (np.abs(y) < 2) & (np.abs(z - 16.5) < 2) & (np.abs(x) < 40)
    carotids = (np.abs(y) < 2) & (np.abs(np.abs(x) - 13.75) < 2) & (np.abs(z) < 17)
    sylvian = (np.abs(y - 16) < 16) & (np.abs(np.abs(x) - 38.75) < 2) & (np.abs(z - 16.5) < 2)
    hu[middle_cerebral | carotids | sylvian] = contrast_hu
    slices = tuple(
        SliceRef(f"1.2.{k}", (float(first[0]), float(first[1]), float(first[2] + SLICE_MM * k)))
        for k in range(nz)
    )
    stack = Stack("1.2", frame, (1, 0, 0, 0, 1, 0), (mm, mm), n, n, slices)
    return Volume(hu.astype(np.int16), affine, stack)


@dataclass
class Bundle:
    pose_path: Path = Path("pose.onnx")
    name: str = "test"
    version: str = "0"
    digest: str = "0" * 64
    intended_use: str = "tests"


@dataclass
class Found:
    segment: Segment = Segment.M1
    side: Side = Side.LEFT
    probability: float = 0.9
    position: tuple[float, float, float] = CLOT_HEAD
    cause: Cause | None = CAUSE
    brain_deficit: float | None = 0.4
    brain_deficit_other_side: float | None = 0.1


def seen(*tubes: tuple[Segment, Side, tuple[float, float, float]]) -> Evidence:
    """Evidence in which the named arteries run up through their (x, y, z) places, head-frame mm."""
    shape = EVIDENCE_GRID.shape
    vessel = np.zeros((VESSEL_CLASSES, *shape), np.float32)
    for segment, side, place in tubes:
        i, j, k = np.rint((np.array(place) - EVIDENCE_GRID.origin) / EVIDENCE_GRID.spacing).astype(int)
        vessel[1 + SITES.index((segment, side)), k - 6 : k + 7, j, i] = 1
    vessel[0] = 1 - vessel.sum(axis=0)
    none = np.zeros(shape, np.float32)
    return Evidence(
        vessel,
        none + 1,
        none,
        none,
        none,
        none + 40,
        Tissue(np.zeros(len(SITES), np.float32), np.zeros(DEFICIT_GRID.shape, np.float32)),
    )


class FakeDetector:
    """Answers as told and remembers what it was shown."""

    backend = "onnxruntime-cpu"

    def __init__(self, suspected: bool = True, error: Exception | None = None) -> None:
        self.bundle, self.suspected, self.error = Bundle(), suspected, error
        self.doubt, self.evidence, self.found = "none", seen(), Found()
        self.by_brain = False
        self.seen: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]] = []

    def detect(self, cta: npt.NDArray[np.float32], ncct: npt.NDArray[np.float32] | None) -> Any:
        self.seen.append((cta, ncct))
        if self.error is not None:
            raise self.error

        class Detection:
            probability = thrombectomy = 0.9 if self.suspected else 0.05
            suspected = self.suspected
            findings = (self.found,) if self.suspected else ()
            segments = ((Segment.M1, Side.LEFT, probability),)
            doubt, evidence, by_brain = self.doubt, self.evidence, self.by_brain
            heatmap, arteries = evidence.arteries * evidence.clot, evidence.arteries
            grid = EVIDENCE_GRID

        return Detection()


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "PICTURE_GRID", Grid((100, 114, 84), 2.0, (-83.0, -108.0, -75.0)))


@pytest.fixture(autouse=True)
def known_pose(monkeypatch: pytest.MonkeyPatch) -> Callable[[HeadPose], None]:
    def use(pose: HeadPose) -> None:
        monkeypatch.setattr(pipeline, "_framer", lambda _path: lambda _volume: pose)

    use(pose_of(turned()))
    return use


def study_of(**changes: Any) -> Study:
    return replace(Study("1.2.840.1", cta=scan(400.0), timings_s={"headers": 0.1, "decode": 0.2}), **changes)


def codes(result: StudyResult, kind: str = "rejection") -> set[str]:
    return {reason.code for reason in result.reasons if reason.kind == kind}


def test_a_finding_comes_back_to_the_patient_and_to_its_slice() -> None:
    analysis = pipeline.analyse(study_of(), FakeDetector())
    (finding,) = analysis.result.findings
    expected = np.linalg.inv(turned()) @ (*CLOT_HEAD, 1.0)
    assert finding.position_lps_mm == pytest.approx(expected[:3])
    assert (finding.segment, finding.side) == (Segment.M1, Side.LEFT)
    # The slice's own position, not the pipeline's arithmetic, says which slice it must be.
    stack = scan(0.0).stack
    assert stack is not None
    named = next(s for s in stack.slices if s.sop_instance_uid == finding.sop_instance_uid)
    assert abs(named.position[2] - expected[2]) <= SLICE_MM / 2 + 1e-6
    assert stack.slices[finding.slice_number - 1] == named
    assert points_to_head(pose_of(turned()), [finding.position_lps_mm])[0] == pytest.approx(CLOT_HEAD)


def test_the_detector_sees_the_head_box_with_left_at_high_x() -> None:
    cta = scan(400.0)
    left_ball = np.linalg.inv(turned()) @ (40.0, 20.0, 5.0, 1.0)
    k, j, i = np.round((np.linalg.inv(cta.affine) @ left_ball)[:3]).astype(int)
    cta.array[k - 1 : k + 2, j - 2 : j + 3, i - 2 : i + 3] = 2000
    detector = FakeDetector()
    pipeline.analyse(study_of(cta=cta), detector)
    (box, plain), *_ = detector.seen
    assert (box.shape, box.dtype, plain) == (HEAD_BOX.shape, np.dtype(np.float32), None)
    low = (slice(None), slice(55, None), slice(None))
    where = np.argwhere(box[low] > 1500).mean(axis=0) + (0, 55, 0)
    head = (HEAD_BOX.affine @ (*where, 1.0))[:3]
    assert head == pytest.approx((40.0, 20.0, 5.0), abs=3.0)


@pytest.mark.parametrize(("suspected", "status"), [(True, Status.SUSPECTED), (False, Status.NOT_SUSPECTED)])
def test_an_analysed_study_carries_everything(suspected: bool, status: Status) -> None:
    result = pipeline.analyse(study_of(), FakeDetector(suspected)).result
    assert result.status is status
    assert result.model is not None and result.model.digest == "0" * 64
    assert {"headers", "decode", "pose", "acceptance", "resample", "network", "decision", "total"} <= set(
        result.timings_s
    )
    stages = sum(seconds for name, seconds in result.timings_s.items() if name != "total")
    assert result.timings_s["total"] == pytest.approx(stages, abs=0.01)


@pytest.mark.parametrize(
    ("doubt", "code"), [("none", None), ("equivocal", "equivocal"), ("unusual", "unusual-image")]
)
def test_a_doubt_is_a_caution_and_leaves_the_answer(doubt: str, code: str | None) -> None:
    detector = FakeDetector()
    detector.doubt = doubt
    result = pipeline.analyse(study_of(), detector).result
    assert result.status is Status.SUSPECTED
    assert codes(result, "caution") & {"equivocal", "unusual-image"} == ({code} if code else set())


@pytest.mark.parametrize(("probability", "told"), [(0.19, True), (0.2, False)])
def test_a_place_that_does_not_stand_out_is_named_with_a_caution(probability: float, told: bool) -> None:
    detector = FakeDetector()
    detector.found = Found(probability=probability)
    result = pipeline.analyse(study_of(), detector).result
    assert result.findings and ("place-uncertain" in codes(result, "caution")) is told


@pytest.mark.parametrize("told", [True, False])
def test_a_study_suspected_for_its_brain_alone_says_so(told: bool) -> None:
    detector = FakeDetector()
    detector.by_brain = told
    analysis = pipeline.analyse(study_of(), detector)
    assert ("brain-not-artery" in codes(analysis.result, "caution")) is told
    (finding,) = analysis.result.findings
    assert (finding.brain_deficit, finding.brain_deficit_other_side) == (0.4, 0.1)


def test_the_pictures_show_what_one_side_of_the_brain_lacks_more() -> None:
    detector = FakeDetector()
    lack = detector.evidence.tissue.deficit
    lack[9, 6, 14], lack[9, 6, 3] = 0.7, 0.2
    scene = pipeline.analyse(study_of(), detector).scene
    assert scene is not None and scene.overlay is not None
    shown = scene.overlay.deficit
    assert shown.values[9, 6, 14] == pytest.approx(0.5) and np.count_nonzero(shown.values) == 1
    assert shown.origin[0] + 14 * shown.spacing > 20, "on the patient's left"


@pytest.mark.parametrize("suspected", [True, False])
def test_an_image_unlike_any_other_is_not_analysed_but_shown(suspected: bool) -> None:
    detector = FakeDetector(suspected)
    detector.doubt = "strange"
    analysis = pipeline.analyse(study_of(), detector)
    assert analysis.result.status is Status.NOT_ANALYSED
    assert codes(analysis.result) == {"out-of-distribution"}
    assert analysis.result.pose is not None and analysis.result.model is not None
    assert analysis.scene is not None and analysis.scene.marks == ()


def test_the_bolus_and_the_cause_of_a_finding_are_told() -> None:
    detector = FakeDetector()
    # The carotids stand upright, 13.75 mm to either side; in the head frame they are turned with the patient.
    x, y = 13.75 * np.cos(ANGLE), 13.75 * np.sin(ANGLE)
    ica = Segment.ICA_INTRACRANIAL
    carotids = ((ica, Side.LEFT, (x, y, 0.0)), (ica, Side.RIGHT, (-x, -y, 0.0)))
    detector.evidence = seen(*carotids)
    analysis = pipeline.analyse(study_of(), detector)
    bolus, (finding,) = analysis.result.bolus, analysis.result.findings
    assert bolus is not None and bolus.basilar_hu is None
    assert bolus.left_ica_hu == pytest.approx(400, abs=60) and bolus.right_ica_hu == pytest.approx(
        400, abs=60
    )
    assert bolus.torcula_hu is not None and bolus.torcula_hu < 80 and bolus.phase == "early-arterial"
    assert "early-phase" in codes(analysis.result, "caution")
    assert (finding.cause, finding.cause_why) == ("occlusion", "Clot is seen.")
    assert analysis.scene is not None and analysis.scene.overlay is not None


def test_without_contrast_nothing_is_asked_of_the_detector() -> None:
    detector = FakeDetector(suspected=False)
    analysis = pipeline.analyse(study_of(cta=scan(35.0)), detector)
    assert analysis.result.status is Status.NOT_ANALYSED
    assert codes(analysis.result) == {"no-arterial-contrast"}
    assert analysis.scene is not None and analysis.result.pose is not None
    assert not detector.seen


def test_a_plain_scan_alone_is_not_analysed_but_shown() -> None:
    analysis = pipeline.analyse(study_of(cta=None, ncct=scan(35.0)), FakeDetector(suspected=False))
    assert codes(analysis.result) == {"no-arterial-contrast"}
    assert analysis.scene is not None and analysis.scene.modality == "NCCT"


def test_an_unusable_cta_does_not_read_as_a_missed_bolus() -> None:
    record = SeriesRecord(
        series_instance_uid="1", role=Role.CTA, chosen=False, why="It covers only 20 mm.", instances=5
    )
    result = pipeline.analyse(study_of(cta=None, ncct=scan(35.0), series=(record,)), FakeDetector()).result
    assert codes(result) == {"no-suitable-series"}
    assert "It covers only 20 mm." in result.reasons[0].message


def test_a_refused_study_keeps_its_reason_and_gets_no_answer() -> None:
    refusal = Reason(code=SlicesMissing.code, message="gap")
    result = pipeline.analyse(study_of(reasons=(refusal,)), FakeDetector(suspected=False)).result
    assert result.status is Status.NOT_ANALYSED
    assert codes(result) == {"slices-missing"}


@pytest.mark.parametrize(("support", "code"), [(0.0, "not-a-head"), (0.4, "pose-failed")])
def test_a_pose_that_fails_its_gate_stops_the_route(
    known_pose: Callable[[HeadPose], None], support: float, code: str
) -> None:
    known_pose(pose_of(turned(), accepted=False, support=support))
    analysis = pipeline.analyse(study_of(), FakeDetector(suspected=False))
    assert codes(analysis.result) == {code}
    assert analysis.scene is None and analysis.view() is None


def test_a_head_cut_off_at_the_circle_of_willis_is_not_analysed() -> None:
    analysis = pipeline.analyse(study_of(cta=scan(400.0, z_low=20.0)), FakeDetector(suspected=False))
    assert "coverage-incomplete" in codes(analysis.result)


def test_the_plain_scan_is_used_only_in_the_same_frame_of_reference() -> None:
    same, other = FakeDetector(), FakeDetector()
    pipeline.analyse(study_of(ncct=scan(35.0)), same)
    result = pipeline.analyse(study_of(ncct=scan(35.0, frame="8.8")), other).result
    assert same.seen[0][1] is not None
    assert other.seen[0][1] is None
    assert codes(result, "caution") == {"ncct-frame-differs"}


def use_study(monkeypatch: pytest.MonkeyPatch, study: Study) -> None:
    monkeypatch.setattr(pipeline, "read_study", lambda _folder: study)


def test_score_folder_writes_result_and_pictures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_study(monkeypatch, study_of())
    result = pipeline.score_folder(tmp_path, tmp_path / "out", detector=FakeDetector())
    written = StudyResult.model_validate_json((tmp_path / "out" / "result.json").read_text())
    assert written == result
    assert result.key_images[0] == "axial_mip.png"
    assert all((tmp_path / "out" / name).stat().st_size > 10_000 for name in result.key_images)
    assert "pictures" in result.timings_s


@pytest.mark.parametrize("where", ["read_study", "detector", "write_key_images"])
def test_a_fault_anywhere_is_written_as_not_analysed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("PATIENT^NAME")

    use_study(monkeypatch, study_of())
    detector = FakeDetector(error=RuntimeError("PATIENT^NAME") if where == "detector" else None)
    if where != "detector":
        monkeypatch.setattr(pipeline, where, broken)
    result = pipeline.score_folder(tmp_path, tmp_path / "out", detector=detector)
    text = (tmp_path / "out" / "result.json").read_text()
    assert json.loads(text)["status"] == result.status == Status.NOT_ANALYSED
    assert codes(result) == {"internal-fault"}
    assert "PATIENT" not in text
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result.json"]


def test_a_contradicting_detector_is_a_fault_and_not_a_negative(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_study(monkeypatch, study_of())
    detector = FakeDetector()
    answer = detector.detect(np.zeros(1, np.float32), None)
    answer.findings = ()
    monkeypatch.setattr(detector, "detect", lambda *_: answer)
    result = pipeline.score_folder(tmp_path, tmp_path / "out", detector=detector)
    assert codes(result) == {"internal-fault"}


def test_an_earlier_answer_does_not_survive_a_new_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("result.json", "axial_mip.png", "finding_7.png", "notes.txt"):
        (tmp_path / name).write_text("old")
    monkeypatch.setattr(pipeline, "read_study", lambda _folder: (_ for _ in ()).throw(PathNotFound("x")))
    with pytest.raises(PathNotFound):
        pipeline.score_folder(tmp_path / "missing", tmp_path, detector=FakeDetector())
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputUnwritable):
        prepare_output(tmp_path / "out")
