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
from lvo.detector.evidence import EVIDENCE_GRID, MIRROR
from lvo.detector.torch_tissue import CELL_STEP, FOLD, DeficitNet, TissueNet, brain_cells
from lvo.errors import ConfigInvalid
from lvo.training.boxed import DataConfig
from lvo.training.checkpoint import weights_of
from lvo.training.config import LoopConfig
from lvo.training.data import pool_of, read_patient
from lvo.training.loop import Outcome, train
from lvo.training.watching import LossFn

_CELL_MOST = 12
"""Cells that a scan lacks at most at the bottom of the box, or at its top."""
_SOME = 0.15
"""Of a cell that must be brain for its mean to be known."""
_CELL_MM = EVIDENCE_GRID.spacing * CELL_STEP
_FEW = 1e-4
"""Probability below which a deficit is none, for the entropy of the truth."""


class TissueConfig(LoopConfig):
    """Settings of the tissue network's run.

    Attributes
    ----------
    data : the pool of patients, how often a view is without NCCT or cut short, and how many validate.
    level_hu, contrast : standard deviations of how much brighter the whole brain is, and of the logarithm
        of how much more its tissues differ, than a phantom's: brains and scanners do.
    shading_hu : standard deviation of a smooth error of the brightness of each scan, as no phantom has it.
    moved_mm, turned_degrees : standard deviations, for each axis, of how the head lies in the NCCT against
        how it lies in the CTA.
    """

    data: DataConfig
    level_hu: float = Field(default=7.0, ge=0)
    contrast: float = Field(default=0.4, ge=0)
    shading_hu: float = Field(default=1.0, ge=0)
    moved_mm: float = Field(default=1.5, ge=0)
    turned_degrees: float = Field(default=1.5, ge=0)


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
    """Another view of a patient: mirrored, in another brain, without the NCCT or with it, cut short."""
    cells = cells.clone()
    if rng.random() < 0.5:
        cells, deficit = cells.flip(-1), deficit.flip(-1)
    otherwise(cells, rng, config)
    if rng.random() < config.data.ncct_dropped:
        cells[2:] = 0
    if rng.random() < config.data.cut_short:
        lost = int(rng.integers(1, _CELL_MOST))
        cells[:, slice(None, lost) if rng.random() < 0.75 else slice(-lost, None)] = 0
    return {"cells": cells, "deficit": deficit}


def otherwise(cells: Tensor, rng: np.random.Generator, config: TissueConfig) -> None:
    """The same contrast in another brain, by another scanner, whose two scans do not quite fit; in place."""
    brain, hu, both, gain, plain = cells
    usual = plain.sum() / both.sum().clamp(min=1)
    spread = (plain - usual * both) * float(np.expm1(rng.normal(0, config.contrast)))
    level = float(rng.normal(0, config.level_hu))
    shade = config.shading_hu * (_smooth(hu, rng) + float(rng.normal()))
    hu += spread + (level + shade) * brain
    plain += spread + level * both
    gain += shade * both
    mean = torch.where(both > _SOME, plain / both.clamp(min=_SOME), usual + level)
    shown = moved(mean, rng, config) + config.shading_hu * _smooth(hu, rng)
    gain += (mean - shown) * both
    plain.copy_(shown * both)


def _smooth(like: Tensor, rng: np.random.Generator) -> Tensor:
    """Something that changes over four centimetres, (z, y, x), of standard deviation 1 where it is drawn."""
    rough = torch.from_numpy(rng.standard_normal((1, 1, 4, 4, 4), np.float32))
    return functional.interpolate(rough, like.shape, mode="trilinear", align_corners=True)[0, 0]


def moved(volume: Tensor, rng: np.random.Generator, config: TissueConfig) -> Tensor:
    """A volume of cells (z, y, x) after a small turn and shift of the head; its edge goes on outwards."""
    half = torch.tensor([n * _CELL_MM / 2 for n in reversed(volume.shape)])
    turn = np.radians(rng.normal(0, config.turned_degrees, 3))
    x, y, z = turn.tolist()
    turned = torch.tensor([[1.0, -z, y], [z, 1.0, -x], [-y, x, 1.0]]) * half[None] / half[:, None]
    shift = torch.from_numpy(rng.normal(0, config.moved_mm, 3).astype(np.float32)) / half
    where = functional.affine_grid(
        torch.cat([turned, shift[:, None]], 1)[None], [1, 1, *volume.shape], align_corners=False
    )
    out = functional.grid_sample(volume[None, None], where, padding_mode="border", align_corners=False)
    return out[0, 0]


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
