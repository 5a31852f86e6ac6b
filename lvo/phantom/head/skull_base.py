"""The middle of the skull base: sphenoid with sella and sinus, clivus, canals and foramina, condyles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from lvo.phantom.head.canvas import Canvas, NoiseKey, Where, draw_key, inside
from lvo.phantom.head.solids import Ground, Plot, Point, bounds, cut, ellipse, ellipsoid, join, table, tube
from lvo.phantom.head.temporal_bone import (
    TemporalBone,
    TemporalRanges,
    draw_temporal,
    outside_brain,
    sample_temporal,
)
from lvo.phantom.head.texture import grain, waves

Tube = tuple[tuple[Point, ...], tuple[float, ...], float, float]
"""Points of the left side, radii, HU and uptake of what fills it."""
CANALS: dict[str, Tube] = {
    "optic canal": (((7, -7, 5.5), (11, -13, 3.5), (15, -19, 1)), (2.6, 2.3, 2.8), 30.0, 0.02),
    "superior orbital fissure": (((14, -17, -5), (18, -18, -1), (25, -21, 4)), (2.6, 2.2, 1.4), -10.0, 0.08),
    "foramen rotundum": (((19, -2, -11), (19.5, -12, -13)), (1.5, 1.5), 30.0, 0.05),
    "foramen ovale": (((23, 6, -13), (24.5, 8, -24)), (2.6, 3.2), 40.0, 0.1),
    "foramen spinosum": (((29.5, 11, -14), (30, 12.5, -25)), (1.2, 1.2), 60.0, 0.3),
    "foramen lacerum": (((13, 9, -19), (14, 11, -23)), (3.2, 3.8), 80.0, 0.02),
    "jugular foramen": (((39, 40, -21), (35, 36, -26), (32, 32, -38)), (4.8, 5.0, 5.2), 42.0, 0.1),
    "hypoglossal canal": (((11, 39, -30), (20, 34, -32.5)), (2.0, 2.4), 35.0, 0.2),
    "vidian canal": (((12, 4, -20), (13.5, -14, -19)), (0.9, 0.9), 30.0, 0.0),
    "pterygopalatine fossa": (((18, -13, -10), (19, -12, -18), (18, -11, -28)), (1.8, 2.2, 2.4), -85.0, 0.02),
    "Meckel's cave": (((15.5, 11, -7.5), (17, 15, -6)), (2.2, 2.6), 15.0, 0.02),
}


class BaseRanges(BaseModel):
    """How skull bases differ.

    Sphenoid sinus: conchal 2 %, presellar 20 %, sellar 50 %, postsellar 28 % (Hammer & Radberg 1961; Hamid
    et al. 2008); anterior clinoid pneumatised in 13 %; calcified petroclinoid or interclinoid ligaments in
    some 10 to 20 %.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temporal: TemporalRanges = TemporalRanges()
    sinus_types: tuple[float, float, float, float] = (0.03, 0.2, 0.5, 0.27)
    sinus_size: tuple[float, float] = (0.75, 1.2)
    sinus_lateral_probability: float = 0.35
    sinus_filled_probability: float = 0.1
    mucosa_mm: tuple[float, float] = (0.0, 2.5)
    clinoid_mm: tuple[float, float] = (1.3, 2.6)
    clinoid_cells_probability: float = 0.12
    dorsum_mm: tuple[float, float] = (0.8, 3.2)
    sella_size: tuple[float, float] = (0.8, 1.25)
    cortex_hu: tuple[float, float] = (950.0, 1950.0)
    marrow_hu: tuple[float, float] = (0.0, 450.0)
    ligament_probability: float = 0.15
    foramen_scale: tuple[float, float] = (0.7, 1.3)
    condyle_mm: tuple[float, float] = (4.2, 5.8)


@dataclass(frozen=True, slots=True)
class BaseShape:
    """One skull base; pairs are (left, right); mm and HU.

    Attributes
    ----------
    sinus : y to which the sphenoid sinus reaches back, mm; none if it is below -18.
    septum : place and slant of its septum.
    foramina : sizes of the canals of each side relative to `CANALS`, in its order.
    """

    temporal: tuple[TemporalBone, TemporalBone]
    sinus: float
    sinus_size: float
    sinus_lateral: tuple[bool, bool]
    sinus_fluid: float
    mucosa: float
    septum: tuple[float, float]
    clinoid: tuple[float, float]
    clinoid_cells: tuple[bool, bool]
    dorsum: float
    sella: float
    cortex_hu: float
    marrow_hu: float
    ligaments: tuple[bool, bool, bool, bool]
    foramina: tuple[tuple[float, ...], tuple[float, ...]]
    condyle: float
    keys: tuple[NoiseKey, NoiseKey]


def sample_base(rng: np.random.Generator, ranges: BaseRanges, age: float) -> BaseShape:
    """Draw a skull base; ligaments calcify, and marrow turns to fat, with age."""
    u, r = rng.uniform, ranges
    kind = int(rng.choice(4, p=np.array(r.sinus_types) / sum(r.sinus_types)))
    back = ((-30, -20), (-8, -4), (1, 7), (9, 14))[kind]
    yes = rng.random
    ligament = r.ligament_probability * min(2.0, age / 60)
    return BaseShape(
        temporal=sample_temporal(rng, r.temporal), sinus=u(*back), sinus_size=u(*r.sinus_size),
        sinus_lateral=(yes() < r.sinus_lateral_probability, yes() < r.sinus_lateral_probability),
        sinus_fluid=u(0.15, 0.8) if yes() < r.sinus_filled_probability else 0.0, mucosa=u(*r.mucosa_mm),
        septum=(rng.normal(0, 2.5), rng.normal(0, 0.25)), clinoid=(u(*r.clinoid_mm), u(*r.clinoid_mm)),
        clinoid_cells=(yes() < r.clinoid_cells_probability, yes() < r.clinoid_cells_probability),
        dorsum=u(*r.dorsum_mm), sella=u(*r.sella_size), cortex_hu=u(*r.cortex_hu),
        marrow_hu=u(*r.marrow_hu) - 2.0 * max(age - 50, 0),
        ligaments=(yes() < ligament, yes() < ligament, yes() < ligament, yes() < ligament),
        foramina=(tuple(u(*r.foramen_scale, len(CANALS))), tuple(u(*r.foramen_scale, len(CANALS)))),
        condyle=u(*r.condyle_mm), keys=(draw_key(rng), draw_key(rng)),
    )  # fmt: skip


def draw_base(
    shape: BaseShape, where: Where, canvas: Canvas, ground: Ground | None = None, *, draft: bool = False
) -> None:
    """Draw the skull base in place, over what `lvo.phantom.head.vault.draw_vault` has drawn.

    The canal of the carotid artery is left to whoever paints the artery: the petrous apex lies round the
    average route of the artery.

    Parameters
    ----------
    shape : one skull base
    where : points, (z, y, x)
    canvas : the tissue drawn so far; brain and its fluid are left as they are.
    ground : both, if they have been looked at
    draft : True leaves out what a coarse map of attenuation does not need.
    """
    ground = ground or Ground.of(where, canvas)
    for side, temporal in zip((1.0, -1.0), shape.temporal, strict=True):
        draw_temporal(temporal, ground, side, draft=draft)
    if (plot := ground.crop((-17, -27, -35), (17, 33, 5))) is not None:
        _sphenoid(shape, plot)
    if (plot := ground.crop((-15, -24, -30), (15, 16, 6))) is not None and draft:
        _sinus(shape, plot)
    for index, side in enumerate(() if draft else (1.0, -1.0)):
        _wing(shape, ground, side, index)
        for (points, radii, hu, uptake), scale in zip(CANALS.values(), shape.foramina[index], strict=True):
            if (plot := ground.crop(*bounds(points, max(radii) * 1.4), side)) is not None:
                distance = tube(plot, points, tuple(v * scale for v in radii), side)
                share = inside(distance) * outside_brain(plot.canvas)
                plot.put(share, hu, uptake=uptake)
        _condyle(shape, ground, side)
    if draft:
        return
    if (plot := ground.crop((-22, -2, -12), (22, 16, 11))) is not None:
        _sella(shape, plot)
    if (plot := ground.crop((-15, -24, -30), (15, 16, 6))) is not None:
        _sinus(shape, plot)
    for index, side in enumerate((1.0, -1.0)):
        _clinoids(shape, ground, side, index)


def _bone(shape: BaseShape, plot: Plot, distance: Tensor, cortex_mm: float = 0.9) -> None:
    """Bone with a cortex and marrow, where there is no brain."""
    texture = grain(plot.where, shape.keys[0], 2.3)
    deep = torch.clamp((-distance - cortex_mm) * 1.2 + 0.5, 0, 1)
    marrow = shape.marrow_hu + (80 + 0.25 * abs(shape.marrow_hu)) * texture
    hu = shape.cortex_hu * (1 + 0.08 * texture)
    share = inside(distance) * outside_brain(plot.canvas)
    plot.put(share, hu + deep * (marrow - hu), bone=1.0, uptake=0.03)


def _sphenoid(shape: BaseShape, plot: Plot) -> None:
    """The body of the sphenoid and the upper clivus behind it, where averaging left soft tissue."""
    w = plot.where
    rough = 0.5 * waves(w, shape.keys[1], 14.0)
    body = ellipsoid(plot.offset((0, -6, -13)), (15.5, 20, 12.5)) + rough
    behind = w.y - clivus_back(w.z) - 0.018 * w.x**2  # concave towards the brainstem
    body = cut(body, behind + 3.5, w.z - table_top(w.y) + rough * 0.3)
    # The dura's venous plexus and fat behind the clivus are thin: the bone goes on to the cistern.
    clivus = ellipse(w.x, behind + 5.0 + 0.4 * rough, table(w.z, (-20.0, 0.0), (15.5, 10.5)), 5.2)
    clivus = cut(clivus, w.z + 1.5, -33 - w.z)
    _bone(shape, plot, torch.minimum(body, clivus))


def clivus_back(z: Tensor) -> Tensor:
    """Depth along y of the brain side of the clivus in the midline."""
    return table(z, (-36.0, -21.0, -9.0, 0.0), (34.0, 22.0, 15.0, 10.0))


def table_top(y: Tensor) -> Tensor:
    """Height of the sphenoid's upper surface: planum, the dip of the sella, its back."""
    planum = 2.5 - 0.12 * (y + 16).abs()
    pit = torch.clamp((y + 5.0) / 3.0, 0, 1) * 8.5
    return planum - pit


def _sella(shape: BaseShape, plot: Plot) -> None:
    """Pituitary, floor of the sella, dorsum with the posterior clinoids, calcified ligaments."""
    s = shape.sella
    dx, dy, dz = plot.offset((0, 2.5, -1.5))
    gland = ellipsoid((dx, dy, dz), (7.0 * s, 5.0 * s, 4.2 * s))
    free = outside_brain(plot.canvas)
    floor = inside((gland - 0.6).abs() - 0.6) * torch.clamp((-dz - 1.0) / 2, 0, 1)
    plot.put(floor * free, shape.cortex_hu, bone=1.0)
    plot.put(inside(gland) * torch.clamp(2 - dz, 0, 1), 48.0, uptake=0.35)
    y = 2.5 + 5.0 * s + 0.5 * shape.dorsum
    lean = dy + 2.5 - y + 0.25 * (dz - 2)
    plate = cut(lean.abs() - 0.5 * shape.dorsum, dx.abs() - 7.5, dz - 4.5, -7 - dz)
    knobs = [
        ellipsoid((dx.abs() - 7.0, lean, dz - 4.8), (2.0, 0.6 + 0.5 * shape.dorsum, 1.6 + 0.3 * shape.dorsum))
    ]
    _bone_anywhere(shape, plot, join(plate, *knobs))
    strands: tuple[tuple[bool, float, tuple[Point, ...]], ...] = (
        (shape.ligaments[0], 1.0, ((8, y, 3.5), (13, 12, 1), (18, 17, -3))),
        (shape.ligaments[1], -1.0, ((8, y, 3.5), (13, 12, 1), (18, 17, -3))),
        (shape.ligaments[2], 1.0, ((12, -6, 5.5), (10, 1, 4.5), (7.5, y, 4))),
        (shape.ligaments[3], -1.0, ((12, -6, 5.5), (10, 1, 4.5), (7.5, y, 4))),
    )
    for there, side, points in strands:
        if there:
            plot.put(0.8 * inside(tube(plot, points, (0.8, 0.5, 0.8), side)), 600.0, bone=1.0)


def _bone_anywhere(shape: BaseShape, plot: Plot, distance: Tensor) -> None:
    """Compact bone that stands in the cisterns, with a little marrow where it is thick."""
    deep = torch.clamp((-distance - 1.0) * 1.5, 0, 1)
    hu = shape.cortex_hu + deep * (0.5 * (shape.marrow_hu + shape.cortex_hu) - shape.cortex_hu)
    plot.put(inside(distance), hu, bone=1.0)


def _clinoids(shape: BaseShape, ground: Ground, side: float, index: int) -> None:
    """Anterior clinoid, optic strut and the ridge of the lesser wing."""
    if (plot := ground.crop((6, -30, -3), (50, -2, 14), side)) is None:
        return
    r = shape.clinoid[index]
    tip = ((18, -16.5, 6.0), (14.5, -10, 6.0), (12.8, -5.5, 5.2))
    clinoid = tube(plot, tip, (r * 1.1, r, r * 0.6), side)
    strut = tube(plot, ((8.5, -10.5, 0), (14.5, -10, 4.5)), (1.3, 1.2), side)
    ridge = tube(
        plot, ((6, -13, 5.0), (18, -17, 6.5), (32, -22, 8.5), (46, -26, 10)), (1.0, 1.2, 1.1, 1.4), side
    )
    _bone_anywhere(shape, plot, join(clinoid, strut, ridge))
    if shape.clinoid_cells[index]:
        plot.fill(clinoid + 1.1, -850.0)


def _sinus(shape: BaseShape, plot: Plot) -> None:
    """The sphenoid sinus: two unequal halves behind thin walls, with mucosa and now and then fluid."""
    if shape.sinus < -18:
        return
    w, canvas, size = plot.where, plot.canvas, shape.sinus_size
    front = -23.0
    middle, half = 0.5 * (front + shape.sinus), 0.5 * (shape.sinus - front) + 2
    room = ellipsoid(plot.offset((0, middle, -11.5)), (12.5 * size, half, 9.5 * size))
    for there, side in zip(shape.sinus_lateral, (1.0, -1.0), strict=True):
        if there:
            room = torch.minimum(room, ellipsoid(plot.offset((13, -6, -18), side), (6 * size, 6, 5)))
    room = cut(
        room + 0.5 * waves(w, shape.keys[1], 11.0), w.z - table_top(w.y) + 1.3, w.y - clivus_back(w.z) + 5.5
    )
    septum = (w.x - shape.septum[0] - shape.septum[1] * (w.y + 6)).abs() - 0.45
    plot.put(inside((room - 0.5).abs() - 0.5) * outside_brain(canvas), 0.85 * shape.cortex_hu, bone=1.0)
    lined = room + shape.mucosa * (0.35 + 0.25 * waves(w, shape.keys[0], 13.0)).clamp(0, 1)
    plot.put(inside(room), 35.0, uptake=0.25)
    level = w.y - (middle + half - 2 * half * shape.sinus_fluid)
    plot.put(inside(lined), torch.where(level > 0, 18.0, -980.0) if shape.sinus_fluid > 0 else -980.0)
    plot.put(inside(septum) * inside(room), 600.0, bone=1.0)


def _wing(shape: BaseShape, ground: Ground, side: float, index: int) -> None:
    """Pterygoid plates, and the root that carries them."""
    if (plot := ground.crop((7, -18, -50), (26, 8, -14), side)) is None:
        return
    dx, dy, dz = plot.offset((13.5, -7, -22), side)
    down = torch.clamp(-dz / 26, 0, 1)
    medial = cut((dx + 2.0 * down).abs() - 0.8, (dy - 2).abs() - 6 + 2 * down, dz.abs() - 26)
    lateral = cut((dx - 0.65 * (dy + 4) - 1.5).abs() - 0.9, (dy - 3).abs() - 7 + 2 * down, dz.abs() - 24)
    root = ellipsoid((dx - 1, dy + 2, dz - 3), (5.0, 6.0, 6.0))
    _bone(shape, plot, join(medial, lateral, root))


def _condyle(shape: BaseShape, ground: Ground, side: float) -> None:
    """Occipital condyle and the jugular tubercle above it."""
    if (plot := ground.crop((6, 24, -44), (30, 54, -22), side)) is None:
        return
    dx, dy, dz = plot.offset((17.5, 39.5, -36.5), side)
    u, v = 0.87 * dx + 0.5 * dy * -1, 0.87 * dy + 0.5 * dx
    condyle = ellipsoid((u, v, dz), (shape.condyle, 10.0, 5.0))
    tubercle = tube(plot, ((13, 30, -25), (18, 36, -29), (23, 42, -33)), (3.0, 3.8, 4.0), side)
    _bone(shape, plot, join(condyle, tubercle), cortex_mm=1.2)
