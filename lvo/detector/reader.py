"""The second stage: from the features of all sites to a calibrated probability for each, and for the study.

One small perceptron is asked about every site in turn. It sees the site, its twin on the other side and its
neighbours along the stream, because what a gap means depends on them; that it is the same for all sites lets
it learn from few patients. The study's own answers look at all sites at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from lvo.anatomy import SITES, THROMBECTOMY_SEGMENTS, Segment, Side
from lvo.detector.bundle import Calibration, Metadata
from lvo.detector.evidence import MIRROR
from lvo.detector.features import FEATURES
from lvo.errors import BundleInvalid

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
STUDY_ANSWERS = 2
"""Any occlusion, and one for which thrombectomy is established."""
CLIP = 6.0
"""Standard deviations beyond which a feature says no more."""
_NEIGHBOURS: Mapping[Segment, tuple[Segment, Segment, Segment]] = {
    Segment.ICA_CERVICAL: (Segment.ICA_INTRACRANIAL, Segment.ICA_TERMINUS, Segment.M1),
    Segment.ICA_INTRACRANIAL: (Segment.ICA_CERVICAL, Segment.ICA_TERMINUS, Segment.M1),
    Segment.ICA_TERMINUS: (Segment.ICA_INTRACRANIAL, Segment.M1, Segment.A1),
    Segment.M1: (Segment.ICA_TERMINUS, Segment.M2, Segment.M3),
    Segment.M2: (Segment.M1, Segment.M3, Segment.ICA_TERMINUS),
    Segment.M3: (Segment.M2, Segment.M1, Segment.ICA_TERMINUS),
    Segment.A1: (Segment.ICA_TERMINUS, Segment.A2, Segment.M1),
    Segment.A2: (Segment.A1, Segment.ICA_TERMINUS, Segment.M1),
    Segment.V4: (Segment.BASILAR, Segment.P1, Segment.P2),
    Segment.BASILAR: (Segment.V4, Segment.P1, Segment.P2),
    Segment.P1: (Segment.BASILAR, Segment.P2, Segment.V4),
    Segment.P2: (Segment.P1, Segment.BASILAR, Segment.V4),
}
"""What lies up and down the stream of each segment."""


def _site(segment: Segment, side: Side) -> int:
    """A site by segment and side; a midline one has no side to match, and the left stands for both."""
    sides = (side, Side.MIDLINE, Side.LEFT)
    return next(SITES.index((segment, s)) for s in sides if (segment, s) in SITES)


CONTEXT = np.array(
    [[int(MIRROR[n]), *(_site(s, side) for s in _NEIGHBOURS[seg])] for n, (seg, side) in enumerate(SITES)]
)
"""Sites that each site is read beside, (sites, 4): its twin, then its neighbours."""
SEGMENT_CODE = np.array([[float(seg is s) for s in Segment] for seg, _ in SITES], dtype=np.float32)
"""Which segment each site is, (sites, segments)."""
IS_THROMBECTOMY = np.array([seg in THROMBECTOMY_SEGMENTS for seg, _ in SITES])
"""Sites of the segments for which thrombectomy is established, (sites,)."""
LAYERS = ("share.0", "site.0", "site.1", "site.2", "study.0", "study.1")
"""Linear layers of a member."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Several perceptrons whose logits are averaged.

    Attributes
    ----------
    mean, spread : (sites, features) that bring features to zero mean and unit variance; a negative spread
        turns a feature round, so that more of each speaks for an occlusion.
    members : by name, weight (out, in) and bias (out,) of every one of `LAYERS`; and ``pool``, (2, 2): slope
        and offset with which the sites' logits, together, enter each of the study's.
    """

    mean: F32
    spread: F32
    members: tuple[Mapping[str, F32], ...]

    def logits(self, features: F32) -> F32:
        """Uncalibrated logits, float32 (sites + STUDY_ANSWERS,): every site, then the study's."""
        x = np.clip(self._standard(features), -CLIP, CLIP)
        return np.asarray(np.mean([_member(m, x) for m in self.members], axis=0), dtype=np.float32)

    def novelty(self, features: F32) -> float:
        """How unlike the patients it was trained on: mean squared deviation of the features; 1 is usual."""
        return float(np.minimum(self._standard(features) ** 2, CLIP**2).mean())

    def _standard(self, features: F32) -> F64:
        return np.asarray((features.astype(np.float64) - self.mean) / self.spread)


def _member(m: Mapping[str, F32], x: F64) -> F64:
    shared = np.maximum(_linear(m, "share.0", x), 0)
    beside = shared[CONTEXT].reshape(len(SITES), -1)
    hidden = np.concatenate([x, beside, SEGMENT_CODE], axis=1)
    for layer in ("site.0", "site.1"):
        hidden = np.maximum(_linear(m, layer, hidden), 0)
    sites = _linear(m, "site.2", hidden)[:, 0]
    whole = _linear(m, "study.1", np.maximum(_linear(m, "study.0", shared.ravel()), 0))
    together = np.array([_log_sum_exp(sites), _log_sum_exp(sites[IS_THROMBECTOMY])])
    return np.concatenate([sites, m["pool"][0] * together + m["pool"][1] + whole])


def _linear(m: Mapping[str, F32], layer: str, x: F64) -> F64:
    return np.asarray(x @ m[f"{layer}.weight"].T + m[f"{layer}.bias"], dtype=np.float64)


def _log_sum_exp(x: F64) -> float:
    top = float(x.max())
    return top + float(np.log(np.exp(x - top).sum()))


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
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise BundleInvalid(f"({path.name} cannot be read: {type(error).__name__})") from error
    if answer.shape != (len(SITES) + STUDY_ANSWERS,) or not np.isfinite(answer).all():
        raise BundleInvalid(f"({path.name} does not read {len(SITES)} sites)")
    return reader


def reader_from(tensors: Mapping[str, F32]) -> Reader:
    """A reader from ``mean``, ``spread`` and ``<member>.<layer>.weight``, ``.bias``, ``<member>.pool``.

    Raises
    ------
    KeyError
        A tensor is missing.
    ValueError
        There is no member.
    """
    names = [*(f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias")), "pool"]
    count = len({name.split(".")[0] for name in tensors if name not in ("mean", "spread")})
    if not count:
        raise ValueError("a reader needs at least one member")
    members = tuple({name: tensors[f"{m}.{name}"] for name in names} for m in range(count))
    return Reader(tensors["mean"], tensors["spread"], members)


@dataclass(frozen=True, slots=True)
class Answer:
    """Calibrated probabilities: of every site, (sites,); of any occlusion; of one to be thrombectomised."""

    sites: F64
    study: float
    thrombectomy: float


def calibrated(logits: F32, metadata: Metadata) -> Answer:
    """Probabilities from the reader's logits."""
    each = [metadata.sites.get(segment, Calibration()) for segment, _ in SITES]
    sites = np.array([_platt(float(v), c) for v, c in zip(logits, each, strict=False)])
    study, thrombectomy = (float(v) for v in logits[-STUDY_ANSWERS:])
    return Answer(sites, _platt(study, metadata.study), _platt(thrombectomy, metadata.thrombectomy))


def _platt(logit: float, c: Calibration) -> float:
    return float(1 / (1 + np.exp(-(c.slope * logit + c.offset))))
