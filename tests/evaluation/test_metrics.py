"""Measures of accuracy against hand values and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from lvo.evaluation.metrics import (
    brier_score,
    expected_calibration_error,
    median,
    proportion,
    roc_auc,
)


def test_wilson_against_published_values() -> None:
    # Newcombe, Stat Med 1998;17:857, table I, score method
    for count, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        found = proportion(count, n)
        assert (found.value, found.n, found.count) == (count / n, n, count)
        assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert proportion(29, 29).low == pytest.approx(0.8830, abs=5e-5) and proportion(29, 29).high == 1.0


def test_no_cases_is_no_figure() -> None:
    assert proportion(0, 0).value is None
    assert roc_auc([], [0.1]).value is None
    assert median([]).value is None
    assert expected_calibration_error([], []) is None and brier_score([], []) is None
    with pytest.raises(ValueError, match="not a proportion"):
        proportion(3, 2)
    with pytest.raises(ValueError, match="finite"):
        roc_auc([float("nan")], [0.1])


def test_area_equals_scikit_learn_with_ties() -> None:
    sklearn = pytest.importorskip("sklearn.metrics", reason="oracle: install scikit-learn")
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.integers(3, 12, 30) / 10, rng.integers(0, 9, 50) / 10
        oracle = sklearn.roc_auc_score([1] * 30 + [0] * 50, np.r_[x, y])
        found = roc_auc(x, y)
        assert found.value == pytest.approx(oracle)
        assert found.low is not None and found.high is not None
        assert 0 <= found.low < oracle < found.high <= 1


def test_delong_variance_by_hand() -> None:
    # placements of (3, 1) over (0, 2): 1 and 1/2; of (0, 2) under (3, 1): 1 and 1/2
    found = roc_auc([3, 1], [0, 2])
    error = np.sqrt(0.125 / 2 + 0.125 / 2) / (0.75 * 0.25)
    ends = 1 / (1 + np.exp(-(np.log(3) + 1.959964 * np.array([-error, error]))))
    assert found.value == 0.75
    assert (found.low, found.high) == (pytest.approx(ends[0]), pytest.approx(ends[1]))


def test_perfect_separation_is_not_certainty() -> None:
    few, many = roc_auc([0.9] * 5, [0.1] * 5), roc_auc([0.9] * 100, [0.1] * 100)
    assert few.value == many.value == 1.0 and few.high == many.high == 1.0
    assert few.low is not None and many.low is not None
    assert 0.4 < few.low < 0.8 < 0.95 < many.low < 1.0
    assert roc_auc([0.1] * 5, [0.9] * 5).high == pytest.approx(1 - few.low)


@pytest.mark.parametrize("shift", [0.5, 1.5])
def test_interval_covers_the_true_area(shift: float) -> None:
    from statistics import NormalDist

    truth, rng = NormalDist().cdf(shift / np.sqrt(2)), np.random.default_rng(1)
    found = [roc_auc(rng.normal(shift, 1, 25), rng.normal(0, 1, 60)) for _ in range(400)]
    covered = np.mean([e.low <= truth <= e.high for e in found if e.low is not None and e.high is not None])
    assert 0.91 < covered < 0.985


def test_median_is_reproducible_and_bracketed() -> None:
    values = np.random.default_rng(2).exponential(5, 200)
    found = median(values, seed=3)
    assert found == median(values, seed=3)
    assert found.value == np.median(values) and found.low is not None and found.high is not None
    assert 2.0 < found.low < found.value < found.high < 5.5
    assert median([4.0]).low == median([4.0]).high == 4.0


def test_calibration_error_by_hand() -> None:
    # [0.1, 0.2): one of two true, mean 0.15; last bin holds 1.0
    assert expected_calibration_error([0.1, 0.19, 1.0, 0.95], [0, 1, 1, 1]) == pytest.approx(
        (abs(0.29 - 1) + abs(1.95 - 2)) / 4
    )
    p = np.random.default_rng(4).random(20_000)
    label = np.random.default_rng(5).random(20_000) < p
    calibrated = expected_calibration_error(p, label)
    overconfident = expected_calibration_error(p > 0.5, label)
    assert calibrated is not None and overconfident is not None
    assert calibrated < 0.02 < 0.2 < overconfident


def test_brier_equals_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics", reason="oracle: install scikit-learn")
    p = np.random.default_rng(6).random(50)
    label = np.random.default_rng(7).random(50) < 0.4
    assert brier_score(p, label) == pytest.approx(sklearn.brier_score_loss(label, p))
