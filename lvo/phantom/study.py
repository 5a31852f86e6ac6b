"""A patient in a scanner becomes series, and the series become DICOM studies with their truth beside them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lvo.phantom.config import PhantomConfig
from lvo.phantom.expose import expose
from lvo.phantom.flow.bolus import Bolus
from lvo.phantom.image import Lattice, draw_vessels, tissue_hu, tubes
from lvo.phantom.patient import Case, Order, sample_case
from lvo.phantom.scanner.motion import Motion, move
from lvo.phantom.scanner.recon import (
    Exposure,
    Image,
    add_table,
    pad_circle,
    reformat,
    slabs,
    to_volume,
    two_spacings,
)
from lvo.phantom.scanner.scan import Scan
from lvo.phantom.scanner.shear import lean, upright
from lvo.phantom.truth import TRUTH_COLUMNS, truth_rows, write_truth
from lvo.phantom.workers import spread
from lvo.phantom.write import StudyIdentity, write_series, write_topogram
from lvo.study import Affine, Volume

TISSUE_MM = 1.0
"""Head-frame step of the lattice on which tissue is drawn: finer is slower, and the kernel blurs it away."""
_AGENT = "IOMEPROL 400"
_PHASE_S = 8.0
Sampler = Callable[[int, PhantomConfig, Order], Case]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One series of a study, as it will be written."""

    name: str
    description: str
    volume: Volume
    exposure: Exposure
    thickness_mm: float
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL")
    contrast: bool = True


def scan_ncct(case: Case, device: torch.device) -> Series:
    """The unenhanced head in thick slices, perhaps tilted; the patient has moved a little since."""
    scan = case.scan
    thin = max(scan.ncct.thickness_mm / 2, 1.0)
    affine, shape = scan.ncct_lattice(thin)
    hu = _scanned(case, (affine, shape), scan.ncct_pose, None, scan.ncct, scan.ncct_motion, device)
    step = scan.ncct.increment_mm
    thick = (
        slabs((hu, affine), scan.ncct.thickness_mm, step) if thin < scan.ncct.thickness_mm else (hu, affine)
    )
    _add_table(thick, scan)
    return Series("ncct", f"HEAD {scan.ncct.thickness_mm:g} H31s", _stored(thick, scan), scan.ncct,
                  scan.ncct.thickness_mm, contrast=False)  # fmt: skip


def scan_cta(case: Case, device: torch.device, bolus: Bolus | None = None) -> Iterator[Series]:
    """The thin CTA, then what is derived from it."""
    scan, cta = case.scan, case.scan.cta
    lattice = scan.cta_lattice()
    ideal = _drawn(case, lattice, scan.pose, bolus or case.patient.bolus, cta, scan.motion, device)
    sharp = ideal.clone() if "bone" in scan.sent else None
    expose(ideal, lattice[0], case, cta, case.pixels())
    image = ideal, lattice[0]
    _add_table(image, scan)
    yield Series("cta", "CTA HEAD THIN H20f", _stored(image, scan), cta, cta.thickness_mm)
    if sharp is not None:
        expose(sharp, lattice[0], case, scan.bone, case.pixels())
        _add_table((sharp, lattice[0]), scan)
        yield Series(
            "bone", "CTA HEAD THIN H60f", _stored((sharp, lattice[0]), scan), scan.bone, cta.thickness_mm
        )
    yield from _derived(image, scan)


def _derived(image: Image, scan: Scan) -> Iterator[Series]:
    """The series made of the thin one that this scanner sends."""
    made = ("DERIVED", "SECONDARY", "AXIAL")
    if "thick" in scan.sent:
        yield _made("thick", "CTA AX 5.0 MPR", slabs(image, 5.0, 5.0), scan, 5.0, (*made, "MPR"))
    if "mip" in scan.sent:
        yield _made("mip", "CTA AX MIP 10/3", slabs(image, 10.0, 3.0, "max"), scan, 10.0, (*made, "MIP"))
    planes: tuple[Literal["coronal", "sagittal"], ...] = ("coronal", "sagittal")
    for plane in planes:
        if plane in scan.sent:
            kind = ("DERIVED", "SECONDARY", plane.upper(), "MPR")
            side = reformat(image, plane, 3.0, 3.0)
            yield _made(plane, f"CTA {plane.upper()} 3.0 MPR", side, scan, 3.0, kind)
    if "two-spacings" in scan.sent:
        hu, affine = image
        middle = affine[2, 3] + 0.5 * affine[2, 0] * hu.shape[0]
        base, vertex = two_spacings(image, middle, 2.5, 5.0)
        yield _made("base", "CTA AX BASE 2.5", base, scan, 2.5, (*made, "MPR"))
        yield _made("vertex", "CTA AX VERTEX 5.0", vertex, scan, 5.0, (*made, "MPR"))


def _made(
    name: str, description: str, image: Image, scan: Scan, thickness_mm: float, kind: tuple[str, ...]
) -> Series:
    return Series(name, description, _stored(image, scan), scan.cta, thickness_mm, kind)


def _scanned(
    case: Case,
    lattice: tuple[Affine, tuple[int, int, int]],
    pose: Affine,
    bolus: Bolus | None,
    exposure: Exposure,
    motion: Motion,
    device: torch.device,
) -> Tensor:
    hu = _drawn(case, lattice, pose, bolus, exposure, motion, device)
    expose(hu, lattice[0], case, exposure, case.pixels())
    return hu


def _drawn(
    case: Case,
    lattice: tuple[Affine, tuple[int, int, int]],
    pose: Affine,
    bolus: Bolus | None,
    exposure: Exposure,
    motion: Motion,
    device: torch.device,
) -> Tensor:
    """Ideal HU of a moved patient on slices that may lean."""
    affine, shape = upright(*lattice)
    inner = Lattice(np.linalg.inv(pose) @ affine, shape)
    hu = tissue_hu(case.patient, inner, bolus, exposure.kvp, tissue_mm=TISSUE_MM, device=device)
    draw_vessels(hu, case.patient, inner, tubes(case.patient, bolus), 0.5)
    hu = lean(hu, affine, lattice)
    move(hu, lattice[0], motion)
    return hu


def later_phase(case: Case, number: int, device: torch.device) -> Series:
    """The thin CTA of phase 2, 3 ... of a multi-phase scan, 8 s after the one before (Menon et al., 2015)."""
    bolus = case.patient.bolus.at(_PHASE_S * (number - 1))
    series = next(scan_cta(case, device, bolus))
    return replace(series, name=f"phase-{number}", description=f"CTA HEAD PHASE {number} H20f")


def _add_table(image: Image, scan: Scan) -> None:
    if scan.table is not None:
        add_table(*image, scan.table)


def _stored(image: Image, scan: Scan) -> Volume:
    """An image as the scanner stores it: axial ones may be padded outside the circle of reconstruction."""
    hu, affine = image
    axial = abs(affine[2, 0]) > 1e-6 and np.abs(affine[:2, 0]).max() < 1e-6
    if axial and scan.padding is not None:
        pad_circle(hu, scan.padding)
    return to_volume(image, min(-1024.0, scan.padding or 0.0), scan.high_hu)


# ----------------------------------------------------------------------------- files


def write_studies(
    out: Path,
    studies: Iterable[tuple[str, int, Order]],
    config: PhantomConfig,
    *,
    truth: bool = False,
    device: str = "cpu",
    sample: Sampler = sample_case,
) -> None:
    """Write ``out/<name>/`` for each (name, seed, order), and ``out/truth.csv``.

    Parameters
    ----------
    truth : also write ``out/<name>/truth/``: labels, clots and territories as NIfTI, centrelines, pose.
    sample : draws a patient in a scanner from seed, configuration and order.

    Raises
    ------
    ValueError
        A patient lacks the segment to be occluded.
    lvo.phantom.head.atlas.AtlasMissing
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, TRUTH_COLUMNS)
        table.writeheader()
        for name, seed, order in studies:
            case = sample(seed, config, order)
            write_study(out / name, case, ncct=order.ncct, phases=order.phases, device=device)
            if truth:
                write_truth(out / name / "truth", case)
            table.writerows(truth_rows(name, case))
            file.flush()


def write_study(folder: Path, case: Case, *, ncct: bool = True, phases: int = 1, device: str = "cpu") -> None:
    """Image a patient and write the series that a scanner sends for a code stroke.

    Parameters
    ----------
    phases : of the CTA; those after the first are sent as thin series only.
    """
    where = torch.device(device)
    identity = StudyIdentity.from_seed(case.seed)

    def plain() -> None:
        before = replace(identity, acquisition_time="080100")
        _write(folder, scan_ncct(case, where), before, 2)

    def contrast() -> None:
        for number, series in enumerate(scan_cta(case, where), start=4):
            if series.name == "cta":
                write_topogram(folder / "topogram", series.volume, identity=identity, series_number=1)
            _write(folder, series, identity, number)
        for phase in range(2, phases + 1):
            after = replace(identity, acquisition_time=f"0805{int(_PHASE_S) * (phase - 1):02d}")
            _write(folder, later_phase(case, phase, where), after, 100 + phase)

    spread(lambda job: job(), [contrast, plain] if ncct else [contrast])


def _write(folder: Path, series: Series, identity: StudyIdentity, number: int) -> None:
    write_series(
        folder / series.name,
        series.volume,
        identity=identity,
        series_number=number,
        description=series.description,
        image_type=series.image_type,
        kernel=series.exposure.kernel.name,
        kvp=series.exposure.kvp,
        slice_thickness_mm=series.thickness_mm,
        contrast_agent=_AGENT if series.contrast else None,
    )
