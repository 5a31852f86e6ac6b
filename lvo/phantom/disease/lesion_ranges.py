"""How often the brain has lesions, where and how large; and drawing them for a patient."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from lvo.anatomy import Side
from lvo.phantom.disease.infarct import InfarctRanges, draw_hours, fluid, sample_infarct
from lvo.phantom.disease.lesion_recipes import (
    Cavity,
    Craniotomy,
    Haematoma,
    Lesion,
    SubarachnoidBlood,
    Subdural,
    Tumour,
    ball_ml,
)
from lvo.phantom.disease.plaque import Odds, Range
from lvo.phantom.disease.territory import GRID_MM, Supply, lattice_axes
from lvo.phantom.head.canvas import draw_key
from lvo.phantom.head.solids import Point
from lvo.phantom.vessels.routes import MNI_SCALE

Sizes = tuple[float, float, float, float]
"""Median, sd of the logarithm, least, most."""


class LesionRanges(BaseModel):
    """Lesions of patients in a code-stroke service; all approximate where no source is named.

    A tenth to a seventh of suspected strokes are haemorrhages, most of which get no CTA; a previous
    territorial infarct in 10 to 15 % and lacunes in 20 to 25 % of ischaemic strokes; deep to lobar
    haemorrhage 65 to 35, median volume 15 to 20 ml.

    Attributes
    ----------
    acute : see `InfarctRanges`.
    old_infarct, lacune : chance of one, and of each further one.
    territories : how many neighbouring branches an old infarct took, least and most.
    haemorrhage, subarachnoid, subdural, glioma, metastasis, meningioma, craniotomy : chances.
    ruptured : chance that an aneurysm is why the patient came.
    with_occlusion : factor on the chance of a fresh haemorrhage in a patient with an occluded artery.
    deep : share of haemorrhages that are deep.
    *_ml, *_mm, *_hu, *_uptake : sizes, attenuation, enhancement.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    acute: InfarctRanges = InfarctRanges()
    old_infarct: Odds = Odds(at_70=0.12, per_decade=1.4)
    territories: tuple[int, int] = (1, 2)
    lacune: Odds = Odds(at_70=0.22, per_decade=1.6)
    lacune_mm: Range = (1.5, 5.5)
    haemorrhage: Odds = Odds(at_70=0.05, per_decade=1.2)
    with_occlusion: float = 0.05
    deep: float = 0.65
    haemorrhage_ml: Sizes = (16.0, 1.0, 0.5, 120.0)
    blood_hu: Range = (58.0, 80.0)
    oedema_mm: Range = (1.5, 9.0)
    ventricular: float = 0.35
    subarachnoid: Odds = Odds(at_70=0.02, per_decade=0.8)
    ruptured: float = 0.3
    subarachnoid_mm: Range = (22.0, 55.0)
    subarachnoid_hu: Range = (38.0, 72.0)
    subdural: Odds = Odds(at_70=0.02, per_decade=1.5)
    subdural_mm: Range = (3.0, 18.0)
    subdural_hu: Range = (15.0, 75.0)
    glioma: Odds = Odds(at_70=0.008)
    metastasis: Odds = Odds(at_70=0.008)
    meningioma: Odds = Odds(at_70=0.012, per_decade=1.4)
    tumour_mm: Range = (4.0, 24.0)
    tumour_oedema_mm: Range = (4.0, 22.0)
    rim_uptake: Range = (0.06, 0.22)
    meningioma_uptake: Range = (0.10, 0.30)
    craniotomy: Odds = Odds(at_70=0.01)
    missing_flap: float = 0.1


def sample_lesions(
    rng: np.random.Generator,
    age: float,
    ranges: LesionRanges | None = None,
    *,
    supply: Supply | None = None,
    perfusion: npt.ArrayLike | None = None,
    aneurysm: Point | None = None,
    operated: Point | None = None,
) -> tuple[Lesion, ...]:
    """Lesions of one patient, in the order in which they are drawn.

    Parameters
    ----------
    supply, perfusion : which branch feeds what, and flow at the tissue of every branch, of normal
        (`Flow.perfused`); without them there is no acute and no territorial old infarct.
    aneurysm : canonical position of one that may have bled; without it, subarachnoid blood lies round the
        circle of Willis.
    operated : canonical point of the vault over a clip; opens it there.
    """
    r = ranges or LesionRanges()
    found: list[Lesion] = []
    bypass = 1.0
    if supply is not None:
        found += _old_infarcts(rng, age, r, supply)
        if perfusion is not None and float(np.min(np.asarray(perfusion))) < 0.5:
            bypass = r.with_occlusion
            acute = sample_infarct(supply, perfusion, draw_hours(rng, r.acute), rng, r.acute)
            found += [acute] if acute is not None else []
    found += _lacunes(rng, age, r)
    if rng.random() < r.haemorrhage.at(age) * bypass:
        found.append(sample_haematoma(rng, r))
    burst, blood = rng.random(2)
    if aneurysm is not None and burst < r.ruptured:
        found.append(sample_subarachnoid(rng, r, aneurysm))
    elif blood < r.subarachnoid.at(age) * bypass:
        found.append(sample_subarachnoid(rng, r, None))
    if rng.random() < r.subdural.at(age):
        found.append(sample_subdural(rng, r))
    tumours: tuple[tuple[Literal["glioma", "metastasis", "meningioma"], Odds], ...]
    tumours = ("glioma", r.glioma), ("metastasis", r.metastasis), ("meningioma", r.meningioma)
    found += [sample_tumour(rng, r, kind) for kind, odds in tumours if rng.random() < odds.at(age)]
    if operated is not None or rng.random() < r.craniotomy.at(age):
        found.append(sample_craniotomy(rng, r, operated))
    return tuple(found)


def _sides(rng: np.random.Generator) -> tuple[Side, float]:
    side = (Side.LEFT, Side.RIGHT)[int(rng.integers(2))]
    return side, -1.0 if side is Side.RIGHT else 1.0


def _sized(rng: np.random.Generator, sizes: Sizes) -> float:
    median, sd, least, most = sizes
    return float(np.clip(median * np.exp(rng.normal(0, sd)), least, most))


def _old_infarcts(rng: np.random.Generator, age: float, r: LesionRanges, supply: Supply) -> list[Lesion]:
    """Territories of one branch of the cortex, or of a few next to each other."""
    found: list[Lesion] = []
    volumes = supply.volumes()
    options = [i for i, s in enumerate(supply.structures) if s in _CORTICAL and volumes[i] > 1.0]
    while options and len(found) < 2 and rng.random() < r.old_infarct.at(age):
        first = int(rng.choice(options))
        count = int(rng.integers(r.territories[0], r.territories[1] + 1))
        chosen = supply.neighbours(first)[:count]
        lost = np.isin(supply.branch, chosen).astype(np.float32)
        weight = lost * supply.brain
        middle = supply.centre(weight)
        cell = (GRID_MM / MNI_SCALE) ** 3 / 1000
        side = Side.LEFT if middle[0] > 0 else Side.RIGHT
        volume = float(weight.sum()) * cell
        wider = float(rng.uniform(0, 3)) + min(volume / 25, 5.0)
        key = draw_key(rng)
        found.append(Cavity("old infarct", side, middle, volume, lost, (0.0, 0.0, 0.0), wider, key))
    return found


_CORTICAL = frozenset({"M3", "M4", "A3", "P3", "SCA", "PICA"})
_LACUNAR: tuple[tuple[Point, Point], ...] = (
    ((24.0, -1.0, 34.0), (7.0, 14.0, 9.0)),  # lentiform nucleus
    ((12.0, 21.0, 40.0), (6.0, 10.0, 6.0)),  # thalamus
    ((22.0, 4.0, 52.0), (5.0, 18.0, 6.0)),  # corona radiata
    ((4.0, 28.0, -1.0), (4.0, 6.0, 9.0)),  # pons
)
"""Where lacunes and deep haemorrhages lie: centre on the left and spread, canonical mm."""


def _lacunes(rng: np.random.Generator, age: float, r: LesionRanges) -> list[Lesion]:
    found: list[Lesion] = []
    while len(found) < 6 and rng.random() < r.lacune.at(age):
        side, sign = _sides(rng)
        a, b, c = (float(v) for v in rng.uniform(*r.lacune_mm) * rng.uniform(0.7, 1.3, 3))
        centre = _deep_place(rng, sign)
        found.append(
            Cavity("lacune", side, centre, ball_ml((a, b, c), MNI_SCALE), None, (a, b, c), 0.0, draw_key(rng))
        )
    return found


def _deep_place(rng: np.random.Generator, sign: float) -> Point:
    middle, spread = _LACUNAR[int(rng.choice(len(_LACUNAR), p=(0.4, 0.25, 0.25, 0.1)))]
    x, y, z = (float(v) for v in np.array(middle) + np.array(spread) * rng.uniform(-0.7, 0.7, 3))
    return sign * x, y, z


def _surface_place(rng: np.random.Generator, sign: float, deep_mm: float) -> Point:
    """A place so deep under the convexity of one side: the average brain is nearly an ellipsoid."""
    way = rng.normal(size=3)
    way[0], way[2] = abs(way[0]) + 0.3, abs(way[2]) - 0.15
    way /= np.linalg.norm(way)
    x, y, z = (float(v) for v in np.array([0.0, 17.0, 40.0]) + way * (np.array([70.0, 87.0, 72.0]) - deep_mm))
    return sign * x, y, z


def sample_haematoma(rng: np.random.Generator, r: LesionRanges) -> Haematoma:
    """Blood in the deep grey matter or in a lobe."""
    side, sign = _sides(rng)
    deep = rng.random() < r.deep
    volume = _sized(rng, r.haemorrhage_ml)
    shape = np.exp(rng.normal(0, 0.2, 3)) * (1.0, 1.3, 1.0)
    radius = (3 * volume * 1000 * MNI_SCALE**3 / (4 * np.pi * shape.prod())) ** (1 / 3)
    a, b, c = (float(v) for v in shape * radius)
    centre = _deep_place(rng, sign) if deep else _surface_place(rng, sign, 6.0 + 0.8 * radius)
    inner = float(rng.uniform(0.2, 1.0)) if deep and rng.random() < r.ventricular else 0.0
    hu, oedema = float(rng.uniform(*r.blood_hu)), float(rng.uniform(*r.oedema_mm))
    kind: Literal["deep haemorrhage", "lobar haemorrhage"] = (
        "deep haemorrhage" if deep else "lobar haemorrhage"
    )
    return Haematoma(kind, side, centre, volume, (a, b, c), hu, oedema, inner, draw_key(rng))


def sample_subarachnoid(rng: np.random.Generator, r: LesionRanges, source: Point | None) -> SubarachnoidBlood:
    """Blood round an aneurysm, or round the circle of Willis."""
    low, high = r.subarachnoid_mm
    x0, y0, z0 = (float(v) for v in rng.normal(0, (14, 8, 4)) + (0, 0, 12))
    centre = source or (x0, y0, z0)
    reach = float(rng.uniform(low, high))
    side = Side.MIDLINE if abs(centre[0]) < 8 else Side.LEFT if centre[0] > 0 else Side.RIGHT
    reaches = 1.2 * reach, reach, 0.75 * reach
    z, y, x = np.ix_(*lattice_axes())
    offset = zip((x, y, z), centre, reaches, strict=True)
    amount = np.exp(-sum(((line - c) / scale) ** 2 for line, c, scale in offset))
    volume = float((amount * fluid()).sum()) * (GRID_MM / MNI_SCALE) ** 3 / 1000
    hu = float(rng.uniform(*r.subarachnoid_hu))
    return SubarachnoidBlood(side, centre, volume, reaches, hu, draw_key(rng))


def sample_subdural(rng: np.random.Generator, r: LesionRanges) -> Subdural:
    """A crescent over one hemisphere."""
    side, sign = _sides(rng)
    thickness = float(rng.uniform(*r.subdural_mm))
    half = float(rng.uniform(40, 75)), float(rng.uniform(30, 50))
    y, z = float(rng.normal(10, 12)), float(rng.normal(65, 8))
    volume = 2 / 3 * np.pi * half[0] * half[1] * thickness / MNI_SCALE**3 / 1000
    hu = float(rng.uniform(*r.subdural_hu))
    return Subdural(side, (sign * 60.0, y, z), float(volume), thickness, half, hu, draw_key(rng))


def sample_tumour(
    rng: np.random.Generator, r: LesionRanges, kind: Literal["glioma", "metastasis", "meningioma"]
) -> Tumour:
    """A glioma in the white matter, a metastasis under the cortex, a meningioma on the dura."""
    side, sign = _sides(rng)
    low, high = r.tumour_mm
    radius = (
        float(rng.uniform(low, high)) if kind != "metastasis" else float(rng.uniform(low, 0.5 * (low + high)))
    )
    deep = {"glioma": 1.2 * radius + 8.0, "metastasis": radius + 5.0, "meningioma": 0.55 * radius}[kind]
    centre = _surface_place(rng, sign, deep)
    solid = kind == "meningioma" or rng.random() < 0.3
    rim = radius if solid else float(rng.uniform(0.15, 0.45)) * radius
    uptake = float(rng.uniform(*(r.meningioma_uptake if kind == "meningioma" else r.rim_uptake)))
    oedema = float(rng.uniform(*r.tumour_oedema_mm)) * (0.4 if kind == "meningioma" else 1.0)
    rim_hu, core_hu = float(rng.uniform(33, 48)), float(rng.uniform(14, 28))
    volume = ball_ml((radius, radius, radius), MNI_SCALE)
    return Tumour(
        kind, side, centre, volume, radius, rim, oedema, rim_hu, core_hu, uptake, 0.02, draw_key(rng)
    )


def pterion(x: float) -> Point:
    """Where the vault is opened for the circle of Willis, on the side of `x`, canonical mm."""
    return float(np.copysign(62.0, x)), -28.0, 40.0


def sample_craniotomy(rng: np.random.Generator, r: LesionRanges, over: Point | None) -> Craniotomy:
    """A bone flap: over a clip where there is one, else pterional or anywhere on the vault."""
    side, sign = _sides(rng)
    if over is None:
        over = pterion(sign) if rng.random() < 0.6 else _surface_place(rng, sign, -6.0)
    side = Side.LEFT if over[0] > 0 else Side.RIGHT
    radius = float(rng.uniform(20, 38))
    missing = bool(rng.random() < r.missing_flap)
    return Craniotomy(side, over, 0.0, radius, float(rng.uniform(1.0, 3.5)), missing)
