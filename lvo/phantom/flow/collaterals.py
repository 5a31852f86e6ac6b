"""What the drawn arteries feed, and the small vessels that feed it when they cannot: beds and anastomoses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.spatial.distance import cdist

from lvo.anatomy import Side
from lvo.phantom.flow.network import Array, Bypass, Index, Network
from lvo.phantom.vessels.tree import Tree

TERRITORY: dict[str, str] = {
    "M1": "MCA",
    "M2": "MCA",
    "M3": "MCA",
    "M4": "MCA",
    "A1": "ACA",
    "A2": "ACA",
    "A3": "ACA",
    "P1": "PCA",
    "P2": "PCA",
    "P3": "PCA",
}
"""Territory of a structure that ends in tissue; any other structure is its own."""
FLOW_ML_MIN: dict[str, float] = {
    "MCA": 142.0,
    "ACA": 80.0,
    "PCA": 57.0,
    "SCA": 14.0,
    "AICA": 7.0,
    "PICA": 20.0,
    "ophthalmic": 13.0,
    "anterior choroidal": 5.0,
    "lenticulostriate": 5.0,
    "ECA": 120.0,
    "subclavian": 180.0,
    "aorta": 3800.0,
}
"""Normal flow on one side, ml/min: Zarrinkoob et al., J Cereb Blood Flow Metab 2015;35:648 (of 717 ml/min,
MCA 21 %, ACA 12 %, PCA 8 %, ophthalmic 2 %, carotids 72 %); the hindbrain's and the neck's shares are the
remainder and approximate. Within a territory a leaf takes its share of r³ (Murray, PNAS 1926;12:207)."""
ALONG: dict[str, float] = {"M2": 0.6, "M3": 1.0, "M4": 1.0, "A2": 0.5, "A3": 1.0, "P2": 0.5, "P3": 1.0}
"""Small branches that are not drawn, per length: they leave everywhere on the cortex."""
ALONG_SHARE = 0.5
"""Share of a territory's flow that they take: approximate."""
OTHER_FLOW_ML_MIN = 1.0
"""Of a leaf of any other structure."""
_ANASTOMOSES: tuple[tuple[tuple[tuple[str, str], ...], float], ...] = (
    ((("MCA", "ACA"), ("MCA", "PCA")), 142.0),
    ((("ACA", "PCA"),), 30.0),
    ((("SCA", "PICA"), ("AICA", "PICA"), ("SCA", "AICA")), 20.0),
    ((("PICA", "PCA"), ("SCA", "PCA")), 3.0),
)
"""Territories that leptomeningeal vessels join, family by family, and the flow in ml/min that a family
carries at a recruitment of 1 and 40 mmHg."""
_JOINED = frozenset(name for family, _ in _ANASTOMOSES for pair in family for name in pair)
_REFERENCE_MMHG, _ORBITAL_ML = 40.0, 0.3


class CollateralRanges(BaseModel):
    """How well the leptomeningeal and orbital anastomoses carry blood.

    Grades are those of Tan et al. (Ann Neurol 2007;61:533): 0 none, 1 up to half of the territory fills, 2
    more than half, 3 all of it. Frequencies are about those of large-vessel trials; recruitment is set so
    that the grades come out about as defined.

    Attributes
    ----------
    grade_weights : of grades 0 to 3.
    same_grade : chance that both hemispheres have one grade.
    recruitment : per grade, low and high of the anastomoses' conductance in units of the territory's normal
        flow at a pressure difference of 40 mmHg; drawn evenly on a logarithmic scale.
    missing : per grade, share of the anastomoses that are not there.
    scatter : log-normal sd between anastomoses.
    seconds : low and high volume of all anastomoses, as the time in which the territory's flow fills them.
    open_at : without a clot, share of the usual pressure across a bed whose loss begins to open its
        anastomoses, and opens them wholly; approximate.
    reach_mm : anastomoses get rarer with the distance of the leaves they join.
    orbital_ml_min : low and high flow that the ECA can drive through the ophthalmic artery at 40 mmHg.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    grade_weights: tuple[float, float, float, float] = (0.10, 0.27, 0.36, 0.27)
    same_grade: float = 0.7
    recruitment: tuple[tuple[float, float], ...] = ((0.0, 0.0), (0.03, 0.18), (0.25, 0.7), (1.5, 4.0))
    missing: tuple[float, float, float, float] = (1.0, 0.6, 0.25, 0.03)
    scatter: float = 0.6
    seconds: tuple[float, float] = (0.3, 1.2)
    open_at: tuple[float, float] = (0.1, 0.4)
    reach_mm: float = 25.0
    orbital_ml_min: tuple[float, float] = (0.0, 45.0)


def draw_grades(
    rng: np.random.Generator, ranges: CollateralRanges, fixed: int | None = None
) -> dict[Side, int]:
    """Collateral grade 0 to 3 of each hemisphere; `fixed` replaces what is drawn."""
    weights = np.array(ranges.grade_weights) / sum(ranges.grade_weights)
    left, other = (int(g) for g in rng.choice(4, size=2, p=weights))
    right = left if rng.random() < ranges.same_grade else other
    return (
        {Side.LEFT: left, Side.RIGHT: right} if fixed is None else {s: fixed for s in (Side.LEFT, Side.RIGHT)}
    )


@dataclass(frozen=True, slots=True, eq=False)
class Supply:
    """Flow to tissue in health, ml/min: (branches,) at the far end of each branch, and along it."""

    tip: Array
    along: Array

    def at(self, network: Network) -> Array:
        """The same by junction, (nodes,); what leaves along a branch is halved between its ends."""
        starts, ends = network.node[network.offsets[:-1]], network.node[network.offsets[1:] - 1]
        nodes = np.concatenate([ends, starts, ends])
        flow = np.concatenate([self.tip, self.along / 2, self.along / 2])
        return np.bincount(nodes, weights=flow, minlength=network.nodes).astype(np.float64)

    def received(self, network: Network, share: Array) -> Array:
        """Flow to the tissue of each branch, of normal, (branches,), from that at the junctions, (nodes,).

        A branch that feeds none has the mean of its ends.
        """
        start, end = share[network.node[network.offsets[:-1]]], share[network.node[network.offsets[1:] - 1]]
        weight = np.maximum(self.along / 2, 1e-9)
        found: Array = (weight * (start + end) + self.tip * end) / (2 * weight + self.tip)
        return found


def normal_supply(tree: Tree, network: Network, scale: float) -> Supply:
    """Flow to tissue in health, `scale` times the usual.

    Part of a territory's flow leaves at its leaves, the rest along its branches, which is what draws blood
    backwards through them towards a clot.
    """
    names = [TERRITORY.get(b.structure, b.structure) for b in tree.branches]
    pooled = {n for n, b in zip(names, tree.branches, strict=True) if n == "ACA" and b.side is Side.MIDLINE}
    # An azygos A2 serves both sides, so both are then shared out together.
    keys = [(n, None if n in pooled else b.side) for n, b in zip(names, tree.branches, strict=True)]
    number = {key: k for k, key in enumerate(dict.fromkeys(keys))}
    group = np.array([number[key] for key in keys])
    total = np.array([FLOW_ML_MIN.get(n, OTHER_FLOW_ML_MIN) * (1 + (side is None)) for n, side in number])
    tip = np.zeros(len(keys))
    tip[network.ends] = network.area[network.offsets[network.ends + 1] - 2] ** 1.5  # as r³
    length = np.add.reduceat(network.step, network.offsets[:-1])
    along = np.array([ALONG.get(b.structure, 0.0) for b in tree.branches]) * length
    tips, alongs = (np.bincount(group, weights=w, minlength=len(total)) for w in (tip, along))
    share = np.where(alongs > 0, ALONG_SHARE, 0.0)
    total = np.where(tips > 0, total, 0.0) * scale
    tip *= (total * (1 - share) / np.maximum(tips, 1e-12))[group]
    along *= (total * share / np.maximum(alongs, 1e-12))[group]
    return Supply(tip, along)


@dataclass(frozen=True, slots=True, eq=False)
class Anastomoses:
    """Bypasses of a tree: (k,) numbers in `Network.ends` at both ends, -1 for the neck; as in `Bypass`."""

    tail: Index
    head: Index
    conductance: Array
    volume: Array

    def at(self, network: Network) -> Bypass:
        """The same in one of the tree's networks, all of them open."""
        nodes = np.append(network.end_nodes, network.nodes - 1)
        return Bypass(nodes[self.tail], nodes[self.head], self.conductance, self.volume)


def opened(bypass: Bypass, lack: Array, ranges: CollateralRanges) -> Bypass:
    """The bypasses as far as a loss of pressure at one of their ends has opened them.

    Parameters
    ----------
    lack : (nodes,) share of the usual pressure across the bed that is missing.
    """
    low, high = ranges.open_at
    most = np.maximum(lack[bypass.tail], lack[bypass.head])
    share = np.clip((most - low) / (high - low), 0.0, 1.0)
    conductance = bypass.conductance * share
    on = conductance > 0
    return Bypass(bypass.tail[on], bypass.head[on], conductance[on], bypass.volume[on])


def draw_bypass(
    tree: Tree,
    network: Network,
    grades: dict[Side, int],
    rng: np.random.Generator,
    ranges: CollateralRanges,
) -> Anastomoses:
    """Anastomoses between the leaves of one hemisphere, and from the ECA to the ophthalmic artery."""
    names, sides = _leaves(tree, network)
    label = np.array(names)
    tips = np.array([tree.branches[i].points[-1] for i in network.ends])
    found: list[tuple[Index, Index, Array, Array]] = []
    for side in (Side.LEFT, Side.RIGHT):
        here = np.array([s in (side, Side.MIDLINE) for s in sides])
        own = {name: np.flatnonzero(here & (label == name)) for name in _JOINED}
        for family, unit in _ANASTOMOSES:
            rows = [_pairs(own[one], own[other], tips, ranges.reach_mm) for one, other in family]
            a, b, w = (np.concatenate(parts) for parts in zip(*rows, strict=True))
            conduct, volume = _recruit(w, unit, grades[side], rng, ranges)
            found.append((a, b, conduct, volume))
        found.append(_orbital(names, here, tips, rng.uniform(*ranges.orbital_ml_min)))
    return Anastomoses(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _leaves(tree: Tree, network: Network) -> tuple[list[str], list[Side]]:
    ends = [tree.branches[i] for i in network.ends]
    return [TERRITORY.get(b.structure, b.structure) for b in ends], [b.side for b in ends]


def _pairs(one: Index, other: Index, tips: Array, reach_mm: float) -> tuple[Index, Index, Array]:
    """Leaves of two territories that face each other, and the weight of what joins them."""
    if not len(one) or not len(other):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    apart = cdist(tips[one], tips[other])
    nearest = np.argpartition(apart, min(1, len(other) - 1), axis=1)[:, :2]
    rows = np.repeat(np.arange(len(one)), nearest.shape[1])
    columns = nearest.ravel()
    return one[rows], other[columns], np.exp(-apart[rows, columns] / reach_mm)


def _recruit(
    weight: Array, unit_ml_min: float, grade: int, rng: np.random.Generator, ranges: CollateralRanges
) -> tuple[Array, Array]:
    """Conductances that add up to what the grade allows, patchy as it is, and volumes in ml."""
    low, high = ranges.recruitment[grade]
    level = float(np.exp(rng.uniform(np.log(max(low, 1e-9)), np.log(max(high, 1e-9))))) if high > 0 else 0.0
    patchy = weight * rng.lognormal(0.0, ranges.scatter, size=len(weight))
    there = rng.random(len(weight)) >= ranges.missing[grade]
    share = patchy / max(float(patchy.sum()), 1e-12)
    volume = float(rng.uniform(*ranges.seconds)) / 60 * unit_ml_min * share
    return np.where(there, level * unit_ml_min / _REFERENCE_MMHG * share, 0.0), volume


def _orbital(
    names: list[str],
    here: np.ndarray[tuple[int], np.dtype[np.bool_]],
    tips: Array,
    ml_min: float,
) -> tuple[Index, Index, Array, Array]:
    """From the nearest leaf of the ECA (or, where none is drawn, from the neck) to the ophthalmic artery."""
    label = np.array(names)
    eyes, outer = np.flatnonzero(here & (label == "ophthalmic")), np.flatnonzero(here & (label == "ECA"))
    source = np.full(len(eyes), -1)
    if len(outer) and len(eyes):
        apart = np.linalg.norm(tips[eyes][:, None] - tips[outer][None], axis=-1)
        source = outer[np.argmin(apart, axis=1)]
    return source, eyes, np.full(len(eyes), ml_min / _REFERENCE_MMHG), np.full(len(eyes), _ORBITAL_ML)
