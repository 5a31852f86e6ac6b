"""The route: a decoded study in, a located result and the pictures' data out.

The command line, the HTTP service and batch scoring all come through here and differ only in where files
come from and where results go. A failure on the way ends as ``not_analysed`` with its reason.
"""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from lvo._version import __version__
from lvo.analysis import Analysis, Scene
from lvo.answer import bolus_of, doubts, findings_of, overlay_of
from lvo.clock import Clock
from lvo.dicom import read_study
from lvo.errors import (
    BundleInvalid,
    InternalFault,
    LvoError,
    NoArterialContrast,
    NoSuitableSeries,
    NotAnalysable,
    PathNotFound,
)
from lvo.imaging.box import HeadBoxes, boxes_of, check_pose
from lvo.imaging.head_frame import HeadFramer
from lvo.report.folder import clear_output, prepare_output, write_result
from lvo.report.key_images import write_key_images
from lvo.report.view import Mark
from lvo.study import (
    HeadPose,
    ModelRef,
    Reason,
    Role,
    SegmentProbability,
    Status,
    Study,
    StudyResult,
    Volume,
)

if TYPE_CHECKING:
    from lvo.detector import Detector

log = structlog.get_logger(__name__)


def analyse(study: Study, detector: Detector) -> Analysis:
    """Analyse a decoded study.

    Parameters
    ----------
    study : Study
        As :func:`lvo.dicom.read_study` returns it. Its volumes need their stacks, because a finding is
        reported with the slice on which it lies.
    detector : Detector
        From :func:`lvo.detector.load_detector`.

    Returns
    -------
    Analysis
        Status ``not_analysed`` with a rejection reason whenever the study cannot be answered. Where a head
        was found, the pose and the view are kept all the same.
    """
    clock = Clock(dict(study.timings_s))
    model = _model_ref(detector)
    reasons = [*study.reasons, *_missing_cta(study)]
    volume = study.cta or study.ncct
    if volume is None:
        return Analysis(_not_analysed(study, reasons, clock, model=model))
    if volume.stack is None:
        raise ValueError("a volume without its stack cannot be analysed: no slice could be named")

    with clock.stage("pose"):
        pose = _framer(detector.bundle.pose_path)(volume)
    if refused := check_pose(pose):
        return Analysis(_not_analysed(study, [*reasons, *refused], clock, model=model, pose=pose))

    if study.cta is None:
        scene = Scene(volume, pose, "NCCT")
        return Analysis(_not_analysed(study, reasons, clock, model=model, pose=pose), scene)
    boxes = boxes_of(study, study.cta, pose, clock)
    reasons += boxes.reasons
    if _rejected(reasons):
        scene = Scene(study.cta, pose, "CTA")
        return Analysis(_not_analysed(study, reasons, clock, model=model, pose=pose), scene)
    return _detect(study, study.cta, boxes, pose, reasons, detector, clock)


def _detect(
    study: Study,
    cta: Volume,
    boxes: HeadBoxes,
    pose: HeadPose,
    reasons: list[Reason],
    detector: Detector,
    clock: Clock,
) -> Analysis:
    """Ask the detector and bring its answer back to the patient."""
    with clock.stage("network"):
        detection = detector.detect(boxes.cta, boxes.ncct)
    with clock.stage("decision"):
        doubt = doubts(detection)
        if _rejected(doubt):
            refused = _not_analysed(study, [*reasons, *doubt], clock, model=_model_ref(detector), pose=pose)
            return Analysis(refused, Scene(cta, pose, "CTA"))
        bolus, timing = bolus_of(detection, cta, pose, boxes.cta)
        known = {reason.code for reason in reasons}
        caution = (*doubt, *(reason for reason in timing if reason.code not in known))
        findings = findings_of(detection, cta, pose, bolus)
        marks = tuple(Mark(f.segment, f.side, f.probability, f.position) for f in detection.findings)
    result = StudyResult(
        software_version=__version__,
        study_instance_uid=study.study_instance_uid,
        created_at=_now(),
        status=Status.SUSPECTED if detection.suspected else Status.NOT_SUSPECTED,
        probability=detection.probability,
        thrombectomy_probability=detection.thrombectomy,
        intended_use=detector.bundle.intended_use,
        findings=findings,
        segments=tuple(
            SegmentProbability(segment=segment, side=side, probability=p)
            for segment, side, p in detection.segments
        ),
        reasons=(*reasons, *caution),
        series=study.series,
        bolus=bolus,
        pose=pose,
        model=_model_ref(detector),
        timings_s=clock.rounded(),
    )
    return Analysis(result, Scene(cta, pose, "CTA", marks, overlay_of(detection)))


def score_folder(folder: Path, out: Path, *, detector: Detector) -> StudyResult:
    """Score the DICOM files under a folder; write ``result.json`` and the key images.

    Whatever goes wrong after the paths are known to be usable ends as a written ``not_analysed`` result.

    Parameters
    ----------
    folder : Path
        DICOM files at any depth, in any order and naming.
    out : Path
        Made if needed. An earlier run's results are removed first: none may be mistaken for this one's.

    Raises
    ------
    PathNotFound
        There is no such folder.
    OutputUnwritable
        ``out`` cannot be made or written.
    """
    prepare_output(out)
    study = Study(study_instance_uid=None)
    clock = Clock()
    try:
        study = read_study(folder)
        analysis = analyse(study, detector)
        clock.spent = dict(analysis.result.timings_s)
        with clock.stage("pictures"):
            view = analysis.view()
            names = write_key_images(analysis.result, view, out) if view else ()
        result = analysis.result.model_copy(update={"key_images": names, "timings_s": clock.rounded()})
    except PathNotFound:
        raise
    except Exception as error:
        clear_output(out)  # no picture may outlive the answer it belonged to
        result = faulted(study, error)
    write_result(result, out)
    log.info("study scored", status=result.status.value, reasons=[r.code for r in result.reasons])
    return result


def faulted(study: Study, error: Exception) -> StudyResult:
    """The result of a study whose analysis broke: not analysed, and why as far as may be told.

    Message and log name the kind of error and its place only: its text could quote the patient's data.
    """
    known = isinstance(error, NotAnalysable)
    if not known:
        frames = traceback.extract_tb(error.__traceback__)[-3:]
        where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
        log.error("analysis broke", error=type(error).__name__, where=where)
    cause = error if isinstance(error, LvoError) else InternalFault(f"({type(error).__name__})")
    return _not_analysed(study, [*study.reasons, _rejection(cause)], Clock(dict(study.timings_s)))


# --------------------------------------------------------------------------- parts


@lru_cache(maxsize=2)
def _framer(pose_path: Path) -> HeadFramer:
    try:
        return HeadFramer(pose_path)
    except FileNotFoundError as error:
        raise BundleInvalid("(it holds no pose model)") from error


def _missing_cta(study: Study) -> tuple[Reason, ...]:
    """Why there is no CTA, where the DICOM room has not already refused the study."""
    if study.cta is not None or _rejected(study.reasons):
        return ()
    # A CTA that could not be used must not read as a missed bolus.
    unused = [s.why for s in study.series if s.role is Role.CTA]
    if unused or study.ncct is None:
        return (_rejection(NoSuitableSeries(" ".join(unused))),)
    return (_rejection(NoArterialContrast("No series with arterial contrast was found.")),)


def _not_analysed(
    study: Study,
    reasons: list[Reason],
    clock: Clock,
    *,
    model: ModelRef | None = None,
    pose: HeadPose | None = None,
) -> StudyResult:
    return StudyResult(
        software_version=__version__,
        study_instance_uid=study.study_instance_uid,
        created_at=_now(),
        status=Status.NOT_ANALYSED,
        probability=None,
        reasons=tuple(reasons),
        series=study.series,
        pose=pose,
        model=model,
        timings_s=clock.rounded(),
    )


def _model_ref(detector: Detector) -> ModelRef:
    bundle = detector.bundle
    return ModelRef(name=bundle.name, version=bundle.version, digest=bundle.digest, backend=detector.backend)


def _rejection(error: LvoError) -> Reason:
    return Reason(code=error.code, message=error.message)


def _rejected(reasons: tuple[Reason, ...] | list[Reason]) -> bool:
    return any(reason.kind == "rejection" for reason in reasons)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
