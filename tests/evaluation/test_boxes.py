"""Kept head boxes: answered again, held against another backend, and drawn where the answer was wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lvo.anatomy import SITES, Segment, Side
from lvo.clock import Clock
from lvo.detector import Detection, Detector, HeadFinding
from lvo.detector.detect import Doubt
from lvo.detector.evidence import DEFICIT_GRID, EVIDENCE_GRID, VESSEL_CLASSES, Evidence, Tissue
from lvo.errors import PathNotFound, UsageError
from lvo.evaluation.boxes import (
    Box,
    finished,
    join_truth,
    read_box,
    read_result,
    recording,
    write_box,
)
from lvo.evaluation.cases import Case, read_cases
from lvo.evaluation.gallery import caption, failures, index_page, picture
from lvo.evaluation.parity import Parity, compare_backends
from lvo.evaluation.rescore import answered, rescore_study
from lvo.imaging.resample import HEAD_BOX
from lvo.report.folder import write_result
from lvo.study import FloatArray, Status
from tests.evaluation.builders import answer, occlusion, perfect, refused, yes

M1L, M1R, BA = (Segment.M1, Side.LEFT), (Segment.M1, Side.RIGHT), (Segment.BASILAR, Side.MIDLINE)
TRUTH = "study,status,segment,side,clot_length_mm,collateral,position_x,position_y,position_z,noise_hu\n"


@dataclass(frozen=True, slots=True)
class Stub(Detector):
    """Says left M1 to everybody."""

    def detect(self, cta: FloatArray, ncct: FloatArray | None = None) -> Detection:
        return detection((M1L, 0.8))


@pytest.fixture
def detector() -> Detector:
    bundle: Any = SimpleNamespace(name="toy", version="1", digest="d1", intended_use="tests")
    network: Any = SimpleNamespace(name="onnxruntime-cpu")
    reader: Any = None
    return Stub(bundle, network, reader)


@pytest.fixture(scope="module")
def box() -> Box:
    rng = np.random.default_rng(0)
    return Box(rng.normal(40, 60, HEAD_BOX.shape).astype(np.float32))


def detection(
    *findings: tuple[tuple[Segment, Side], float], study: float = 0.9, doubt: Doubt = "none"
) -> Detection:
    empty = np.zeros(EVIDENCE_GRID.shape, np.float32)
    sites = dict(findings)
    return Detection(
        study,
        study,
        bool(findings),
        tuple((*site, sites.get(site, 0.1)) for site in SITES),
        tuple(HeadFinding(*site, p, (10.0, 0.0, 0.0)) for site, p in findings),
        empty,
        empty + 0.5,
        Evidence(
            np.zeros((VESSEL_CLASSES, *empty.shape), np.float32),
            *(empty,) * 5,
            Tissue(np.zeros(len(SITES), np.float32), np.zeros(DEFICIT_GRID.shape, np.float32)),
        ),
        doubt=doubt,
    )


def kept(folder: Path, box: Box) -> Path:
    """Two finished studies, one of them not analysed, and one that is still being scored."""
    for name, result in (("a", answer(0.2, {})), ("b", refused()), ("c", None)):
        study = folder / name
        study.mkdir(parents=True)
        truth = f"{name},occluded,M1,left,9,1,30,0,0,8.0\n" if name == "a" else f"{name},patent,,,,,,,,9.0\n"
        (study / "truth.csv").write_text(TRUTH + truth)
        if result is not None:
            write_result(result, study)
    write_box(folder / "a", box)
    return folder


def test_box_comes_back_as_it_was(tmp_path: Path, box: Box) -> None:
    assert read_box(tmp_path) is None
    for written in (box, Box(box.cta, box.cta + 1)):
        write_box(tmp_path, written)
        found = read_box(tmp_path)
        assert found is not None and np.array_equal(found.cta, written.cta)
        assert (found.ncct is None) is (written.ncct is None)
    assert found.ncct is not None and np.array_equal(found.ncct, box.cta + 1)


def test_a_box_of_another_size_is_refused_with_what_to_do(tmp_path: Path, box: Box) -> None:
    write_box(tmp_path, Box(box.cta[..., 1:]))
    with pytest.raises(UsageError, match=r"box\.npz .*score the studies again"):
        read_box(tmp_path)


def test_rescoring_gives_what_the_detector_says(tmp_path: Path, box: Box, detector: Detector) -> None:
    boxes, out = kept(tmp_path / "boxes", box), tmp_path / "out"
    recorder = recording(detector)
    for folder in finished(boxes):
        rescore_study(folder, recorder, out)
    assert len(recorder.seen) == 1 and np.array_equal(recorder.seen[0].cta, box.cta)
    found = read_result(out / "a")
    assert found.probability == 0.9 and found.status is Status.SUSPECTED
    assert found.model is not None and found.model.digest == "d1"
    assert read_result(out / "b") == read_result(boxes / "b")
    rescore_study(boxes / "a", recorder, out)
    assert len(recorder.seen) == 1  # answered already
    assert [c.study for c in read_cases(join_truth(out), out)] == ["a", "b"]
    assert [c.about["noise_hu"] for c in read_cases(boxes, boxes)] == ["8.0", "9.0"]
    (boxes / "a" / "box.npz").unlink()
    with pytest.raises(PathNotFound, match=r"box\.npz"):
        rescore_study(boxes / "a", detector, tmp_path / "other")


def test_new_answer_is_brought_to_the_patient(detector: Detector) -> None:
    stored = answer(0.2, {})
    found = answered(stored, detection((M1L, 0.8)), detector, Clock())
    assert found.status is Status.SUSPECTED and found.pose == stored.pose
    assert found.findings[0].position_lps_mm == (5.0, 0.0, 0.0)  # the pose moves 5 mm to the left
    assert found.findings[0].slice_number == 0  # unknown, and said so
    cleared = answered(found, detection(study=0.1), detector, Clock())
    assert cleared.status is Status.NOT_SUSPECTED and not cleared.findings
    strange = answered(found, detection((M1L, 0.8), doubt="strange"), detector, Clock())
    assert strange.status is Status.NOT_ANALYSED and strange.probability is None
    again = answered(strange, detection((M1L, 0.8), doubt="equivocal"), detector, Clock())
    assert again.status is Status.SUSPECTED and [r.code for r in again.reasons] == ["equivocal"]


def test_parity_counts_what_differs() -> None:
    row = Parity(backend="other", studies=0)
    row = row.add("same", detection((M1L, 0.8)), detection((M1L, 0.8)))
    assert row == Parity(backend="other", studies=1)
    row = row.add("list", detection((M1L, 0.8)), detection((M1L, 0.8), (BA, 0.7)))
    row = row.add("decision", detection((M1L, 0.8)), detection(study=0.85))
    assert (row.studies, row.decisions, row.findings) == (3, 1, 2)
    assert row.study_difference == pytest.approx(0.05) and row.site_difference == pytest.approx(0.7)
    assert row.differing == ("list", "decision")


def test_every_backend_answers_every_box(detector: Detector, box: Box) -> None:
    others = [recording(detector), recording(detector)]
    found = compare_backends(detector, others, [("a", box), ("b", Box(box.cta, box.cta))])
    assert [(r.studies, r.study_difference, r.decisions) for r in found.rows] == [(2, 0.0, 0)] * 2
    assert [[b.ncct is None for b in d.seen] for d in others] == [[True, False]] * 2


def test_gallery_shows_every_wrong_answer(box: Box) -> None:
    missed = Case("m", (occlusion(M1L),), answer(0.1, {M1L: 0.1}))
    wrong = yes("w", occlusion(M1R, at=(-30.0, 0.0, 0.0)))
    right = perfect("r", occlusion(M1L))
    found = failures([perfect("p"), yes("f"), wrong, missed, right, Case("n", (occlusion(M1L),), refused())])
    assert [(f.kind, f.case.study) for f in found] == [
        ("missed", "m"),
        ("false alarm", "f"),
        ("wrong side", "w"),
    ]
    assert found[0].places[0].position == (35.0, 0.0, 0.0)  # truth, in the head frame
    assert any("M1 left, clot 10.0 mm, collateral grade 1" in line for line in caption(found[0]))
    page = index_page(found, "Wrong")
    for f in found:
        assert f.file in page
        alone, beside = picture(f, box), picture(f, box, detection((M1L, 0.8)))
        assert beside.width > alone.width and np.asarray(alone).any()


def test_marks_are_where_truth_and_claim_are(box: Box) -> None:
    flat = Box(np.full_like(box.cta, 40.0))
    (found,) = failures([yes("w", occlusion(M1R, at=(-30.0, 0.0, 0.0)))])
    rgb = np.asarray(picture(found, flat)).astype(int)
    first = rgb[150:530, 12:392]  # the coronal slab through the true clot, below the caption
    green = np.argwhere((first[..., 1] > 200) & (first[..., 0] < 120))
    yellow = np.argwhere((first[..., 0] > 230) & (first[..., 2] < 60))
    assert len(green) and len(yellow)
    assert green[:, 1].mean() < yellow[:, 1].mean()  # the patient's right lies on the left of the picture
