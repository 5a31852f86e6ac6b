"""What is true of a case: rows of ``truth.csv``, and volumes in the voxels of its CTA."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import torch

from lvo.anatomy import SITES
from lvo.phantom.flow.occlude import Occlusion
from lvo.phantom.image import Lattice, lumen_truth, tubes
from lvo.phantom.paint import centreline
from lvo.phantom.patient import Case, Patient
from lvo.phantom.vessels.labels import LABELS
from lvo.phantom.vessels.routes import MNI_SCALE
from lvo.study import Affine

TRUTH_COLUMNS = (
    "study", "seed", "status", "segment", "side", "clot_length_mm", "lumen_mm", "clot_scanned", "collateral",
    "fill", "position_x", "position_y", "position_z", "clot_hu", "kind", "age", "artery_hu", "vein_hu",
    "phase", "kvp", "noise_hu", "slice_mm", "ncct_mm", "motion", "variants", "mimics",
)  # fmt: skip
TERRITORIES = ("ACA", "MCA", "PCA", "SCA", "AICA", "PICA")


def truth_rows(name: str, case: Case) -> list[dict[str, object]]:
    """Rows of truth.csv: one per occlusion, one if patent. Positions are the middle of the clot, LPS mm."""
    patient, scan = case.patient, case.scan
    common: dict[str, object] = {
        "study": name,
        "seed": patient.seed,
        "status": "occluded" if patient.occlusions else "patent",
        "age": round(patient.age),
        "artery_hu": round(patient.bolus.artery),
        "vein_hu": round(patient.bolus.vein),
        "phase": patient.bolus.phase,
        "kvp": round(scan.kvp),
        "noise_hu": round(scan.noise_hu, 1),
        "slice_mm": round(scan.slice_mm, 3),
        "ncct_mm": scan.thick_mm,
        "motion": scan.motion.kind,
        "variants": "; ".join(patient.variants),
        "mimics": "; ".join(patient.mimics),
    }
    rows = []
    for o in patient.occlusions:
        middle = scan.pose @ [*o.points[len(o.points) // 2], 1.0]
        x, y, z = scan.motion.points(middle[None, :3])[0]
        rows.append(
            common
            | {
                "segment": o.segment.value,
                "side": o.side.value,
                "clot_length_mm": round(o.length_mm / MNI_SCALE, 1),
                "lumen_mm": round(lumen_mm(patient, o), 2),
                "clot_scanned": round(clot_scanned(case, o), 2),
                "collateral": o.collateral,
                "fill": round(o.fill, 2),
                "position_x": round(x, 2),
                "position_y": round(y, 2),
                "position_z": round(z, 2),
                "clot_hu": round(o.hu),
                "kind": o.kind,
            }
        )
    return rows or [common]


def lumen_mm(patient: Patient, occlusion: Occlusion) -> float:
    """Diameter of the artery where a clot begins, in an average adult's mm."""
    branch = patient.arteries.branches[occlusion.branch]
    return 2 * float(np.interp(occlusion.start_mm, branch.arc, branch.radius)) / MNI_SCALE


def clot_scanned(case: Case, occlusion: Occlusion) -> float:
    """Share of a clot's course that lies between the first and the last slice of the CTA, 0 to 1."""
    pose, (low, high) = case.scan.pose, case.scan.coverage
    height = case.scan.motion.points(occlusion.points @ pose[:3, :3].T + pose[:3, 3])[:, 2]
    return float(((height >= low) & (height <= high)).mean())


def write_truth(folder: Path, case: Case) -> None:
    """Write what is in every voxel of the thin CTA, as if the patient had lain still.

    ``vessels``, ``clot``, ``centrelines`` and ``territories`` are NIfTI label maps, ``labels.csv`` says what
    their numbers mean; ``centrelines.csv`` has every centreline point with its radius and contrast;
    ``truth.json`` the pose (head frame to LPS) and what was drawn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    patient = case.patient
    affine, shape = case.scan.cta_lattice()
    lattice = Lattice(np.linalg.inv(case.scan.pose) @ affine, shape)
    vessel, clot = lumen_truth(patient, lattice, tubes(patient, patient.bolus), torch.device("cpu"))
    lines = centreline([*patient.veins.branches, *patient.arteries.branches], lattice.affine, shape)
    for name, labels in (
        ("vessels", vessel),
        ("clot", clot.to(torch.uint8)),
        ("centrelines", lines),
        ("territories", territories(case, lattice)),
    ):
        _write_nifti(folder / f"{name}.nii.gz", labels.numpy(), affine)
    _write_labels(folder / "labels.csv")
    _write_centrelines(folder / "centrelines.csv", case)
    about = {
        "seed": case.seed,
        "head_to_lps": case.scan.pose.tolist(),
        "rows": truth_rows(folder.parent.name, case),
    }
    (folder / "truth.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def territories(case: Case, lattice: Lattice) -> torch.Tensor:
    """Supply territory of brain voxels: 1 + index in `TERRITORIES`, 7 for perforators; uint8 (z, y, x)."""
    coarse = lattice.coarser(2.0)
    where = case.patient.head.where(coarse.affine, coarse.shape)
    names = case.patient.supply.territory()
    codes = np.full(names.shape, len(TERRITORIES) + 1, np.float32)
    for n, name in enumerate(TERRITORIES, start=1):
        codes[names == name] = n
    probability = where.atlas()
    brain = probability[:2].sum(0) > 0.5
    found = case.patient.supply.nearest(codes, where) * brain
    wide = torch.nn.functional.interpolate(found[None, None], lattice.shape, mode="nearest-exact")[0, 0]
    return wide.to(torch.uint8)


def _write_nifti(path: Path, labels: npt.NDArray[np.uint8], affine: Affine) -> None:
    image = sitk.GetImageFromArray(labels)
    steps = np.linalg.norm(affine[:3, [2, 1, 0]], axis=0)
    image.SetSpacing(steps.tolist())
    image.SetDirection((affine[:3, [2, 1, 0]] / steps).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=1)


def _write_labels(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("map", "number", "structure", "side", "kind"))
        for b in LABELS:
            kind = "vein" if b.vein else "site" if b.site in SITES else "artery"
            table.writerow(("vessels", b.number, b.structure, b.side.value, kind))
        for n, name in enumerate((*TERRITORIES, "perforators"), start=1):
            table.writerow(("territories", n, name, "", "territory"))


def _write_centrelines(path: Path, case: Case) -> None:
    patient, pose = case.patient, case.scan.pose
    scale = float(np.linalg.norm(pose[:3, 0]))
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(
            ("branch", "structure", "side", "parent", "x", "y", "z", "radius_mm", "delay_s", "clot")
        )
        branches = patient.arteries.branches
        for b, delay, clot in zip(branches, patient.flow.delay_s, patient.flow.clot, strict=True):
            lps = b.points @ pose[:3, :3].T + pose[:3, 3]
            parent = branches[b.parent].name if b.parent >= 0 else ""
            for p, r, s, c in zip(lps.round(2), b.radius, delay, clot, strict=True):
                late = f"{s:.2f}" if np.isfinite(s) else ""
                table.writerow(
                    (b.name, b.structure, b.side.value, parent, *p, round(r * scale, 3), late, int(c))
                )
