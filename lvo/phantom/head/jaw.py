"""Jaws with their teeth, palate, tongue, chewing muscles and salivary glands."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from lvo.phantom.head.canvas import NoiseKey, Where, draw_key, inside
from lvo.phantom.head.solids import Ground, Plot, Point, cut, ellipse, ellipsoid, join, table, tube, turned
from lvo.phantom.head.texture import grain

TEETH = (8.6, 6.8, 7.9, 7.1, 6.8, 10.2, 9.6, 8.8)
"""Width of the teeth of one quadrant along the arch, incisor to wisdom tooth, mm."""
BODY: tuple[Point, ...] = ((0, -62, -98), (16, -57, -98), (31, -40, -95), (42, -18, -91), (47, -2, -87))
ZYGOMA: tuple[Point, ...] = ((49, -38, -28), (60, -22, -26), (65, -2, -23), (63, 12, -19))
MUSCLES: tuple[tuple[Point, Point, float], ...] = (
    ((55, -7, -60), (6.0, 15, 27), 1.0),
    ((38, 0, -62), (5.0, 12, 21), 0.9),
    ((36, 2, -25), (12, 9, 6.5), 0.9),
    ((55, -20, -12), (6.0, 17, 26), 1.0),
)
"""Masseter, medial and lateral pterygoid, temporalis: centre, radii, share."""
FAT: tuple[tuple[Point, Point], ...] = (((40, -30, -48), (8, 10, 14)), ((27, 7, -48), (4.5, 8, 17)))
"""Buccal and parapharyngeal fat."""


class JawRanges(BaseModel):
    """How jaws differ; enamel 1800 to 3000 HU, dentine 1200 to 1800; teeth are lost with age."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    open_mm: tuple[float, float] = (0.0, 9.0)
    size: tuple[float, float] = (0.9, 1.1)
    missing: tuple[float, float] = (0.02, 0.12)
    missing_per_decade: float = 0.06
    edentulous_per_decade: float = 0.04
    enamel_hu: tuple[float, float] = (1700.0, 2600.0)
    dentine_hu: tuple[float, float] = (1200.0, 1800.0)
    cortex_hu: tuple[float, float] = (1100.0, 1700.0)
    marrow_hu: tuple[float, float] = (150.0, 650.0)
    muscle_hu: tuple[float, float] = (48.0, 66.0)
    fat_hu: tuple[float, float] = (-115.0, -80.0)
    parotid_hu: tuple[float, float] = (-25.0, 45.0)
    submandibular_hu: tuple[float, float] = (30.0, 60.0)
    gland_uptake: tuple[float, float] = (0.15, 0.45)


@dataclass(frozen=True, slots=True)
class Jaw:
    """One pair of jaws; mm and HU.

    Attributes
    ----------
    teeth : for each of upper left, upper right, lower left, lower right: which of eight teeth are there.
    """

    open: float
    size: float
    teeth: tuple[tuple[bool, ...], ...]
    enamel_hu: float
    dentine_hu: float
    cortex_hu: float
    marrow_hu: float
    muscle_hu: float
    fat_hu: float
    parotid_hu: float
    submandibular_hu: float
    gland_uptake: float
    key: NoiseKey


def sample_jaw(rng: np.random.Generator, ranges: JawRanges, age: float) -> Jaw:
    """Draw jaws."""
    u, r = rng.uniform, ranges
    decades = max(age - 40, 0) / 10
    lost = u(*r.missing) + r.missing_per_decade * decades
    if rng.random() < r.edentulous_per_decade * decades:
        lost = 0.95
    there = rng.random((4, 8)) > lost * np.array([0.6, 0.6, 0.5, 0.8, 0.9, 1.5, 1.3, 4.0])
    return Jaw(
        open=u(*r.open_mm), size=u(*r.size), teeth=tuple(tuple(bool(v) for v in row) for row in there),
        enamel_hu=u(*r.enamel_hu), dentine_hu=u(*r.dentine_hu), cortex_hu=u(*r.cortex_hu),
        marrow_hu=u(*r.marrow_hu), muscle_hu=u(*r.muscle_hu), fat_hu=u(*r.fat_hu),
        parotid_hu=u(*r.parotid_hu), submandibular_hu=u(*r.submandibular_hu),
        gland_uptake=u(*r.gland_uptake), key=draw_key(rng),
    )  # fmt: skip


def draw_jaw(jaw: Jaw, ground: Ground, *, draft: bool = False) -> None:
    """Draw jaws and what lies round them in place; a draft has no soft parts, and teeth as one."""
    for side in (1.0, -1.0):
        if not draft:
            _soft(jaw, ground, side)
        _arch(jaw, ground, side)
    if ground.lowest < -48:
        _mouth(jaw, ground)
        _body(jaw, ground)
        for side in (1.0, -1.0):
            _root(jaw, ground, side)
        for quadrant in range(4):
            (_row if draft else _quadrant)(jaw, ground, quadrant)


def _soft(jaw: Jaw, ground: Ground, side: float) -> None:
    """Chewing muscles between fat, parotid and submandibular glands."""
    glands = (
        ((55.0, 19.0, -54.0), (8.0, 12.0, 20.0), jaw.parotid_hu),
        ((31.0, -6.0, -97.0), (8.0, 12.0, 10.0), jaw.submandibular_hu),
    )
    parts = [(c, r, jaw.fat_hu, 0.02, 1.0) for c, r in FAT]
    parts += [(c, r, jaw.muscle_hu, 0.12, s) for c, r, s in MUSCLES]
    parts += [(c, r, hu, jaw.gland_uptake, 1.0) for c, r, hu in glands]
    for centre, radii, hu, uptake, share in parts:
        low, high = (
            (centre[0] + k * radii[0] * 1.1, centre[1] + k * radii[1] * 1.1, centre[2] + k * radii[2] * 1.1)
            for k in (-1, 1)
        )
        if (plot := ground.crop(low, high, side)) is not None:
            solid = ellipsoid(plot.offset(centre, side), radii)
            free = torch.clamp(1 - plot.canvas.bone, 0, 1) * (plot.canvas.hu > -600)
            texture = 6 * grain(plot.where, jaw.key, 3.0)
            plot.put(share * inside(solid, 2.0) * free, hu + texture, uptake=uptake)


def _bone(jaw: Jaw, plot: Plot, distance: Tensor, cortex_mm: float) -> None:
    """Bone with a cortex and spongy marrow."""
    texture = grain(plot.where, jaw.key, 2.4)
    deep = torch.clamp((-distance - cortex_mm) * 1.1 + 0.5, 0, 1)
    marrow = jaw.marrow_hu * (1 + 0.35 * texture)
    plot.put(inside(distance), jaw.cortex_hu + deep * (marrow - jaw.cortex_hu), bone=1.0, uptake=0.03)


def _arch(jaw: Jaw, ground: Ground, side: float) -> None:
    """Ramus with coronoid and condyle, zygomatic arch."""
    if (plot := ground.crop((40, -26, -96), (58, 22, -28), side)) is not None:
        w = plot.where
        across = w.x * side - table(w.z, (-90.0, -25.0), (46.0, 50.0))
        front = table(w.z, (-92.0, -60.0, -28.0), (-12.0, -17.0, -20.0))
        behind = table(w.z, (-92.0, -60.0, -28.0), (5.0, 10.0, 16.0))
        notch = w.z + 42 - 0.045 * (w.y + 3) ** 2
        plan = ellipse(across, w.y - 0.5 * (front + behind), 3.4, 0.5 * (behind - front))
        ramus = cut(plan, notch, w.z + 27, -90 - w.z)
        neck = tube(plot, ((49.5, 10, -46), (51.5, 11, -24)), (3.4, 3.0), side)
        coronoid = tube(plot, ((47, -13, -50), (47.5, -17, -27)), (3.6, 1.6), side)
        _bone(jaw, plot, join(ramus, neck, coronoid), 1.6)
    if (plot := ground.crop((43, 6, -27), (61, 17, -16), side)) is not None:
        _bone(jaw, plot, ellipsoid(plot.offset((52, 11.5, -21), side), (8.5, 4.2, 4.6)), 1.2)
    for points, radii in ((ZYGOMA[:2], (3.6, 2.3)), (ZYGOMA[1:3], (2.3, 2.2)), (ZYGOMA[2:], (2.2, 2.6))):
        if (plot := ground.crop_tube(points, radii, side)) is not None:
            _bone(jaw, plot, tube(plot, points, radii, side), 1.3)


def _body(jaw: Jaw, ground: Ground) -> None:
    """The body of the mandible."""
    if (plot := ground.crop((-54, -70, -112), (54, 10, -74))) is None:
        return
    w = plot.where
    flat = Plot(Where(w.x.abs(), w.y, table(w.y, (-62.0, -2.0), (-98.0, -87.0))), plot.canvas)
    level = w.z + jaw.open - table(w.y, (-62.0, -2.0), (-94.5, -88.0))
    plan = tube(flat, BODY, (5.2, 5.0, 5.2, 5.0, 3.2))
    _bone(jaw, plot, torch.sqrt(torch.relu(plan + 3) ** 2 + torch.relu(level.abs() - 8.5) ** 2) - 3, 2.2)


def _root(jaw: Jaw, ground: Ground, side: float) -> None:
    """The zygoma's root on the maxilla."""
    if (plot := ground.crop((28, -58, -54), (58, -28, -34), side)) is not None:
        _bone(jaw, plot, tube(plot, ((36, -46, -46), (46, -42, -38)), (3.5, 5.0), side), 1.2)


def _mouth(jaw: Jaw, ground: Ground) -> None:
    """Hard and soft palate, tongue, the air above it, the upper alveolar ridge."""
    if (plot := ground.crop((-34, -70, -104), (34, 12, -48))) is None:
        return
    w = plot.where
    texture = grain(w, jaw.key, 4.0)
    tongue = ellipsoid(plot.offset((0, -30, -76)), (22, 29, 17))
    root = ellipsoid(plot.offset((0, -18, -90)), (16, 24, 14))
    gap = cut(w.z + 56 + 0.012 * w.x**2, -63 - 0.01 * (w.y + 30) ** 2 - w.z, ellipse(w.x, w.y + 30, 22, 28))
    plot.put(inside(gap) * (0.5 + 0.5 * (jaw.open > 3)), -900.0)
    plot.put(inside(torch.minimum(tongue, root), 2.0), jaw.muscle_hu + 14 * texture - 8, uptake=0.15)
    septum = cut(w.x.abs() - 1.2, root + 3)
    plot.put(inside(septum) * 0.7, jaw.fat_hu)
    soft = ellipsoid(plot.offset((0, -2, -60)), (13, 9, 5))
    plot.put(inside(soft), 45.0, uptake=0.25)
    ring = ellipse(w.x, w.y + 28, 30 * jaw.size, 36 * jaw.size)
    ridge = cut(ring.abs() - 5.5, w.z + 50, -65 - w.z, w.y + 12)
    palate = cut(ring, (w.z + 52.5 + 0.008 * w.x**2).abs() - 1.1, w.y + 12)
    _bone(jaw, plot, join(ridge, palate), 1.1)


def _quadrant(jaw: Jaw, ground: Ground, quadrant: int) -> None:
    """Teeth of one quadrant: enamel, dentine, pulp, root."""
    upper, side = quadrant < 2, 1.0 if quadrant % 2 == 0 else -1.0
    up = 1.0 if upper else -1.0
    crown_z = -69.5 if upper else -77.5 - jaw.open
    angle = 0.0
    for number, (there, width) in enumerate(zip(jaw.teeth[quadrant], TEETH, strict=True)):
        a, b = (30.0 * jaw.size, 36.0 * jaw.size) if upper else (28.0 * jaw.size, 34.0 * jaw.size)
        speed = math.hypot(a * math.cos(angle), b * math.sin(angle))
        middle = angle + 0.5 * width / speed
        angle += width / speed
        if not there:
            continue
        centre = (a * math.sin(middle), -28 - b * math.cos(middle), crown_z)
        low, high = (
            (centre[0] - 8, centre[1] - 8, crown_z - 20),
            (centre[0] + 8, centre[1] + 8, crown_z + 20),
        )
        if (plot := ground.crop(low, high, side)) is not None:
            _tooth(jaw, plot, centre, side, up, (0.48 * width, 3.6 + 0.16 * number), math.degrees(middle))


def _row(jaw: Jaw, ground: Ground, quadrant: int) -> None:
    """The teeth of one quadrant as one curved bar, as dense as they are many."""
    side, up = 1.0 if quadrant % 2 == 0 else -1.0, 1.0 if quadrant < 2 else -1.0
    middle = -64.5 if quadrant < 2 else -82.5 - jaw.open
    if (plot := ground.crop((-2, -66, middle - 10), (32, -24, middle + 10), side)) is not None:
        w, a = plot.where, 29.0 * jaw.size
        bar = cut(ellipse(w.x, w.y + 28, a, a + 6 * jaw.size).abs() - 3.2, (w.z - middle).abs() - 9.5)
        share = sum(jaw.teeth[quadrant]) / len(TEETH) * inside(cut(bar, -w.x * side, w.y + 27))
        plot.put(share, torch.where((w.z - middle) * up < -1, jaw.enamel_hu, jaw.dentine_hu), bone=1.0)


def _tooth(
    jaw: Jaw, plot: Plot, centre: Point, side: float, up: float, size: tuple[float, float], turn: float
) -> None:
    dx, dy, dz = plot.offset(centre, side)
    along, across = turned(dx, dy, turn)
    crown = ellipsoid((along, across, dz), (size[0], size[1], 4.8))
    toward = dz * up  # towards the root
    taper = torch.clamp((15 - toward) / 13, 0.1, 1)
    root = cut(ellipse(along, across, 0.85 * size[0] * taper, 0.8 * size[1] * taper), toward - 15, -toward)
    plot.put(inside(root), jaw.dentine_hu, bone=1.0)
    plot.put(inside(crown), jaw.enamel_hu, bone=1.0)
    plot.put(inside(crown + 1.3), jaw.dentine_hu, bone=1.0)
    pulp = cut(
        ellipse(along, across, 0.3 * size[0] * taper, 0.28 * size[1] * taper), toward - 12, -1 - toward
    )
    plot.put(inside(pulp) * 0.6, 60.0)
