"""Scorers that stand in for the detector; the spawned worker imports them by name."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lvo.anatomy import Segment, Side
from lvo.errors import BundleInvalid
from lvo.service.worker import Scorer
from lvo.study import Finding, HeadPose, ModelRef, Reason, Status, StudyResult

PNG = b"\x89PNG\r\n\x1a\n"
NOW = "2026-01-14T12:00:00+00:00"
POSE = HeadPose(
    matrix=((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)),
    pitch_deg=0, roll_deg=0, yaw_deg=0, scale=1, residual_mm=1, support=1, accepted=True,
)  # fmt: skip


def left_m1(folder: Path, out: Path) -> StudyResult:
    """Answer by what the files say: `die`, `raise` and `hang` misbehave, others are a left M1."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    text = b"".join(p.read_bytes() for p in files)
    if text == b"die":
        os._exit(9)
    if text == b"raise":
        raise RuntimeError("DOE^JANE is in this message")
    if text.startswith(b"hang"):
        time.sleep(60)
    out.mkdir(parents=True, exist_ok=True)
    (out / "axial.png").write_bytes(PNG)
    return StudyResult(
        software_version="0",
        study_instance_uid="1.2.3",
        created_at=NOW,
        status=Status.SUSPECTED,
        probability=0.93,
        findings=(
            Finding(segment=Segment.M1, side=Side.LEFT, probability=0.93, position_lps_mm=(30, 0, 0),
                    sop_instance_uid="1.2.3.4", series_instance_uid="1.2.3.5", slice_number=7),
        ),
        reasons=(Reason(code="files", message=f"{len(files)} {os.getpid()}", kind="information"),),
        pose=POSE,
        model=ModelRef(name="test", version="0", digest="0" * 64, backend="onnxruntime-cpu"),
        key_images=("axial.png",),
    )  # fmt: skip


def make_left_m1(model: Path | None, device: str) -> Scorer:
    return left_m1


def make_pipeline_without_model(model: Path | None, device: str) -> Scorer:
    from lvo.pipeline import score_folder

    # Only for studies that end before the detector is asked.
    return partial(score_folder, detector=None)  # type: ignore[arg-type]


def make_broken(model: Path | None, device: str) -> Scorer:
    raise BundleInvalid


def make_dying(model: Path | None, device: str) -> Scorer:
    os._exit(3)


Factory = Callable[[Path | None, str], Scorer]
