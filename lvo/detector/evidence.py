"""What the network says, voxel by voxel, and what of it belongs to each arterial segment.

The two questions stay apart. Appearance: which vessel runs here, and is its lumen lit, missing or
clot (the network). Topology: given that, is this segment blocked (the reader, on these features).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lvo.anatomy import SITES
from lvo.imaging.resample import HEAD_BOX, Grid
from lvo.study import FloatArray, Point

VESSEL_CLASSES = len(SITES) + 3
"""Background, the sites in reporting order, other arteries, veins."""
STATE_CHANNELS = 3
"""Lit lumen, missing lumen (beyond a clot, without contrast), clot."""
STEP = 2
"""Input voxels per output voxel along each axis."""
EVIDENCE_GRID = Grid(
    shape=(HEAD_BOX.shape[0] // STEP, HEAD_BOX.shape[1] // STEP, HEAD_BOX.shape[2] // STEP),
    spacing=HEAD_BOX.spacing * STEP,
    origin=tuple(o + HEAD_BOX.spacing * (STEP - 1) / 2 for o in HEAD_BOX.origin),  # type: ignore[arg-type]
)
"""Where the network's answers lie."""
MIRROR = np.array([SITES.index((segment, side.mirrored)) for segment, side in SITES])
"""Index of the same segment on the other side, for every site."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The network's probabilities on EVIDENCE_GRID.

    Attributes
    ----------
    vessel : float32 (VESSEL_CLASSES, z, y, x), adds up to 1
    lit, missing, clot : float32 (z, y, x), the state of the lumen if an artery runs here; add up to 1
    bright : float32 (z, y, x), HU of the brightest of the input voxels in each output voxel
    """

    vessel: FloatArray
    lit: FloatArray
    missing: FloatArray
    clot: FloatArray
    bright: FloatArray

    @classmethod
    def from_network(cls, logits: FloatArray, cta: FloatArray) -> Evidence:
        """Probabilities from the network's output, float32 (VESSEL_CLASSES + STATE_CHANNELS, z, y, x)."""
        lit, missing, clot = _softmax(logits[VESSEL_CLASSES:])
        return cls(_softmax(logits[:VESSEL_CLASSES]), lit, missing, clot, _blocks(cta).max(axis=(1, 3, 5)))

    @property
    def arteries(self) -> FloatArray:
        """Probability that an artery, lit or not, runs through each voxel."""
        return np.asarray(self.vessel[1 : VESSEL_CLASSES - 1].sum(axis=0), dtype=np.float32)


def network_input(cta: FloatArray, ncct: FloatArray | None) -> dict[str, FloatArray]:
    """The network's named inputs from head-box volumes in HU, float32 (96, 112, 112)."""
    if cta.shape != HEAD_BOX.shape or (ncct is not None and ncct.shape != HEAD_BOX.shape):
        raise ValueError(f"the detector takes volumes of {HEAD_BOX.shape} voxels")
    plain = np.zeros(EVIDENCE_GRID.shape) if ncct is None else _blocks(ncct).mean(axis=(1, 3, 5))
    return {
        "cta": np.ascontiguousarray(cta[None, None], dtype=np.float32),
        "ncct": np.ascontiguousarray(plain[None, None], dtype=np.float32),
        "has_ncct": np.array([[ncct is not None]], dtype=np.float32),
    }


FEATURES = 14
"""Features of one site."""


def site_features(evidence: Evidence) -> npt.NDArray[np.float32]:
    """What is known of every site, float32 (sites, FEATURES).

    Extent of the vessel; how much of it is lit, missing and clot, in all and as shares; the strongest
    clot and missing lumen on it; how bright it is against the brightest arteries of this patient.
    """
    sites = evidence.vessel[1 : len(SITES) + 1]
    flat = sites.reshape(len(SITES), -1)
    states = np.stack([a.ravel() for a in (evidence.lit, evidence.missing, evidence.clot)], axis=1)
    mass = flat.sum(axis=1)
    amount = flat @ states
    share = amount / (mass[:, None] + 3)
    near = np.stack([_spread(s) for s in sites]).reshape(len(SITES), -1)
    lit_arteries = evidence.lit.ravel() * evidence.arteries.ravel()
    level = _weighted_level(evidence.bright.ravel(), lit_arteries)
    bright = (flat @ evidence.bright.ravel()) / (mass + 3) / level
    tops = [_strongest(near * states[:, k], n) for k, n in ((2, 4), (2, 20), (1, 20))]
    lowest = np.stack([_lit_floor(s, evidence) for s in flat])
    columns = [np.log1p(mass), *np.log1p(amount).T, *share.T, bright, *tops, lowest / level]
    columns += [
        np.full(len(SITES), level / 300),
        np.full(len(SITES), float((evidence.clot * evidence.arteries).max())),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def locate(evidence: Evidence, site: int) -> Point:
    """Where on a site the clot most probably is, head-frame (x, y, z) mm.

    The centre of the clot evidence around its peak on the vessel; where there is none, of the missing
    lumen; failing both, of the vessel itself.
    """
    near = _spread(evidence.vessel[1 + site])
    for state, least in ((evidence.clot, 0.05), (evidence.missing, 0.2), (np.ones_like(near), -1.0)):
        field = ndimage.gaussian_filter(near * state, 0.7)
        if field.max() > least * 0.5:
            break
    peak = np.array(np.unravel_index(int(field.argmax()), field.shape))
    axes = np.ix_(*(np.arange(n) for n in field.shape))
    square = sum((a - p) ** 2 for a, p in zip(axes, peak, strict=True))
    weight = np.where(square <= (8 / EVIDENCE_GRID.spacing) ** 2, field, 0)
    centre = [float((a * weight).sum() / weight.sum()) for a in axes]
    x, y, z = (EVIDENCE_GRID.affine @ [*centre, 1])[:3]
    return float(x), float(y), float(z)


def _blocks(a: FloatArray) -> FloatArray:
    z, y, x = (n // STEP for n in a.shape)
    return a.reshape(z, STEP, y, STEP, x, STEP)


def _softmax(logits: FloatArray) -> FloatArray:
    """Over the first axis; here, because in the network ONNX Runtime takes a quarter of a run for it."""
    p = np.exp(logits - logits.max(axis=0))
    p /= p.sum(axis=0)
    return np.asarray(p, dtype=np.float32)


def _spread(site: FloatArray) -> FloatArray:
    """Probability that the site runs here or in a neighbouring voxel."""
    return np.asarray(ndimage.maximum_filter(site, 3), dtype=np.float32)


def _strongest(values: FloatArray, n: int) -> FloatArray:
    """Mean of the n largest values of each row."""
    return np.asarray(np.partition(values, -n, axis=1)[:, -n:].mean(axis=1))


def _weighted_level(hu: FloatArray, weight: FloatArray) -> float:
    """Brightness of this patient's well-filled arteries, HU: the upper quartile, never under 80."""
    order = np.argsort(hu)
    total = np.cumsum(weight[order])
    if total[-1] < 1:
        return 80.0
    return max(80.0, float(hu[order[np.searchsorted(total, 0.75 * total[-1])]]))


def _lit_floor(site: FloatArray, evidence: Evidence) -> float:
    """HU under which the dimmest tenth of the site's voxels lies; 80 where there is no such vessel."""
    on = site > 0.5
    return float(np.percentile(evidence.bright.ravel()[on], 10)) if on.sum() >= 5 else 80.0
