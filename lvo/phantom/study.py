"""Patients imaged by a scanner and written as DICOM studies, with their truth beside them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from lvo.anatomy import Segment, Side
from lvo.phantom.image import Lattice, image_patient
from lvo.phantom.patient import Patient, sample_patient
from lvo.phantom.routes import MNI_SCALE
from lvo.phantom.write import StudyIdentity, write_series, write_topogram
from lvo.study import Affine, Volume

F32 = npt.NDArray[np.float32]
TRUTH_COLUMNS = (
    "study", "seed", "status", "segment", "side", "clot_length_mm", "collateral", "fill",
    "position_x", "position_y", "position_z", "artery_hu", "phase", "noise_hu", "slice_mm",
    "variants", "mimics",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scan:
    """How one patient lies in one scanner.

    Attributes
    ----------
    pose : head-frame mm to patient LPS mm (a similarity).
    matrix : rows and columns.
    fov_mm, slice_mm, thick_mm : field of view, CTA and NCCT slice spacing.
    coverage : LPS z of the lowest and highest CTA slice, mm.
    """

    pose: Affine
    matrix: int
    fov_mm: float
    slice_mm: float
    thick_mm: float
    coverage: tuple[float, float]
    kvp: float
    noise_hu: float
    psf_mm: float

    def lattice(self, step_mm: float) -> tuple[Affine, tuple[int, int, int]]:
        """Array index to LPS of an axial stack over the coverage, feet first, and its shape."""
        pixel = self.fov_mm / self.matrix
        affine = np.zeros((4, 4))
        affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = step_mm, pixel, pixel, 1.0
        centre = (self.pose @ [0.0, 20.0, 0.0, 1.0])[:3]
        affine[:2, 3] = centre[:2] - pixel * (self.matrix - 1) / 2
        affine[2, 3] = self.coverage[0]
        count = int((self.coverage[1] - self.coverage[0]) / step_mm + 1e-6) + 1
        return affine, (count, self.matrix, self.matrix)


def sample_scan(rng: np.random.Generator, *, matrix: int = 512, slices: int | None = None) -> Scan:
    """A head of ordinary size, turned and tilted as patients lie, scanned from below the skull base up.

    Parameters
    ----------
    slices : number of CTA slices; None takes what the drawn slice spacing needs.
    """
    turn = Rotation.from_euler("xyz", rng.normal(0, (9, 5, 6)), degrees=True).as_matrix()
    pose = np.eye(4)
    pose[:3, :3] = turn * float(rng.normal(1.0, 0.04)) / MNI_SCALE
    pose[:3, 3] = rng.uniform(-15, 15), rng.uniform(-160, -100), rng.uniform(-900, 200)
    below, above = float(rng.uniform(52, 75)), 118.0
    slice_mm = float(rng.choice([0.6, 0.75, 1.0])) * (512 / matrix) ** 0.5
    if slices is not None:
        slice_mm = (below + above) / (slices - 1)
    return Scan(
        pose=pose,
        matrix=matrix,
        fov_mm=float(rng.uniform(215, 245)),
        slice_mm=slice_mm,
        thick_mm=float(rng.choice([2.5, 4.0, 5.0])),
        coverage=(pose[2, 3] - below, pose[2, 3] + above),
        kvp=float(rng.choice([80, 100, 120])),
        noise_hu=float(np.exp(rng.uniform(np.log(7), np.log(28)))),
        psf_mm=float(rng.uniform(0.5, 1.0)),
    )


def write_studies(
    out: Path,
    *,
    count: int = 1,
    seed: int = 0,
    occlusions: Sequence[tuple[Side, Segment]] = (),
    matrix: int = 512,
    slices: int | None = None,
) -> None:
    """Write ``out/<study>/`` with NCCT, thin CTA, thick reformat and topogram, and ``out/truth.csv``.

    Parameters
    ----------
    count, seed : study n is the patient of seed ``seed + n``.
    occlusions : in every study; drawn if empty (half of the studies have none).
    matrix, slices : size of the CTA; smaller is faster.

    Raises
    ------
    ValueError
        A patient lacks the segment to be occluded.
    lvo.phantom.atlas.AtlasMissing
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, TRUTH_COLUMNS)
        table.writeheader()
        for n in range(seed, seed + count):
            patient, scan, rng = sample_study(n, occlusions=occlusions, matrix=matrix, slices=slices)
            write_study(out / f"study-{n:06d}", patient, scan, rng)
            table.writerows(truth_rows(f"study-{n:06d}", patient, scan))
            file.flush()


def sample_study(
    seed: int,
    *,
    occlusions: Sequence[tuple[Side, Segment]] = (),
    matrix: int = 512,
    slices: int | None = None,
) -> tuple[Patient, Scan, np.random.Generator]:
    """The patient and the scan of a seed, and the generator that goes on to draw the noise."""
    rng = np.random.default_rng([seed, 3])
    patient = sample_patient(seed, occlusions=list(occlusions) or None, below_mm=40.0)
    return patient, sample_scan(rng, matrix=matrix, slices=slices), rng


def write_study(folder: Path, patient: Patient, scan: Scan, rng: np.random.Generator) -> None:
    """Image a patient and write the series that a scanner sends for a code stroke."""
    identity = StudyIdentity.from_seed(patient.seed)
    cta = image_cta(patient, scan, rng)
    write_topogram(folder / "topogram", cta, identity=identity, series_number=1)
    write_series(
        folder / "ncct",
        image_ncct(patient, scan, rng),
        identity=identity,
        series_number=2,
        description="HEAD 5.0 H31s" if scan.thick_mm == 5 else "HEAD H31s",
        kernel="H31s",
        kvp=120.0,
        slice_thickness_mm=scan.thick_mm,
    )
    agent = "IOMEPROL 400"
    write_series(
        folder / "cta", cta, identity=identity, series_number=4, description="CTA HEAD THIN H20f",
        kernel="H20f", kvp=scan.kvp, slice_thickness_mm=scan.slice_mm, contrast_agent=agent,
    )  # fmt: skip
    write_series(
        folder / "thick", _slabs(cta, 5.0), identity=identity, series_number=5, description="CTA AX 5.0 MPR",
        image_type=("DERIVED", "SECONDARY", "AXIAL", "MPR"), kernel="H20f", kvp=scan.kvp,
        contrast_agent=agent,
    )  # fmt: skip


def image_cta(patient: Patient, scan: Scan, rng: np.random.Generator) -> Volume:
    """The thin CTA."""
    affine, shape = scan.lattice(scan.slice_mm)
    lattice = Lattice(np.linalg.inv(scan.pose) @ affine, shape)
    hu, _ = image_patient(
        patient, lattice, rng, psf_mm=scan.psf_mm, noise_hu=scan.noise_hu, noise_grain_mm=1.2
    )
    return Volume(_outside_is_air(hu), affine)


def image_ncct(patient: Patient, scan: Scan, rng: np.random.Generator) -> Volume:
    """The NCCT, thick slices; the patient has moved a little since."""
    moved = np.eye(4)
    moved[:3, :3] = Rotation.from_rotvec(np.radians(rng.normal(0, 0.6, 3))).as_matrix()
    moved[:3, 3] = rng.normal(0, 0.7, 3)
    affine, shape = scan.lattice(scan.thick_mm / 2)
    lattice = Lattice(np.linalg.inv(scan.pose) @ moved @ affine, shape)
    hu, _ = image_patient(
        patient,
        lattice,
        rng,
        contrast=False,
        psf_mm=1.2,
        noise_hu=float(rng.uniform(4, 8)),
        noise_grain_mm=1.5,
    )
    return _slabs(Volume(_outside_is_air(hu), affine), scan.thick_mm)


def truth_rows(name: str, patient: Patient, scan: Scan) -> list[dict[str, object]]:
    """Rows of truth.csv: one per occlusion, one if patent. Positions are the middle of the clot, LPS mm."""
    common: dict[str, object] = {
        "study": name,
        "seed": patient.seed,
        "status": "occluded" if patient.occlusions else "patent",
        "artery_hu": round(patient.bolus.artery),
        "phase": patient.bolus.phase,
        "noise_hu": round(scan.noise_hu, 1),
        "slice_mm": round(scan.slice_mm, 3),
        "variants": "; ".join(patient.arteries.variants),
        "mimics": "; ".join(patient.mimics),
    }
    rows = []
    for o in patient.occlusions:
        middle = scan.pose @ [*o.points[len(o.points) // 2], 1.0]
        rows.append(
            common
            | {
                "segment": o.segment.value,
                "side": o.side.value,
                "clot_length_mm": round(o.length_mm / MNI_SCALE, 1),
                "collateral": o.collateral,
                "fill": round(o.fill, 2),
                "position_x": round(middle[0], 2),
                "position_y": round(middle[1], 2),
                "position_z": round(middle[2], 2),
            }
        )
    return rows or [common]


def _slabs(volume: Volume, thick_mm: float) -> Volume:
    """Mean of neighbouring slices."""
    n = max(1, round(thick_mm / volume.spacing[0]))
    count = volume.array.shape[0] // n
    mean = volume.array[: count * n].reshape(count, n, *volume.array.shape[1:]).mean(axis=1)
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (n - 1) / 2
    affine[:3, 0] *= n
    return Volume(mean.astype(np.float32), affine)


def _outside_is_air(hu: F32) -> F32:
    """Keep the range that twelve stored bits hold."""
    return np.clip(hu, -1024, 3071, out=hu)
