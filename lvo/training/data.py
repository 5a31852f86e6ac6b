"""Imaged phantoms kept in a pool on disk, and shown to the network.

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
from scipy.ndimage import gaussian_filter
from torch.utils.data import IterableDataset, get_worker_info

from lvo.anatomy import SITES
from lvo.detector.evidence import EVIDENCE_GRID, VESSEL_CLASSES
from lvo.detector.torch_network import PRIOR_STEP
from lvo.phantom.image import OTHER_ARTERY, SITE_INDEX, VEIN
from lvo.phantom.patient import Patient
from lvo.training.boxed import DataConfig, draw_patient, image_in_box

MIRRORED_SITE = np.array(
    [0, *(SITE_INDEX[seg, side.mirrored] for seg, side in SITES), OTHER_ARTERY, VEIN], dtype=np.uint8
)
"""Label of the same vessel in a mirrored head."""


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
