"""How a patient is scanned: pose, coverage, dose, kernels, artefacts, and which series are sent."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from lvo.phantom.scanner.artefacts import Beam
from lvo.phantom.scanner.kernels import FWHM, Kernel
from lvo.phantom.scanner.motion import Motion, sample_motion
from lvo.phantom.scanner.recon import Exposure, Table
from lvo.phantom.scanner.scan_ranges import ExposureRanges, Range, ScanRanges, TableRanges
from lvo.phantom.vessels.routes import MNI_SCALE

Affine = npt.NDArray[np.float64]
Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """How one patient lies in one scanner, and what is done there.

    Attributes
    ----------
    pose : head-frame mm to patient LPS mm (a similarity); `ncct_pose` when the NCCT was taken.
    matrix : rows and columns.
    fov_mm, centre : field of view, and LPS (x, y) of its middle, mm.
    coverage, ncct_coverage : LPS z of the lowest and highest slice's middle of CTA and NCCT, mm.
    cta, ncct, bone : exposures; bone is the CTA in a sharp kernel.
    beam, ncct_beam : what each does to bone.
    tilt_deg : gantry tilt of the NCCT about x; positive leans the top of the gantry to the feet.
    motion, ncct_motion : of the patient during each.
    table : None where it is out of view.
    padding : HU outside the reconstruction circle; None where there is none.
    high_hu : the largest HU that is stored.
    sent : names of the derived series.
    """

    pose: Affine
    ncct_pose: Affine
    matrix: int
    fov_mm: float
    centre: tuple[float, float]
    coverage: tuple[float, float]
    ncct_coverage: tuple[float, float]
    cta: Exposure
    ncct: Exposure
    bone: Exposure
    beam: Beam
    ncct_beam: Beam
    tilt_deg: float
    motion: Motion
    ncct_motion: Motion
    table: Table | None
    padding: float | None
    high_hu: float
    sent: tuple[str, ...]

    @property
    def kvp(self) -> float:
        """Tube voltage of the CTA."""
        return self.cta.kvp

    @property
    def noise_hu(self) -> float:
        """Noise of the CTA in the middle of a typical head."""
        return self.cta.noise_hu

    @property
    def slice_mm(self) -> float:
        """Distance between CTA slices."""
        return self.cta.increment_mm

    @property
    def thick_mm(self) -> float:
        """Slice thickness of the NCCT."""
        return self.ncct.thickness_mm

    @property
    def psf_mm(self) -> float:
        """Width at half maximum of the CTA's point spread in plane."""
        return self.cta.kernel.sigma_mm * FWHM

    @property
    def scan_mm(self) -> tuple[float, float, float]:
        """Voxel size (z, y, x) of the CTA."""
        return self.cta.increment_mm, self.fov_mm / self.matrix, self.fov_mm / self.matrix

    def cta_lattice(self) -> tuple[Affine, Shape]:
        """Array index to LPS of the thin CTA, and its shape."""
        return self.lattice(self.cta.increment_mm)

    def ncct_lattice(self, step_mm: float | None = None) -> tuple[Affine, Shape]:
        """The same of the NCCT, tilted as it was, in its own or other steps."""
        return self.lattice(step_mm or self.ncct.increment_mm, self.tilt_deg, self.ncct_coverage)

    def lattice(
        self, step_mm: float, tilt_deg: float = 0.0, coverage: tuple[float, float] | None = None
    ) -> tuple[Affine, Shape]:
        """Array index to LPS of an axial stack over the coverage, feet first, and its shape.

        A tilted gantry shears it: slices lean, the table moves along z.
        """
        low, high = coverage or self.coverage
        shape = (int((high - low) / step_mm + 1e-6) + 1, self.matrix, self.matrix)
        return _stack((step_mm, self.fov_mm / self.matrix), (*self.centre, low), shape, tilt_deg), shape

    def beam_lattice(
        self, step_mm: float = 4.0, wide_mm: float = 256.0, tilt_deg: float = 0.0
    ) -> tuple[Affine, Shape]:
        """A coarse lattice for what the beam does; wider where shoulders are scanned."""
        if self.pose[2, 3] - self.coverage[0] > 150:
            wide_mm = max(wide_mm, 480.0)
        deep = max(256.0, 0.65 * wide_mm)
        low, high = self.coverage[0] - step_mm, self.coverage[1] + step_mm
        shape = (int((high - low) / step_mm) + 1, round(deep / step_mm), round(wide_mm / step_mm))
        return _stack((step_mm, step_mm), (*self.centre, low), shape, tilt_deg), shape


def _stack(
    steps_mm: tuple[float, float], middle: tuple[float, float, float], shape: Shape, tilt_deg: float
) -> Affine:
    """Index to LPS of slices whose first has its middle at an LPS point; a tilt leans them about x."""
    lean, pixel = np.radians(tilt_deg), steps_mm[1]
    down = np.array([0.0, np.cos(lean), np.sin(lean)])
    affine = np.zeros((4, 4))
    affine[2, 0], affine[:3, 1], affine[0, 2], affine[3, 3] = steps_mm[0], pixel * down, pixel, 1.0
    affine[:3, 3] = np.array(middle) - affine[:3, 1] * (shape[1] - 1) / 2 - affine[:3, 2] * (shape[2] - 1) / 2
    return affine


def noise_sd(exposure: Exposure, reference: float) -> float:
    """Noise in the middle of a head, HU: quantum noise of filtered backprojection.

    The variance falls with mAs and thickness, grows with the third power of the kernel's sharpness (the
    integral of ``f^2 M^2``), and a lower voltage gives fewer photons and lets fewer through.
    """
    dose = exposure.mas * exposure.thickness_mm / (300.0 * 5.0) * (exposure.kvp / 120.0) ** 2.8
    sharp = (exposure.kernel.f50 / 0.35) ** 3
    return float(reference * np.sqrt(sharp / dose) * (1 - 0.4 * exposure.kernel.iterative))


def sample_scan(
    rng: np.random.Generator,
    ranges: ScanRanges | None = None,
    *,
    matrix: int = 512,
    slices: int | None = None,
) -> Scan:
    """Draw how a patient is scanned.

    Parameters
    ----------
    slices : number of CTA slices; None takes what the drawn slice spacing needs.
    """
    r = ranges or ScanRanges()
    pose = _sample_pose(rng, r)
    coverage = _sample_coverage(rng, r, float(pose[2, 3]))
    cta, ncct = (
        _sample_exposure(rng, v, r.reference_noise, name) for v, name in ((r.cta, "H20f"), (r.ncct, "H31s"))
    )
    asked = (coverage[1] - coverage[0]) / (slices - 1) if slices else cta.increment_mm * (512 / matrix) ** 0.5
    cta = replace(cta, increment_mm=asked)
    low, high = rng.uniform(*r.ncct_below_mm), rng.uniform(*r.above_mm)
    ncct_coverage = (float(pose[2, 3] - low), float(pose[2, 3] + high))
    beam = Beam(kvp=cta.kvp, **{name: float(rng.uniform(*getattr(r, name))) for name in _BEAM})
    centre = (pose @ [0.0, 20.0, 0.0, 1.0])[:2] + rng.normal(0, r.off_centre_mm, 2)
    middle = (float(centre[0]), float(centre[1]))
    tilted = rng.random() < r.tilt
    return Scan(
        pose=pose,
        ncct_pose=pose @ _moved(rng, r),
        matrix=matrix,
        fov_mm=float(rng.uniform(*r.fov_mm)),
        centre=middle,
        coverage=coverage,
        ncct_coverage=ncct_coverage,
        cta=cta,
        ncct=ncct,
        bone=_sharp(rng, r, cta),
        beam=beam,
        ncct_beam=beam.model_copy(update={"kvp": ncct.kvp}),
        tilt_deg=float(rng.uniform(*r.tilt_deg)) if tilted else 0.0,
        motion=sample_motion(rng, r.motion, coverage, middle),
        ncct_motion=sample_motion(rng, r.motion, ncct_coverage, middle),
        table=_sample_table(rng, r.holder, middle, float(pose[2, 3])) if rng.random() < r.table else None,
        padding=_weighted(rng, r.padding) or None,
        high_hu=_weighted(rng, r.high_hu),
        sent=tuple(name for name, p in r.sent.items() if rng.random() < p),
    )


_BEAM = ("hardening", "scatter", "modulation", "bow_tie")


def _sample_pose(rng: np.random.Generator, r: ScanRanges) -> Affine:
    angles = np.clip(rng.normal(0, r.turn_deg), -r.turn_limit_deg, r.turn_limit_deg)
    pose = np.eye(4)
    pose[:3, :3] = (
        Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * rng.normal(*r.size) / MNI_SCALE
    )
    pose[:3, 3] = rng.uniform(*r.shift_mm[0]), rng.uniform(*r.shift_mm[1]), rng.uniform(*r.table_z_mm)
    return pose


def _moved(rng: np.random.Generator, r: ScanRanges) -> Affine:
    """How the head has moved since, head-frame mm."""
    moved = np.eye(4)
    moved[:3, :3] = Rotation.from_rotvec(np.radians(rng.normal(0, r.moved_deg, 3))).as_matrix()
    moved[:3, 3] = rng.normal(0, r.moved_mm, 3)
    return moved


def _sample_coverage(rng: np.random.Generator, r: ScanRanges, origin_z: float) -> tuple[float, float]:
    weights = np.array(r.coverage)
    below = float(rng.uniform(*r.below_mm[int(rng.choice(3, p=weights / weights.sum()))]))
    above = float(rng.uniform(*r.above_mm))
    if rng.random() < r.cut:
        cut = float(rng.uniform(*r.cut_mm))
        below, above = (below - cut, above) if rng.random() < 0.5 else (below, above - cut)
    return origin_z - below, origin_z + above


def _sample_exposure(rng: np.random.Generator, r: ExposureRanges, reference: float, name: str) -> Exposure:
    thickness = _weighted(rng, r.thickness_mm)
    drawn = Exposure(
        kvp=_weighted(rng, r.kvp),
        mas=_log_uniform(rng, r.mas),
        kernel=Kernel(name, float(rng.uniform(*r.f50)), float(rng.uniform(*r.iterative))),
        thickness_mm=thickness,
        increment_mm=thickness * float(rng.uniform(*r.overlap)),
        noise_hu=0.0,
    )
    return replace(drawn, noise_hu=noise_sd(drawn, reference) * _log_uniform(rng, r.noise_scale))


def _sharp(rng: np.random.Generator, r: ScanRanges, cta: Exposure) -> Exposure:
    """The same scan in a bone kernel; its overshoot sharpens the noise too."""
    kernel = Kernel("H60f", float(rng.uniform(*r.bone_f50)))
    noise = cta.noise_hu / (1 - 0.4 * cta.kernel.iterative) * (kernel.f50 / cta.kernel.f50) ** 1.5
    edge = float(rng.uniform(*r.bone_edge))
    return Exposure(
        cta.kvp, cta.mas, kernel, cta.thickness_mm, cta.increment_mm, noise * (1 + 0.5 * edge), edge
    )


def _sample_table(rng: np.random.Generator, r: TableRanges, centre: tuple[float, float], z: float) -> Table:
    drawn = {name: float(rng.uniform(*getattr(r, name))) for name in TableRanges.model_fields}
    under, end = drawn.pop("under_mm"), drawn.pop("end_mm")
    return Table(middle=(centre[0], centre[1] + under - drawn["radius_mm"]), end_z=z - end, **drawn)


def _weighted(rng: np.random.Generator, weights: dict[int, float] | dict[float, float]) -> float:
    p = np.array(list(weights.values()))
    return float(list(weights)[int(rng.choice(len(p), p=p / p.sum()))])


def _log_uniform(rng: np.random.Generator, r: Range) -> float:
    return float(np.exp(rng.uniform(np.log(r[0]), np.log(r[1]))))
