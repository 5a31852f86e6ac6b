"""Lumen beyond the arterial tree: aneurysms, a nidus, and what treatment leaves of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Side
from lvo.phantom.disease.implants import clip, coil_mass
from lvo.phantom.disease.mimic_ranges import AneurysmSite, MimicRanges
from lvo.phantom.disease.narrowing import across, tangents
from lvo.phantom.scanner.metal import MetalObject
from lvo.phantom.vessels.routes import MNI_SCALE
from lvo.phantom.vessels.tree import STEP_MM, Branch

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shunt:
    """A short way from arteries to a vein.

    Attributes
    ----------
    centre, radius_mm : of the nidus, head-frame mm; radius 0 where there is none to see.
    vein : structure that fills early, on `side` or in the midline.
    fill : share of arterial contrast that this vein shows at once, 0 to 1.
    """

    kind: Literal["malformation", "fistula"]
    side: Side
    centre: Array
    radius_mm: float
    vein: str
    fill: float


def saccular(
    parent: Branch, index: int, site: AneurysmSite, rng: np.random.Generator, ranges: MimicRanges
) -> tuple[Branch, float]:
    """A sac on the wall of `parent`, branch `index` of its tree, and its dome's diameter, anatomical mm."""
    median, sd, least, most = ranges.dome_mm
    dome = float(np.clip(median * np.exp(rng.normal(0, sd)), least, most))
    at = round(float(rng.uniform(*site.along)) * (len(parent.points) - 1))
    along = tangents(parent.points)[at]
    way = across(along[None], rng.normal(size=(1, 3)))[0]
    if site.ahead:
        way = along + 0.5 * way
        way /= np.linalg.norm(way)
    radius, neck = 0.5 * dome * MNI_SCALE, 0.5 * dome * MNI_SCALE * float(rng.uniform(*ranges.neck))
    wall = parent.radius[at]
    middle = wall + float(np.sqrt(radius**2 - neck**2))
    # A dome, its neck, and a lobe that leans to one side.
    lobe = way + 0.5 * across(way[None], rng.normal(size=(1, 3)))[0]
    knots = np.array([0.0, wall, middle, middle + float(rng.uniform(0.2, 0.8)) * radius])
    sizes = np.array([neck, neck, radius, float(rng.uniform(0.5, 0.8)) * radius])
    s = np.linspace(0, knots[-1], max(6, int(knots[-1] / STEP_MM) + 1))
    beyond = np.clip(s - middle, 0, None)[:, None]
    points = parent.points[at] + np.minimum(s, middle)[:, None] * way + beyond * lobe
    return _side_branch(parent, index, at, "aneurysm", points, np.interp(s, knots, sizes)), dome


def treated(sac: Branch, dome_mm: float, rng: np.random.Generator) -> tuple[MetalObject, ...]:
    """The clip that closed a sac, or the coils that filled it."""
    way = tangents(sac.points)[0]
    if rng.random() < 0.5:
        neck = sac.points[len(sac.points) // 3]
        blades = across(way[None], rng.normal(size=(1, 3)))[0]
        return clip(neck, blades, float(rng.uniform(6, 11)))
    middle = sac.points[int(np.argmax(sac.radius))]
    return coil_mass(middle, 0.5 * dome_mm * MNI_SCALE, float(rng.uniform(0.2, 0.35)))


def nidus(
    parent: Branch, index: int, rng: np.random.Generator, ranges: MimicRanges
) -> tuple[list[Branch], Array, float]:
    """Loops of a malformation at a branch's far end, their centre and the radius of the tangle, mm."""
    size = 0.5 * float(rng.uniform(*ranges.nidus_mm)) * MNI_SCALE
    last = len(parent.points) - 1
    centre = parent.points[last] - 0.7 * size * parent.points[last] / max(
        np.linalg.norm(parent.points[last]), 1.0
    )
    loops = []
    for k in range(int(np.clip(1.5 * size, 5, 14))):
        knots = np.cumsum(rng.normal(0, 0.6 * size, (7, 3)), axis=0)
        knots -= knots.mean(0)
        knots *= np.minimum(1, size / np.linalg.norm(knots, axis=1, keepdims=True))
        knots = np.concatenate([parent.points[last : last + 1] - centre, knots])
        arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
        s = np.linspace(0, arc[-1], max(8, int(arc[-1] / STEP_MM)))
        line = np.stack([np.interp(s, arc, knots[:, axis]) for axis in range(3)], axis=1)
        line += 0.12 * size * np.sin(s[:, None] / 1.7 + rng.uniform(0, 6, 3)) * np.minimum(1, s / 3)[:, None]
        radius = np.full(len(s), float(rng.uniform(0.4, 1.0)) * MNI_SCALE)
        loops.append(_side_branch(parent, index, last, f"nidus {k}", centre + line, radius))
    return loops, centre, size


def _side_branch(parent: Branch, index: int, at: int, name: str, points: Array, radius: Array) -> Branch:
    return Branch(
        name=f"{name} of {parent.name}",
        structure=parent.structure,
        side=parent.side,
        points=points,
        radius=radius,
        parent=index,
        parent_point=at,
    )
