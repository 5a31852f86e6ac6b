"""Probabilities from logits, by patients whose truth is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from lvo.detector.bundle import Calibration
from lvo.training.optimiser import minimise

_LEAST_SLOPE = 1e-3
"""Of a calibration: a logit never speaks against what it stands for."""


def fit_platt(logits: npt.NDArray[np.floating], truth: npt.NDArray[np.floating]) -> Calibration:
    """Slope and offset by maximum likelihood (Platt 1999, with his smoothed targets against overfitting)."""
    positive, negative = truth.sum(), len(truth) - truth.sum()
    soft = np.where(truth > 0, (positive + 1) / (positive + 2), 1 / (negative + 2))
    x, t = torch.from_numpy(np.asarray(logits, np.float64)), torch.from_numpy(soft)
    theta = nn.Parameter(torch.tensor([1.0, 0.0], dtype=torch.float64))
    minimise(
        [theta],
        lambda: nn.functional.binary_cross_entropy_with_logits(theta[0] * x + theta[1], t),
        200,
    )
    slope, offset = (float(v) for v in theta.detach())
    if slope < _LEAST_SLOPE:  # nothing is known of these but how many there are
        rate = float(t.mean())
        slope, offset = _LEAST_SLOPE, float(np.log(rate / (1 - rate))) - _LEAST_SLOPE * float(x.mean())
    return Calibration(slope=slope, offset=offset)
