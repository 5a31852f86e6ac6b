"""The neck below the average head: skin, fat, muscles, airway, larynx, thyroid, spine."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from lvo.phantom.head.atlas import load_atlas
from lvo.phantom.head.canvas import Canvas, NoiseKey, Where, draw_key, inside
from lvo.phantom.head.solids import Ground, Plot, Point, bounds, cut, ellipse, ellipsoid, join, table, tube
from lvo.phantom.head.spine import Spine, SpineRanges, centre_of_spine, draw_spine, sample_spine
from lvo.phantom.head.texture import cells, grain, waves

TOP, BLEND = -33.0, 5.0
"""Height at which the neck begins to replace the average head, and over how much it does, mm."""
_HIGHEST = TOP - 4.3
"""Top of boxes that are to hold what lies below `TOP`: they are cut out with a margin."""
AIRWAY: tuple[tuple[float, float, float, float], ...] = (
    (-320.0, 37.0, 9.5, 8.5), (-285.0, 30.0, 9.0, 8.5), (-240.0, 18.0, 9.0, 8.5), (-200.0, 10.0, 8.8, 8.5),
    (-162.0, 3.0, 8.5, 9.0), (-152.0, 0.0, 6.0, 10.0), (-146.0, -2.0, 2.5, 11.0), (-138.0, 1.0, 7.0, 10.0),
    (-122.0, 6.0, 13.0, 6.0), (-105.0, 9.0, 11.0, 6.5), (-80.0, 10.0, 10.0, 6.0), (-62.0, 10.0, 9.0, 4.5),
    (-50.0, 7.0, 11.0, 7.0), (-30.0, 3.0, 10.0, 8.0),
)  # fmt: skip
"""Pharynx, larynx and trachea: height, y of the middle, half width, half depth, mm."""
MUSCLES: tuple[tuple[str, tuple[Point, ...], tuple[float, ...]], ...] = (
    ("sternocleidomastoid", ((57, 42, -42), (53, 24, -85), (44, 4, -130), (28, -16, -172), (14, -26, -205)),
     (6.5, 10.0, 9.5, 8.0, 4.5)),
    ("levator scapulae and scalenes", ((36, 44, -70), (38, 48, -105), (42, 46, -140), (50, 44, -190)),
     (7.0, 10.5, 12.5, 10.0)),
    ("semispinalis", ((15, 76, -42), (15, 80, -90), (15, 79, -140), (17, 84, -230)), (11.0, 12.5, 11.5, 9.0)),
    ("splenius", ((33, 76, -42), (30, 78, -90), (28, 80, -140), (22, 92, -200)), (9.5, 9.5, 8.5, 6.0)),
    ("suboccipital", ((13, 68, -44), (20, 62, -62)), (8.0, 9.0)),
    ("longus colli", ((7, 22, -62), (8, 23, -110), (9, 25, -170)), (4.0, 4.8, 4.0)),
    ("strap", ((10, -22, -122), (13, -26, -160), (13, -24, -205)), (4.0, 4.5, 4.0)),
    ("digastric", ((22, -30, -102), (12, -40, -112)), (5.0, 5.0)),
)  # fmt: skip
"""Name, course on the left, radii."""


class NeckRanges(BaseModel):
    """How necks differ; muscle 45 to 65 HU, thyroid 90 to 140 HU and strongly enhancing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spine: SpineRanges = SpineRanges()
    half_width_mm: tuple[float, float] = (56.0, 78.0)
    half_depth_mm: tuple[float, float] = (62.0, 78.0)
    chin_z: tuple[float, float] = (-126.0, -114.0)
    shoulder_z: tuple[float, float] = (-195.0, -160.0)
    airway: tuple[float, float] = (0.6, 1.25)
    muscle_hu: tuple[float, float] = (44.0, 66.0)
    muscle_size: tuple[float, float] = (0.8, 1.12)
    muscle_fat: tuple[float, float] = (0.0, 0.35)
    muscle_uptake: tuple[float, float] = (0.03, 0.1)
    fat_hu: tuple[float, float] = (-115.0, -80.0)
    skin_mm: tuple[float, float] = (1.5, 3.0)
    under_skin_mm: tuple[float, float] = (2.0, 14.0)
    thyroid_hu: tuple[float, float] = (75.0, 140.0)
    thyroid_uptake: tuple[float, float] = (0.35, 0.8)
    thyroid_size: tuple[float, float] = (0.7, 1.35)
    cartilage_hu: tuple[float, float] = (90.0, 180.0)
    ossified: tuple[float, float] = (0.0, 0.9)


@dataclass(frozen=True, slots=True)
class NeckShape:
    """One neck, as `NeckRanges` names its numbers; mm and HU."""

    spine: Spine
    half_width: float
    half_depth: float
    chin_z: float
    shoulder_z: float
    airway: float
    muscle_hu: float
    muscle_size: float
    muscle_fat: float
    muscle_uptake: float
    fat_hu: float
    skin: float
    under_skin: float
    thyroid_hu: float
    thyroid_uptake: float
    thyroid_size: float
    cartilage_hu: float
    ossified: float
    key: NoiseKey


def sample_neck(rng: np.random.Generator, ranges: NeckRanges, age: float) -> NeckShape:
    """Draw a neck; muscles turn fatty and cartilage ossifies with age."""
    u, r = rng.uniform, ranges
    old = float(np.clip((age - 30) / 50, 0, 1))
    return NeckShape(
        spine=sample_spine(rng, r.spine, age), half_width=u(*r.half_width_mm),
        half_depth=u(*r.half_depth_mm), chin_z=u(*r.chin_z), shoulder_z=u(*r.shoulder_z),
        airway=u(*r.airway), muscle_hu=u(*r.muscle_hu), muscle_size=u(*r.muscle_size),
        muscle_fat=u(*r.muscle_fat) * (0.4 + 0.6 * old), muscle_uptake=u(*r.muscle_uptake),
        fat_hu=u(*r.fat_hu), skin=u(*r.skin_mm),
        under_skin=u(*r.under_skin_mm), thyroid_hu=u(*r.thyroid_hu),
        thyroid_uptake=u(*r.thyroid_uptake), thyroid_size=u(*r.thyroid_size),
        cartilage_hu=u(*r.cartilage_hu), ossified=u(*r.ossified) * (0.3 + 0.7 * old), key=draw_key(rng),
    )  # fmt: skip


def draw_neck(
    shape: NeckShape, where: Where, canvas: Canvas, ground: Ground | None = None, *, draft: bool = False
) -> None:
    """Draw the whole body below the average head in place, air around it included.

    To be called after brain and scalp and before the chest and the bones of the head.

    Parameters
    ----------
    shape : one neck
    where : points, (z, y, x)
    canvas : the tissue drawn so far
    ground : both, if they have been looked at
    draft : True leaves out what a coarse map of attenuation does not need.
    """
    ground = ground or Ground.of(where, canvas)
    if ground.lowest > TOP:
        return
    everywhere: tuple[Point, Point] = ((-1e4, -1e4, -1e4), (1e4, 1e4, _HIGHEST))
    if (plot := ground.crop(*everywhere)) is not None:
        _body(shape, plot)
    _bulk(shape, ground)
    for _, points, radii in () if draft else MUSCLES:
        for side in (1.0, -1.0):
            _muscle(shape, ground, points, radii, side)
    _throat(shape, ground)
    draw_spine(shape.spine, ground)
    _airway(shape, ground)


def skin_distance(shape: NeckShape, where: Where) -> Tensor:
    """Signed distance to the skin of neck and shoulders, mm, negative inside."""
    x, y, z = where.x, where.y, where.z
    down = TOP - z
    # Below the chin nothing is left of the average head's outline, which is dear to look up.
    outline = _outline(where) if float(z.max()) > shape.chin_z - 11 else torch.zeros_like(z)
    middle = table(z, (-260.0, -200.0, -140.0, -60.0), (30.0, 28.0, 28.0, 34.0))
    depth = shape.half_depth + table(z, (-260.0, -190.0), (32.0, 0.0))
    neck = ellipse(x, y - middle, shape.half_width + 0 * x, depth)
    front = torch.clamp((20 - y) / 50, 0, 1)  # the face goes on to the chin, the occiput ends at once
    level = 26 + (TOP - shape.chin_z - 26) * front
    blend = torch.clamp((down - 0.85 * level) / (0.15 * level + 10), 0, 1)
    blend = blend * blend * (3 - 2 * blend)
    narrow = outline + 10 * front * torch.clamp(down / 90, 0, 1)
    lips = (
        -95 + 21 * torch.clamp((-44 - z) / 12, 0, 1) + 0.006 * x * x
    )  # the average nose does not go on down
    narrow = torch.maximum(narrow, lips - y)
    skin = narrow * (1 - blend) + neck * blend
    wide = torch.clamp((shape.shoulder_z - z) / 60, 0, 1)
    wide = wide * wide * (3 - 2 * wide)
    chest = ellipse(x, y - middle - 4, shape.half_width + wide * (205 - shape.half_width), depth + 10 * wide)
    return torch.where(wide > 0, torch.minimum(skin, chest), skin)


def _body(shape: NeckShape, plot: Plot) -> None:
    """Air outside, skin, fat."""
    skin = skin_distance(shape, plot.where)
    own = torch.clamp((TOP - plot.where.z) / BLEND, 0, 1)
    texture = grain(plot.where, shape.key, 6.0)
    rind = torch.clamp((skin + shape.skin) * 1.2 + 0.5, 0, 1)
    hu = shape.fat_hu + 8 * texture + rind * (40 - shape.fat_hu)
    hu = -1000 + inside(skin) * (hu + 1000)
    plot.put(own, hu, uptake=0.05 * inside(skin))


def _bulk(shape: NeckShape, ground: Ground) -> None:
    """The mass of muscle round the spine under the fat, in bundles that thin planes of fat part."""
    if (plot := ground.crop((-110, -10, -230), (110, 125, _HIGHEST))) is None:
        return
    w = plot.where
    back = w.y - centre_of_spine(w.z)
    half = shape.half_width - 12
    mass = join(
        ellipse(w.x, back - 28, half * shape.muscle_size, 44 * shape.muscle_size + 0 * back),
        ellipse(w.x.abs() - 26, back - 4, 22 * shape.muscle_size, 20.0),
    )
    mass = torch.maximum(mass, skin_distance(shape, w) + shape.skin + shape.under_skin)
    index, line = plot.points(mass < 1)
    stretched = Where(line.x, line.y + 0.35 * line.x.abs(), line.z * 0.2)
    plane = cells(stretched, shape.key, 17.0)[0, 0]
    middle = line.x[0, 0].abs()
    texture = grain(line, shape.key, 5.0)[0, 0]
    fat = inside(torch.minimum(plane, middle) - 0.5 - 1.2 * shape.muscle_fat)
    hu = shape.muscle_hu + 4 * texture - 60 * shape.muscle_fat * torch.clamp(texture, 0, 2)
    hu = hu + 0.9 * fat * (shape.fat_hu - hu)
    share = inside(mass[index], 1.5) * torch.clamp((TOP - line.z[0, 0]) / BLEND, 0, 1)
    share = share * (plot.canvas.hu[index] > -500)
    for field, value in ((plot.canvas.hu, hu), (plot.canvas.uptake, shape.muscle_uptake)):
        old = field[index]
        field[index] = old + share * (value - old)


def _muscle(
    shape: NeckShape, ground: Ground, points: tuple[Point, ...], radii: tuple[float, ...], side: float
) -> None:
    low, high = bounds(points, max(radii) + 2)
    high = high[0], high[1], min(high[2], _HIGHEST)
    if (plot := ground.crop(low, high, side)) is None:
        return
    texture = grain(plot.where, shape.key, 5.0)
    size = tuple(r * shape.muscle_size for r in radii)
    fade = torch.clamp((TOP - plot.where.z) / BLEND, 0, 1)
    distance = tube(plot, points, size, side) + 0.6 * texture
    rim = inside((distance - 0.7).abs() - 0.7) * (plot.canvas.hu > -500)
    plot.put(0.7 * rim * fade, shape.fat_hu, uptake=0.03)
    hu = shape.muscle_hu + 5 * texture - 100 * shape.muscle_fat * torch.clamp(texture, 0, 2)
    plot.put(inside(distance, 1.5) * fade * (plot.canvas.hu > -500), hu, uptake=shape.muscle_uptake)


def _throat(shape: NeckShape, ground: Ground) -> None:
    """Walls of pharynx and gullet, larynx, hyoid, thyroid."""
    if (plot := ground.crop((-40, -40, -340), (40, 36, -40))) is not None:
        w, middle, wide, deep = _lumen(shape, plot)
        plot.put(inside(ellipse(w.x, middle, wide + 4, deep + 4), 1.5), 45.0, uptake=0.15)
        back = middle - table(w.z, (-320.0, -160.0, -120.0), (14.0, 13.5, 8.0))
        gullet = cut(ellipse(w.x - 3, back, 9.0, 5.5), w.z + 120)
        plot.put(inside(gullet, 1.5), 42.0, uptake=0.15)
        plot.put(inside(gullet + 4.2) * (waves(w, shape.key, 60.0) > 0.6), -600.0)
        _cartilage(shape, plot, middle)
    s = shape.thyroid_size
    if (plot := ground.crop((-34, -30, -200), (34, 26, -140))) is not None:
        side = plot.where.x.abs()
        lobe = ellipsoid((side - 16, plot.where.y - 2, plot.where.z + 168), (7.5 * s, 9 * s, 20 * s))
        isthmus = ellipsoid((side, plot.where.y + 10, plot.where.z + 174), (14.0, 3.0 * s, 7 * s))
        texture = grain(plot.where, shape.key, 6.0)
        share = inside(join(lobe, isthmus), 1.5)
        plot.put(share, shape.thyroid_hu + 8 * texture, uptake=shape.thyroid_uptake)


def _cartilage(shape: NeckShape, plot: Plot, middle: Tensor) -> None:
    """Thyroid and cricoid cartilage, partly ossified, and the hyoid bone."""
    w = plot.where
    side = w.x.abs()
    shield = cut(
        (0.78 * (w.y + 27) - 0.62 * side + 0 * side).abs() - 1.3, (w.z + 140).abs() - 13, w.y - 6, side - 24
    )
    ring = cut((ellipse(w.x, middle, 12.5, 13.0)).abs() - 1.8, (w.z + 158 + 0.25 * middle).abs() - 5)
    bony = torch.clamp(shape.ossified * 1.4 - 0.5 + 0.4 * grain(w, shape.key, 7.0), 0, 1)
    plot.put(inside(join(shield, ring)), shape.cartilage_hu + 420 * bony, bone=0.5)
    horn = cut(ellipse(w.x, w.y - 6, 19.0, 30.0).abs() - 2.2, (w.z + 118 - 0.1 * w.y).abs() - 3.2, w.y - 8)
    plot.put(inside(horn), 550.0 + 250.0 * shape.ossified, bone=1.0)


def _lumen(shape: NeckShape, plot: Plot) -> tuple[Where, Tensor, Tensor, Tensor]:
    """Points, y from the middle of the airway, and its half width and depth, mm."""
    w = plot.where
    levels, y, wide, deep = (tuple(row[a] for row in AIRWAY) for a in range(4))
    trachea = torch.clamp((-150 - w.z) / 10, 0, 1)
    scale = shape.airway + trachea * (0.5 + 0.5 * shape.airway - shape.airway)
    return w, w.y - table(w.z, levels, y), table(w.z, levels, wide) * scale, table(w.z, levels, deep) * scale


def _airway(shape: NeckShape, ground: Ground) -> None:
    """Air from nose to carina."""
    if (plot := ground.crop((-24, -22, -315), (24, 50, -26))) is None:
        return
    w, middle, wide, deep = _lumen(shape, plot)
    uneven = 0.08 * waves(w, shape.key, 25.0)
    air = ellipse(w.x, middle, wide * (1 + uneven), deep * (1 - uneven))
    plot.put(inside(cut(air, w.z + 27, -312 - w.z)), -1000.0)


def _outline(where: Where) -> Tensor:
    """Signed distance to the skin in the lowest slice of the average head, mm, at every x, y."""
    atlas = load_atlas()
    maps = _outline_map(where.x.device)
    scale = [2 / (1.5 * (n - 1)) for n in maps.shape[:1:-1]]
    at = [
        (c - float(atlas.affine[a, 3])) * s - 1
        for c, a, s in ((where.x, 0, scale[0]), (where.y, 1, scale[1]))
    ]
    flat = torch.stack(at, dim=-1).reshape(1, 1, -1, 2)
    found: Tensor = functional.grid_sample(maps, flat, align_corners=True, padding_mode="border")
    beyond = torch.clamp(torch.maximum(at[0].abs(), at[1].abs()) - 1, 0, 9) * 90
    return found.reshape(where.shape) + beyond


@functools.lru_cache(maxsize=4)
def _outline_map(device: torch.device) -> Tensor:
    atlas = load_atlas()
    filled = ndimage.binary_fill_holes(atlas.probability[5, :5].mean(0) < 0.5)
    step = float(atlas.affine[1, 1])
    away = ndimage.distance_transform_edt(~filled) - ndimage.distance_transform_edt(filled)
    smooth = ndimage.gaussian_filter((away * step).astype(np.float32), 1.0)
    return torch.from_numpy(smooth)[None, None].to(device)
