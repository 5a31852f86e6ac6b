"""One training patient: drawn from a seed, imaged in the head-frame box, labelled voxel by voxel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from scipy.spatial.transform import Rotation

from lvo.anatomy import SITES, Segment, Side
from lvo.imaging.resample import HEAD_BOX, Grid
from lvo.phantom.head import HeadModel, sample_head
from lvo.phantom.image import SITE_INDEX, VEIN, Lattice, Truth, image_patient
from lvo.phantom.patient import Patient, sample_patient, sample_vessels

LABEL_STEP = 2
"""Box voxels per label voxel along each axis."""
LIT, MISSING, CLOT = 1, 2, 4
"""Bits of the state map: lumen with contrast, lumen beyond a clot without, clot."""
_FOCUS: tuple[Segment, ...] = (
    Segment.ICA_INTRACRANIAL,
    Segment.ICA_TERMINUS,
    Segment.M1,
    Segment.M2,
    Segment.BASILAR,
)


class DataConfig(BaseModel):
    """Where training patients come from, and how they are varied.

    Attributes
    ----------
    pool : folder of imaged patients.
    patients : how many to make there; seeds count up from `first_seed`.
    occluded : share of patients with an occlusion.
    per_head : patients that share one head (the costly part), each with vessels of its own.
    validation : patients, the first of the pool, that are never trained on.
    ncct_dropped : share of training views without the NCCT.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pool: Path
    patients: int = 4000
    first_seed: int = 1_000_000
    occluded: float = 0.75
    per_head: int = 4
    validation: int = 48
    ncct_dropped: float = 0.4


def draw_patient(seed: int, config: DataConfig) -> tuple[Patient, np.random.Generator]:
    """The patient of a seed: vessels and disease of its own, the head shared by `per_head` seeds."""
    head_rng = np.random.default_rng([seed // config.per_head, 7])
    head = _cached_head(seed // config.per_head, head_rng)
    rng = np.random.default_rng([seed, 8])
    vessels = sample_vessels(rng, head)
    sites: list[tuple[Side, Segment]] = []
    if rng.random() < config.occluded:
        pool = _FOCUS if rng.random() < 0.7 else tuple(Segment)
        segment = pool[int(rng.integers(len(pool)))]
        sites.append((segment.sides[int(rng.integers(len(segment.sides)))], segment))
    patient = None
    while patient is None:
        try:
            patient = sample_patient(seed, head=head, vessels=vessels, occlusions=sites)
        except ValueError:  # this patient lacks that segment
            sites = []
    return patient, rng


_HEADS: dict[int, HeadModel] = {}


def _cached_head(key: int, rng: np.random.Generator) -> HeadModel:
    """The head last made; its patients are drawn one after another."""
    if key not in _HEADS:
        _HEADS.clear()
        _HEADS[key] = sample_head(rng, below_mm=25.0)
    return _HEADS[key]


def image_in_box(patient: Patient, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    """CTA at 1 mm, NCCT and labels at 2 mm, in the box as an imperfect pose would place it.

    Returns
    -------
    dict
        ``cta`` int16 (96, 112, 112) HU; ``ncct`` int16 (48, 56, 56) HU; ``vessel`` and ``state``
        uint8 (48, 56, 56); ``sites`` uint8 (23,), 1 where the site is occluded.
    """
    jitter = _pose_error(rng, turn_deg=2.0, shift_mm=1.8, scale=0.025)
    fine, coarse = box_lattice(HEAD_BOX, jitter), box_lattice(HEAD_BOX, jitter, step=LABEL_STEP)
    noise = float(np.exp(rng.uniform(np.log(5), np.log(32))))
    cta, truth = image_patient(
        patient,
        fine,
        rng,
        psf_mm=float(rng.uniform(0.4, 1.3)),
        noise_hu=noise,
        noise_grain_mm=float(rng.uniform(1.0, 2.5)),
    )
    apart = _pose_error(rng, turn_deg=0.8, shift_mm=0.8, scale=0.0)
    thin = Lattice(apart @ coarse.affine, coarse.shape)
    plain, _ = image_patient(
        patient,
        thin,
        rng,
        contrast=False,
        psf_mm=float(rng.uniform(0.5, 3.5)),
        noise_hu=float(rng.uniform(2, 7)),
        noise_grain_mm=2.5,
    )
    vessel, state = label_maps(truth)
    return {
        "cta": _to_int16(cta),
        "ncct": _to_int16(plain),
        "vessel": vessel,
        "state": state,
        "sites": occluded_sites(patient),
    }


def occluded_sites(patient: Patient) -> npt.NDArray[np.uint8]:
    """1 for every site where a clot begins."""
    out = np.zeros(len(SITES), np.uint8)
    for o in patient.occlusions:
        out[SITE_INDEX[o.segment, o.side] - 1] = 1
    return out


def box_lattice(grid: Grid, move: npt.NDArray[np.float64] | None = None, step: int = 1) -> Lattice:
    """The voxels of a head-frame grid (or of every `step`-th block of them), moved by a 4 by 4."""
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.full(3, (step - 1) / 2)
    affine[:3, :3] *= step
    shape = tuple(n // step for n in grid.shape)
    assert len(shape) == 3
    return Lattice(affine if move is None else move @ affine, shape)


def label_maps(truth: Truth) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Vessel and state of the fullest 1 mm voxel in each label voxel, uint8 (z/2, y/2, x/2)."""
    cover, vessel, fill, clot = (_blocks(a) for a in (truth.cover, truth.vessel, truth.fill, truth.clot))
    best = cover.argmax(-1)[..., None]
    cover, vessel, fill, clot = (np.take_along_axis(a, best, -1)[..., 0] for a in (cover, vessel, fill, clot))
    seen = cover > 0.25
    artery = seen & (vessel > 0) & (vessel != VEIN)
    state = (
        (artery & (fill >= 0.5)) * LIT + (artery & (fill < 0.5) & ~clot) * MISSING + (artery & clot) * CLOT
    )
    return np.where(seen, vessel, 0).astype(np.uint8), state.astype(np.uint8)


def _blocks(a: npt.NDArray[Any]) -> npt.NDArray[Any]:
    z, y, x = (n // LABEL_STEP for n in a.shape)
    split = a.reshape(z, LABEL_STEP, y, LABEL_STEP, x, LABEL_STEP)
    return split.transpose(0, 2, 4, 1, 3, 5).reshape(z, y, x, LABEL_STEP**3)


def _pose_error(
    rng: np.random.Generator, *, turn_deg: float, shift_mm: float, scale: float
) -> npt.NDArray[np.float64]:
    out = np.eye(4)
    turn = Rotation.from_rotvec(np.radians(rng.normal(0, turn_deg, 3))).as_matrix()
    out[:3, :3] = turn * np.exp(rng.normal(0, scale) if scale else 0.0)
    out[:3, 3] = rng.normal(0, shift_mm, 3)
    return out


def _to_int16(hu: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
