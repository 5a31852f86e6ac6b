"""Calibration keeps what is known, where nothing more is."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the 'train' extra")

from lvo.training.calibration import fit_platt


def test_a_calibration_of_what_tells_nothing_keeps_the_rate() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random(500) < 0.1).astype(np.float64)
    logits = rng.normal(0, 1, 500) - 2 * truth - 4  # speaks against what it stands for
    found = fit_platt(logits, truth)
    p = 1 / (1 + np.exp(-(found.slope * logits + found.offset)))
    assert p.mean() == pytest.approx(truth.mean(), abs=0.01)
    assert found.slope > 0
