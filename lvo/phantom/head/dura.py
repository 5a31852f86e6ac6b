"""Falx, tentorium, choroid plexus, pineal gland, chiasm, and the calcium that gathers in them with age."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from lvo.phantom.head.brain import BrainShape, midline
from lvo.phantom.head.brain_maps import INCISURA, sample_tentorium
from lvo.phantom.head.canvas import Canvas, NoiseKey, Where, draw_key, inside
from lvo.phantom.head.lattice import Levels
from lvo.phantom.head.solids import Ground, Point, bounds, ellipsoid, table, tube
from lvo.phantom.head.texture import grain, waves

Pair = tuple[float, float]
PLEXUS: tuple[tuple[tuple[Point, ...], tuple[float, ...]], ...] = (
    (((5, 6, 47), (9, 20, 53), (16, 33, 52), (24, 42, 43)), (0.8, 1.3, 1.8, 3.6)),
    (((24, 42, 43), (32, 36, 27), (34, 24, 18)), (3.6, 1.6, 0.7)),
)
"""Course of the plexus through body and temporal horn of the left lateral ventricle, and its radii, mm."""
GLOMUS: Point = (24.0, 42.0, 43.0)
OPTIC: tuple[Point, ...] = ((8, -9, 7), (1, -3, 14), (10, 6, 18))
STALK: tuple[Point, ...] = ((0, 1, 14), (0, 2, 3))
PINEAL: Point = (0.0, 32.0, 35.0)


class DuraRanges(BaseModel):
    """Thickness, HU, and shares of people with calcium, by age.

    Calcium in CT: pineal gland 25 % at 20 to 70 % at 80 years, plexus 10 to 80 %, falx 3 to 20 %, basal
    ganglia 1 to 10 % (Kwak et al., Neuroradiology 1988;30:36; Yalcin et al. 2016), approximately.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    falx_mm: Pair = (0.6, 1.4)
    tentorium_mm: Pair = (0.6, 1.4)
    hu: Pair = (42.0, 60.0)
    uptake: Pair = (0.1, 0.4)
    plexus_uptake: Pair = (0.25, 0.6)
    plexus_size: Pair = (0.6, 1.3)
    pineal_mm: Pair = (2.4, 4.4)
    ages: tuple[float, ...] = (15, 40, 60, 85)
    plexus_calcified: tuple[float, ...] = (0.08, 0.45, 0.7, 0.8)
    pineal_calcified: tuple[float, ...] = (0.15, 0.5, 0.65, 0.7)
    falx_calcified: tuple[float, ...] = (0.01, 0.06, 0.12, 0.2)
    pallidum_calcified: tuple[float, ...] = (0.0, 0.01, 0.03, 0.1)
    calcium_hu: Pair = (120.0, 800.0)


@dataclass(frozen=True, slots=True)
class DuraShape:
    """One person's; mm and HU. Calcium is HU and 0 where there is none; pairs are (left, right)."""

    falx: float
    tentorium: float
    hu: float
    uptake: float
    plexus_uptake: float
    plexus_size: tuple[float, float]
    plexus_calcium: tuple[float, float]
    pineal: float
    pineal_calcium: float
    falx_calcium: float
    pallidum_calcium: tuple[float, float]
    keys: tuple[NoiseKey, NoiseKey]


def sample_dura(rng: np.random.Generator, ranges: DuraRanges, age: float) -> DuraShape:
    """Draw what belongs to someone of an age, years."""
    r, u = ranges, rng.uniform

    def calcium(shares: tuple[float, ...]) -> float:
        there = rng.random() < np.interp(age, r.ages, shares)
        return u(*r.calcium_hu) if there else 0.0

    both, deep = calcium(r.plexus_calcified), calcium(r.pallidum_calcified)
    return DuraShape(
        falx=u(*r.falx_mm), tentorium=u(*r.tentorium_mm), hu=u(*r.hu), uptake=u(*r.uptake),
        plexus_uptake=u(*r.plexus_uptake), plexus_size=(u(*r.plexus_size), u(*r.plexus_size)),
        plexus_calcium=(both * u(0.4, 1.1), both * u(0.4, 1.1)), pineal=u(*r.pineal_mm),
        pineal_calcium=calcium(r.pineal_calcified), falx_calcium=calcium(r.falx_calcified),
        pallidum_calcium=(0.4 * deep * u(0.3, 1), 0.4 * deep * u(0.3, 1)),
        keys=(draw_key(rng), draw_key(rng)),
    )  # fmt: skip


def draw_dura(shape: DuraShape, brain: BrainShape, levels: Levels, ground: Ground) -> None:
    """Draw them over the brain, in place; see `lvo.phantom.head.brain.draw_brain` for the parameters."""
    canvas = ground.canvas
    slow, where = levels.slow, levels.where
    if float(slow.z.max()) < -45 or float(slow.z.min()) > 130:
        return
    x = slow.x - midline(brain, slow)
    reach = _reach(levels)
    if len(index := _near(levels, (x.abs() < reach) & (_falx_ends(slow) < reach))):
        _falx(shape, brain, _taken(where, index), index, canvas)
    height = sample_tentorium(Where(x, slow.y, slow.z))
    if len(index := _near(levels, (height.abs() < reach) & (_tent_ends(x, slow.y) < reach))):
        _tentorium(shape, brain, _taken(where, index), index, canvas)
    for i, side in enumerate((1.0, -1.0)):
        _plexus(shape, ground, side, i)
        _pallidum(shape, ground, side, i)
        if (plot := ground.crop(*bounds(OPTIC, 4.0), side)) is not None:
            nerve = inside(tube(plot, OPTIC, (1.9, 2.4, 1.9), side)) * (1 - plot.canvas.bone)
            plot.canvas.put(nerve, brain.white_hu + 2, uptake=brain.grey_uptake, white=1.0)
    if (plot := ground.crop(*bounds(STALK, 3.0))) is not None:
        plot.canvas.put(inside(tube(plot, STALK, (1.6, 1.0))), 38.0, uptake=shape.plexus_uptake)
    _pineal(shape, ground)


def _reach(levels: Levels) -> float:
    """Half of the widest gap between slow points, and some more, mm."""
    gaps = [0.0]
    for axis in range(3):
        if levels.slow.shape[axis] > 1:
            steps = [torch.diff(c, dim=axis) for c in (levels.slow.x, levels.slow.y, levels.slow.z)]
            gaps.append(float((steps[0] ** 2 + steps[1] ** 2 + steps[2] ** 2).max()))
    return float(0.5 * sum(gaps) ** 0.5 + 1.3)


def _near(levels: Levels, mask: Tensor) -> Tensor:
    """Flat indices of all grid points round the slow points of a mask."""
    for axis in (2, 1, 0):  # the long axis last
        factor = levels.to_coarse.factors[axis] * levels.to_slow.factors[axis]
        first = torch.arange(levels.where.shape[axis], device=mask.device) + factor // 2
        mask = mask.index_select(axis, (first // factor).clamp(max=mask.shape[axis] - 1))
    return mask.reshape(-1).nonzero()[:, 0]


def _taken(where: Where, index: Tensor) -> Where:
    x, y, z = (c.reshape(-1)[index].view(1, 1, -1) for c in (where.x, where.y, where.z))
    return Where(x, y, z)


def _sheet(
    canvas: Canvas, index: Tensor, distance: Tensor, ends: Tensor, thick: float, hu: Tensor, uptake: float
) -> None:
    """A sheet that may be thinner than a voxel, within the skull."""
    beside, ends = distance.reshape(-1).abs(), ends.reshape(-1)
    share = torch.clamp(0.5 * thick + 0.5 - beside, 0, 1) - torch.clamp(0.5 - 0.5 * thick - beside, 0, 1)
    share = share * inside(ends)
    content = [c.view(-1)[index] for c in (canvas.grey, canvas.white, canvas.csf)]
    share = share * (content[0] + content[1] + content[2])
    for field, value in ((canvas.hu, hu.reshape(-1)), (canvas.uptake, uptake)):
        flat = field.view(-1)
        old = flat[index]
        flat[index] = old + share * (value - old)
    for field, old in zip((canvas.grey, canvas.white, canvas.csf), content, strict=True):
        field.view(-1)[index] = old * (1 - share)


def _falx_ends(where: Where) -> Tensor:
    """Distance to the falx within its plane, mm, negative inside."""
    y, z = where.y, where.z
    free = torch.sqrt(((y - 5) / 57) ** 2 + ((z - 22) / 45) ** 2)
    roof = table(y, (45.0, 54.0, 66.0, 78.0, 90.0), (38.0, 36.0, 32.0, 21.0, 11.0))
    return torch.maximum(torch.maximum((1 - free) * 45, 4 - z), torch.where(y > 40, roof - z, -9.0))


def _falx(shape: DuraShape, brain: BrainShape, line: Where, index: Tensor, canvas: Canvas) -> None:
    hu = torch.full_like(line.x, shape.hu)
    if shape.falx_calcium > 0:
        hu += shape.falx_calcium * 2 * torch.clamp(waves(line, shape.keys[0], 30.0) - 1.5, 0, 0.5)
    distance = line.x - midline(brain, line)
    _sheet(canvas, index, distance, _falx_ends(line), shape.falx, hu, shape.uptake)


def _tent_ends(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(table(y, *INCISURA) - x.abs(), 24 - y)


def _tentorium(shape: DuraShape, brain: BrainShape, line: Where, index: Tensor, canvas: Canvas) -> None:
    x = line.x - midline(brain, line)
    height = sample_tentorium(Where(x, line.y, line.z))
    hu = torch.full_like(x, shape.hu)
    _sheet(canvas, index, height, _tent_ends(x, line.y), shape.tentorium, hu, shape.uptake)


def _plexus(shape: DuraShape, ground: Ground, side: float, index: int) -> None:
    size, calcium = shape.plexus_size[index], shape.plexus_calcium[index]
    for points, radii in PLEXUS:
        if (plot := ground.crop(*bounds(points, 5.0), side)) is not None:
            texture = grain(plot.where, shape.keys[1], 4.0)
            distance = tube(plot, points, tuple(r * size for r in radii), side) + 0.5 * texture
            plot.canvas.put(inside(distance) * plot.canvas.csf, 38.0, uptake=shape.plexus_uptake)
    if calcium > 0 and (plot := ground.crop(*bounds((GLOMUS,), 6.0), side)) is not None:
        ball = ellipsoid(plot.offset(GLOMUS, side), (2.6 * size, 3.4 * size, 2.6 * size))
        ball = ball + 0.8 * grain(plot.where, shape.keys[1], 4.0)
        plot.canvas.put(inside(ball) * (1 - plot.canvas.grey - plot.canvas.white).clamp(0, 1), calcium)


def _pineal(shape: DuraShape, ground: Ground) -> None:
    r = shape.pineal
    if (plot := ground.crop(*bounds((PINEAL,), r + 2))) is None:
        return
    offset = plot.offset(PINEAL)
    plot.canvas.put(inside(ellipsoid(offset, (0.8 * r, 1.3 * r, 0.8 * r))), 40.0, uptake=0.3)
    if shape.pineal_calcium > 0:
        texture = grain(plot.where, shape.keys[1], 3.0)
        plot.canvas.put(
            inside(ellipsoid(offset, (0.5 * r, 0.7 * r, 0.5 * r)) + 0.4 * texture), shape.pineal_calcium
        )


def _pallidum(shape: DuraShape, ground: Ground, side: float, index: int) -> None:
    calcium = shape.pallidum_calcium[index]
    if calcium <= 0 or (plot := ground.crop((12, -8, 24), (30, 22, 42), side)) is None:
        return
    distance = ellipsoid(plot.offset((20, 6, 33), side), (4.0, 8.0, 5.0))
    texture = grain(plot.where, shape.keys[1], 3.5)
    plot.canvas.hu += torch.clamp(-distance * 0.4, 0, 1) * torch.clamp(0.4 + 0.8 * texture, 0, 1) * calcium
