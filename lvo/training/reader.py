"""Training the second stage on what the network says of patients it has not seen, and calibrating it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from lvo.anatomy import SITES
from lvo.detector.bundle import Calibration
from lvo.detector.detect import Detector
from lvo.detector.evidence import MIRROR
from lvo.detector.features import FEATURES, LIT_SHARE, site_features
from lvo.detector.reader import (
    CLIP,
    CONTEXT,
    IS_THROMBECTOMY,
    LAYERS,
    SEGMENT_CODE,
    STUDY_ANSWERS,
    reader_from,
)
from lvo.errors import PathNotFound
from lvo.training.boxed import DataConfig
from lvo.training.data import pool_of, read_patient
from lvo.training.views import cut_short

F32 = npt.NDArray[np.float32]
_SHARED, _STUDY_WEIGHT, _BATCH = 24, 4.0, 32
_SEGMENTS = SEGMENT_CODE.shape[1]
_RARE_LOGIT = -3.0
"""Where the sites' logits start: few are occluded."""


class ReaderConfig(BaseModel):
    """How the reader is trained.

    Attributes
    ----------
    patients : pool of patients that the network never saw.
    ncct_share : share of patients read with their NCCT.
    cut_short : share of patients whose scan ends inside the box (`lvo.training.views.cut_short`).
    folds : every patient's calibration logit comes from a reader that did not see that patient.
    members : perceptrons whose logits are averaged.
    weight_penalty : on the sum of the squares of all weights.
    specificity : of the study's thresholds together, on the patent patients of the pool.
    site_specificity : of the threshold from which a further site of a segment is listed.
    equivocal : share of the pool's patients whose answers are called equivocal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    patients: DataConfig
    ncct_share: float = 0.7
    cut_short: float = 0.3
    folds: int = 5
    members: int = 6
    hidden: int = 64
    epochs: int = 8
    lr: float = 3e-2
    weight_penalty: float = 1e-3
    dropout: float = 0.25
    specificity: float = 0.92
    site_specificity: float = 0.98
    equivocal: float = 0.1


@dataclass(frozen=True, slots=True)
class Readings:
    """Features (n, sites, features) and occluded sites (n, sites) of n patients.

    Attributes
    ----------
    group : (n,) patients of one number are never on both sides of a split.
    """

    features: F32
    sites: F32
    group: npt.NDArray[np.int64]

    def part(self, inside: npt.NDArray[np.bool_]) -> Readings:
        """Some of the patients."""
        return Readings(self.features[inside], self.sites[inside], self.group[inside])


def study_truth(sites: F32) -> F32:
    """Any occlusion, and one of a thrombectomy segment, float32 (n, STUDY_ANSWERS)."""
    return np.stack([sites.max(axis=1), sites[:, IS_THROMBECTOMY].max(axis=1)], axis=1)


class MonotoneLinear(nn.Module):
    """A linear layer whose weights are never negative: their logarithms are trained.

    Weights that are cut off at nothing after each step are soon all nothing, and stay so: a reader of 300
    patients then gave all of them one answer.

    Parameters
    ----------
    inside, outside : inputs and outputs.
    free : inputs, the last ones, whose weights may be negative too.
    """

    def __init__(self, inside: int, outside: int, free: int = 0) -> None:
        super().__init__()
        start = torch.rand(outside, inside - free) * 4 / inside + 1e-3 / inside
        self.logarithm = nn.Parameter(start.log())
        self.free = nn.Parameter(torch.randn(outside, free) * 0.05)
        self.bias = nn.Parameter(torch.zeros(outside))

    @property
    def weight(self) -> torch.Tensor:
        """The weights, (outside, inside)."""
        return torch.cat([self.logarithm.exp(), self.free], dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (..., inside) to (..., outside)."""
        return nn.functional.linear(x, self.weight, self.bias)


class SiteReader(nn.Module):
    """What `lvo.detector.reader` computes, to be trained; more evidence never makes an occlusion less likely.

    No weight but those of the segment's code is ever negative. Free ones learn what goes together in
    phantoms, and talk themselves out of a plain clot where, in other anatomy, something else is unusual.
    """

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__()
        wide = FEATURES + _SHARED * CONTEXT.shape[1] + _SEGMENTS
        self.share = MonotoneLinear(FEATURES, _SHARED)
        self.site = nn.ModuleList(
            [
                MonotoneLinear(wide, config.hidden, free=_SEGMENTS),
                MonotoneLinear(config.hidden, config.hidden // 2),
                MonotoneLinear(config.hidden // 2, 1),
            ]
        )
        self.study = nn.ModuleList(
            [MonotoneLinear(len(SITES) * _SHARED, 32), MonotoneLinear(32, STUDY_ANSWERS)]
        )
        self.slope = nn.Parameter(torch.zeros(STUDY_ANSWERS))
        self.offset = nn.Parameter(torch.zeros(STUDY_ANSWERS))
        self.dropout, self.light = nn.Dropout(config.dropout), nn.Dropout(0.1)
        self.code = torch.from_numpy(SEGMENT_CODE)

    @property
    def layers(self) -> dict[str, MonotoneLinear]:
        """By the names that `lvo.detector.reader` knows."""
        return dict(zip(LAYERS, (self.share, *self.site, *self.study), strict=True))

    @property
    def pool(self) -> torch.Tensor:
        """Slopes and offsets with which the sites' logits enter the study's, (2, STUDY_ANSWERS)."""
        return torch.stack([self.slope.exp(), self.offset])

    def penalty(self) -> torch.Tensor:
        """Sum of the squares of all weights."""
        return torch.stack([(layer.weight**2).sum() for layer in self.layers.values()]).sum()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, sites + STUDY_ANSWERS) from standardised features (n, sites, FEATURES)."""
        sites, whole = self.parts(x)
        dear = sites[:, torch.from_numpy(IS_THROMBECTOMY)]
        together = torch.stack([sites.logsumexp(1), dear.logsumexp(1)], dim=1)
        slope, offset = self.pool
        return torch.cat([sites, slope * together + offset + whole], dim=1)

    def parts(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The sites' logits, (n, sites), and what the study adds to theirs, (n, STUDY_ANSWERS)."""
        shared = self.share(x).relu()
        beside = shared[:, torch.from_numpy(CONTEXT)].flatten(2)
        hidden = torch.cat([x, beside, self.code.expand(len(x), -1, -1)], dim=-1)
        hidden = self.dropout(self.site[0](self.light(hidden)).relu())
        sites = self.site[2](self.site[1](hidden).relu())[..., 0]
        return sites, self.study[1](self.dropout(self.study[0](shared.flatten(1)).relu()))

    @torch.no_grad()
    def centre(self, x: torch.Tensor) -> None:
        """Begin with nobody suspected: hidden units that are far too sure at first die in a few steps."""
        sites, whole = self.parts(x)
        self.layers["site.2"].bias.add_(_RARE_LOGIT - sites.mean())
        self.layers["study.1"].bias.sub_(whole.mean(dim=0))

    def tensors(self) -> dict[str, F32]:
        """Its weights by the names that `lvo.detector.reader` knows."""
        found = {"pool": self.pool}
        for name, layer in self.layers.items():
            found |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
        return {name: value.detach().numpy().copy() for name, value in found.items()}


def read_pool(detector: Detector, config: ReaderConfig, part: int = 0, parts: int = 1) -> Readings:
    """Features of every patient of the pool, as the detector would see them.

    Parameters
    ----------
    detector : its network and its way of looking are used, its reader is not.
    part, parts : one of several shares of the pool.
    """
    features, sites, group = [], [], []
    for path in sorted(pool_of(config.patients).glob("[0-9]*.npz"))[part::parts]:
        item = read_patient(path)
        # Decided by the patient, so that a second reading is the same.
        rng = np.random.default_rng([int(path.stem), 9])
        seen, cut = rng.random(2) < (config.ncct_share, config.cut_short)
        if cut:
            cut_short(item, rng)
        plain = item["ncct"].astype(np.float32).repeat(2, 0).repeat(2, 1).repeat(2, 2)
        features.append(site_features(detector.look(item["cta"].astype(np.float32), plain if seen else None)))
        sites.append(item["sites"])
        group.append(int(path.stem) // config.patients.per_head)
    if not features:
        raise PathNotFound(f"({config.patients.pool} holds no patients)")
    return Readings(np.stack(features), np.stack(sites).astype(np.float32), np.array(group))


def out_of_fold(readings: Readings, config: ReaderConfig) -> F32:
    """Logits (n, sites + STUDY_ANSWERS) of every patient by readers trained without that patient's group."""
    numbers, group = np.unique(readings.group, return_inverse=True)
    fold = np.random.default_rng(0).permutation(len(numbers))[group] % config.folds
    out = np.empty((len(fold), len(SITES) + STUDY_ANSWERS), np.float32)
    for k in range(config.folds):
        reader = reader_from(train_reader(readings.part(fold != k), config))
        out[fold == k] = np.stack([reader.logits(f) for f in readings.features[fold == k]])
    return out


def train_reader(readings: Readings, config: ReaderConfig) -> dict[str, F32]:
    """Fit the perceptrons to patients of whom all is known; returns the tensors of ``reader.safetensors``."""
    truth = np.concatenate([readings.sites, study_truth(readings.sites)], axis=1)
    return train_perceptrons(readings.features, truth, np.ones(len(truth)), config)


def train_perceptrons(
    features: F32, truth: F32, share: npt.NDArray[np.float64], config: ReaderConfig
) -> dict[str, F32]:
    """Fit the perceptrons; returns the tensors of ``reader.safetensors``.

    Every patient is also shown mirrored.

    Parameters
    ----------
    features : (n, sites, FEATURES)
    truth : (n, sites + STUDY_ANSWERS), 1 or 0; what is -1 is not known and trains nothing.
    share : (n,) how often each patient is shown, relative to the others.
    """
    turned = np.concatenate([MIRROR, len(SITES) + np.arange(STUDY_ANSWERS)])
    both = np.concatenate([features, features[:, MIRROR]])
    mean, spread = both.mean(axis=0), both.std(axis=0) + 1e-3
    spread[:, LIT_SHARE] *= -1  # of this one less is more suspicious
    x = torch.from_numpy(np.clip((both - mean) / spread, -CLIP, CLIP).astype(np.float32))
    y = torch.from_numpy(np.concatenate([truth, truth[:, turned]]).astype(np.float32))
    tensors: dict[str, F32] = {"mean": mean.astype(np.float32), "spread": spread.astype(np.float32)}
    for member in range(config.members):
        torch.manual_seed(member)
        net = _fit(x, y, torch.from_numpy(np.tile(share, 2)), config)
        tensors |= {f"{member}.{name}": value for name, value in net.tensors().items()}
    return tensors


def _fit(x: torch.Tensor, y: torch.Tensor, share: torch.Tensor, config: ReaderConfig) -> SiteReader:
    net = SiteReader(config)
    net.centre(x)
    optimiser = torch.optim.Adam(net.parameters(), lr=config.lr)
    steps = config.epochs * max(1, len(x) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.lr * 2, total_steps=steps)
    weight = (y >= 0).float()
    weight[:, -STUDY_ANSWERS:] *= _STUDY_WEIGHT
    net.train()
    for _ in range(steps):
        pick = torch.multinomial(share, _BATCH, replacement=True)
        loss = nn.functional.binary_cross_entropy_with_logits(
            net(x[pick]), y[pick].clamp(min=0), weight=weight[pick]
        )
        optimiser.zero_grad()
        (loss + config.weight_penalty * net.penalty()).backward()
        optimiser.step()
        schedule.step()
    return net.eval()


def fit_platt(logits: npt.NDArray[np.floating], truth: npt.NDArray[np.floating]) -> Calibration:
    """Slope and offset by maximum likelihood (Platt 1999, with his smoothed targets against overfitting)."""
    positive, negative = truth.sum(), len(truth) - truth.sum()
    soft = np.where(truth > 0, (positive + 1) / (positive + 2), 1 / (negative + 2))
    x, t = torch.from_numpy(np.asarray(logits, np.float64)), torch.from_numpy(soft)
    theta = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([theta], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(theta[0] * x + theta[1], t)
        loss.backward()
        return loss

    optimiser.step(closure)
    slope, offset = (float(v) for v in theta.detach())
    return Calibration(slope=max(slope, 1e-3), offset=offset)
