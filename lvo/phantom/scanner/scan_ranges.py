"""What may be drawn about a scan: probabilities and ranges, with realistic defaults."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from lvo.phantom.scanner.motion import MotionRanges

Range = tuple[float, float]


class TableRanges(BaseModel):
    """Head holders and tables (`recon.Table`); ranges (low, high) are drawn uniformly.

    Attributes
    ----------
    under_mm : how far the holder's lowest inner point lies behind the middle of the field of view
    end_mm : how far below the head's origin the holder ends
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    under_mm: Range = (100.0, 114.0)
    end_mm: Range = (110.0, 170.0)
    radius_mm: Range = (108.0, 140.0)
    wall_mm: Range = (1.0, 3.0)
    foam_mm: Range = (4.0, 20.0)
    opening_deg: Range = (35.0, 90.0)
    shell_hu: Range = (-250.0, 350.0)
    foam_hu: Range = (-980.0, -880.0)


class ExposureRanges(BaseModel):
    """How one scan is taken. Ranges (low, high) are drawn uniformly, `mas` and `noise_scale` in the log.

    Defaults are those of a head CTA: 80 to 120 kV, slices of 0.5 to 1 mm, soft to medium kernels.

    Attributes
    ----------
    kvp : weight of every tube voltage
    mas : effective mAs
    thickness_mm, overlap : weight of every slice thickness; increment relative to it
    f50 : sharpness of the kernel, 1/mm; see :class:`lvo.phantom.scanner.noise.Kernel`
    iterative : strength of iterative reconstruction
    noise_scale : size of the patient and the scanner's efficiency, in noise
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kvp: dict[int, float] = {80: 0.2, 100: 0.5, 120: 0.3}
    mas: Range = (120.0, 350.0)
    thickness_mm: dict[float, float] = {0.5: 0.1, 0.6: 0.25, 0.75: 0.3, 1.0: 0.3, 1.25: 0.05}
    overlap: Range = (0.67, 1.0)
    f50: Range = (0.33, 0.5)
    iterative: Range = (0.0, 0.6)
    noise_scale: Range = (0.75, 1.4)


NCCT = ExposureRanges(
    kvp={120: 0.9, 100: 0.1},
    mas=(200.0, 400.0),
    thickness_mm={1.0: 0.1, 2.5: 0.25, 3.0: 0.1, 4.0: 0.15, 5.0: 0.4},
    overlap=(0.8, 1.0),
    f50=(0.3, 0.42),
)


class ScanRanges(BaseModel):
    """Everything about a scan that is drawn.

    Attributes
    ----------
    turn_deg, turn_limit_deg : sd of the head's rotation about x (nod), y (roll) and z (turn), and their
        limit. Heads in holders lie within 10 degrees; restless patients do not
    size : mean and sd of the head's size, relative to an average adult
    shift_mm : low and high of the head's place along x and y in the gantry
    table_z_mm : of the head's origin
    fov_mm, off_centre_mm : field of view; sd of its centre from the head's
    coverage : weight of head, head and neck, and arch to vertex
    below_mm : of each of these, how far the scan starts below the origin
    above_mm : how far it goes above
    ncct_below_mm : of the NCCT, how far it starts below the origin
    cut, cut_mm : probability that the scan stops short at the vertex or starts late, and by how much
    reference_noise : HU at 120 kV, 300 mAs, 5 mm and f50 of 0.35 /mm in the middle of a head
    tilt, tilt_deg : probability of a tilted gantry in the NCCT, and the angle
    moved_deg, moved_mm : sd of how the head has moved between NCCT and CTA
    bone_f50, bone_edge : sharpness of the bone kernel, and its overshoot
    hardening, scatter, modulation, bow_tie : see :class:`lvo.phantom.scanner.artefacts.Beam`
    table, holder : probability that the table is in view, and what it is
    padding : weight of the value outside the reconstruction circle; 0 stands for none
    high_hu : weight of the largest HU that is stored; 3071 with twelve bits
    sent : probability of each derived series
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    cta: ExposureRanges = ExposureRanges()
    ncct: ExposureRanges = NCCT
    turn_deg: tuple[float, float, float] = (9.0, 5.0, 6.0)
    turn_limit_deg: float = 25.0
    size: tuple[float, float] = (1.0, 0.04)
    shift_mm: tuple[Range, Range] = ((-15.0, 15.0), (-160.0, -100.0))
    table_z_mm: Range = (-900.0, 200.0)
    fov_mm: Range = (215.0, 245.0)
    off_centre_mm: float = 4.0
    coverage: tuple[float, float, float] = (0.35, 0.25, 0.4)
    below_mm: tuple[Range, Range, Range] = ((45.0, 80.0), (140.0, 210.0), (270.0, 325.0))
    above_mm: Range = (105.0, 125.0)
    ncct_below_mm: Range = (45.0, 75.0)
    cut: float = 0.05
    cut_mm: Range = (5.0, 40.0)
    reference_noise: float = 3.2
    tilt: float = 0.25
    tilt_deg: Range = (-20.0, 25.0)
    moved_deg: float = 0.8
    moved_mm: float = 0.8
    bone_f50: Range = (0.7, 1.0)
    bone_edge: Range = (0.0, 0.6)
    hardening: Range = (0.25, 1.0)
    scatter: Range = (0.0, 0.008)
    modulation: Range = (0.3, 0.9)
    bow_tie: Range = (0.4, 0.8)
    motion: MotionRanges = MotionRanges()
    table: float = 0.8
    holder: TableRanges = TableRanges()
    padding: dict[int, float] = {0: 0.5, -1024: 0.3, -2000: 0.2}
    high_hu: dict[int, float] = {3071: 0.7, 14000: 0.3}
    sent: dict[str, float] = Field(
        default={"bone": 0.3, "thick": 0.6, "mip": 0.4, "coronal": 0.35, "sagittal": 0.2, "two-spacings": 0.1}
    )
