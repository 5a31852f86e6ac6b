"""Shared builders: results and heads small enough to draw in milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lvo.anatomy import Segment, Side
from lvo.report.view import HeadView, Mark
from lvo.study import Finding, HeadPose, ModelRef, Reason, StudyResult

SPACING = 2.0
ORIGIN = (-84.0, -108.0, -75.0)
SHAPE = (100, 115, 85)

MakeView = Callable[..., HeadView]
MakeResult = Callable[..., StudyResult]


@pytest.fixture
def pose() -> HeadPose:
    rows = tuple(tuple(float(v) for v in row) for row in np.eye(4))
    return HeadPose(
        matrix=rows, pitch_deg=0, roll_deg=0, yaw_deg=0, scale=1, residual_mm=1, support=0.9, accepted=True
    )


@pytest.fixture
def make_view() -> MakeView:
    """A head of brain in air, with bright balls (position, radius mm, HU) and marks."""

    def build(
        *balls: tuple[tuple[float, float, float], float, float], marks: tuple[Mark, ...] = ()
    ) -> HeadView:
        z, y, x = (
            ORIGIN["xyz".index(axis)] + SPACING * np.arange(n) for axis, n in zip("zyx", SHAPE, strict=True)
        )
        zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
        array = np.where((xx / 70) ** 2 + ((yy - 10) / 90) ** 2 + ((zz - 20) / 80) ** 2 < 1, 35.0, -1000.0)
        for (bx, by, bz), radius, hu in balls:
            array[(xx - bx) ** 2 + (yy - by) ** 2 + (zz - bz) ** 2 <= radius**2] = hu
        return HeadView(array.astype(np.float32), ORIGIN, SPACING, "CTA", marks)

    return build


@pytest.fixture
def make_result(pose: HeadPose) -> MakeResult:
    """A result of any status; ``suspected`` has a left M1 finding."""

    def build(status: str, **changes: Any) -> StudyResult:
        model = ModelRef(name="test", version="0", digest="0" * 64, backend="onnxruntime-cpu")
        finding = Finding(
            segment=Segment.M1,
            side=Side.LEFT,
            probability=0.97,
            position_lps_mm=(20.0, -2.0, 17.0),
            sop_instance_uid="1.2.3.4",
            series_instance_uid="1.2.3",
            slice_number=88,
        )
        parts: dict[str, dict[str, Any]] = {
            "suspected": {"probability": 0.97, "findings": (finding,), "pose": pose, "model": model},
            "not_suspected": {"probability": 0.02, "pose": pose, "model": model},
            "not_analysed": {
                "probability": None,
                "reasons": (Reason(code="no-arterial-contrast", message="There is no arterial contrast."),),
            },
        }
        base = {"software_version": "0", "study_instance_uid": "1.2", "created_at": "2026-01-01T00:00:00Z"}
        return StudyResult.model_validate(base | {"status": status} | parts[status] | changes)

    return build
