"""The orbit: globe with lens, optic nerve, eye muscles, fat, lacrimal gland, thin walls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from lvo.phantom.head.canvas import NoiseKey, inside
from lvo.phantom.head.solids import Ground, Point, ellipsoid, tube
from lvo.phantom.head.temporal_bone import outside_brain

GLOBE: Point = (33.0, -53.0, -8.0)
CONE = ((14.0, -17.0, 0.0), (25.0, -35.0, -3.0), (32.0, -49.0, -6.0), (34.0, -58.0, -7.0))
CONE_RADII = (2.5, 12.5, 16.5, 17.5)
NERVE = ((32.0, -41.0, -8.0), (24.0, -30.0, -4.5), (15.0, -19.0, 0.8), (11.0, -12.5, 3.6), (7.5, -6.0, 6.2))
MUSCLES: tuple[tuple[Point, ...], ...] = (
    ((15, -20, 0), (19.5, -35, -4), (21, -51, -8)),
    ((17, -20, 0), (34, -33, -4), (44.5, -51, -8)),
    ((16, -20, 2), (26, -34, 7), (33, -52, 4.5)),
    ((16, -20, -2), (25, -34, -13), (33, -52, -20)),
    ((15, -20, 2), (16.5, -36, 6), (20, -56, 4)),
)
"""Medial, lateral, superior and inferior rectus, superior oblique."""


class OrbitRanges(BaseModel):
    """How orbits differ; globe 22 to 26 mm across, retro-orbital fat -110 to -70 HU, muscles 3 to 5 mm."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    globe_mm: tuple[float, float] = (11.6, 13.6)
    proptosis_mm: tuple[float, float] = (-3.0, 2.5)
    gaze_mm: float = 2.5
    fat_hu: tuple[float, float] = (-115.0, -70.0)
    muscle_mm: tuple[float, float] = (1.3, 2.3)
    muscle_hu: tuple[float, float] = (40.0, 62.0)
    muscle_uptake: tuple[float, float] = (0.1, 0.35)
    nerve_mm: tuple[float, float] = (1.5, 2.4)
    wall_hu: tuple[float, float] = (400.0, 1100.0)
    wall_mm: tuple[float, float] = (0.4, 1.0)
    lens_hu: tuple[float, float] = (60.0, 110.0)
    lens_removed_per_decade: float = 0.12


@dataclass(frozen=True, slots=True)
class Orbit:
    """Both orbits; mm and HU; pairs are (left, right)."""

    globe: float
    proptosis: float
    gaze: tuple[float, float]
    fat_hu: float
    muscle: float
    muscle_hu: float
    muscle_uptake: float
    nerve: float
    wall_hu: float
    wall: float
    lens_hu: tuple[float, float]


def sample_orbit(rng: np.random.Generator, ranges: OrbitRanges, age: float) -> Orbit:
    """Draw a pair of orbits; a removed lens is replaced by a thin implant of about water's HU."""
    u, r = rng.uniform, ranges
    removed = np.clip(r.lens_removed_per_decade * (age - 55) / 10, 0, 1)
    lens = u(*r.lens_hu)
    return Orbit(
        globe=u(*r.globe_mm), proptosis=u(*r.proptosis_mm),
        gaze=(rng.normal(0, r.gaze_mm), rng.normal(0, r.gaze_mm)), fat_hu=u(*r.fat_hu),
        muscle=u(*r.muscle_mm), muscle_hu=u(*r.muscle_hu), muscle_uptake=u(*r.muscle_uptake),
        nerve=u(*r.nerve_mm), wall_hu=u(*r.wall_hu), wall=u(*r.wall_mm),
        lens_hu=(15.0 if rng.random() < removed else lens, 15.0 if rng.random() < removed else lens),
    )  # fmt: skip


def draw_orbit(orbit: Orbit, ground: Ground, side: float, key: NoiseKey, *, draft: bool = False) -> None:
    """Draw one orbit in place; `side` 1 is the left, -1 the right; a draft has neither muscles nor nerve."""
    if (plot := ground.crop((8, -72, -28), (54, -14, 15), side)) is None:
        return
    w, canvas = plot.where, plot.canvas
    cone = tube(plot, CONE, CONE_RADII, side)
    behind = torch.clamp((w.y + 56) / 4, 0, 1)  # the rim is open to the front
    free = outside_brain(canvas)
    lateral = torch.clamp((w.x * side - 30 - 0.3 * (w.y + 40)) / 6, 0, 1)
    wall = orbit.wall * (1 + 2.2 * lateral)
    thin = (
        inside((cone - 0.5 * wall).abs() - 0.5 * wall)
        * torch.clamp(wall, 0, 1)
        * torch.clamp((w.z + 25) / 4, 0, 1)
    )
    plot.put(thin * behind * free * torch.clamp((-15 - w.y) / 5, 0, 1), orbit.wall_hu, bone=1.0)
    share = inside(cone) * behind * (1 - torch.clamp(canvas.grey + canvas.white, 0, 1))
    plot.put(share * torch.clamp(1.0 - canvas.bone * (cone > -2), 0, 1), orbit.fat_hu, uptake=0.03)
    if draft:
        _globe(orbit, ground, side)
        return
    r = orbit.muscle
    for points in MUSCLES:
        radii = (0.7 * r, 1.15 * r, 0.6 * r)
        if (plot := ground.crop_tube(points, radii, side)) is not None:
            plot.fill(tube(plot, points, radii, side), orbit.muscle_hu, uptake=orbit.muscle_uptake)
    r = orbit.nerve
    sheath = (r, r, 0.9 * r, 0.85 * r, r)
    if (plot := ground.crop_tube(NERVE, sheath, side)) is not None:
        plot.fill(tube(plot, NERVE, sheath, side), 32.0, uptake=0.03)
    if (plot := ground.crop((40, -60, -4), (47, -47, 11), side)) is not None:
        gland = ellipsoid(plot.offset((43.5, -53, 3.5), side), (3.0, 5.5, 6.5))
        plot.put(inside(gland) * (1 - plot.canvas.bone), 45.0, uptake=0.3)
    _globe(orbit, ground, side)


def _globe(orbit: Orbit, ground: Ground, side: float) -> None:
    """Sclera, vitreous, lens; the lid in front."""
    if (plot := ground.crop((17, -72, -25), (49, -36, 9), side)) is None:
        return
    index = 0 if side > 0 else 1
    dx, dy, dz = plot.offset((GLOBE[0], GLOBE[1] - orbit.proptosis, GLOBE[2]), side)
    ball = torch.sqrt(dx * dx + dy * dy + dz * dz) - orbit.globe
    lid = ellipsoid((dx, dy + 3.0, dz), (orbit.globe + 3, orbit.globe + 1.5, orbit.globe + 3))
    plot.put(inside(lid) * torch.clamp((-dy - 2) / 4, 0, 1), 40.0, uptake=0.2)
    plot.fill(ball, 50.0, uptake=0.15)
    plot.fill(ball + 1.1, 8.0)
    lens = ellipsoid((dx - orbit.gaze[index], dy + 0.7 * orbit.globe, dz), (4.8, 2.1, 4.8))
    plot.fill(lens, orbit.lens_hu[index])
