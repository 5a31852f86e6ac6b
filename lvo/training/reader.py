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
    lr: float = 3e-3
    weight_decay: float = 0.1
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


class SiteReader(nn.Module):
    """What `lvo.detector.reader` computes, to be trained; more evidence never makes an occlusion less likely.

    No weight but those of the segment's code is ever negative. Free ones learn what goes together in
    phantoms, and talk themselves out of a plain clot where, in other anatomy, something else is unusual.
    """

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__()
        wide = FEATURES + _SHARED * CONTEXT.shape[1] + SEGMENT_CODE.shape[1]
        self.layers = nn.ModuleDict(
            {
                "share-0": nn.Linear(FEATURES, _SHARED),
                "site-0": nn.Linear(wide, config.hidden),
                "site-1": nn.Linear(config.hidden, config.hidden // 2),
                "site-2": nn.Linear(config.hidden // 2, 1),
                "study-0": nn.Linear(len(SITES) * _SHARED, 32),
                "study-1": nn.Linear(32, STUDY_ANSWERS),
            }
        )
        self.pool = nn.Parameter(torch.tensor([[1.0] * STUDY_ANSWERS, [0.0] * STUDY_ANSWERS]))
        self.dropout, self.light = nn.Dropout(config.dropout), nn.Dropout(0.1)
        self.code = torch.from_numpy(SEGMENT_CODE)
        self._begin()

    @torch.no_grad()
    def _begin(self) -> None:
        for layer in self.layers.values():
            assert isinstance(layer, nn.Linear)
            nn.init.uniform_(layer.weight, 0, 4 / layer.in_features)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self._of_code(), 0, 0.05)
        nn.init.constant_(self.layers["site-2"].bias, _RARE_LOGIT)  # type: ignore[arg-type]

    def _of_code(self) -> torch.Tensor:
        """The weights of the segment's code."""
        weight = self.layers["site-0"].weight
        assert isinstance(weight, torch.Tensor)
        return weight[:, -_SEGMENTS:]

    @torch.no_grad()
    def stay_monotone(self) -> None:
        """Bring the weights back to where evidence only ever speaks for an occlusion."""
        code = self._of_code().clone()
        for layer in self.layers.values():
            assert isinstance(layer, nn.Linear)
            layer.weight.clamp_(min=0)
        self._of_code().copy_(code)
        self.pool[0].clamp_(min=0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, sites + STUDY_ANSWERS) from standardised features (n, sites, FEATURES)."""
        layer = self.layers
        shared = layer["share-0"](x).relu()
        beside = shared[:, torch.from_numpy(CONTEXT)].flatten(2)
        hidden = torch.cat([x, beside, self.code.expand(len(x), -1, -1)], dim=-1)
        hidden = self.dropout(layer["site-0"](self.light(hidden)).relu())
        sites = layer["site-2"](layer["site-1"](hidden).relu())[..., 0]
        whole = layer["study-1"](self.dropout(layer["study-0"](shared.flatten(1)).relu()))
        dear = sites[:, torch.from_numpy(IS_THROMBECTOMY)]
        together = torch.stack([sites.logsumexp(1), dear.logsumexp(1)], dim=1)
        return torch.cat([sites, self.pool[0] * together + self.pool[1] + whole], dim=1)

    def tensors(self) -> dict[str, F32]:
        """Its weights by the names that `lvo.detector.reader` knows."""
        found = {"pool": self.pool}
        for name in LAYERS:
            linear = self.layers[name.replace(".", "-")]
            found |= {f"{name}.weight": linear.weight, f"{name}.bias": linear.bias}  # type: ignore[dict-item]
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
    optimiser = torch.optim.AdamW(net.parameters(), lr=config.lr, weight_decay=config.weight_decay)
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
        loss.backward()
        optimiser.step()
        net.stay_monotone()
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
