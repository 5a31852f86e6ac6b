"""What of the evidence belongs to each arterial site, in a few numbers: what the reader sees."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lvo.anatomy import SITES
from lvo.detector.evidence import Evidence
from lvo.study import FloatArray

FEATURES = 16
"""Features of one site."""
_LEAST_LEVEL_HU = 80.0


def site_features(evidence: Evidence) -> npt.NDArray[np.float32]:
    """What is known of every site, float32 (sites, FEATURES).

    Extent of the vessel; how much of it is lit, missing and clot, in all and as shares; the strongest
    clot and missing lumen on it; how bright it is against the brightest arteries of this patient. Then
    what is the same for all sites: that brightness, the strongest clot anywhere, the veins' brightness
    and the noise.
    """
    sites = evidence.vessel[1 : len(SITES) + 1]
    flat = sites.reshape(len(SITES), -1)
    states = np.stack([a.ravel() for a in (evidence.lit, evidence.missing, evidence.clot)], axis=1)
    hu = evidence.bright.ravel()
    mass = flat.sum(axis=1)
    amount = flat @ states
    share = amount / (mass[:, None] + 3)
    near = _spread(sites).reshape(len(SITES), -1)
    arteries = evidence.arteries.ravel()
    level = _weighted_level(hu, evidence.lit.ravel() * arteries)
    bright = (flat @ hu) / (mass + 3) / level
    # Beside an artery the state of the lumen is nobody's question, and what is said of it is arbitrary.
    tops = [_strongest(near * (states[:, k] * arteries), n) for k, n in ((2, 4), (2, 20), (1, 20))]
    lowest = np.array([_lit_floor(s, hu) for s in flat]) / level
    columns = [np.log1p(mass), *np.log1p(amount).T, *share.T, bright, *tops, lowest]
    vein = _weighted_level(hu, evidence.vessel[-1].ravel()) / level
    clot = float((evidence.clot * evidence.arteries).max())
    columns += [np.full(len(SITES), v) for v in (level / 300, clot, vein, evidence.noise_hu / 20)]
    return np.stack(columns, axis=1).astype(np.float32)


def _spread(sites: FloatArray) -> FloatArray:
    """Probability that each site runs here or in a neighbouring voxel."""
    out = sites
    for axis in (1, 2, 3):
        padded = np.pad(out, [(0, 0)] + [(1, 1) if a == axis else (0, 0) for a in (1, 2, 3)])
        first, middle, last = (np.take(padded, range(k, k + sites.shape[axis]), axis) for k in (0, 1, 2))
        out = np.maximum(np.maximum(first, middle), last)
    return out


def _strongest(values: FloatArray, n: int) -> FloatArray:
    """Mean of the n largest values of each row."""
    return np.asarray(np.partition(values, -n, axis=1)[:, -n:].mean(axis=1))


def _weighted_level(hu: FloatArray, weight: FloatArray) -> float:
    """How bright a kind of vessel is where it is well filled, HU: the upper quartile, never under 80."""
    inside = weight > 0.01
    hu, weight = hu[inside], weight[inside]
    order = np.argsort(hu)
    total = np.cumsum(weight[order])
    if not len(total) or total[-1] < 1:
        return _LEAST_LEVEL_HU
    return max(_LEAST_LEVEL_HU, float(hu[order[np.searchsorted(total, 0.75 * total[-1])]]))


def _lit_floor(site: FloatArray, hu: FloatArray) -> float:
    """HU under which the dimmest tenth of a site's voxels lies; 80 where there is no such vessel."""
    on = site > 0.5
    return float(np.percentile(hu[on], 10)) if on.sum() >= 5 else _LEAST_LEVEL_HU
