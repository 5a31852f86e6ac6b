"""Cases with hand-made answers."""

from __future__ import annotations

from collections.abc import Mapping

from lvo.anatomy import SITES, Segment, Side
from lvo.evaluation.cases import Case, Occlusion
from lvo.study import (
    Finding,
    HeadPose,
    ModelRef,
    Point,
    Reason,
    SegmentProbability,
    Status,
    StudyResult,
)

POSE = HeadPose(
    matrix=((1, 0, 0, 5), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)),
    pitch_deg=0, roll_deg=0, yaw_deg=0, scale=1, residual_mm=1, support=1, accepted=True,
)  # fmt: skip
MODEL = ModelRef(name="toy", version="0", digest="0", backend="onnxruntime-cpu")
Site = tuple[Segment, Side]


def occlusion(site: Site, *, at: Point = (30.0, 0.0, 0.0), mm: float = 10.0, grade: str = "1") -> Occlusion:
    return Occlusion(*site, mm, grade, at)


def answer(probability: float, sites: Mapping[Site, float], *findings: tuple[Site, Point]) -> StudyResult:
    """A result; suspected where it has findings."""
    return StudyResult(
        software_version="0", study_instance_uid="1.2", created_at="2026-01-01T00:00:00Z",
        status=Status.SUSPECTED if findings else Status.NOT_SUSPECTED,
        probability=probability, pose=POSE, model=MODEL,
        segments=tuple(
            SegmentProbability(segment=g, side=s, probability=sites.get((g, s), 0.0)) for g, s in SITES
        ),
        findings=tuple(
            Finding(segment=g, side=s, probability=sites.get((g, s), 0.5), position_lps_mm=at,
                    sop_instance_uid="1.3", series_instance_uid="1.4", slice_number=1)
            for (g, s), at in findings
        ),
    )  # fmt: skip


def refused(code: str = "no-arterial-contrast") -> StudyResult:
    return StudyResult(
        software_version="0", study_instance_uid="1.2", created_at="2026-01-01T00:00:00Z",
        status=Status.NOT_ANALYSED, probability=None, reasons=(Reason(code=code, message="No."),),
    )  # fmt: skip


def perfect(study: str, *occlusions: Occlusion, about: Mapping[str, str] | None = None) -> Case:
    """Answered exactly right, and surely."""
    sites = {(o.segment, o.side): 1.0 for o in occlusions}
    found = [((o.segment, o.side), o.position or (0.0, 0.0, 0.0)) for o in occlusions]
    return Case(study, occlusions, answer(float(bool(occlusions)), sites, *found), about or {})


def yes(study: str, *occlusions: Occlusion, about: Mapping[str, str] | None = None) -> Case:
    """Answered by a model that says left M1 to everybody."""
    site = (Segment.M1, Side.LEFT)
    return Case(study, occlusions, answer(0.9, {site: 0.9}, (site, (0.0, 0.0, 0.0))), about or {})
