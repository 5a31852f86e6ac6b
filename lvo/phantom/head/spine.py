"""The spine from the first cervical vertebra to the thorax: bone, discs, canal and cord."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from lvo.phantom.head.canvas import NoiseKey, draw_key, inside
from lvo.phantom.head.solids import Ground, Plot, cut, ellipse, ellipsoid, join, table, tube
from lvo.phantom.head.texture import grain

DISCS = (-380.0, -354.0, -329.0, -305.0, -281.0, -258.0, -235.0, -213.0, -192.0, -172.0, -154.0, -137.0,
         -120.0, -103.0, -86.0)  # fmt: skip
"""Heights of the discs, lowest first, the last between the second and third cervical vertebrae, mm."""
CENTRE_Z = (-340.0, -300.0, -260.0, -235.0, -210.0, -190.0, -165.0, -134.0, -80.0, -60.0)
CENTRE_Y = (60.0, 58.0, 53.0, 48.0, 44.0, 40.0, 36.0, 34.0, 33.0, 33.0)
"""Where the middle of the vertebral bodies lies, mm."""
FORAMEN_Z = (-150.0, -98.0, -80.0, -66.0, -58.0)
FORAMEN_X = (17.8, 18.0, 21.5, 27.0, 29.5)
FORAMEN_Y = (37.0, 37.0, 37.0, 37.5, 42.0)
"""The course of the vertebral artery through the transverse processes, to lay their foramina round it."""


class SpineRanges(BaseModel):
    """How spines differ.

    Trabecular bone falls from some 350 HU at 30 to some 150 at 80 years (Yoganandan et al., Bone 2006;
    Schreiber et al., J Bone Joint Surg Am 2011); discs degenerate from about 40 years on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    marrow_hu: tuple[float, float] = (300.0, 480.0)
    marrow_loss_per_year: tuple[float, float] = (1.5, 4.0)
    cortex_hu: tuple[float, float] = (800.0, 1500.0)
    texture: tuple[float, float] = (0.15, 0.4)
    disc_hu: tuple[float, float] = (65.0, 115.0)
    disc_mm: tuple[float, float] = (4.5, 6.5)
    degeneration_per_decade: tuple[float, float] = (0.0, 0.25)
    size: tuple[float, float] = (0.9, 1.1)
    spinous_mm: tuple[float, float] = (22.0, 34.0)


@dataclass(frozen=True, slots=True)
class Spine:
    """One spine; mm and HU.

    Attributes
    ----------
    degeneration : 0 healthy to 1: narrow discs, dense endplates, osteophytes.
    """

    marrow_hu: float
    cortex_hu: float
    texture: float
    disc_hu: float
    disc: float
    degeneration: float
    size: float
    spinous: float
    key: NoiseKey


def sample_spine(rng: np.random.Generator, ranges: SpineRanges, age: float) -> Spine:
    """Draw a spine."""
    u, r = rng.uniform, ranges
    worn = float(np.clip(u(*r.degeneration_per_decade) * max(age - 35, 0) / 10, 0, 1))
    marrow = max(60.0, u(*r.marrow_hu) - u(*r.marrow_loss_per_year) * max(age - 30, 0))
    return Spine(
        marrow_hu=marrow, cortex_hu=u(*r.cortex_hu), texture=u(*r.texture), disc_hu=u(*r.disc_hu),
        disc=u(*r.disc_mm) * (1 - 0.6 * worn), degeneration=worn, size=u(*r.size),
        spinous=u(*r.spinous_mm), key=draw_key(rng),
    )  # fmt: skip


def draw_spine(spine: Spine, ground: Ground) -> None:
    """Draw the spine in place."""
    if (plot := ground.crop((-42, 10, -380), (42, 104, -74))) is not None:
        _column(spine, plot)
    if (plot := ground.crop((-16, 18, -90), (16, 50, -42))) is not None:
        _dens(spine, plot)
    if (plot := ground.crop((-40, 18, -70), (40, 72, -42))) is not None:
        _atlas(spine, plot)
    if (plot := ground.crop((-14, 36, -380), (14, 80, -37))) is not None:
        _canal(plot)


def centre_of_spine(z: Tensor) -> Tensor:
    """Depth along y of the middle of the vertebral bodies at heights z, mm."""
    return table(z, CENTRE_Z, CENTRE_Y)


def _bone(
    spine: Spine, plot: Plot, distance: Tensor, cortex_mm: float = 1.0, dense: Tensor | float = 0.0
) -> None:
    """Bone with a cortex and marrow; `dense` adds HU to the marrow."""
    texture = grain(plot.where, spine.key, 2.6)
    deep = torch.clamp((-distance - cortex_mm) * 1.1 + 0.5, 0, 1)
    marrow = spine.marrow_hu * (1 + spine.texture * texture) + dense
    plot.put(inside(distance), spine.cortex_hu + deep * (marrow - spine.cortex_hu), bone=1.0, uptake=0.05)


def _column(spine: Spine, plot: Plot) -> None:
    """Bodies and discs, pedicles, facets, laminae and processes below the second vertebra."""
    w, s = plot.where, spine.size
    middle = centre_of_spine(w.z)
    y = w.y - middle
    tilted = w.z + 0.18 * y  # discs slope forward and down
    number = table(tilted, DISCS, tuple(float(n) for n in range(len(DISCS))))
    height = table(tilted, (-300.0, -150.0, -90.0), (23.5, 17.5, 17.0))
    share = number - torch.floor(number)
    from_disc = torch.minimum(share, 1 - share) * height - 0.5 * spine.disc
    thorax = torch.clamp((-170 - w.z) / 40, 0, 1)
    waist = 1 + (0.08 + 0.12 * spine.degeneration) * torch.clamp(1 - from_disc / 4, 0, 1)
    wide, deep = (12.5 + 4 * thorax) * s * waist, (8.5 + 4.5 * thorax) * s * waist
    body = ellipse(w.x, y, wide, deep)
    plot.put(inside(body) * (w.z < -84), spine.disc_hu, uptake=0.03)
    top = -84 - w.z
    plates = 300 * spine.degeneration * torch.clamp(1 - from_disc / 3, 0, 1)
    _bone(spine, plot, cut(body, -from_disc, -top), 0.9, plates)
    back = 8.5 + 4.5 * thorax  # from the middle of the body to its hind surface
    arch_y = y - back * s - 7.5
    level = from_disc - 0.5 * height + 7.0
    facets = cut(ellipse(w.x.abs() - 18.5 + 3 * thorax, y - back - 4, 6.5, 7.0), 1.0 - (w.z - 90 < 0) * 2.0)
    joint = ((torch.remainder(number + 0.03 * y + 0.15, 1.0) - 0.5).abs() * height) - 0.7
    facets = cut(facets, -joint - 0.2)
    ring = ellipse(w.x, arch_y, 14.5, 10.5)
    lamina = cut((ring - 1.5).abs() - 2.0, -arch_y + 1.0, -level - 1.0)
    pedicle = cut(w.x.abs() - 16, 9.5 - w.x.abs(), (y - back).abs() - 4.5, -level - 1.0)
    down = w.z + 0.45 * (arch_y - 10)  # spinous processes slope down
    number_down = table(down, DISCS, tuple(float(n) for n in range(len(DISCS))))
    share_down = number_down - torch.floor(number_down)
    spinous = cut(
        w.x.abs() - 2.6, (arch_y - 10 - 0.5 * spine.spinous).abs() - 0.5 * spine.spinous,
        (share_down - 0.5).abs() * height - 4.0,
    )  # fmt: skip
    transverse = _transverse(plot, y, level, thorax)
    _bone(spine, plot, cut(join(facets, lamina, pedicle, spinous, transverse), -top), 1.0)


def _transverse(plot: Plot, y: Tensor, level: Tensor, thorax: Tensor) -> Tensor:
    """Transverse processes: rings round the vertebral arteries in the neck, rods in the thorax."""
    w = plot.where
    dx = w.x.abs() - table(w.z, FORAMEN_Z, FORAMEN_X)
    dy = w.y - table(w.z, FORAMEN_Z, FORAMEN_Y)
    ring = cut((ellipse(dx, dy, 4.6, 4.4)).abs() - 1.1, -level - 1.0, -154 - w.z)
    gutter = tube_pair(dx, dy)
    ring = join(ring, cut(gutter, -level - 2.5, -154 - w.z))
    rod = cut(
        (w.x.abs() - 26).abs() - 11, (y - 20 - 0.3 * (w.x.abs() - 15)).abs() - 4.0, -level - 1.0, w.z + 160
    )
    return join(ring, rod)


def tube_pair(dx: Tensor, dy: Tensor) -> Tensor:
    """The two tubercles at the end of a cervical transverse process."""
    front = ellipse(dx - 5.0, dy + 4.5, 3.0, 2.2)
    return torch.minimum(front, ellipse(dx - 6.0, dy - 3.5, 3.5, 2.4))


def _dens(spine: Spine, plot: Plot) -> None:
    """Body and dens of the second vertebra."""
    body = ellipsoid(plot.offset((0, 33.5, -77)), (13.0, 9.0, 9.5))
    dens = tube(plot, ((0, 32, -50), (0, 33.5, -72)), (4.6, 5.6), 1.0)
    _bone(spine, plot, join(body, dens), 1.1)


def _atlas(spine: Spine, plot: Plot) -> None:
    """First vertebra: lateral masses, arches, transverse processes; the lateral parts of the second."""
    w = plot.where
    side = w.x.abs()
    off = (side - 18.5, w.y - 38.5, w.z + 53)
    mass = ellipsoid(off, (6.8, 9.0, 8.5))
    second = ellipsoid((side - 17, w.y - 38.5, w.z + 69.5), (8.0, 8.5, 6.5))
    ring = ellipse(w.x, w.y - 43.5, 23.0, 20.5)
    arch = torch.sqrt(ring**2 + (0.75 * (w.z + 57)) ** 2) - 3.0
    gap = (w.z + 61.8).abs() - 1.0  # the joint between the two
    transverse = torch.sqrt((ellipse(side - 29.5, w.y - 42, 4.8, 4.4)) ** 2 + (w.z + 58) ** 2) - 1.9
    tip = ellipsoid((side - 36, w.y - 42, w.z + 58), (4.5, 3.0, 3.0))
    _bone(spine, plot, cut(join(mass, second, arch, transverse, tip), -gap), 1.2)


def _canal(plot: Plot) -> None:
    """Fluid and cord in the canal."""
    w = plot.where
    thorax = torch.clamp((-170 - w.z) / 40, 0, 1)
    middle = centre_of_spine(w.z) + 16.5 + 4.5 * thorax
    middle = middle + torch.clamp((w.z + 62) / 22, 0, 1) * (49.5 - middle)
    wide = table(w.z, (-250.0, -90.0, -45.0), (8.5, 10.5, 13.0))
    sac = ellipse(w.x, w.y - middle, wide, 0.72 * wide)
    fade = torch.clamp((-37 - w.z) / 3, 0, 1)
    plot.put(inside(sac - 1.5) * fade * (1 - plot.canvas.bone), -20.0, uptake=0.15)
    plot.put(inside(sac) * fade, 8.0, csf=1.0)
    cord = ellipse(w.x, w.y - middle, 0.58 * wide, 0.42 * wide)
    plot.put(inside(cord) * fade, 36.0, white=1.0, uptake=0.02)
