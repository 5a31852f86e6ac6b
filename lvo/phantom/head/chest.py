"""Shoulders and upper chest: lungs, mediastinum, ribs, breastbone, clavicles, scapulae, arms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from lvo.phantom.head.canvas import Canvas, NoiseKey, Where, draw_key, inside
from lvo.phantom.head.solids import Ground, Plot, Point, bounds, cut, ellipse, ellipsoid, join, table, tube
from lvo.phantom.head.texture import grain, waves

CLAVICLE: tuple[Point, ...] = ((14, -46, -232), (50, -48, -222), (90, -34, -212), (140, -6, -208))
SCAPULA: tuple[Point, ...] = ((150, 26, -222), (110, 66, -225), (85, 84, -240))
MUSCLES: tuple[tuple[Point, Point], ...] = (
    ((60, 92, -190), (62, 14, 42)),
    ((172, 8, -250), (26, 34, 48)),
    ((75, -58, -285), (62, 13, 48)),
    ((112, 62, -285), (34, 26, 60)),
)
"""Trapezius, deltoid, pectoral, muscles of the scapula: centre, radii."""


class ChestRanges(BaseModel):
    """How chests differ; lung -900 to -700 HU."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lung_hu: tuple[float, float] = (-900.0, -720.0)
    apex_z: tuple[float, float] = (-225.0, -200.0)
    rib_mm: tuple[float, float] = (21.0, 27.0)
    cortex_hu: tuple[float, float] = (600.0, 1200.0)
    marrow_hu: tuple[float, float] = (100.0, 320.0)
    muscle_hu: tuple[float, float] = (44.0, 64.0)
    fat_hu: tuple[float, float] = (-115.0, -85.0)


@dataclass(frozen=True, slots=True)
class ChestShape:
    """One chest; mm and HU."""

    lung_hu: float
    apex_z: float
    rib: float
    rib_phase: float
    cortex_hu: float
    marrow_hu: float
    muscle_hu: float
    fat_hu: float
    key: NoiseKey


def sample_chest(rng: np.random.Generator, ranges: ChestRanges, age: float) -> ChestShape:
    """Draw a chest; marrow fades with age."""
    u, r = rng.uniform, ranges
    return ChestShape(
        lung_hu=u(*r.lung_hu), apex_z=u(*r.apex_z), rib=u(*r.rib_mm), rib_phase=u(0, 20),
        cortex_hu=u(*r.cortex_hu), marrow_hu=u(*r.marrow_hu) * (1 - 0.006 * max(age - 40, 0)),
        muscle_hu=u(*r.muscle_hu), fat_hu=u(*r.fat_hu), key=draw_key(rng),
    )  # fmt: skip


def draw_chest(shape: ChestShape, where: Where, canvas: Canvas, ground: Ground | None = None) -> None:
    """Draw the chest in place, after `lvo.phantom.head.neck.draw_neck`, whose skin it keeps.

    Parameters
    ----------
    shape : one chest
    where : points, (z, y, x)
    canvas : the tissue drawn so far
    ground : both, if they have been looked at
    """
    ground = ground or Ground.of(where, canvas)
    if ground.lowest > -150:
        return
    for side in (1.0, -1.0):
        for centre, radii in MUSCLES:
            low = (centre[0] - radii[0], centre[1] - radii[1], centre[2] - radii[2])
            high = (centre[0] + radii[0], centre[1] + radii[1], centre[2] + radii[2])
            if (plot := ground.crop(low, high, side)) is not None:
                solid = ellipsoid(plot.offset(centre, side), radii) + 2 * grain(plot.where, shape.key, 14.0)
                texture = grain(plot.where, shape.key, 7.0)
                share = inside(solid, 3.0) * (plot.canvas.hu > -400)
                plot.put(share, shape.muscle_hu + 5 * texture, uptake=0.06)
        _thorax(shape, ground, side)
        for points, thick in ((CLAVICLE, (7.5, 5.5, 5.5, 6.5)), (SCAPULA, (9.0, 4.0, 3.0))):
            if (plot := ground.crop(*bounds(points, 9), side)) is not None:
                _bone(shape, plot, tube(plot, points, thick, side))
        if (plot := ground.crop((138, -32, -380), (196, 40, -205), side)) is not None:
            shaft = tube(plot, ((166, 6, -232), (172, 6, -380)), (12.0, 12.0), side)
            _bone(shape, plot, join(ellipsoid(plot.offset((164, 4, -232), side), (24, 24, 24)), shaft), 2.0)
    if (plot := ground.crop((-34, -66, -380), (34, -30, -222))) is not None:
        w = plot.where
        plate = cut(
            (w.y + 52 - 0.12 * (w.z + 230)).abs() - 5.5,
            w.x.abs() - table(w.z, (-330.0, -240.0), (16.0, 28.0)),
        )
        _bone(shape, plot, cut(plate, w.z + 228))


def _bone(shape: ChestShape, plot: Plot, distance: Tensor, cortex_mm: float = 1.3) -> None:
    """Bone with a cortex and marrow, inside the body."""
    deep = torch.clamp((-distance - cortex_mm) * 1.1 + 0.5, 0, 1)
    marrow = shape.marrow_hu * (1 + 0.25 * grain(plot.where, shape.key, 3.0))
    share = inside(distance) * (plot.canvas.hu > -400)
    plot.put(share, shape.cortex_hu + deep * (marrow - shape.cortex_hu), bone=1.0, uptake=0.04)


def _thorax(shape: ChestShape, ground: Ground, side: float) -> None:
    """One lung in its cage, and half of the mediastinum."""
    if (plot := ground.crop((-4, -75, -400), (150, 112, shape.apex_z + 22), side)) is None:
        return
    w, canvas = plot.where, plot.canvas
    under = torch.clamp((shape.apex_z - w.z) / 110, 1e-4, 1)
    size = torch.sqrt(under)
    middle = table(w.z, (-330.0, -220.0), (26.0, 34.0))
    inner = table(w.z, (-330.0, -290.0, -230.0), (38.0, 34.0, 24.0))
    dx = w.x * side - 62
    cage = ellipse(dx, w.y - middle, 18 + 62 * size, 20 + 66 * size)
    cage = torch.maximum(cage, 8.0 * (w.z - shape.apex_z) / 10)
    slope = w.z - 0.35 * (w.y - 70) - 0.1 * dx
    rung = (torch.remainder(slope + shape.rib_phase, shape.rib) - 0.5 * shape.rib).abs() - 5.0
    wall = (cage - 7).abs() - 5.5
    between = inside(wall, 2.0) * (canvas.hu > -400) * (w.x * side > 20)
    plot.put(between, shape.muscle_hu - 20, uptake=0.06)
    ribs = cut((cage - 6.5).abs() - 4.0, rung, 24 - w.x * side, w.z - shape.apex_z + 10)
    _bone(shape, plot, ribs, 1.0)
    bulge = 3.0 * waves(w, shape.key, 70.0) + 5 * torch.cos((w.y - middle) * 0.045)
    lung = cut(cage, inner + bulge - w.x * side)
    fine = grain(w, shape.key, 5.0)
    vessels = torch.clamp((fine - 1.7) * 2, 0, 1)
    hu = shape.lung_hu + 25 * fine + vessels * 700
    plot.put(inside(lung, 1.5), hu, uptake=0.05 + 0.6 * vessels)
