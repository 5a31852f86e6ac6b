"""Intervals by resampling studies, for figures to which a study adds more than one value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lvo.evaluation.metrics import NOTHING, Estimate, FloatVector, median

RESAMPLES = 2000
BINS = 10


class CalibrationError(Estimate):
    """Expected calibration error, with what chance alone would make of it.

    Attributes
    ----------
    chance : error that a perfectly calibrated model with these probabilities stays under in 97.5 % of such
        sets. The error is a sum of absolute values: it is never 0 on a finite set.
    """

    chance: float | None = None


def calibration_gaps(probability: npt.ArrayLike, label: npt.ArrayLike, *, bins: int = BINS) -> FloatVector:
    """Sum of probability less truth in each bin, then the number of values, float64 (bins + 1,).

    Rows of several studies add up to the row of all of them; see `gap_error`.
    """
    p, truth = np.atleast_1d(probability).astype(np.float64), np.atleast_1d(label).astype(np.float64)
    place = np.minimum((p * bins).astype(np.int64), bins - 1)
    return np.append(np.bincount(place, weights=p - truth, minlength=bins), len(p)).astype(np.float64)


def gap_error(gaps: npt.NDArray[np.float64]) -> float:
    """Expected calibration error of studies whose `calibration_gaps` are the rows."""
    total = gaps.sum(axis=0)
    return float(np.abs(total[:-1]).sum() / total[-1])


def calibration_error(
    probabilities: Sequence[npt.ArrayLike], labels: Sequence[npt.ArrayLike], *, seed: int = 0
) -> CalibrationError:
    """Expected calibration error over all values of all studies, with a percentile bootstrap interval.

    Resampling only adds noise to a sum of absolute values, so the interval leans upwards: its upper end
    is on the safe side. It always contains the figure.

    Parameters
    ----------
    probabilities, labels : one vector per study, of any length; studies are resampled whole.
    """
    if not probabilities:
        return CalibrationError(value=None, n=0)
    gaps = np.array([calibration_gaps(p, y) for p, y in zip(probabilities, labels, strict=True)])
    rng, n = np.random.default_rng(seed), len(gaps)
    total = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) @ gaps
    draws = np.abs(total[:, :-1]).sum(axis=1) / total[:, -1]
    low, high = (float(v) for v in np.quantile(draws, [0.025, 0.975]))
    value = gap_error(gaps)
    every = np.concatenate([np.asarray(p, np.float64).reshape(-1) for p in probabilities])
    return CalibrationError(
        value=value, low=min(low, value), high=max(high, value), n=n, chance=_chance(every, rng)
    )


def _chance(probability: FloatVector, rng: np.random.Generator, draws: int = 500) -> float:
    """The 97.5th percentile of the error if every label were drawn from its own probability."""
    errors = [
        gap_error(calibration_gaps(probability, rng.random(len(probability)) < probability)[None])
        for _ in range(draws)
    ]
    return float(np.quantile(errors, 0.975))


def median_by_study(values: Sequence[Sequence[float]], *, seed: int = 0) -> Estimate:
    """Median of all values; studies, each with its own values, are resampled whole.

    Returns
    -------
    Estimate
        ``n`` counts the studies that have a value.
    """
    some = [np.asarray(v, np.float64) for v in values if len(v)]
    if not some:
        return NOTHING
    if max(len(v) for v in some) == 1:
        return median(np.concatenate(some), seed=seed, resamples=RESAMPLES)
    rng = np.random.default_rng(seed)
    picks = rng.integers(len(some), size=(RESAMPLES, len(some)))
    draws = [np.median(np.concatenate([some[i] for i in pick])) for pick in picks]
    low, high = (float(v) for v in np.quantile(draws, [0.025, 0.975]))
    return Estimate(value=float(np.median(np.concatenate(some))), low=low, high=high, n=len(some))
