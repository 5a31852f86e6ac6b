"""Vessel disease that is no occlusion, drawn on a patient's arteries before the flow is solved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Side
from lvo.phantom.disease.implants import stent
from lvo.phantom.disease.mimic_ranges import MimicRanges
from lvo.phantom.disease.narrowing import bent, reshaped, waist
from lvo.phantom.disease.plaque import Plaque, joined, sample_calcium
from lvo.phantom.disease.sacs import Shunt, nidus, saccular, treated
from lvo.phantom.disease.stenoses import (
    Draft,
    Wall,
    beads,
    dissection,
    moyamoya,
    narrow,
    near_occlusion,
    spasm,
    stenoses,
)
from lvo.phantom.scanner.metal import MetalObject
from lvo.phantom.vessels.tree import Branch, Tree

Array = npt.NDArray[np.float64]
_USUAL = MimicRanges()
_MOST_ANEURYSMS = 3


@dataclass(frozen=True, slots=True)
class VesselDisease:
    """Arteries with their disease, in head-frame mm.

    Attributes
    ----------
    tree : the same branches in the same order; radii, and for some the course, changed.
    calcium : in the walls, to be painted over the lumen.
    metal : clips, coils and stents.
    sacs : aneurysms and the loops of a nidus: lumen beyond the tree's, filled as their parent is at its
        `parent_point`; painted along with the tree, and no part of its flow.
    walls : see `Wall`.
    shunts : veins that fill early.
    mimics : what there is, for the truth table: kind, side, segment, grade.
    """

    tree: Tree
    calcium: Plaque
    metal: tuple[MetalObject, ...] = ()
    sacs: tuple[Branch, ...] = ()
    walls: tuple[Wall, ...] = ()
    shunts: tuple[Shunt, ...] = ()
    mimics: tuple[str, ...] = ()


def sample_disease(
    tree: Tree, age: float, rng: np.random.Generator, ranges: MimicRanges | None = None
) -> VesselDisease:
    """Draw the disease of a patient's arteries.

    Parameters
    ----------
    tree : arteries in the patient's own head (after its deformation).
    age : years.
    """
    d = Draft(tree, age, rng, ranges or _USUAL)
    _ectasia(d)
    _fusiform(d)
    moyamoya(d)
    spasm(d)
    beads(d)
    stenoses(d)
    near_occlusion(d)
    dissection(d)
    _stents(d)
    _aneurysm(d)
    _shunts(d)
    calcium, words = sample_calcium(d.tree, age, rng, d.ranges.calcium)
    calcium = joined([*d.calcium, calcium])
    d.words.extend(words)
    parts = tuple(d.metal), tuple(d.sacs), tuple(d.walls), tuple(d.shunts), tuple(d.words)
    return VesselDisease(d.tree, calcium, *parts)


def add_stenosis(
    d: VesselDisease,
    index: int,
    centre_mm: float,
    length_mm: float,
    grade: float,
    rng: np.random.Generator,
    ranges: MimicRanges | None = None,
) -> VesselDisease:
    """One more stenosis, of a wanted place and grade (0 to 1), for benchmarks and tests."""
    draft = Draft(d.tree, 70.0, rng, ranges or _USUAL)
    narrow(draft, index, centre_mm, length_mm, grade, distal=draft.tree.branches[index].structure == "ICA-C")
    calcium = joined([d.calcium, *draft.calcium])
    walls, words = (*d.walls, *draft.walls), (*d.mimics, *draft.words)
    return VesselDisease(draft.tree, calcium, d.metal, d.sacs, walls, d.shunts, words)


# ----------------------------------------------------------------------------- widening


def _ectasia(d: Draft) -> None:
    """A wide, long, tortuous basilar artery, with the vertebral artery that feeds it most."""
    options = d.of("BA")
    if not options or d.rng.random() >= d.ranges.ectasia.at(d.age):
        return
    i = max(options, key=lambda k: d.tree.branches[k].length)
    wide = float(d.rng.uniform(*d.ranges.ectasia_widening))
    feeders = sorted(d.of("V4"), key=lambda k: -float(d.tree.branches[k].radius.mean()))[:1]
    radii = {}
    for k in (i, *feeders):
        b = d.tree.branches[k]
        rise = np.minimum(1, b.arc / 8) if k != i else np.ones(len(b.arc))
        radii[k] = b.radius * (1 + (wide - 1) * rise)
    b = d.tree.branches[i]
    arch = np.sin(np.pi * b.arc / b.arc[-1]) + 0.4 * np.sin(2 * np.pi * b.arc / b.arc[-1])
    aside = np.array([float(d.rng.choice([-1, 1])), float(d.rng.uniform(-0.5, 0)), 0.0])
    swing = arch[:, None] * aside * float(d.rng.uniform(*d.ranges.ectasia_swing_mm))
    d.tree = bent(reshaped(d.tree, radii), i, swing, 12.0)
    d.say("dolichoectasia", b)


def _fusiform(d: Draft) -> None:
    """A spindle: a local widening all round."""
    options = d.of("BA", "V4", "ICA-I", "M1", "ICA-C")
    if not options or d.rng.random() >= d.ranges.fusiform.at(d.age):
        return
    i = int(d.rng.choice(options))
    b = d.tree.branches[i]
    developed = waist(
        b.arc, float(d.rng.uniform(0.25, 0.75)) * b.length, float(d.rng.uniform(*d.ranges.fusiform_mm))
    )
    wide = float(d.rng.uniform(*d.ranges.fusiform_widening))
    d.tree = reshaped(d.tree, {i: b.radius * (1 + (wide - 1) * developed)})
    d.say("fusiform aneurysm", b)


def _aneurysm(d: Draft) -> None:
    """A saccular aneurysm, or what was left of one after treatment."""
    sites = [(site, i) for site in d.ranges.sites for i in d.one_a_side(site.structure)]
    for _ in range(_MOST_ANEURYSMS):
        if not sites or d.rng.random() >= d.ranges.aneurysm.at(d.age):
            return
        weight = np.array([site.weight for site, _ in sites])
        site, i = sites[int(d.rng.choice(len(sites), p=weight / weight.sum()))]
        b = d.tree.branches[i]
        sac, dome = saccular(b, i, site, d.rng, d.ranges)
        if d.rng.random() < d.ranges.treated.at(d.age):
            d.metal.extend(treated(sac, dome, d.rng))
            d.say(d.metal[-1].name, b)
        else:
            d.sacs.append(sac)
            d.words.append(f"aneurysm {b.side} {b.structure} {dome:.0f} mm")


def _stents(d: Draft) -> None:
    r = d.ranges
    for structure in ("ICA-C", "M1", "V4", "BA"):
        neck = structure == "ICA-C"
        odds, long = (
            (r.carotid_stent, r.carotid_stent_mm) if neck else (r.intracranial_stent, r.intracranial_stent_mm)
        )
        for i in d.one_a_side(structure):
            if d.rng.random() < odds.at(d.age):
                b = d.tree.branches[i]
                arc = b.arc
                length = min(float(d.rng.uniform(*long)), float(arc[-1]))
                start = 0.0 if neck else float(d.rng.uniform(0, arc[-1] - length))
                first, last = np.searchsorted(arc, (start, start + length)).tolist()
                d.metal.extend(stent(b, first, min(last, len(arc) - 1), 0.25))
                d.say("stent", b)


def _shunts(d: Draft) -> None:
    """A malformation with its nidus, or a dural fistula: a vein fills with the arteries."""
    r = d.ranges
    options = d.of("M3", "M4", "A3", "P3", "SCA")
    if options and d.rng.random() < r.malformation.at(d.age):
        i = int(d.rng.choice(options))
        b = d.tree.branches[i]
        loops, centre, size = nidus(b, i, d.rng, r)
        d.tree = reshaped(d.tree, {i: b.radius * float(d.rng.uniform(1.2, 1.7))})
        d.sacs.extend(loops)
        d.shunts.append(
            Shunt("malformation", b.side, centre, size, "cortical vein", float(d.rng.uniform(*r.shunted)))
        )
        d.words.append(f"arteriovenous malformation {b.side} {b.structure} {2 * size:.0f} mm")
    if d.rng.random() < r.fistula.at(d.age):
        side = (Side.LEFT, Side.RIGHT)[int(d.rng.integers(2))]
        vein = str(
            d.rng.choice(["transverse sinus", "sigmoid sinus", "cavernous sinus", "superior sagittal sinus"])
        )
        d.shunts.append(Shunt("fistula", side, np.zeros(3), 0.0, vein, float(d.rng.uniform(*r.shunted))))
        d.words.append(f"dural fistula {side} {vein}")
