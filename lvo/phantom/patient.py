"""One synthetic code-stroke patient: head, vessels, disease and bolus, all drawn from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Segment, Side
from lvo.phantom.flow import Flow, Occlusion, occlude, patent
from lvo.phantom.head import HeadModel, sample_head
from lvo.phantom.tree import Branch, Tree, sample_arteries, sample_veins

Array = npt.NDArray[np.float64]
SITE_WEIGHTS: dict[Segment, float] = {
    Segment.M1: 0.26,
    Segment.M2: 0.17,
    Segment.ICA_TERMINUS: 0.14,
    Segment.BASILAR: 0.11,
    Segment.ICA_INTRACRANIAL: 0.06,
    Segment.ICA_CERVICAL: 0.05,
    Segment.M3: 0.04,
    Segment.A1: 0.02,
    Segment.A2: 0.04,
    Segment.V4: 0.04,
    Segment.P1: 0.03,
    Segment.P2: 0.04,
}
"""How often each segment is drawn; nearer to even than in life, so that every one can be measured."""


@dataclass(frozen=True, slots=True)
class Bolus:
    """Attenuation of blood in HU; unenhanced blood is `blood`.

    Attributes
    ----------
    artery, vein : at the time of the CTA.
    cavernous : in the cavernous sinus, which opacifies early.
    phase : early, peak or late.
    """

    artery: float
    vein: float
    cavernous: float
    blood: float
    phase: str


@dataclass(frozen=True, slots=True)
class Plaque:
    """Mural calcium: centres (n, 3) head-frame mm, radii (n,) mm and HU (n,)."""

    points: Array
    radius: Array
    hu: Array


@dataclass(frozen=True, slots=True)
class Patient:
    """Everything about a synthetic patient that a scanner could image.

    Points are head-frame mm; `head`, `arteries` and `veins` share one deformation.
    """

    seed: int
    head: HeadModel
    arteries: Tree
    veins: Tree
    flow: Flow
    plaque: Plaque
    bolus: Bolus
    clot_hu: float
    mimics: tuple[str, ...] = ()

    @property
    def occlusions(self) -> tuple[Occlusion, ...]:
        """What is blocked, in the order in which it was drawn."""
        return self.flow.occlusions


def sample_patient(
    seed: int,
    *,
    head: HeadModel | None = None,
    vessels: tuple[Tree, Tree] | None = None,
    occlusions: Sequence[tuple[Side, Segment]] | None = None,
    below_mm: float = 0.0,
    spacing_mm: float = 1.5,
) -> Patient:
    """Draw a patient.

    Parameters
    ----------
    seed : the same seed and arguments give the same patient.
    head, vessels : reuse these (several patients may share costly anatomy); drawn if None.
    occlusions : sites to occlude; None draws them (half of the patients have one, some two), an
        empty sequence leaves all arteries open.
    below_mm, spacing_mm : of the head model, if it is drawn.
    """
    anatomy, disease = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
    if head is None:
        head = sample_head(anatomy, spacing_mm=spacing_mm, below_mm=below_mm)
    if vessels is None:
        vessels = sample_vessels(anatomy, head)
    arteries, veins = vessels
    flow = patent(arteries)
    sites = _draw_sites(disease) if occlusions is None else occlusions
    for side, segment in sites:
        flow = occlude(arteries, flow, segment, side, disease)
    arteries, mimics = _narrow(arteries, disease)
    plaque = _calcify(arteries, disease)
    if len(plaque.hu):
        mimics = (*mimics, "calcified plaque")
    clot_hu = float(disease.normal(58, 5)) if disease.random() > 0.05 else float(disease.uniform(110, 300))
    return Patient(seed, head, arteries, veins, flow, plaque, sample_bolus(disease), clot_hu, mimics)


def sample_vessels(rng: np.random.Generator, head: HeadModel) -> tuple[Tree, Tree]:
    """Arteries and veins deformed along with a head."""
    return sample_arteries(rng).mapped(head.warp), sample_veins(rng).mapped(head.warp)


def sample_bolus(rng: np.random.Generator) -> Bolus:
    """Arteries of 170 to 520 HU; veins from hardly enhanced to brighter than the arteries."""
    artery = float(np.exp(rng.normal(np.log(330), 0.26)))
    artery = float(np.clip(artery, 160, 560))
    phase = str(rng.choice(["early", "peak", "late"], p=[0.3, 0.5, 0.2]))
    share = {"early": (0.0, 0.2), "peak": (0.15, 0.55), "late": (0.5, 1.1)}[phase]
    blood = float(rng.uniform(38, 46))
    vein = blood + float(rng.uniform(*share)) * (artery - blood)
    cavernous = blood + float(rng.uniform(0.05, 0.8)) * (artery - blood)
    return Bolus(artery, vein, max(vein * 0.8, cavernous), blood, phase)


def _draw_sites(rng: np.random.Generator) -> list[tuple[Side, Segment]]:
    if rng.random() < 0.5:
        return []
    segments, weights = zip(*SITE_WEIGHTS.items(), strict=True)
    p = np.array(weights) / sum(weights)
    first = segments[int(rng.choice(len(segments), p=p))]
    sites = [(first.sides[int(rng.integers(len(first.sides)))], first)]
    if rng.random() < 0.08:  # tandem, bilateral or multi-territory
        second = segments[int(rng.choice(len(segments), p=p))]
        extra = (second.sides[int(rng.integers(len(second.sides)))], second)
        if extra not in sites:
            sites.append(extra)
    return sites


def _narrow(tree: Tree, rng: np.random.Generator) -> tuple[Tree, tuple[str, ...]]:
    """Atherosclerotic stenosis: a smooth waist of 20 to 70 % somewhere on a large artery."""
    if rng.random() > 0.15:
        return tree, ()
    large = [i for i, b in enumerate(tree.branches) if b.segment is not None and b.length > 8]
    i = int(rng.choice(large))
    b = tree.branches[i]
    arc = np.linspace(0, b.length, len(b.points))
    grade, where, width = rng.uniform(0.2, 0.7), rng.uniform(0.15, 0.85) * b.length, rng.uniform(1.5, 5)
    waist: Branch = replace(b, radius=b.radius * (1 - grade * np.exp(-(((arc - where) / width) ** 2))))
    branches = (*tree.branches[:i], waist, *tree.branches[i + 1 :])
    return replace(tree, branches=branches), (f"stenosis {grade:.0%} {b.side} {b.segment}",)


def _calcify(tree: Tree, rng: np.random.Generator) -> Plaque:
    """Calcium in the wall of the siphons, less often of the V4 and the bulb."""
    points, radius, hu = [], [], []
    burden = rng.exponential(1.0) if rng.random() < 0.55 else 0.0
    for b in tree.branches:
        if b.name not in ("ICA-I", "V4", "ICA-C") or burden == 0.0:
            continue
        low, high = (0.45, 1.0) if b.name == "ICA-I" else (0.0, 0.4)
        for _ in range(rng.poisson(burden * (4 if b.name == "ICA-I" else 1.2))):
            k = int(rng.uniform(low, high) * (len(b.points) - 1))
            away = rng.normal(size=3)
            size = rng.uniform(0.4, 1.5)
            offset = away / np.linalg.norm(away) * (b.radius[k] + 0.3 * size)
            points.append(b.points[k] + offset)
            radius.append(size)
            hu.append(rng.uniform(350, 1200))
    return Plaque(np.array(points).reshape(-1, 3), np.array(radius), np.array(hu))
