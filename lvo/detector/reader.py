"""The second stage: from the features of all sites to a calibrated probability for each, and for the study.

Whether an artery is occluded: the log odds of the strongest clot, missing lumen and cut-off on every site,
and of what the brain that it feeds lacks, are weighed with weights of its segment that are never negative,
less a share of the same on the other side, and the study follows the site that says most. So little is learnt
here on purpose: perceptrons that looked at all sites together were worse on real anatomy, and on phantoms
(`docs/experiments.md`). Which one it is: a site's neighbours along the stream are weighed too, with any sign,
because missing lumen beyond a clot is explained by it; and the side is judged as a whole, before its site.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file
from scipy.special import logsumexp

from lvo.anatomy import SITES, THROMBECTOMY_SEGMENTS, Segment, Side
from lvo.detector.bundle import Calibration, Metadata
from lvo.detector.evidence import MIRROR
from lvo.detector.features import FEATURES, WEIGHED
from lvo.errors import BundleInvalid

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
STUDY_ANSWERS = 2
"""Any occlusion, and one for which thrombectomy is established."""
CLIP = 6.0
"""Standard deviations beyond which a feature is no stranger."""
SHARPNESS = 5.0
"""How nearly the sites' logits together are the largest of them."""
MOST_BEHIND = 0.5
"""Log odds that a site is less likely by at most because more speaks for another side."""
EDGE = 0.003
"""Probability that is added to both sides before the log odds are taken."""
SEGMENT_CODE = np.array([[float(seg is s) for s in Segment] for seg, _ in SITES], dtype=np.float32)
"""Which segment each site is, (sites, segments)."""
SIDE_CODE = np.array([[side is s for s in Side] for _, side in SITES])
"""On which side each site is, (sites, sides)."""
IS_THROMBECTOMY = np.array([seg in THROMBECTOMY_SEGMENTS for seg, _ in SITES])
"""Sites of the segments for which thrombectomy is established, (sites,)."""
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


def _both(segment: Segment, side: Side) -> tuple[int, int]:
    """A site by segment and side, twice; of a midline site's two-sided neighbours, both sides."""
    sides = (side, Side.MIDLINE) if side is not Side.MIDLINE else (Side.LEFT, Side.RIGHT)
    found = [SITES.index((segment, s)) for s in sides if (segment, s) in SITES]
    return found[0], found[-1]


NEIGHBOURS = np.array([[_both(near, side) for near in _NEIGHBOURS[seg]] for seg, side in SITES])
"""Sites that each site is read beside, (sites, 3, 2): the larger of each pair counts."""
PAIRED = (np.arange(len(SITES)) != MIRROR)[:, None]
"""Sites that have a twin on the other side, (sites, 1)."""
TENSORS = ("mean", "spread", "twin", "weight", "bias", "pool", "place", "place_bias")
"""What ``reader.safetensors`` holds, named as the attributes of `Reader`."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A linear reading of every site, and of the study by the site that says most.

    Attributes
    ----------
    mean, spread : (sites, FEATURES) of the patients it was trained on, for novelty.
    twin : (n,) share of what is seen on its twin that a site is believed less for, see `against_twin`.
    weight : (segments, n) of the log odds of the n `WEIGHED` features; never negative.
    bias : (segments,)
    pool : (2, STUDY_ANSWERS), slope and offset with which these sums, together, become the study's logits.
    place : (segments, 4 n) of the same of a site, then of its three neighbours; free.
    place_bias : (segments,)
    """

    mean: F32
    spread: F32
    twin: F32
    weight: F32
    bias: F32
    pool: F32
    place: F32
    place_bias: F32

    def logits(self, features: F32) -> F32:
        """Uncalibrated logits, float32 (sites + STUDY_ANSWERS,): every site, then the study's."""
        evidence = log_odds(features[:, WEIGHED])
        one_sided = against_twin(evidence, self.twin)
        sums = ((SEGMENT_CODE @ self.weight) * one_sided).sum(axis=1) + SEGMENT_CODE @ self.bias
        together = [logsumexp(SHARPNESS * some) / SHARPNESS for some in (sums, sums[IS_THROMBECTOMY])]
        named = ((SEGMENT_CODE @ self.place) * beside(evidence)).sum(axis=1) + SEGMENT_CODE @ self.place_bias
        sites = named + behind_other_sides(named + sums)
        return np.concatenate([sites, self.pool[0] * together + self.pool[1]]).astype(np.float32)

    def novelty(self, features: F32) -> float:
        """How unlike the patients it was trained on: mean squared deviation of the features; 1 is usual."""
        standard = (features.astype(np.float64) - self.mean) / self.spread
        return float(np.minimum(standard**2, CLIP**2).mean())


def against_twin(evidence: F64, share: F32) -> F64:
    """Evidence of every site, less a share of its twin's; (..., sites, n). A midline site has no twin.

    What is odd on both sides alike is more often this head's anatomy, or bone, than two occlusions.
    """
    return np.asarray(evidence - share * PAIRED * evidence[..., MIRROR, :])


def beside(evidence: F64) -> F64:
    """Evidence of every site, then of its neighbours; (..., sites, n) to (..., sites, 4 n)."""
    near = evidence[..., NEIGHBOURS, :].max(axis=-2)
    return np.concatenate([evidence, near.reshape(*evidence.shape[:-1], -1)], axis=-1)


def behind_other_sides(evidence: F64) -> F64:
    """By how much less speaks for each site's side than for the likeliest other one, (sites,); never above 0.

    The names of one side share what a single occlusion shows, so that a false one elsewhere may be the
    likeliest single name. So each side is judged as a whole: the sum of its sites' odds. It decides between
    names that are about as likely; a second occlusion on the other side stays one.

    Parameters
    ----------
    evidence : (sites,) log odds of all that speaks for each site.
    """
    told = np.array([logsumexp(evidence[of_side]) for of_side in SIDE_CODE.T])
    others = np.array([np.delete(told, n).max() for n in range(len(told))])
    return np.asarray(SIDE_CODE @ np.clip(told - others, -MOST_BEHIND, 0))


def log_odds(p: npt.NDArray[np.floating]) -> F64:
    """Log odds of probabilities, at most those of 0.997 and at least those of 0.003."""
    inside = np.clip(p.astype(np.float64), 0, 1)
    return np.asarray(np.log((inside + EDGE) / (1 + EDGE - inside)))


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
    except KeyError as error:
        raise BundleInvalid(f"({path.name}, damaged or of another version, has no {error})") from error
    except (OSError, ValueError, SafetensorError) as error:
        raise BundleInvalid(f"({path.name} cannot be read: {type(error).__name__})") from error
    if answer.shape != (len(SITES) + STUDY_ANSWERS,) or not np.isfinite(answer).all():
        raise BundleInvalid(f"({path.name} does not read {len(SITES)} sites)")
    return reader


def reader_from(tensors: Mapping[str, F32]) -> Reader:
    """A reader from its tensors by name.

    Raises
    ------
    KeyError
        A tensor is missing.
    """
    return Reader(**{name: tensors[name] for name in TENSORS})


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
