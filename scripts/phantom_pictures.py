"""Pictures of collateral grades, variants and mimics for ``docs/phantom.md``.

``scripts/phantom_pictures.py --out docs/pictures``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from lvo.anatomy import Segment, Side
from lvo.phantom.config import load_config
from lvo.phantom.image import Lattice, image_patient
from lvo.phantom.patient import Order, Patient, sample_case

SEED = 4
M1 = ((Side.LEFT, Segment.M1),)
SHOWN = (
    "fetal PCA", "absent A1", "hypoplastic VA", "early M1 bifurcation", "azygos A2", "persistent trigeminal",
    "stenosis", "plaque", "aneurysm", "metal", "late bolus", "venous contamination",
)  # fmt: skip
PLAIN = ("old infarct", "haemorrhage", "subarachnoid", "tumour")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    life = load_config("realistic")
    tiles = []
    for later in (0.0, 8.0):
        row = []
        for grade in range(4):
            patient = sample_case(SEED, life, Order(sites=M1, collateral=grade, phase="peak")).patient
            row.append((f"M1, grade {grade}, +{later:.0f} s", axial_mip(patient, later)))
        tiles.append(row)
    mosaic(tiles).save(out / "collaterals.png", optimize=True)
    frozen = load_config("benchmark")
    shown = [(name, sample_case(SEED, frozen, Order(sites=(), strata=(name,))).patient) for name in SHOWN]
    rows = [(name, axial_mip(patient)) for name, patient in shown]
    for name in PLAIN:
        patient = sample_case(SEED, frozen, Order(sites=(), strata=(name,))).patient
        rows.append((f"{name}, NCCT", plain_slice(patient)))
    mosaic([rows[n : n + 4] for n in range(0, len(rows), 4)]).save(out / "strata.png", optimize=True)


def axial_mip(patient: Patient, later: float = 0.0) -> npt.NDArray[np.uint8]:
    """CTA: maximum over 45 mm above the sella."""
    bolus = patient.bolus.at(later)
    hu, _ = image_patient(patient, _slab(2.0, 45), bolus, psf_mm=0.7)
    return _gray(hu.amax(0).numpy(), 0, 500)


def plain_slice(patient: Patient) -> npt.NDArray[np.uint8]:
    """NCCT: 5 mm through the lesion, or through the cisterns."""
    lesion = next((x for x in patient.lesions if x.kind not in ("lacune", "acute infarct")), None)
    z = float(lesion.centre[2]) if lesion is not None and np.isfinite(lesion.centre[2]) else 20.0
    hu, _ = image_patient(patient, _slab(z - 2.5, 5), None)
    return _gray(hu.mean(0).numpy(), 0, 80)


def _slab(z: float, count: int) -> Lattice:
    affine = np.zeros((4, 4))
    affine[0, 2] = affine[1, 1] = 0.7
    affine[2, 0], affine[:, 3] = 1.0, (-77.0, -88.0, z, 1.0)
    return Lattice(affine, (count, 256, 220))


def _gray(values: npt.NDArray[np.float32], low: float, high: float) -> npt.NDArray[np.uint8]:
    return (np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def mosaic(rows: list[list[tuple[str, npt.NDArray[np.uint8]]]]) -> Image.Image:
    """Tiles with their names."""
    height, width = rows[0][0][1].shape
    page = Image.new("L", (width * len(rows[0]), height * len(rows)))
    draw = ImageDraw.Draw(page)
    for j, row in enumerate(rows):
        for i, (name, tile) in enumerate(row):
            page.paste(Image.fromarray(tile), (width * i, height * j))
            draw.text((width * i + 4, height * j + 4), name, fill=255)
    return page


if __name__ == "__main__":
    main()
