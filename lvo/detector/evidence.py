"""What the networks say: voxel by voxel of the arteries, and of the brain that each of them feeds.

The two questions stay apart. Appearance: which vessel runs here, and is its lumen lit, missing or
clot (the networks, here). Topology: given that, is this segment blocked (the reader, on `features`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.special import expit

from lvo.anatomy import SITES
from lvo.imaging.resample import HEAD_BOX, Grid
from lvo.study import FloatArray, Point

VESSEL_CLASSES = len(SITES) + 3
"""Background, the sites in reporting order, other arteries, veins."""
STATE_CHANNELS = 3
"""Lit lumen, missing lumen (beyond a clot, without contrast), clot."""
OUTPUTS = VESSEL_CLASSES + STATE_CHANNELS + 1
"""Channels that the network puts out: the vessel, the state of its lumen, and the cut-off."""
STEP = 2
"""Input voxels per output voxel along each axis."""
EVIDENCE_GRID = Grid(
    shape=(HEAD_BOX.shape[0] // STEP, HEAD_BOX.shape[1] // STEP, HEAD_BOX.shape[2] // STEP),
    spacing=HEAD_BOX.spacing * STEP,
    origin=tuple(o + HEAD_BOX.spacing * (STEP - 1) / 2 for o in HEAD_BOX.origin),  # type: ignore[arg-type]
)
"""Where the vessel network's answers lie."""
_DEFICIT_STEP = 4
DEFICIT_GRID = Grid(
    shape=tuple(n // _DEFICIT_STEP for n in EVIDENCE_GRID.shape),  # type: ignore[arg-type]
    spacing=EVIDENCE_GRID.spacing * _DEFICIT_STEP,
    origin=tuple(o + EVIDENCE_GRID.spacing * (_DEFICIT_STEP - 1) / 2 for o in EVIDENCE_GRID.origin),  # type: ignore[arg-type]
)
"""Where the tissue network's answers lie: voxels of 8 mm."""
MIRROR = np.array([SITES.index((segment, side.mirrored)) for segment, side in SITES])
"""Index of the same segment on the other side, for every site."""
_MIRRORED_CLASS = np.concatenate([[0], 1 + MIRROR, [VESSEL_CLASSES - 2, VESSEL_CLASSES - 1]])


@dataclass(frozen=True, slots=True)
class Tissue:
    """What the brain says.

    Attributes
    ----------
    starved : float32 (sites,), share of its contrast that the brain which each site feeds lacks
    deficit : float32 (z, y, x) on DEFICIT_GRID, the same of each place; 0 where no brain is seen
    """

    starved: FloatArray
    deficit: FloatArray

    @property
    def mirrored(self) -> Tissue:
        """What the mirror image's says: the network looks at both by itself."""
        return Tissue(self.starved[MIRROR], self.deficit[..., ::-1])


@dataclass(frozen=True, slots=True)
class Evidence:
    """The networks' probabilities, of the arteries on EVIDENCE_GRID.

    Attributes
    ----------
    vessel : float32 (VESSEL_CLASSES, z, y, x), adds up to 1
    lit, missing, clot : float32 (z, y, x), the state of the lumen if an artery runs here; add up to 1
    cutoff : float32 (z, y, x), probability that contrast stops, or begins again, at a clot here
    bright : float32 (z, y, x), HU of the brightest of the input voxels in each output voxel
    tissue : what the brain says
    """

    vessel: FloatArray
    lit: FloatArray
    missing: FloatArray
    clot: FloatArray
    cutoff: FloatArray
    bright: FloatArray
    tissue: Tissue

    @classmethod
    def from_networks(cls, logits: FloatArray, tissue: Tissue, cta: FloatArray) -> Evidence:
        """Probabilities from the outputs; the vessel network's are float32 (OUTPUTS, z, y, x)."""
        lit, missing, clot = _softmax(logits[VESSEL_CLASSES:-1])
        cutoff = np.asarray(expit(logits[-1]), dtype=np.float32)
        bright = blocks(cta).max(axis=(1, 3, 5))
        return cls(_softmax(logits[:VESSEL_CLASSES]), lit, missing, clot, cutoff, bright, tissue)

    def averaged(self, mirrored: Evidence) -> Evidence:
        """The mean of this and of what was said of the mirrored image's arteries, brought back."""
        vessel, lit, missing, clot, cutoff = (
            np.float32(0.5) * (own + other[..., ::-1])
            for own, other in (
                (self.vessel, mirrored.vessel[_MIRRORED_CLASS]),
                (self.lit, mirrored.lit),
                (self.missing, mirrored.missing),
                (self.clot, mirrored.clot),
                (self.cutoff, mirrored.cutoff),
            )
        )
        return Evidence(vessel, lit, missing, clot, cutoff, self.bright, self.tissue)

    @property
    def arteries(self) -> FloatArray:
        """Probability that an artery, lit or not, runs through each voxel."""
        return np.asarray(self.vessel[1 : VESSEL_CLASSES - 1].sum(axis=0), dtype=np.float32)


def network_input(cta: FloatArray, ncct: FloatArray | None) -> dict[str, FloatArray]:
    """The network's named inputs from head-box volumes in HU, float32 (128, 112, 144)."""
    if cta.shape != HEAD_BOX.shape or (ncct is not None and ncct.shape != HEAD_BOX.shape):
        raise ValueError(f"the detector takes volumes of {HEAD_BOX.shape} voxels")
    plain = np.zeros(EVIDENCE_GRID.shape) if ncct is None else blocks(ncct).mean(axis=(1, 3, 5))
    return {
        "cta": np.ascontiguousarray(cta[None, None], dtype=np.float32),
        "ncct": np.ascontiguousarray(plain[None, None], dtype=np.float32),
        "has_ncct": np.array([[ncct is not None]], dtype=np.float32),
    }


def blocks(a: FloatArray) -> FloatArray:
    """The input voxels of every output voxel along axes 1, 3 and 5, (z, STEP, y, STEP, x, STEP)."""
    z, y, x = (n // STEP for n in a.shape)
    return a.reshape(z, STEP, y, STEP, x, STEP)


def locate(evidence: Evidence, site: int) -> Point:
    """Where on a site the clot most probably is, head-frame (x, y, z) mm.

    The centre of the clot evidence around its peak on the vessel; where there is none, of the missing
    lumen; failing both, of the vessel itself.
    """
    # Beside an artery the state of the lumen is nobody's question: only where one runs is it asked.
    near = ndimage.maximum_filter(evidence.vessel[1 + site], 3) * evidence.arteries
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


def _softmax(logits: FloatArray) -> FloatArray:
    """Over the first axis; here, because in the network ONNX Runtime takes a quarter of a run for it."""
    p = np.exp(logits - logits.max(axis=0))
    p /= p.sum(axis=0)
    return np.asarray(p, dtype=np.float32)
