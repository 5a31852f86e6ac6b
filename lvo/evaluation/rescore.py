"""Another model's answers to studies whose head boxes were kept."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

from lvo._version import __version__
from lvo.answer import doubts
from lvo.clock import Clock
from lvo.detector import Detection, Detector, HeadFinding
from lvo.errors import OutOfDistribution, PathNotFound
from lvo.evaluation.boxes import BOX_NAME, TRUTH_NAME, read_box, read_result
from lvo.imaging.resample import points_to_patient
from lvo.report.folder import RESULT_NAME, write_result
from lvo.study import Finding, ModelRef, Role, SegmentProbability, SeriesRecord, Status, StudyResult

DOUBT_CODES = ("equivocal", "unusual-image", "brain-not-artery", "place-uncertain", OutOfDistribution.code)
"""Reasons of `lvo.answer.doubts`: the detector's own, so they go with its answer."""
UNKNOWN_SLICE = 0
"""Slice number of a rescored finding: the scan's slices are not kept, so none can be named."""


def rescore_study(folder: Path, detector: Detector, out: Path) -> StudyResult:
    """Answer one kept study with a detector; write its result and truth.

    A study that never came to the detector keeps its result. One that this very bundle and backend have
    answered into ``out`` is not answered again.

    Parameters
    ----------
    folder : the study's folder, see `lvo.evaluation.boxes`.
    out : folder of the new results; this study's is made in it.

    Raises
    ------
    PathNotFound
        The study was analysed but its box was not kept.
    """
    stored, target = read_result(folder), out / folder.name
    target.mkdir(parents=True, exist_ok=True)
    if (target / RESULT_NAME).is_file():
        before = read_result(target)
        if before.model == model_ref(detector) and before.created_at >= stored.created_at:
            return before
    if (folder / TRUTH_NAME).is_file():
        shutil.copyfile(folder / TRUTH_NAME, target / TRUTH_NAME)
    result, box = stored, read_box(folder)
    if box is None and stored.status is not Status.NOT_ANALYSED:
        raise PathNotFound(str(folder / BOX_NAME))
    if box is not None and stored.pose is not None:
        clock = Clock()
        with clock.stage("network"):
            detection = detector.detect(box.cta, box.ncct)
        result = answered(stored, detection, detector, clock)
    write_result(result, target)
    return result


def answered(stored: StudyResult, detection: Detection, detector: Detector, clock: Clock) -> StudyResult:
    """The stored result with a new answer in place of the old; what is not the detector's stays.

    The bolus stays too: it was measured in the whole scan, where the model of that day saw the arteries.
    """
    doubt = doubts(detection)
    refused = any(r.kind == "rejection" for r in doubt)
    sites = tuple(SegmentProbability(segment=g, side=s, probability=p) for g, s, p in detection.segments)
    changed = stored.model_copy(
        update={
            "software_version": __version__,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "status": _status(detection, refused),
            "probability": None if refused else detection.probability,
            "thrombectomy_probability": None if refused else detection.thrombectomy,
            "findings": () if refused else tuple(_finding(f, stored) for f in detection.findings),
            "segments": () if refused else sites,
            "reasons": (*(r for r in stored.reasons if r.code not in DOUBT_CODES), *doubt),
            "model": model_ref(detector),
            "intended_use": detector.bundle.intended_use,
            "timings_s": clock.rounded(),
            "key_images": (),
            "alert": None,
        }
    )
    # model_copy validates nothing; a contradiction must not be written.
    return StudyResult.model_validate(changed.model_dump())


def _status(detection: Detection, refused: bool) -> Status:
    if refused:
        return Status.NOT_ANALYSED
    return Status.SUSPECTED if detection.suspected else Status.NOT_SUSPECTED


def model_ref(detector: Detector) -> ModelRef:
    """Which model answers."""
    b = detector.bundle
    return ModelRef(name=b.name, version=b.version, digest=b.digest, backend=detector.backend)


def _finding(found: HeadFinding, stored: StudyResult) -> Finding:
    """In patient LPS, by the stored pose; the slice is not known."""
    assert stored.pose is not None  # an analysed study has one
    x, y, z = (float(v) for v in points_to_patient(stored.pose, [found.position])[0])
    return Finding(
        segment=found.segment,
        side=found.side,
        probability=found.probability,
        position_lps_mm=(x, y, z),
        sop_instance_uid="",
        series_instance_uid=next((s.series_instance_uid for s in _analysed(stored)), ""),
        slice_number=UNKNOWN_SLICE,
        cause=found.cause.name if found.cause else None,
        cause_why=found.cause.why if found.cause else None,
        brain_deficit=found.brain_deficit,
        brain_deficit_other_side=found.brain_deficit_other_side,
    )


def _analysed(stored: StudyResult) -> list[SeriesRecord]:
    return [s for s in stored.series if s.chosen and s.role is Role.CTA]
