"""The second stage: from the features of all sites to a calibrated probability for each, and for the study.

A small perceptron that sees every site at once, because what a gap means depends on the other side,
on what lies upstream and on how the whole patient is filled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from lvo.anatomy import SITES
from lvo.detector.bundle import Calibration, Metadata
from lvo.detector.evidence import FEATURES
from lvo.errors import BundleInvalid

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reader:
    """Several perceptrons whose logits are averaged.

    Attributes
    ----------
    mean, spread : (sites, features) that bring features to zero mean and unit variance.
    layers : per member, pairs of weight (out, in) and bias (out,); ReLU between them.
    """

    mean: F32
    spread: F32
    members: tuple[tuple[tuple[F32, F32], ...], ...]

    def logits(self, features: F32) -> F32:
        """Uncalibrated logits, float32 (sites + 1,): every site, then the study."""
        x0 = np.clip((features - self.mean) / self.spread, -6, 6).ravel()
        total = np.zeros(len(SITES) + 1, dtype=np.float64)
        for layers in self.members:
            x = x0
            for n, (weight, bias) in enumerate(layers):
                x = weight @ x + bias
                if n < len(layers) - 1:
                    x = np.maximum(x, 0)
            total += x
        return (total / len(self.members)).astype(np.float32)


def load_reader(path: Path) -> Reader:
    """Read ``reader.safetensors``.

    Raises
    ------
    BundleInvalid
        It is missing, damaged, or not a reader of this software's sites and features.
    """
    try:
        reader = reader_from(load_file(path))
        answer = reader.logits(np.zeros((len(SITES), FEATURES), np.float32))
    except (OSError, KeyError, ValueError, ZeroDivisionError, SafetensorError) as error:
        raise BundleInvalid(f"({path.name} cannot be read: {type(error).__name__})") from error
    # A single output would be spread over all sites without complaint.
    whole = all(layers[-1][1].shape == answer.shape for layers in reader.members)
    if not whole or not np.isfinite(answer).all():
        raise BundleInvalid(f"({path.name} does not read {len(SITES)} sites)")
    return reader


def reader_from(tensors: dict[str, F32]) -> Reader:
    """A reader from ``mean``, ``spread`` and ``<member>.<layer>.weight`` / ``.bias``."""
    members: list[tuple[tuple[F32, F32], ...]] = []
    while f"{len(members)}.0.weight" in tensors:
        m = len(members)
        layers: list[tuple[F32, F32]] = []
        while f"{m}.{len(layers)}.weight" in tensors:
            name = f"{m}.{len(layers)}"
            layers.append((tensors[f"{name}.weight"], tensors[f"{name}.bias"]))
        members.append(tuple(layers))
    return Reader(tensors["mean"], tensors["spread"], tuple(members))


def calibrated(logits: F32, metadata: Metadata) -> tuple[npt.NDArray[np.float64], float]:
    """Probability of every site, (sites,), and of the study, from the reader's logits."""
    each = [metadata.sites.get(segment, Calibration()) for segment, _ in SITES]
    sites = np.array([_platt(float(v), c) for v, c in zip(logits, each, strict=False)])
    return sites, _platt(float(logits[-1]), metadata.study)


def _platt(logit: float, c: Calibration) -> float:
    return float(1 / (1 + np.exp(-(c.slope * logit + c.offset))))
