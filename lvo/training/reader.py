"""Training of the second stage: features of patients that the network has not seen, and small perceptrons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from lvo.anatomy import SITES
from lvo.detector.bundle import Calibration
from lvo.detector.detect import Backend
from lvo.detector.evidence import FEATURES, MIRROR, Evidence, site_features
from lvo.detector.reader import reader_from
from lvo.errors import PathNotFound
from lvo.training.boxed import DataConfig
from lvo.training.data import pool_of

F32 = npt.NDArray[np.float32]


class ReaderConfig(BaseModel):
    """How the reader is trained.

    Attributes
    ----------
    patients : pool of patients that the network never saw.
    ncct_share : share of patients read with their NCCT.
    folds : every patient's calibration logit comes from a reader that did not see that patient.
    members : perceptrons whose logits are averaged.
    specificity : of the study threshold, on the patent patients of the pool.
    site_threshold : probability from which a second site is listed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    patients: DataConfig
    ncct_share: float = 0.6
    folds: int = 5
    members: int = 6
    hidden: int = 64
    epochs: int = 25
    lr: float = 1.5e-3
    weight_decay: float = 0.1
    dropout: float = 0.35
    specificity: float = 0.93
    site_threshold: float = 0.5


@dataclass(frozen=True, slots=True)
class Readings:
    """Features (n, sites, features) and occluded sites (n, sites) of n patients."""

    features: F32
    sites: F32


def read_pool(network: Backend, config: ReaderConfig) -> Readings:
    """Run the network over every patient of the pool; only the features are kept."""
    features, sites = [], []
    for path in sorted(pool_of(config.patients).glob("[0-9]*.npz")):
        with np.load(path) as item:
            cta, plain = item["cta"].astype(np.float32), item["ncct"].astype(np.float32)
            truth = item["sites"]
        # Decided by the patient, so that a second reading is the same.
        seen = np.random.default_rng([int(path.stem), 9]).random() < config.ncct_share
        inputs = {
            "cta": cta[None, None],
            "ncct": plain[None, None] * np.float32(seen),
            "has_ncct": np.array([[seen]], dtype=np.float32),
        }
        features.append(site_features(Evidence.from_network(network(inputs), cta)))
        sites.append(truth)
    if not features:
        raise PathNotFound(f"({config.patients.pool} holds no patients)")
    return Readings(np.stack(features), np.stack(sites).astype(np.float32))


def out_of_fold(readings: Readings, config: ReaderConfig) -> F32:
    """Logits (n, sites + 1) of every patient by readers that were trained without that patient."""
    # Patients of one head stay together.
    group = np.arange(len(readings.sites)) // config.patients.per_head
    fold = np.random.default_rng(0).permutation(int(group.max()) + 1)[group] % config.folds
    out = np.empty((len(fold), len(SITES) + 1), np.float32)
    for k in range(config.folds):
        inside = fold != k
        reader = reader_from(
            train_reader(Readings(readings.features[inside], readings.sites[inside]), config)
        )
        out[~inside] = np.stack([reader.logits(f) for f in readings.features[~inside]])
    return out


def train_reader(readings: Readings, config: ReaderConfig, seed: int = 0) -> dict[str, F32]:
    """Fit the perceptrons; returns the tensors of ``reader.safetensors``.

    Every patient is also shown mirrored. The study's own logit is trained beside those of the sites.
    """
    both = np.concatenate([readings.features, readings.features[:, MIRROR]])
    truth = np.concatenate([readings.sites, readings.sites[:, MIRROR]])
    mean, spread = both.mean(axis=0), both.std(axis=0) + 1e-3
    x = torch.from_numpy(np.clip((both - mean) / spread, -6, 6).reshape(len(both), -1))
    y = torch.from_numpy(np.concatenate([truth, truth.max(axis=1, keepdims=True)], axis=1))
    tensors: dict[str, F32] = {"mean": mean.astype(np.float32), "spread": spread.astype(np.float32)}
    for member in range(config.members):
        torch.manual_seed(seed + member)
        net = _fit(x, y, config)
        layers = [m for m in net if isinstance(m, nn.Linear)]
        for n, layer in enumerate(layers):
            tensors[f"{member}.{n}.weight"] = layer.weight.detach().numpy().copy()
            tensors[f"{member}.{n}.bias"] = layer.bias.detach().numpy().copy()
    return tensors


def _fit(x: torch.Tensor, y: torch.Tensor, config: ReaderConfig) -> nn.Sequential:
    net = nn.Sequential(
        nn.Dropout(0.1),
        nn.Linear(len(SITES) * FEATURES, config.hidden),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        nn.Linear(config.hidden, len(SITES) + 1),
    )
    optimiser = torch.optim.AdamW(net.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    steps = config.epochs * max(1, len(x) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.lr * 2, total_steps=steps)
    weight = torch.ones(y.shape[1])
    weight[-1] = 4.0
    net.train()
    for _ in range(steps):
        pick = torch.randint(len(x), (32,))
        loss = nn.functional.binary_cross_entropy_with_logits(net(x[pick]), y[pick], weight=weight)
        optimiser.zero_grad()
        loss.backward()
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
