"""Phantoms for the detector: sampled, imaged in the head-frame box, kept in a pool on disk.

A pool is a folder of ``.npz`` files, one imaged patient each. Making one costs about as much as
ten training steps on a CPU core, so they are made once (`fill_pool`, by any number of processes)
and shown many times, mirrored and with other intensities each time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation
from torch.utils.data import IterableDataset, get_worker_info

from lvo.anatomy import SITES, Segment, Side
from lvo.detector.evidence import EVIDENCE_GRID, VESSEL_CLASSES
from lvo.detector.torch_network import PRIOR_STEP
from lvo.imaging.resample import HEAD_BOX, Grid
from lvo.phantom.head import HeadModel, sample_head
from lvo.phantom.image import OTHER_ARTERY, SITE_INDEX, VEIN, Lattice, Truth, image_patient
from lvo.phantom.patient import Patient, sample_patient, sample_vessels

LABEL_STEP = 2
"""Box voxels per label voxel along each axis."""
LIT, MISSING, CLOT = 1, 2, 4
"""Bits of the state map: lumen with contrast, lumen beyond a clot without, clot."""
MIRRORED_SITE = np.array(
    [0, *(SITE_INDEX[seg, side.mirrored] for seg, side in SITES), OTHER_ARTERY, VEIN], dtype=np.uint8
)
"""Label of the same vessel in a mirrored head."""

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


# ------------------------------------------------------------------------------- one patient


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


# ------------------------------------------------------------------------------- the pool


def fill_pool(config: DataConfig, part: int = 0, parts: int = 1) -> int:
    """Make the missing patients of one part of the pool; returns how many were made."""
    config.pool.mkdir(parents=True, exist_ok=True)
    made = 0
    for start in range(part * config.per_head, config.patients, parts * config.per_head):
        for n in range(start, min(start + config.per_head, config.patients)):
            path = config.pool / f"{n:06d}.npz"
            if path.exists():
                continue
            patient, rng = draw_patient(config.first_seed + n, config)
            arrays = image_in_box(patient, rng)
            kept: dict[str, Any] = {"about": np.array(json.dumps(describe(patient)))} | arrays
            partial = path.with_suffix(f".{os.getpid()}.partial")
            with partial.open("wb") as file:
                np.savez(file, **kept)
            partial.rename(path)
            made += 1
    return made


def describe(patient: Patient) -> dict[str, object]:
    """What later analysis may want to know of a patient."""
    return {
        "seed": patient.seed,
        "artery_hu": patient.bolus.artery,
        "phase": patient.bolus.phase,
        "occlusions": [
            {
                "segment": o.segment,
                "side": o.side,
                "length_mm": o.length_mm,
                "collateral": o.collateral,
                "fill": o.fill,
            }
            for o in patient.occlusions
        ],
        "variants": list(patient.arteries.variants),
        "mimics": list(patient.mimics),
    }


def vessel_prior(config: DataConfig, limit: int = 400) -> torch.Tensor:
    """Log frequency of every vessel class in the pool, both as they are and mirrored, on a coarse grid.

    Returns
    -------
    Tensor
        float32 (1, VESSEL_CLASSES, z, y, x), PRIOR_STEP label voxels to one.
    """
    files = sorted(config.pool.glob("[0-9]*.npz"))[config.validation :][:limit] or sorted(
        config.pool.glob("[0-9]*.npz")
    )
    total = np.zeros((VESSEL_CLASSES, *(n // PRIOR_STEP for n in EVIDENCE_GRID.shape)), np.float32)
    for path in files:
        with np.load(path) as item:
            vessel = item["vessel"]
        for view in (vessel, MIRRORED_SITE[vessel[..., ::-1]]):
            for c in np.unique(view):
                z, y, x = np.nonzero(view == c)
                np.add.at(total[c], (z // PRIOR_STEP, y // PRIOR_STEP, x // PRIOR_STEP), 1.0)
    smooth = np.stack([gaussian_filter(t, 0.7) for t in total]) / (2 * len(files) * PRIOR_STEP**3)
    return torch.from_numpy(np.log(smooth + 3e-4).astype(np.float32))[None]


class PoolDataset(IterableDataset[dict[str, torch.Tensor]]):
    """Views of pool patients, without end for training and once in order for validation.

    Each item: ``cta`` float32 (1, 96, 112, 112) HU; ``ncct`` float32 (1, 48, 56, 56) HU;
    ``has_ncct`` float32 (1,); ``vessel``, ``state`` int64 (48, 56, 56); ``sites`` float32 (23,).
    """

    def __init__(self, config: DataConfig, split: str, seed: int, rank: int, world: int) -> None:
        super().__init__()
        self.config, self.split, self.seed, self.rank, self.world = config, split, seed, rank, world

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        info = get_worker_info()
        workers, worker = (info.num_workers, info.id) if info else (1, 0)
        share, shares = self.rank * workers + worker, self.world * workers
        if self.split == "validation":
            for path in self._files()[share::shares]:
                yield _tensors(dict(np.load(path)))
            return
        rng = np.random.default_rng([self.seed, share])
        while True:
            files = self._files()  # the pool may still be growing
            if not files:
                raise FileNotFoundError(f"no patients in {self.config.pool}; fill it first")
            for n in rng.permutation(len(files))[: max(64, len(files) // shares)]:
                yield _tensors(_varied(dict(np.load(files[n])), rng, self.config))

    def _files(self) -> list[Path]:
        names = sorted(self.config.pool.glob("[0-9]*.npz"))
        return [p for p in names if (int(p.stem) < self.config.validation) == (self.split == "validation")]


def make_dataset(config: DataConfig, *, split: str, seed: int, rank: int, world: int) -> PoolDataset:
    """The training or validation half of a pool."""
    return PoolDataset(config, split, seed, rank, world)


def _varied(
    item: dict[str, npt.NDArray[Any]], rng: np.random.Generator, config: DataConfig
) -> dict[str, npt.NDArray[Any]]:
    """Another view of a patient: mirrored or not, with other intensities, with or without the NCCT."""
    if rng.random() < 0.5:
        for name in ("cta", "ncct", "state"):
            item[name] = item[name][..., ::-1]
        item["vessel"] = MIRRORED_SITE[item["vessel"][..., ::-1]]
        item["sites"] = item["sites"][MIRRORED_SITE[1 : len(SITES) + 1] - 1]
    cta = item["cta"].astype(np.float32)
    cta = 35 + (cta - 35) * np.float32(rng.uniform(0.88, 1.12)) + np.float32(rng.normal(0, 5))
    if rng.random() < 0.5:
        cta += rng.normal(0, rng.uniform(0, 15), cta.shape).astype(np.float32)
    item["cta"] = cta
    item["has_ncct"] = np.asarray(rng.random() >= config.ncct_dropped, dtype=np.float32)
    return item


def _tensors(item: dict[str, npt.NDArray[Any]]) -> dict[str, torch.Tensor]:
    has = float(np.asarray(item.get("has_ncct", 1.0)))
    return {
        "cta": torch.from_numpy(np.ascontiguousarray(item["cta"], dtype=np.float32))[None],
        "ncct": torch.from_numpy(np.ascontiguousarray(item["ncct"], dtype=np.float32))[None] * has,
        "has_ncct": torch.tensor([has]),
        "vessel": torch.from_numpy(np.ascontiguousarray(item["vessel"], dtype=np.int64)),
        "state": torch.from_numpy(np.ascontiguousarray(item["state"], dtype=np.int64)),
        "sites": torch.from_numpy(np.asarray(item["sites"], dtype=np.float32)),
    }
