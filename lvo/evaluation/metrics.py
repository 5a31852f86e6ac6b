"""Measures of accuracy with 95 % confidence intervals. numpy only."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from lvo.study import Record

Z95 = NormalDist().inv_cdf(0.975)
FloatVector = npt.NDArray[np.float64]


class Estimate(Record):
    """A figure, its 95 % confidence interval, and how many cases it rests on.

    ``value`` is null when there are no cases to measure on.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        return f"{self.value:.3g} ({self.low:.3g}–{self.high:.3g})"


NOTHING = Estimate(value=None, n=0)


class Proportion(Estimate):
    """A share of ``n`` cases with its Wilson interval."""

    count: int

    def __str__(self) -> str:
        if self.value is None or self.low is None or self.high is None:
            return "–"
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f}–{100 * self.high:.1f}), {self.count}/{self.n}"


def proportion(count: int, n: int) -> Proportion:
    """Share ``count / n`` with the Wilson score interval (Wilson, JASA 1927;22:209)."""
    if not 0 <= count <= n:
        raise ValueError(f"{count} of {n} is not a proportion")
    if n == 0:
        return Proportion(value=None, n=0, count=0)
    share, z2 = count / n, Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low = 0.0 if count == 0 else centre - half
    high = 1.0 if count == n else centre + half
    return Proportion(value=share, low=low, high=high, n=n, count=count)


def roc_auc(positive: npt.ArrayLike, negative: npt.ArrayLike) -> Estimate:
    """Area under the ROC curve: chance that a positive scores above a negative, ties counting half.

    The interval is DeLong's (Biometrics 1988;44:837) on the logit scale, which keeps it within 0 to 1.
    Where DeLong's variance vanishes or one group has a single case, it is the Wilson-like interval of
    Newcombe (Stat Med 2006;25:559, method 5), which stays honest at an area of exactly 0 or 1.

    Parameters
    ----------
    positive, negative : scores of the two groups, any length.

    Returns
    -------
    Estimate
        ``n`` counts both groups; ``value`` is null when one is empty.
    """
    x, y = _vector(positive), _vector(negative)
    m, n = len(x), len(y)
    if not m or not n:
        return Estimate(value=None, n=m + n)
    above, below = _placements(x, y), 1 - _placements(y, x)
    area = float(above.mean())
    variance = 0.0
    if min(m, n) > 1:
        variance = float(above.var(ddof=1) / m + below.var(ddof=1) / n)
    if variance < 1e-12 or not 1e-9 < area < 1 - 1e-9:
        low, high = _newcombe(area, m, n)
    else:
        logit, error = math.log(area / (1 - area)), math.sqrt(variance) / (area * (1 - area))
        low, high = (1 / (1 + math.exp(-(logit + s * Z95 * error))) for s in (-1, 1))
    return Estimate(value=area, low=low, high=high, n=m + n)


def _placements(x: FloatVector, y: FloatVector) -> FloatVector:
    """Share of ``y`` that lies below each ``x``, ties counting half."""
    ordered = np.sort(y)
    placed = np.searchsorted(ordered, x, "left") + np.searchsorted(ordered, x, "right")
    return np.asarray(placed / (2 * len(y)), dtype=np.float64)


def _newcombe(area: float, m: int, n: int) -> tuple[float, float]:
    """Areas whose Hanley-McNeil error, with the mean group size, just reaches the one seen."""
    size = (m + n) / 2 - 1

    def too_far(a: float) -> bool:
        spread = a * (1 - a) * (1 + size * (1 - a) / (2 - a) + size * a / (1 + a)) / (m * n)
        return abs(a - area) > Z95 * math.sqrt(spread)

    ends = []
    for end in (0.0, 1.0):
        inside, outside = area, end
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if too_far(middle) else (middle, outside)
        ends.append(inside)
    return ends[0], ends[1]


def median(values: npt.ArrayLike, *, seed: int = 0, resamples: int = 2000) -> Estimate:
    """Median with its percentile bootstrap interval (Efron), reproducible from the seed."""
    x = _vector(values)
    if not len(x):
        return NOTHING
    draws = np.random.default_rng(seed).integers(len(x), size=(resamples, len(x)))
    low, high = np.quantile(np.median(x[draws], axis=1), [0.025, 0.975])
    return Estimate(value=float(np.median(x)), low=float(low), high=float(high), n=len(x))


def expected_calibration_error(
    probability: npt.ArrayLike, label: npt.ArrayLike, *, bins: int = 10
) -> float | None:
    """Mean distance between predicted and observed share over equal-width bins, weighted by their cases.

    Bins are ``[0, 0.1), …, [0.9, 1]`` for ten (Guo et al., ICML 2017). Null without cases.
    """
    p, truth = _vector(probability), _vector(label)
    if len(p) != len(truth):
        raise ValueError("probabilities and labels differ in length")
    if not len(p):
        return None
    place = np.minimum((p * bins).astype(np.int64), bins - 1)
    gap = np.bincount(place, weights=p - truth, minlength=bins)
    return float(np.abs(gap).sum() / len(p))


def brier_score(probability: npt.ArrayLike, label: npt.ArrayLike) -> float | None:
    """Mean squared distance of probabilities from what was true. Null without cases."""
    p, truth = _vector(probability), _vector(label)
    return float(np.mean((p - truth) ** 2)) if len(p) else None


def _vector(values: npt.ArrayLike) -> FloatVector:
    vector = np.asarray(values, dtype=np.float64).reshape(-1)
    if not np.isfinite(vector).all():
        raise ValueError("values must be finite")
    return vector
