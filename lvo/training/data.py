"""Phantoms shown to the network: imaged afresh for every item, or kept in a pool on disk.

Without a pool no patient comes twice and nothing is stored; imaging one takes about as long as ten training
steps on a CPU core, so this is for many worker processes, or for a GPU. A pool is a folder of ``.npz`` files,
one imaged patient each, made once (`fill_pool`, by any number of processes) and shown many times. Either way
views differ (`lvo.training.views`).
"""

from __future__ import annotations

import functools
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter
from torch.utils.data import IterableDataset, get_worker_info

from lvo.detector.evidence import EVIDENCE_GRID, VESSEL_CLASSES
from lvo.detector.torch_network import PRIOR_STEP
from lvo.errors import ConfigInvalid, PathNotFound
from lvo.imaging.resample import HEAD_BOX
from lvo.phantom.patient import Patient
from lvo.training.boxed import DataConfig, draw_case, image_family, vessels_in_box
from lvo.training.views import MIRRORED_SITE, Arrays, Item, tensors, varied

_RUN_BITS = 40
"""Seeds of a run's fresh patients lie above this power of two: pools, validation and benchmarks below."""
_PRIOR_STREAM = 0
_FRESH_PRIOR = 120
"""Patients from which the vessel prior is taken where there is no pool: they cost half a second each."""


def pool_of(config: DataConfig) -> Path:
    """The pool's folder.

    Raises
    ------
    ConfigInvalid
        The settings name none.
    """
    if config.pool is None:
        raise ConfigInvalid("pool: name the folder of the imaged patients.")
    return config.pool


def fill_pool(config: DataConfig, part: int = 0, parts: int = 1) -> int:
    """Make the missing patients of one part of the pool; returns how many were made."""
    pool = pool_of(config)
    pool.mkdir(parents=True, exist_ok=True)
    made = 0
    for start in range(part * config.per_head, config.patients, parts * config.per_head):
        count = min(config.per_head, config.patients - start)
        paths = [pool / f"{n:06d}.npz" for n in range(start, start + count)]
        if all(path.exists() for path in paths):
            continue
        family = image_family(config.first_seed + start, config, count)
        for path, (case, item) in zip(paths, family, strict=True):
            if path.exists():
                continue
            kept: dict[str, Any] = {"about": np.array(json.dumps(describe(case.patient)))} | stored(item)
            partial = path.with_suffix(f".{os.getpid()}.partial")
            with partial.open("wb") as file:
                np.savez(file, **kept)
            partial.rename(path)
            made += 1
    return made


def stored(item: Mapping[str, torch.Tensor]) -> Arrays:
    """An imaged patient as it is kept: whole HU within what a scanner stores, int16."""
    arrays: Arrays = {name: value.cpu().numpy() for name, value in item.items()}
    for name in ("cta", "ncct"):
        arrays[name] = np.clip(np.rint(arrays[name]), -1024, 3071).astype(np.int16)
    return arrays


def read_patient(path: Path) -> Arrays:
    """A patient of a pool.

    Raises
    ------
    ConfigInvalid
        The pool was made for a box of another size.
    """
    item: Arrays = dict(np.load(path))
    if item["cta"].shape != HEAD_BOX.shape:
        raise ConfigInvalid(
            f"pool: {path} is of a box of {item['cta'].shape} voxels, and this version's has "
            f"{HEAD_BOX.shape}; delete that pool and make it again."
        )
    return item


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
    """Log frequency of every vessel class, both as they are and mirrored, on a coarse grid.

    Parameters
    ----------
    limit : patients of the pool that are counted; without a pool it is `_FRESH_PRIOR` fresh ones at most.

    Returns
    -------
    Tensor
        float32 (1, VESSEL_CLASSES, z, y, x), PRIOR_STEP label voxels to one.
    """
    total = np.zeros((VESSEL_CLASSES, *(n // PRIOR_STEP for n in EVIDENCE_GRID.shape)), np.float32)
    count = 0
    for vessel in _vessel_maps(config, limit):
        for view in (vessel, MIRRORED_SITE[vessel[..., ::-1]]):
            for c in np.unique(view):
                z, y, x = np.nonzero(view == c)
                np.add.at(total[c], (z // PRIOR_STEP, y // PRIOR_STEP, x // PRIOR_STEP), 1.0)
        count += 2
    smooth = np.stack([gaussian_filter(t, 0.7) for t in total]) / (count * PRIOR_STEP**3)
    return torch.from_numpy(np.log(smooth + 3e-4).astype(np.float32))[None]


def _vessel_maps(config: DataConfig, limit: int) -> Iterator[npt.NDArray[np.uint8]]:
    if config.pool is None:
        for seed in range(min(limit, _FRESH_PRIOR)):
            yield vessels_in_box(draw_case(run_seeds(_PRIOR_STREAM) + seed, config)).numpy()
        return
    files = sorted(config.pool.glob("[0-9]*.npz"))
    for path in files[config.validation :][:limit] or files:
        with np.load(path) as item:
            yield item["vessel"]


def run_seeds(run: int) -> int:
    """First seed of the fresh patients of a run with a seed of its own, 2**40 of them."""
    return (run + 1) << _RUN_BITS


class _Views(IterableDataset[Item]):
    """What both sources have in common: their settings, and this process's share.

    Each item: ``cta`` float32 (1, 128, 112, 144) HU; ``ncct`` float32 (1, 64, 56, 72) HU;
    ``has_ncct`` float32 (1,); ``vessel``, ``state`` int64 (64, 56, 72); ``sites`` float32 (23,). All on the
    CPU.
    """

    def __init__(self, config: DataConfig, split: str, seed: int, rank: int, world: int) -> None:
        super().__init__()
        self.config, self.split, self.seed, self.rank, self.world = config, split, seed, rank, world

    def share(self) -> tuple[int, int]:
        """Number of this worker of this process among all, and how many there are."""
        info = get_worker_info()
        workers, worker = (info.num_workers, info.id) if info else (1, 0)
        return self.rank * workers + worker, self.world * workers

    def __iter__(self) -> Iterator[Item]:
        share, shares = self.share()
        if self.split == "validation":
            yield from map(tensors, self.fixed(share, shares))
            return
        rng = np.random.default_rng([self.seed, share])
        for item in self.endless(rng, share, shares):
            yield tensors(varied(item, rng, self.config))

    def fixed(self, share: int, shares: int) -> Iterable[Arrays]:
        """The validation patients of a share, in order."""
        raise NotImplementedError

    def endless(self, rng: np.random.Generator, share: int, shares: int) -> Iterable[Arrays]:
        """Training patients for a share, without end."""
        raise NotImplementedError


class PoolDataset(_Views):
    """Views of pool patients, in random order without end for training and once in order for validation."""

    def fixed(self, share: int, shares: int) -> Iterable[Arrays]:
        """The validation patients of a share, in order."""
        for path in self._files()[share::shares]:
            yield read_patient(path)

    def endless(self, rng: np.random.Generator, share: int, shares: int) -> Iterable[Arrays]:
        """Training patients in random order."""
        while True:
            files = self._files()  # the pool may still be growing
            if not files:
                raise PathNotFound(f"({self.config.pool} holds no patients; fill it first)")
            for n in rng.permutation(len(files))[: max(64, len(files) // shares)]:
                yield read_patient(files[n])

    def _files(self) -> list[Path]:
        names = sorted(pool_of(self.config).glob("[0-9]*.npz"))
        return [p for p in names if (int(p.stem) < self.config.validation) == (self.split == "validation")]


class FreshDataset(_Views):
    """A patient that nobody has seen in every training item; validation images the same ones every time.

    `per_head` patients of one head come one after another from one worker.
    """

    def fixed(self, share: int, shares: int) -> Iterable[Arrays]:
        """The validation patients of a share, in order."""
        self._check_device()
        # Each has its own head: they are few, and should differ.
        own = self.config.model_copy(update={"per_head": 1}).model_dump_json()
        for n in range(share, self.config.validation, shares):
            # A copy: items are changed in place.
            yield dict(_kept(own, self.config.first_seed + n))

    def endless(self, rng: np.random.Generator, share: int, shares: int) -> Iterable[Arrays]:
        """Training patients: the seed follows from the run's, the share and a running number."""
        self._check_device()
        each = self.config.per_head
        for n in itertools.count(share, shares):
            for _, item in image_family(run_seeds(self.seed) + n * each, self.config):
                yield {name: value.cpu().numpy() for name, value in item.items()}

    def _check_device(self) -> None:
        if get_worker_info() and self.config.device != "cpu":
            raise ConfigInvalid(
                "data: a device other than the CPU images in the process that trains: num_workers 0."
            )


@functools.lru_cache(maxsize=64)
def _kept(config: str, seed: int) -> Arrays:
    """A validation patient: some 3 MB, made once in each process; the settings as JSON, to be hashable."""
    return next(stored(item) for _, item in image_family(seed, DataConfig.model_validate_json(config)))


def make_dataset(
    config: DataConfig, *, split: str, seed: int, rank: int, world: int
) -> PoolDataset | FreshDataset:
    """The training or validation patients of a pool, or fresh ones."""
    kind = FreshDataset if config.pool is None else PoolDataset
    return kind(config, split, seed, rank, world)
