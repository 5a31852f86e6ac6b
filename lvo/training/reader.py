"""Training the second stage on what the network says of patients it has not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from lvo.anatomy import SITES
from lvo.detector.detect import Detector
from lvo.detector.evidence import MIRROR
from lvo.detector.features import WEIGHED, site_features
from lvo.detector.reader import (
    IS_THROMBECTOMY,
    NEIGHBOURS,
    SEGMENT_CODE,
    SHARPNESS,
    STUDY_ANSWERS,
    against_twin,
    beside,
    log_odds,
    reader_from,
)
from lvo.errors import PathNotFound
from lvo.training.boxed import DataConfig
from lvo.training.data import pool_of, read_patient
from lvo.training.optimiser import minimise
from lvo.training.views import cut_short

F32 = npt.NDArray[np.float32]
_STUDY_WEIGHT = 4.0
_OWN_SHARE = 0.75
"""Of what a site's own evidence says in which site it is; the rest is what is said beside its neighbours."""
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
    weight_penalty : of whether an artery is occluded, on `SiteReader.penalty`.
    twin, tissue_twin : share of what is seen of a site's twin, and of what the brain that the twin feeds
        lacks, that is taken off its own.
    place_penalty : of which one it is, on the sum of the squares of all weights and biases.
    specificity : of the study's thresholds together, on the patent patients of the pool.
    site_specificity : of the threshold from which a further site of a segment is listed.
    equivocal : share of the pool's patients whose answers are called equivocal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    patients: DataConfig
    ncct_share: float = 0.7
    cut_short: float = 0.3
    folds: int = 5
    weight_penalty: float = 3e-3
    twin: float = 0.2
    tissue_twin: float = 1.0
    place_penalty: float = 1e-4
    specificity: float = 0.93
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
    """The study's answers, to be trained; more evidence on a site never makes its occlusion less likely.

    The logarithms of the weights are trained, so that none is ever negative. Free ones learn what goes
    together in phantoms, and talk themselves out of a plain clot where, in other anatomy, something else is
    unusual. Segments share their weights, but for what their own patients say against it (partial pooling):
    with weights of their own alone, those that are seldom occluded were hardly believed.
    """

    def __init__(self) -> None:
        super().__init__()
        segments, columns = SEGMENT_CODE.shape[1], WEIGHED.stop - WEIGHED.start
        self.shared = nn.Parameter(torch.full((columns,), -1.0, dtype=torch.float64))
        self.own = nn.Parameter(torch.zeros(segments, columns, dtype=torch.float64))
        self.shared_bias = nn.Parameter(torch.tensor(_RARE_LOGIT, dtype=torch.float64))
        self.own_bias = nn.Parameter(torch.zeros(segments, dtype=torch.float64))
        self.slope = nn.Parameter(torch.zeros(STUDY_ANSWERS, dtype=torch.float64))
        self.offset = nn.Parameter(torch.zeros(STUDY_ANSWERS, dtype=torch.float64))
        self.code = torch.from_numpy(SEGMENT_CODE).double()

    def penalty(self) -> torch.Tensor:
        """Squares of all weights and biases, of what segments differ by, and of the slopes' logarithms.

        Were the slopes free, weights would shrink to nothing and slopes grow without end. To penalise what
        segments differ by is not enough: the rare ones were as loud as the others (`docs/experiments.md`).
        """
        weight, bias = self.weights()
        small = (weight**2).sum() + ((bias - _RARE_LOGIT) ** 2).sum()
        return small + (self.own**2).sum() + (self.slope**2).sum()

    def weights(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Of every segment: weights (segments, strongest) and bias (segments,)."""
        return (self.shared + self.own).exp(), self.shared_bias + self.own_bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, sites + STUDY_ANSWERS) from standardised log odds (n, sites, strongest)."""
        weight, bias = self.weights()
        sites = (x * (self.code @ weight)).sum(-1) + self.code @ bias
        some = (sites, sites[:, torch.from_numpy(IS_THROMBECTOMY)])
        together = torch.stack([(SHARPNESS * part).logsumexp(1) / SHARPNESS for part in some], dim=1)
        return torch.cat([sites, self.slope.exp() * together + self.offset], dim=1)

    def tensors(self, mean: torch.Tensor, spread: torch.Tensor) -> dict[str, F32]:
        """Its weights by the names that `lvo.detector.reader` knows, for log odds as they are.

        Parameters
        ----------
        mean, spread : (strongest,) with which the log odds were standardised.
        """
        weight, bias = _unstandardised(*self.weights(), mean, spread)
        return {"weight": weight, "bias": bias, "pool": _plain(torch.stack([self.slope.exp(), self.offset]))}


class PlaceReader(nn.Module):
    """Which site it is, to be trained: linear in the evidence of a site and of its neighbours."""

    def __init__(self) -> None:
        super().__init__()
        columns = (WEIGHED.stop - WEIGHED.start) * (1 + NEIGHBOURS.shape[1])
        self.weight = nn.Parameter(torch.zeros(SEGMENT_CODE.shape[1], columns, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(SEGMENT_CODE.shape[1], dtype=torch.float64))
        self.code = torch.from_numpy(SEGMENT_CODE).double()

    def penalty(self) -> torch.Tensor:
        """Sum of the squares of all weights and biases."""
        return (self.weight**2).sum() + (self.bias**2).sum()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, sites) from standardised log odds (n, sites, columns)."""
        return (x * (self.code @ self.weight)).sum(-1) + self.code @ self.bias + _RARE_LOGIT

    def tensors(self, mean: torch.Tensor, spread: torch.Tensor) -> dict[str, F32]:
        """Its weights as `SiteReader.tensors` gives its own."""
        place, bias = _unstandardised(self.weight, self.bias + _RARE_LOGIT, mean, spread)
        return {"place": place, "place_bias": bias}


def _unstandardised(
    weight: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor, spread: torch.Tensor
) -> tuple[F32, F32]:
    plain = weight / spread
    return _plain(plain), _plain(bias - (plain * mean).sum(1))


def _plain(value: torch.Tensor) -> F32:
    return np.asarray(value.detach().numpy().astype(np.float32))


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
    """Fit the reader to patients of whom all is known; returns the tensors of ``reader.safetensors``."""
    truth = np.concatenate([readings.sites, study_truth(readings.sites)], axis=1)
    return fit_reader(readings.features, truth, np.ones(len(truth)), config)


def fit_reader(
    features: F32, truth: F32, share: npt.NDArray[np.float64], config: ReaderConfig
) -> dict[str, F32]:
    """Fit the reader; returns the tensors of ``reader.safetensors``. Left and right are read alike.

    Parameters
    ----------
    features : (n, sites, FEATURES)
    truth : (n, sites + STUDY_ANSWERS), 1 or 0; what is -1 is not known and trains nothing.
    share : (n,) how much each patient weighs, relative to the others.
    """
    twin = np.full(WEIGHED.stop - WEIGHED.start, config.twin, np.float32)
    twin[-1] = config.tissue_twin
    odds = log_odds(features[:, :, WEIGHED])
    y = torch.from_numpy(truth.astype(np.float64))
    weight = (y >= 0) * torch.from_numpy(share / share.mean())[:, None]
    weight[:, -STUDY_ANSWERS:] *= _STUDY_WEIGHT
    y = y.clamp(min=0)
    both = np.concatenate([features, features[:, MIRROR]])
    kept = {"mean": both.mean(axis=0), "spread": both.std(axis=0) + 1e-3, "twin": twin}
    tensors: dict[str, F32] = {name: value.astype(np.float32) for name, value in kept.items()}
    sites = len(SITES)
    for net, evidence, columns, penalty in (
        (SiteReader(), against_twin(odds, twin), slice(None), config.weight_penalty),
        (PlaceReader(), beside(odds), slice(sites), config.place_penalty),
    ):
        x = torch.from_numpy(evidence)
        mean, spread = x.mean(dim=(0, 1)), x.std(dim=(0, 1)) + 1e-3
        _fit(net, (x - mean) / spread, y[:, columns], weight[:, columns], penalty)
        tensors |= net.tensors(mean, spread)
    return tensors | _steadied(tensors)


def _steadied(tensors: dict[str, F32]) -> dict[str, F32]:
    """Which site it is by both answers: where anatomy is strange, free weights alone name the wrong side.

    The twin is left out here, which the bias does not know: the calibration of each segment puts that right.
    """
    own = np.zeros_like(tensors["place"])
    own[:, : tensors["weight"].shape[1]] = tensors["weight"]
    return {
        "place": _OWN_SHARE * own + (1 - _OWN_SHARE) * tensors["place"],
        "place_bias": _OWN_SHARE * tensors["bias"] + (1 - _OWN_SHARE) * tensors["place_bias"],
    }


def _fit(
    net: SiteReader | PlaceReader, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, penalty: float
) -> None:
    def loss() -> torch.Tensor:
        told = nn.functional.binary_cross_entropy_with_logits(net(x), y, weight=weight)
        return told + penalty * net.penalty()

    minimise(list(net.parameters()), loss, 150)
