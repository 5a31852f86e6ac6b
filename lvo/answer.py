"""What the detector said, in the words of a result: findings in the patient, the bolus, and doubts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lvo.anatomy import SITES, Segment, Side
from lvo.detector.cause import Cause, late_bolus
from lvo.detector.evidence import DEFICIT_GRID
from lvo.errors import OutOfDistribution
from lvo.imaging.bolus import measure_bolus, report_bolus
from lvo.imaging.resample import points_to_patient
from lvo.report.view import Layer, Overlay
from lvo.study import BolusReport, Finding, FloatArray, HeadPose, Reason, Volume

if TYPE_CHECKING:
    from lvo.detector import Detection
    from lvo.detector.detect import HeadFinding

_MEASURED = (
    (Segment.ICA_INTRACRANIAL, Side.LEFT),
    (Segment.ICA_INTRACRANIAL, Side.RIGHT),
    (Segment.BASILAR, Side.MIDLINE),
)
_PLACED = 0.2
"""Probability of the likeliest finding from which its place is told without caution. Under it the site was
right in 8 of 13 detected studies of the benchmark and in 21 of 41 composed ones; from it on, in 270 of 305
and in 210 of 259."""


def bolus_of(
    detection: Detection, cta: Volume, pose: HeadPose, box: FloatArray
) -> tuple[BolusReport, tuple[Reason, ...]]:
    """The bolus where the detector says that the arteries run, and its cautions.

    Parameters
    ----------
    cta : HU
    pose : patient LPS to head frame
    box : float32 (128, 112, 144), the CTA on HEAD_BOX, HU
    """
    evidence = detection.evidence
    left, right, basilar = (evidence.vessel[1 + SITES.index(site)] * evidence.lit for site in _MEASURED)
    return report_bolus(measure_bolus(cta, pose, box, (left, right, basilar)))


def doubts(detection: Detection) -> tuple[Reason, ...]:
    """How far the answer and its place are to be trusted; a rejection where the answer is not."""
    found = _doubt(detection)
    likeliest = max((f.probability for f in detection.findings), default=1.0)
    if detection.doubt == "strange":
        return found
    if detection.by_brain:
        text = "Suspected for brain that lacks contrast, not for a clot that was seen. Look at what feeds it."
        found += (Reason(code="brain-not-artery", message=text, kind="caution"),)
    if likeliest < _PLACED:
        text = "No single place stands out: the one that is named may be wrong. Look at every artery."
        found += (Reason(code="place-uncertain", message=text, kind="caution"),)
    return found


def _doubt(detection: Detection) -> tuple[Reason, ...]:
    match detection.doubt:
        case "equivocal":
            text = "The probability lies close to the threshold: a person should look first."
            return (Reason(code="equivocal", message=text, kind="caution"),)
        case "unusual":
            text = "The image lies at the edge of what the model was made for: the answer is less certain."
            return (Reason(code="unusual-image", message=text, kind="caution"),)
        case "strange":
            error = OutOfDistribution()
            return (Reason(code=error.code, message=error.message),)
        case "none":
            return ()


def findings_of(detection: Detection, cta: Volume, pose: HeadPose, bolus: BolusReport) -> tuple[Finding, ...]:
    """Findings in patient LPS, each with the slice on which it lies and what it looks like."""
    assert cta.stack is not None  # analyse() has checked
    found = []
    for finding in detection.findings:
        x, y, z = (float(v) for v in points_to_patient(pose, [finding.position])[0])
        slice_ref = cta.stack.slice_at((x, y, z))
        cause = _cause(detection, finding, bolus)
        found.append(
            Finding(
                segment=finding.segment,
                side=finding.side,
                probability=finding.probability,
                position_lps_mm=(x, y, z),
                sop_instance_uid=slice_ref.sop_instance_uid,
                series_instance_uid=cta.stack.series_instance_uid,
                slice_number=cta.stack.slices.index(slice_ref) + 1,
                cause=cause.name if cause else None,
                cause_why=cause.why if cause else None,
                brain_deficit=finding.brain_deficit,
                brain_deficit_other_side=finding.brain_deficit_other_side,
            )
        )
    return tuple(found)


def _cause(detection: Detection, finding: HeadFinding, bolus: BolusReport) -> Cause | None:
    """What the finding looks like; a bolus missed goes before what the lumen seems to be."""
    if finding.cause is not None and finding.cause.name == "calcified":
        return finding.cause
    site = SITES.index((finding.segment, finding.side))
    return late_bolus(detection.evidence, site, bolus) or finding.cause


def overlay_of(detection: Detection) -> Overlay:
    """What the pictures show of the detector's answer."""
    grid, lack = detection.grid, detection.evidence.tissue.deficit
    # Both sides of a real head are told to lack a little: what one lacks more is what the reader weighs.
    more = np.maximum(lack - lack[..., ::-1], 0)
    return Overlay(
        Layer(detection.arteries, grid.origin, grid.spacing),
        Layer(detection.heatmap, grid.origin, grid.spacing),
        Layer(more, DEFICIT_GRID.origin, DEFICIT_GRID.spacing),
    )
