"""A study's CTA and NCCT in the detector's box, and whether they are fit to be shown to it."""

from __future__ import annotations

from dataclasses import dataclass

from lvo.clock import Clock
from lvo.errors import NotAHead, PoseFailed
from lvo.imaging.acceptance import check_contrast, check_coverage, check_gaps, check_neck
from lvo.imaging.quality import check_metal, check_motion
from lvo.imaging.resample import in_skull, to_head
from lvo.study import FloatArray, HeadPose, Reason, Study, Volume


@dataclass(frozen=True, slots=True)
class HeadBoxes:
    """What the detector may be shown of a study.

    Attributes
    ----------
    cta : float32 (128, 112, 144), HU on HEAD_BOX
    ncct : the same of the NCCT; None where there is none, or none that lies under the CTA's pose
    reasons : rejections and cautions; with a rejection the detector must not be asked
    """

    cta: FloatArray
    ncct: FloatArray | None
    reasons: tuple[Reason, ...]

    @property
    def rejected(self) -> bool:
        """Whether the scan is unfit."""
        return any(reason.kind == "rejection" for reason in self.reasons)


def check_pose(pose: HeadPose) -> tuple[Reason, ...]:
    """A rejection where there is no head at all, or a head whose position is not sure."""
    if pose.accepted:
        return ()
    error = NotAHead() if pose.support == 0.0 else PoseFailed()
    return (Reason(code=error.code, message=error.message),)


def boxes_of(study: Study, cta: Volume, pose: HeadPose, clock: Clock | None = None) -> HeadBoxes:
    """Resample a study to the box and check it.

    Parameters
    ----------
    cta : the study's
    pose : accepted; patient LPS to head frame
    clock : gets the stages ``resample`` and ``acceptance``
    """
    clock = clock or Clock()
    with clock.stage("resample"):
        box = to_head(cta, pose)
    with clock.stage("acceptance"):
        reasons = (
            *check_coverage(cta, pose), *check_neck(cta, pose), *check_gaps(cta, pose),
            *check_motion(cta, pose), *check_metal(cta, pose, in_skull(box)), *check_contrast(in_skull(box)),
        )  # fmt: skip
    checked = HeadBoxes(box, None, reasons)
    if checked.rejected or study.ncct is None:
        return checked
    if not _one_frame(cta, study.ncct):
        message = "The non-contrast CT has another frame of reference than the CTA and was left out."
        left_out = Reason(code="ncct-frame-differs", message=message, kind="caution")
        return HeadBoxes(box, None, (*reasons, left_out))
    with clock.stage("resample"):
        return HeadBoxes(box, to_head(study.ncct, pose), reasons)


def _one_frame(cta: Volume, ncct: Volume) -> bool:
    uids = {v.stack.frame_of_reference_uid for v in (cta, ncct) if v.stack is not None}
    return len(uids) == 1 and "" not in uids
