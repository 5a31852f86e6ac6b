"""Narrowed arteries: atherosclerosis, dissection, spasm, beading, moyamoya."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Side
from lvo.phantom.disease.mimic_ranges import MimicRanges
from lvo.phantom.disease.narrowing import bent, narrowed, off_centre, piece, reshaped, waist
from lvo.phantom.disease.plaque import Plaque, mural_calcium
from lvo.phantom.disease.sacs import Shunt
from lvo.phantom.scanner.metal import MetalObject
from lvo.phantom.vessels.tree import Branch, Tree

Array = npt.NDArray[np.float64]
ARTERIAL_CIRCLE = ("ICA-T", "M1", "A1", "BA", "P1")
"""Structures that vasospasm and moyamoya narrow."""
MEDIUM = ("M2", "M3", "A2", "A3", "P2", "P3")
"""Structures that multifocal narrowing beads."""


@dataclass(frozen=True, slots=True)
class Wall:
    """What lies between a narrowed lumen and the outer wall: soft plaque, or the haematoma of a dissection.

    Attributes
    ----------
    branch : the vessel as wide as its outer wall; to be painted before the lumen.
    hu : attenuation with and without contrast.
    """

    branch: Branch
    hu: float


@dataclass(slots=True)
class Draft:
    """Disease while it is being drawn."""

    tree: Tree
    age: float
    rng: np.random.Generator
    ranges: MimicRanges
    calcium: list[Plaque] = field(default_factory=list)
    metal: list[MetalObject] = field(default_factory=list)
    sacs: list[Branch] = field(default_factory=list)
    walls: list[Wall] = field(default_factory=list)
    shunts: list[Shunt] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    places: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for i, b in enumerate(self.tree.branches):  # their order and structures never change
            if len(b.points) >= 6:
                self.places.setdefault(b.structure, []).append(i)

    def of(self, *structures: str, side: Side | None = None) -> list[int]:
        """Indices of the branches of some structures that are long enough to be diseased."""
        found = [i for name in structures for i in self.places.get(name, [])]
        return [i for i in found if side in (None, self.tree.branches[i].side)]

    def one_a_side(self, structure: str) -> list[int]:
        """One branch of a structure for each side that has it: the larger and longer, the likelier."""
        found = []
        for side in Side:
            options = self.of(structure, side=side)
            if len(options) > 1:
                branches = [self.tree.branches[i] for i in options]
                weight = np.array([len(b.points) * b.radius[len(b.radius) // 2] ** 2 for b in branches])
                options = [options[int(self.rng.choice(len(options), p=weight / weight.sum()))]]
            found += options
        return found

    def say(self, kind: str, branch: Branch, grade: float | None = None) -> None:
        """Enter a row of the truth table."""
        where = f"{kind} {branch.side} {branch.structure}"
        self.words.append(where if grade is None else f"{where} {grade:.0%}")


def stenoses(d: Draft) -> None:
    """Atherosclerosis, each structure and side on its own."""
    low, high = d.ranges.grade
    for structure, site in d.ranges.stenoses.items():
        for i in d.one_a_side(structure):
            if d.rng.random() < site.present.at(d.age):
                grade = low + (high - low) * float(d.rng.beta(*d.ranges.grade_shape))
                centre = float(d.rng.uniform(*site.along)) * d.tree.branches[i].length
                narrow(d, i, centre, float(d.rng.uniform(*site.length_mm)), grade, distal=site.distal)


def narrow(
    d: Draft,
    i: int,
    centre_mm: float,
    length_mm: float,
    grade: float,
    *,
    distal: bool,
    kind: str = "stenosis",
) -> None:
    """Narrow one branch; what the lumen loses becomes plaque, soft or with calcium."""
    b = d.tree.branches[i]
    arc = b.arc
    developed = waist(arc, centre_mm, length_mm, float(d.rng.uniform(-0.7, 0.7)))
    reference = float(np.median(b.radius[arc > 0.4 * arc[-1]])) if distal else None
    radius = narrowed(b.radius, developed, grade, reference)
    towards = d.rng.normal(size=3)
    lost = (b.radius - radius) * float(d.rng.uniform(*d.ranges.eccentricity))
    lost *= np.minimum(1.0, np.minimum(arc, arc[-1] - arc) / 2.0)  # the ends stay where they are joined
    d.tree = bent(reshaped(d.tree, {i: radius}), i, off_centre(b, lost, towards), 2.0)
    _thicken(d, b, developed, float(d.rng.uniform(*d.ranges.soft_hu)))
    if d.rng.random() < d.ranges.calcified:
        count = 1 + int(d.rng.poisson(1.5))
        where = np.clip(d.rng.normal(centre_mm, 0.35 * length_mm, count), 0, arc[-1])
        d.calcium.append(mural_calcium(b, where, d.rng, d.ranges.calcium, -towards))
    d.say(kind, b, grade)


def _thicken(d: Draft, before: Branch, developed: Array, hu: float) -> None:
    """Leave the outer wall behind where the lumen has shrunk."""
    part = np.flatnonzero(developed > 0.02)
    if len(part) > 2:
        d.walls.append(Wall(piece(before, int(part[0]), int(part[-1]), f"wall of {before.name}"), hu))


def near_occlusion(d: Draft) -> None:
    """A tight bulb, and a carotid beyond it that has collapsed up to the terminus."""
    for i in d.one_a_side("ICA-C"):
        if d.rng.random() < d.ranges.near_occlusion.at(d.age):
            side, collapse = d.tree.branches[i].side, float(d.rng.uniform(*d.ranges.collapse))
            beyond = d.of("ICA-C", "ICA-I", side=side)
            d.tree = reshaped(d.tree, {k: _collapsed(d.tree.branches[k], collapse) for k in beyond})
            r = d.ranges
            centre = float(d.rng.uniform(*r.near_occlusion_along)) * d.tree.branches[i].length
            grade, length = (
                float(d.rng.uniform(*r.near_occlusion_grade)),
                float(d.rng.uniform(*r.near_occlusion_mm)),
            )
            narrow(d, i, centre, length, grade, distal=True, kind="near-occlusion")


def _collapsed(b: Branch, least: float) -> Array:
    """Radius of a carotid with little flow: thin from the bulb on, near normal at the terminus."""
    along = b.arc / b.arc[-1]
    develop = np.minimum(1, along / 0.15) if b.structure == "ICA-C" else 1 - 0.8 * along
    radius: Array = b.radius * (1 - (1 - least) * develop)
    return radius


def dissection(d: Draft) -> None:
    """A long, smooth taper that begins abruptly and opens up again, with a haematoma in the wall."""
    if d.rng.random() >= d.ranges.dissection.at(d.age):
        return
    options = d.of(*d.ranges.dissection_sites)
    if not options:
        return
    weight = np.array([d.ranges.dissection_sites[d.tree.branches[k].structure] for k in options])
    i = int(d.rng.choice(options, p=weight / weight.sum()))
    b = d.tree.branches[i]
    length = min(float(d.rng.uniform(*d.ranges.dissection_mm)), 0.8 * b.length)
    low = min(25.0, 0.2 * b.length) if b.structure == "ICA-C" else 0.0  # the bulb is spared
    start = float(d.rng.uniform(low, max(low, b.length - length)))
    along = (b.arc - start) / length
    developed = np.where((along > 0) & (along < 1), np.sin(np.pi * np.clip(along, 0, 1) ** 0.6) ** 0.7, 0.0)
    grade = float(d.rng.uniform(*d.ranges.dissection_grade))
    radius = narrowed(b.radius, developed, grade)
    lost = 0.8 * (b.radius - radius) * np.minimum(1.0, np.minimum(b.arc, b.arc[-1] - b.arc) / 2.0)
    d.tree = bent(reshaped(d.tree, {i: radius}), i, off_centre(b, lost, d.rng.normal(size=3)), 2.0)
    _thicken(d, b, developed, float(d.rng.uniform(*d.ranges.wall_blood_hu)))
    d.say("dissection", b, grade)


def spasm(d: Draft) -> None:
    """Smooth narrowing of the circle of Willis, here more and there less."""
    if d.rng.random() >= d.ranges.vasospasm.at(d.age):
        return
    radii = {}
    for i in d.of(*ARTERIAL_CIRCLE, "M2", "A2"):
        b = d.tree.branches[i]
        wave = 0.5 + 0.5 * np.sin(b.arc / float(d.rng.uniform(2, 6)) + float(d.rng.uniform(0, 6)))
        radii[i] = narrowed(b.radius, 0.5 + 0.5 * wave, float(d.rng.uniform(*d.ranges.spasm_grade)))
    d.tree = reshaped(d.tree, radii)
    d.words.append("vasospasm")


def beads(d: Draft) -> None:
    """Many short waists of medium arteries: vasculitis, reversible vasoconstriction, atherosclerosis."""
    if d.rng.random() >= d.ranges.beading.at(d.age):
        return
    options = d.of(*MEDIUM)
    count = int(d.rng.integers(d.ranges.beads[0], d.ranges.beads[1] + 1)) if options else 0
    for i in d.rng.choice(options or [0], count):
        b = d.tree.branches[int(i)]
        developed = waist(b.arc, float(d.rng.uniform(0, b.length)), float(d.rng.uniform(*d.ranges.bead_mm)))
        radius = narrowed(b.radius, developed, float(d.rng.uniform(*d.ranges.bead_grade)))
        d.tree = reshaped(d.tree, {int(i): radius})
    d.words.append(f"multifocal narrowing {count} sites")


def moyamoya(d: Draft) -> None:
    """Both carotid ends and their first branches thin, lenticulostriate arteries wide."""
    if d.rng.random() >= d.ranges.moyamoya.at(d.age):
        return
    radii = {}
    for i in d.of("ICA-T", "M1", "A1"):
        b = d.tree.branches[i]
        developed = 1 - 0.4 * b.arc / b.arc[-1]
        radii[i] = narrowed(b.radius, developed, float(d.rng.uniform(*d.ranges.moyamoya_grade)))
    for i in d.of("lenticulostriate"):
        radii[i] = d.tree.branches[i].radius * float(d.rng.uniform(*d.ranges.moss))
    d.tree = reshaped(d.tree, radii)
    d.words.append("moyamoya")
