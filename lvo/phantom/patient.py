"""One synthetic code-stroke patient and how it is scanned: head, vessels, disease and bolus, from a seed.

Each part has a generator of its own, so that asking for another occlusion, phase or scan leaves the rest of
the patient as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from lvo.anatomy import TANDEM_SEGMENTS, Segment, Side
from lvo.phantom.config import CaseRanges, PhantomConfig
from lvo.phantom.disease.lesion_ranges import LesionRanges, pterion, sample_lesions
from lvo.phantom.disease.lesion_recipes import Lesion
from lvo.phantom.disease.mimics import VesselDisease, sample_disease
from lvo.phantom.disease.territory import Supply, supply
from lvo.phantom.flow.bolus import Bolus, sample_bolus
from lvo.phantom.flow.occlude import Flow, Occlusion, occlude
from lvo.phantom.head.individual import Head, sample_head
from lvo.phantom.head.solids import Point
from lvo.phantom.scanner.scan import Scan, sample_scan
from lvo.phantom.vessels.arteries import sample_arteries
from lvo.phantom.vessels.tree import Tree
from lvo.phantom.vessels.veins import sample_veins

Array = npt.NDArray[np.float64]
Site = tuple[Side, Segment]
PHASES = ("early", "peak", "late", "venous")
NOISE_HU = {"low": (6.0, 10.0), "middle": (10.0, 17.0), "high": (17.0, 28.0)}
"""Noise of the CTA in the middle of the head, by stratum."""
_ANATOMY, _HEAD, _SCAN, _VEINS, _DISEASE, _CLOTS, _BOLUS, _LESIONS, _CASE, _PIXELS = range(1, 11)


@dataclass(frozen=True, slots=True, eq=False)
class Patient:
    """Everything about a synthetic patient that a scanner could image.

    Points are head-frame mm; head and vessels share one deformation.

    Attributes
    ----------
    disease : the arteries with their disease, calcium and metal.
    supply : which branch feeds which part of the brain.
    lesions : as `head`'s own recipes, they know nothing of `Head.flipped`.
    """

    seed: int
    age: float
    head: Head
    disease: VesselDisease
    veins: Tree
    flow: Flow
    bolus: Bolus
    supply: Supply
    lesions: tuple[Lesion, ...]

    @property
    def arteries(self) -> Tree:
        """The arterial tree."""
        return self.disease.tree

    @property
    def occlusions(self) -> tuple[Occlusion, ...]:
        """What is blocked, in the order in which it was drawn."""
        return self.flow.occlusions

    @property
    def variants(self) -> tuple[str, ...]:
        """What is not textbook anatomy, in words."""
        return (*self.arteries.variants, *self.veins.variants)

    @property
    def mimics(self) -> tuple[str, ...]:
        """What could be taken for an occlusion, in words."""
        found = (f"{x.kind} {x.side.mirrored if self.head.flipped else x.side}" for x in self.lesions)
        return (*self.disease.mimics, *found, *self.bolus.mimics)


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of a patient; what is None is drawn.

    Attributes
    ----------
    sites : to occlude; empty for none.
    collateral : grade 0 to 3 of both hemispheres.
    phase : one of `PHASES`.
    noise : one of `NOISE_HU`.
    slice_mm : distance between CTA slices.
    strata : names in the configuration, each of which makes sure of a variant or a mimic.
    matrix, slices : rows and columns; number of CTA slices.
    ncct : whether there is one.
    phases : of the CTA, 8 s apart.
    """

    sites: tuple[Site, ...] | None = None
    collateral: int | None = None
    phase: str | None = None
    noise: str | None = None
    slice_mm: float | None = None
    strata: tuple[str, ...] = ()
    matrix: int = 512
    slices: int | None = None
    ncct: bool = True
    phases: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A patient in a scanner, and the generator that goes on to draw the noise."""

    patient: Patient
    scan: Scan
    seed: int = field(default=0)

    def pixels(self) -> np.random.Generator:
        """What the noise of the images is drawn from; the same at every call."""
        return np.random.default_rng([self.seed, _PIXELS])


def sample_case(
    seed: int,
    config: PhantomConfig,
    order: Order | None = None,
    head: Head | None = None,
    arteries: Tree | None = None,
) -> Case:
    """Draw a patient and a scan; the same seed, configuration and order give the same.

    Parameters
    ----------
    head : of another patient, that this one shall have too; None draws its own.
    arteries : before disease, in the head's canonical coordinates; None draws them.

    Raises
    ------
    ValueError
        If this patient has not the segment that is to be occluded.
    lvo.phantom.head.atlas.AtlasMissing
        If the head atlas is not installed.
    """
    order = order or Order()
    changes = [config.stratum(name) for name in order.strata]
    if order.phase is not None:
        weights = tuple(1.0 if name == order.phase else 0.0 for name in PHASES)
        changes.append({"bolus": {"phase_weights": weights, "missed": 0.0}})
    if changes:
        config = config.changed(*changes)
    scan = _scan(seed, config, order)
    patient = sample_patient(
        seed,
        config,
        sites=order.sites,
        collateral=order.collateral,
        kvp=scan.kvp,
        head=head,
        arteries=arteries,
    )
    return Case(patient, scan, seed)


def sample_patient(
    seed: int,
    config: PhantomConfig,
    *,
    sites: Sequence[Site] | None = None,
    collateral: int | None = None,
    kvp: float = 100.0,
    head: Head | None = None,
    arteries: Tree | None = None,
) -> Patient:
    """Draw a patient.

    Parameters
    ----------
    sites : to occlude; None draws them, an empty sequence leaves all arteries open.
    kvp : tube voltage, on which the contrast depends.
    head : of a patient as old, that this one shall have; None draws it.
    arteries : that this one shall have, in the head's canonical coordinates; None draws them.

    Raises
    ------
    ValueError
        If this patient has not a segment of `sites`.
    """
    case = _rng(seed, _CASE)
    age = _age(case, config.case)
    head = head or sample_head(_rng(seed, _HEAD), config.head, age)
    age = head.age
    canonical = arteries or draw_arteries(seed, config, age)
    arteries = canonical.mapped(head.warp)
    veins = sample_veins(_rng(seed, _VEINS), config.veins).mapped(head.warp)
    disease = sample_disease(arteries, age, _rng(seed, _DISEASE), config.mimics)
    found = _draw_sites(case, config.case, disease.tree) if sites is None else sites
    wanted = [(segment, side) for side, segment in found]
    clots = _rng(seed, _CLOTS)
    tree = disease.tree
    flow = occlude(tree, wanted, clots, config.occlusions, healthy=arteries, collateral=collateral)
    fed = supply(canonical)
    lesions = _lesions(_rng(seed, _LESIONS), config.lesions, head, disease, fed, flow)
    bolus = sample_bolus(_rng(seed, _BOLUS), config.bolus, kvp)
    return Patient(seed, age, head, disease, veins, flow, bolus, fed, lesions)


def draw_arteries(seed: int, config: PhantomConfig, age: float) -> Tree:
    """A patient's arteries before disease, in canonical coordinates."""
    return sample_arteries(_rng(seed, _ANATOMY), config.arteries, age)


def patient_age(seed: int, config: PhantomConfig) -> float:
    """Years that a patient is drawn to have, whatever head is given."""
    return _age(_rng(seed, _CASE), config.case)


def _lesions(
    rng: np.random.Generator,
    ranges: LesionRanges,
    head: Head,
    disease: VesselDisease,
    fed: Supply,
    flow: Flow,
) -> tuple[Lesion, ...]:
    """Lesions that go with the arteries: an infarct, the blood of an aneurysm, the way in to a clip."""
    sacs = [b.points[len(b.points) // 2] for b in disease.sacs if b.name.startswith("aneurysm")]
    clips = [m.points.mean(0) for m in disease.metal if m.name == "clip"]
    return sample_lesions(
        rng,
        head.age,
        ranges,
        supply=fed,
        perfusion=flow.perfused,
        aneurysm=_canonical(head, sacs[0]) if sacs else None,
        operated=pterion(_canonical(head, clips[0])[0]) if clips else None,
    )


def _canonical(head: Head, point: Array) -> Point:
    x, y, z = head.deformation.to_canonical(point)[0].tolist()
    return x, y, z


def _rng(seed: int, part: int) -> np.random.Generator:
    return np.random.default_rng([seed, part])


def _scan(seed: int, config: PhantomConfig, order: Order) -> Scan:
    rng = _rng(seed, _SCAN)
    scan = sample_scan(rng, config.scan, matrix=order.matrix, slices=order.slices)
    cta = scan.cta
    if order.slice_mm is not None:
        cta = replace(cta, thickness_mm=order.slice_mm, increment_mm=order.slice_mm)
    if order.noise is not None:
        cta = replace(cta, noise_hu=float(rng.uniform(*NOISE_HU[order.noise])))
    return replace(scan, cta=cta)


def _age(rng: np.random.Generator, ranges: CaseRanges) -> float:
    mean, sd, low, high = ranges.age
    return float(np.clip(rng.normal(mean, sd), low, high))


def _draw_sites(rng: np.random.Generator, ranges: CaseRanges, tree: Tree) -> list[Site]:
    """Sites that this patient has, most proximal last drawn."""
    chance, kind = rng.random(2)
    if chance >= ranges.occluded:
        return []
    there = {(b.side, b.segment) for b in tree.branches}
    options = [
        (side, segment) for name in ranges.sites for segment in [Segment(name)] for side in segment.sides
        if (side, segment) in there
    ]  # fmt: skip
    weights = np.array([ranges.sites[segment.value] / len(segment.sides) for _, segment in options])
    weights /= weights.sum()
    first = options[int(rng.choice(len(options), p=weights))]
    sites = [first]
    cervical = (first[0], Segment.ICA_CERVICAL)
    if kind < ranges.tandem and first[1] in TANDEM_SEGMENTS and cervical in there:
        sites.append(cervical)
    elif kind < ranges.tandem + ranges.multiple:
        second = options[int(rng.choice(len(options), p=weights))]
        sites += [second] if second != first else []
    return sites
