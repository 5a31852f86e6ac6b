"""Training of the network that looks at the brain: patients of a pool as cells, another view every time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional
from torch.utils.data import IterableDataset, get_worker_info

from lvo.anatomy import SITES
from lvo.detector.evidence import MIRROR
from lvo.detector.torch_tissue import FOLD, DeficitNet, TissueNet, brain_cells
from lvo.errors import ConfigInvalid
from lvo.training.boxed import DataConfig
from lvo.training.checkpoint import weights_of
from lvo.training.config import LoopConfig
from lvo.training.data import pool_of, read_patient
from lvo.training.loop import Outcome, train
from lvo.training.watching import LossFn

_CELL_MOST = 12
"""Cells that a scan lacks at most at the bottom of the box, or at its top."""
_FEW = 1e-4
"""Probability below which a deficit is none, for the entropy of the truth."""


class TissueConfig(LoopConfig):
    """Settings of the tissue network's run.

    Attributes
    ----------
    data : the pool of patients, how often a view is without NCCT or cut short, and how many validate.
    shading_hu : standard deviation of a smooth error of the CTA's brightness, as no phantom has it.
    """

    data: DataConfig
    shading_hu: float = Field(default=1.0, ge=0)


@dataclass(frozen=True, slots=True)
class Cells:
    """Patients as the tissue network sees them.

    Attributes
    ----------
    seen : float16 (n, CELL_CHANNELS, z, y, x), see `lvo.detector.torch_tissue.brain_cells`.
    deficit : float16 (n, z, y, x), share of its contrast that each cell lacks.
    sites : float32 (n, sites), 1 where a clot begins.
    """

    seen: Tensor
    deficit: Tensor
    sites: Tensor

    def part(self, first: int, last: int | None) -> Cells:
        """Some of the patients."""
        return Cells(self.seen[first:last], self.deficit[first:last], self.sites[first:last])


def read_cells(config: DataConfig) -> Cells:
    """The patients of a pool, 0.4 MB each, the validation patients first.

    Raises
    ------
    ConfigInvalid
        The pool was made by a version that did not keep what the brain lacks.
    """
    seen, deficit, sites = [], [], []
    for path in sorted(pool_of(config).glob("[0-9]*.npz")):
        item = read_patient(path)
        if "deficit" not in item:
            raise ConfigInvalid(f"pool: {path} has no `deficit`; delete that pool and make it again.")
        cta, ncct = (torch.from_numpy(item[name]).float()[None, None] for name in ("cta", "ncct"))
        seen.append(brain_cells(cta, ncct, torch.ones(1, 1))[0].half())
        deficit.append(torch.from_numpy(item["deficit"]).half())
        sites.append(torch.from_numpy(item["sites"]).float())
    return Cells(torch.stack(seen), torch.stack(deficit), torch.stack(sites))


class CellViews(IterableDataset[dict[str, Tensor]]):
    """Views without end for training, and the patients as they are, once, for validation."""

    def __init__(
        self, cells: Cells, config: TissueConfig, *, split: str, seed: int, rank: int, world: int
    ) -> None:
        super().__init__()
        first = config.data.validation
        self.cells = cells.part(0, first) if split == "validation" else cells.part(first, None)
        self.config, self.split, self.seed, self.rank, self.world = config, split, seed, rank, world

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        info = get_worker_info()
        workers, worker = (info.num_workers, info.id) if info else (1, 0)
        share, shares = self.rank * workers + worker, self.world * workers
        if self.split == "validation":
            for n in range(share, len(self.cells.seen), shares):
                yield {"cells": self.cells.seen[n].float(), "deficit": self.cells.deficit[n].float()}
            return
        rng = np.random.default_rng([self.seed, share])
        while True:
            n = int(rng.integers(len(self.cells.seen)))
            yield view(self.cells.seen[n].float(), self.cells.deficit[n].float(), rng, self.config)


def view(cells: Tensor, deficit: Tensor, rng: np.random.Generator, config: TissueConfig) -> dict[str, Tensor]:
    """Another view of a patient: mirrored, shaded, with or without the NCCT, cut short as scans are."""
    cells = cells.clone()
    if rng.random() < 0.5:
        cells, deficit = cells.flip(-1), deficit.flip(-1)
    brain, hu, both, gain, _ = cells
    rough = torch.from_numpy(rng.standard_normal((1, 1, 4, 4, 4), np.float32))
    smooth = functional.interpolate(rough, hu.shape, mode="trilinear", align_corners=True)[0, 0]
    shade = config.shading_hu * (smooth + float(rng.normal()))
    hu += shade * brain
    gain += shade * both
    if rng.random() < config.data.ncct_dropped:
        cells[2:] = 0
    if rng.random() < config.data.cut_short:
        lost = int(rng.integers(1, _CELL_MOST))
        cells[:, slice(None, lost) if rng.random() < 0.75 else slice(-lost, None)] = 0
    return {"cells": cells, "deficit": deficit}


def deficit_loss(outputs: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    """Cross-entropy with the true deficit of the brain in each voxel, less the entropy of the truth.

    Parameters
    ----------
    outputs : (b, z, y, x) logits, 8 mm.
    batch : ``cells`` (b, CELL_CHANNELS, ...) and ``deficit`` (b, ...), 4 mm.
    """
    brain = batch["cells"][:, :1]
    weight = functional.avg_pool3d(brain, FOLD)[:, 0]
    truth = functional.avg_pool3d(batch["deficit"][:, None] * brain, FOLD)[:, 0] / weight.clamp(min=0.02)
    truth = truth.clamp(_FEW, 1 - _FEW)
    told = functional.binary_cross_entropy_with_logits(outputs.float(), truth, reduction="none")
    least = functional.binary_cross_entropy(truth, truth, reduction="none")
    loss = ((told - least) * weight).sum() / weight.sum().clamp(min=1)
    return loss, {}


def train_tissue(
    config: TissueConfig, out: Path, cells: Cells | None = None, *, resume: bool = False
) -> Outcome:
    """Train as the settings say.

    Parameters
    ----------
    cells : of the patients; None reads the pool.

    Raises
    ------
    LvoError
        See `lvo.training.loop.train`.
    """
    loss: LossFn = deficit_loss
    patients = cells or read_cells(config.data)
    return train(
        config,
        out,
        network_factory=DeficitNet,
        dataset_factory=partial(CellViews, patients, config),
        loss_fn=loss,
        inputs=("cells",),
        resume=resume,
    )


def finished_network(trained: Path, cells: Cells) -> TissueNet:
    """The network with the weights of a run, and what each site feeds taken from the patients.

    Parameters
    ----------
    trained : a run, whose newest running average is taken, or a file of weights of a `DeficitNet`.
    """
    network = TissueNet()
    network.deficit.load_state_dict(weights_of(trained))
    network.territory.copy_(territories(cells))
    return network.eval()


def territories(cells: Cells) -> Tensor:
    """Mean deficit of patients occluded at each site alone, and of their mirror images, (sites, z, y, x)."""
    deficit = functional.avg_pool3d(cells.deficit.float()[:, None], FOLD)[:, 0]
    alone = cells.sites.sum(1) == 1
    out = torch.zeros(len(SITES), *deficit.shape[1:])
    for site, twin in enumerate(MIRROR):
        own = deficit[alone & (cells.sites[:, site] > 0)]
        other = deficit[alone & (cells.sites[:, twin] > 0)].flip(-1)
        if len(own) + len(other):
            out[site] = torch.cat([own, other]).mean(0)
    return out
