"""What of the evidence belongs to each arterial site, in a few numbers: what the reader sees."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lvo.anatomy import SITES
from lvo.detector.evidence import Evidence
from lvo.study import FloatArray

FEATURES = 11
"""Features of one site."""
WEIGHED = slice(5, 11)
"""Columns of those that the reader weighs: probabilities, of the strongest voxels of a site, and the share of
its contrast that the brain lacks. The others only tell whether a study is like those that it knows."""
STARVED = 10
"""The column of the latter."""
_BLOCK = 72
"""Voxels that are searched together; they divide those of the evidence grid."""


def site_features(evidence: Evidence) -> npt.NDArray[np.float32]:
    """What is known of every site, float32 (sites, FEATURES).

    How much of it is missing and clot; shares that are lit, missing and clot; the strongest clot, missing
    lumen and cut-off on it; how far the brain that it feeds lacks contrast. Neither extent nor brightness:
    they say nothing more of a phantom, and real anatomy differs from phantoms in them most.
    """
    sites = evidence.vessel[1 : len(SITES) + 1]
    flat = sites.reshape(len(SITES), -1)
    states = np.stack([a.ravel() for a in (evidence.lit, evidence.missing, evidence.clot)], axis=1)
    amount = flat @ states
    share = amount / (flat.sum(axis=1)[:, None] + 3)
    near = _spread(sites).reshape(len(SITES), -1)
    arteries = evidence.arteries.ravel()
    # Beside an artery the state of the lumen is nobody's question, and what is said of it is arbitrary.
    tops = [_strongest(near * (states[:, k] * arteries), n) for k, n in ((2, 4), (2, 20), (1, 20))]
    tops += [_strongest(near * evidence.cutoff.ravel(), n) for n in (1, 6)]
    columns = [*np.log1p(amount[:, 1:]).T, *share.T, *tops, evidence.tissue.starved]
    return np.stack(columns, axis=1).astype(np.float32)


def _spread(sites: FloatArray) -> FloatArray:
    """Probability that each site runs here or in a neighbouring voxel."""
    out = sites
    for axis in (1, 2, 3):
        wider = out.copy()
        # scipy's maximum_filter loses what is no number; that must reach the answer, to be refused there.
        to, of = np.moveaxis(wider, axis, 0), np.moveaxis(out, axis, 0)
        np.maximum(to[:-1], of[1:], out=to[:-1])
        np.maximum(to[1:], of[:-1], out=to[1:])
        out = wider
    return out


def _strongest(values: FloatArray, n: int) -> FloatArray:
    """Mean of the n largest values of each row.

    They lie in the n blocks with the largest maxima: to sort all voxels was most of the time.
    """
    blocks = values.reshape(len(values), -1, _BLOCK)
    best = np.argpartition(blocks.max(axis=2), -n, axis=1)[:, -n:]
    chosen = np.take_along_axis(blocks, best[..., None], axis=1).reshape(len(values), -1)
    return np.asarray(np.partition(chosen, -n, axis=1)[:, -n:].mean(axis=1))
