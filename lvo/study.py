"""The nouns everyone shares.

Coordinates are DICOM patient LPS in mm. Arrays are ``(z, y, x)``. An affine maps an array index
``(k, j, i)``, in the order of the axes, to an LPS point ``(x, y, z)``: ``lps = affine @ (k, j, i, 1)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from lvo.anatomy import Segment, Side, Tier

SCHEMA_VERSION = "1.3.0"
INTENDED_USE = (
    "Research use only. Not a medical device. The model was trained on synthetic data and has seen "
    "no patient. Every result must be reviewed by a clinician."
)

FloatArray = npt.NDArray[np.float32]
Affine = npt.NDArray[np.float64]
Point = tuple[float, float, float]
CauseName = Literal["occlusion", "high-grade-stenosis", "hypoplastic-variant", "calcified", "late-bolus"]
BolusPhase = Literal["early-arterial", "peak-arterial", "late", "venous"]


# --------------------------------------------------------------------------- images


@dataclass(frozen=True, slots=True)
class SliceRef:
    """One image of a stack: where its pixels are and where it lies.

    Attributes
    ----------
    position : Point
        Centre of the first pixel (ImagePositionPatient), LPS mm.
    frame : int
        Zero-based frame number; 0 for a single-frame instance.
    """

    sop_instance_uid: str
    position: Point
    path: Path | None = None
    frame: int = 0


@dataclass(frozen=True, slots=True)
class Stack:
    """Images of one series that form one geometric volume, sorted along the normal, without pixels.

    Attributes
    ----------
    orientation : tuple of 6 floats
        ImageOrientationPatient: direction cosines of increasing column, then increasing row index.
    pixel_spacing : (row spacing, column spacing) in mm.
    """

    series_instance_uid: str
    frame_of_reference_uid: str
    orientation: tuple[float, float, float, float, float, float]
    pixel_spacing: tuple[float, float]
    rows: int
    columns: int
    slices: tuple[SliceRef, ...]

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Unit vector along which slice positions are measured (row × column cosines)."""
        o = np.asarray(self.orientation, dtype=np.float64)
        return np.cross(o[:3], o[3:])

    @property
    def depths(self) -> npt.NDArray[np.float64]:
        """Position of every slice along the normal, mm."""
        return np.array([s.position for s in self.slices], dtype=np.float64) @ self.normal

    def slice_at(self, point: Point) -> SliceRef:
        """The slice nearest to an LPS point in mm, measured along the normal."""
        depth = float(np.asarray(point, dtype=np.float64) @ self.normal)
        return self.slices[int(np.argmin(np.abs(self.depths - depth)))]


@dataclass(frozen=True, slots=True)
class Volume:
    """A CT volume in HU with one affine.

    Attributes
    ----------
    array : float32 or int16, shape (z, y, x), HU
    affine : float64, shape (4, 4): array index (k, j, i) to LPS mm.
    stack : the stack it was read from, to say on which slice a point lies; None if synthetic.
    gaps : depths (low, high) along the stack's normal, mm, between which slices are missing. The array holds
        air there.
    """

    array: npt.NDArray[Any]
    affine: Affine
    stack: Stack | None = None
    gaps: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if self.array.ndim != 3 or self.affine.shape != (4, 4):
            raise ValueError("a Volume needs a (z, y, x) array and a 4 by 4 affine")
        if not np.isfinite(self.affine).all() or abs(np.linalg.det(self.affine[:3, :3])) < 1e-6:
            raise ValueError("the affine of a Volume must be finite and invertible")

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along (z, y, x) array axes, mm."""
        z, y, x = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)


# --------------------------------------------------------------------------- results


class Record(BaseModel):
    """A frozen piece of a result that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Status(StrEnum):
    """What the software says about a study."""

    SUSPECTED = "suspected"
    NOT_SUSPECTED = "not_suspected"
    NOT_ANALYSED = "not_analysed"


class Reason(Record):
    """A stable code and a sentence for a rejection, a repair or a caution."""

    code: str
    message: str
    kind: Literal["rejection", "repair", "caution", "information"] = "rejection"
    series_instance_uid: str | None = None


class Role(StrEnum):
    """What a series is, as judged from its headers and pixels."""

    CTA = "cta"
    NCCT = "ncct"
    TOPOGRAM = "topogram"
    BOLUS_TRACKING = "bolus_tracking"
    PERFUSION = "perfusion"
    DOSE_REPORT = "dose_report"
    DERIVED = "derived"
    OTHER_BODY_PART = "other_body_part"
    OTHER_CT = "other_ct"
    NOT_CT = "not_ct"
    UNREADABLE = "unreadable"


class SeriesRecord(Record):
    """One series (or one stack of it) that was found, and what became of it."""

    series_instance_uid: str
    series_number: int | None = None
    description: str = ""
    modality: str = ""
    role: Role
    chosen: bool
    why: str = Field(description="Why it was chosen, or why not, in one sentence.")
    instances: int
    phase: int = Field(default=1, description="Which pass over the same places, in order of time.")
    phases: int = Field(default=1, description="How many passes the series holds; each has a record.")
    rows: int | None = None
    columns: int | None = None
    slice_spacing_mm: float | None = None
    kernel: str = ""
    kvp: float | None = None
    reasons: tuple[Reason, ...] = ()


class HeadPose(Record):
    """The similarity transform that brings the patient to the head frame, and how good it is.

    ``head = matrix @ (x, y, z, 1)`` with LPS mm in and head-frame mm out.
    """

    matrix: tuple[tuple[float, float, float, float], ...]
    pitch_deg: float = Field(description="Rotation about the left-right axis; positive is chin up.")
    roll_deg: float = Field(description="Rotation about the front-back axis.")
    yaw_deg: float = Field(description="Rotation about the head-foot axis.")
    scale: float = Field(description="Size of this head relative to the head frame's.")
    residual_mm: float = Field(description="Robust misfit of the landmarks field; the quality gate reads it.")
    support: float = Field(description="Share of head voxels that agree with the pose, 0 to 1.")
    accepted: bool


class Finding(Record):
    """A suspected occlusion."""

    segment: Segment
    side: Side
    probability: float = Field(ge=0, le=1)
    position_lps_mm: Point
    sop_instance_uid: str = Field(description="The slice of the analysed series on which the position lies.")
    series_instance_uid: str
    slice_number: int = Field(description="One-based place of that slice in the stack, feet to head.")
    cause: CauseName | None = Field(default=None, description="What it looks like; null where nothing tells.")
    cause_why: str | None = Field(default=None, description="What speaks for that cause, in a sentence.")
    brain_deficit: float | None = Field(
        default=None, ge=0, le=1, description="Share of its contrast that the brain which it feeds lacks."
    )
    brain_deficit_other_side: float | None = Field(
        default=None, ge=0, le=1, description="The same of the other side; null of a midline artery."
    )


class SegmentProbability(Record):
    """Calibrated probability of an occlusion at one site."""

    segment: Segment
    side: Side
    probability: float = Field(ge=0, le=1)


class BolusReport(Record):
    """How far the contrast had come; HU of what could be measured, null for the rest."""

    left_ica_hu: float | None = Field(description="Of the intracranial ICA.")
    right_ica_hu: float | None
    basilar_hu: float | None
    torcula_hu: float | None = Field(description="Of the confluence of the dural venous sinuses.")
    phase: BolusPhase | None = Field(description="Read from these levels; null where they do not tell.")
    why: str
    cautions: tuple[str, ...] = Field(default=(), description="Codes of the cautions that follow from it.")


class ModelRef(Record):
    """Which model answered."""

    name: str
    version: str
    digest: str = Field(description="SHA-256 over the bundle's files.")
    backend: str = Field(description="onnxruntime-cpu, torch-cpu or torch-cuda.")


class Alert(Record):
    """Who is to be told what."""

    tier: Tier
    text: str
    psc: str = Field(description="Identifier of the referring primary stroke centre.")
    csc: str | None = Field(
        description="Identifier of the thrombectomy centre to tell; null when none is due."
    )


class StudyResult(Record):
    """The answer for one study; the published JSON schema is made from this class."""

    schema_version: str = SCHEMA_VERSION
    software_version: str
    intended_use: str = INTENDED_USE
    study_instance_uid: str | None
    created_at: str = Field(description="UTC, ISO 8601.")
    status: Status
    probability: float | None = Field(ge=0, le=1, description="Of any occlusion; null when not analysed.")
    thrombectomy_probability: float | None = Field(
        default=None, ge=0, le=1, description="Of one for which thrombectomy is established; null likewise."
    )
    findings: tuple[Finding, ...] = ()
    segments: tuple[SegmentProbability, ...] = ()
    reasons: tuple[Reason, ...] = ()
    series: tuple[SeriesRecord, ...] = ()
    bolus: BolusReport | None = None
    pose: HeadPose | None = None
    model: ModelRef | None = None
    timings_s: dict[str, float] = Field(default_factory=dict)
    key_images: tuple[str, ...] = Field(default=(), description="File names beside the result.")
    alert: Alert | None = None

    def model_post_init(self, _context: object) -> None:
        """Refuse results that contradict themselves: a failure must never read as a negative."""
        if self.status is Status.NOT_ANALYSED:
            if not any(r.kind == "rejection" for r in self.reasons):
                raise ValueError("a study that was not analysed needs a rejection reason")
            if self.findings or self.probability is not None:
                raise ValueError("a study that was not analysed has no findings and no probability")
        elif self.probability is None or self.model is None or self.pose is None:
            raise ValueError("an analysed study has a probability, a model and a pose")
        if (self.status is Status.SUSPECTED) != bool(self.findings):
            raise ValueError("suspected means at least one finding, and no other status has any")


@dataclass(frozen=True, slots=True)
class Study:
    """What the DICOM room hands on: every series found, and the chosen volumes decoded."""

    study_instance_uid: str | None
    series: tuple[SeriesRecord, ...] = ()
    cta: Volume | None = None
    ncct: Volume | None = None
    reasons: tuple[Reason, ...] = ()
    timings_s: dict[str, float] = field(default_factory=dict)
