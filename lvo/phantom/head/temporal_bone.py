"""The temporal bone: petrous pyramid, labyrinth, middle ear, ear canal, mastoid cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional

from lvo.phantom.head.canvas import Canvas, NoiseKey, Where, draw_key, inside
from lvo.phantom.head.solids import Ground, Plot, ellipsoid, tube
from lvo.phantom.head.texture import cells, grain, waves

APEX = ((14.5, 14.5, -11.0), (22.0, 19.0, -12.0), (31.0, 25.0, -11.0), (42.0, 31.0, -9.0))
APEX_RADII = (3.2, 5.5, 7.5, 8.0)


class TemporalRanges(BaseModel):
    """How temporal bones differ.

    Otic capsule some 1600 to 2500 HU; a fifth of the mastoids sclerotic, the rest pneumatised to any degree
    (Virapongse et al., AJNR 1985;6:551); cells in the petrous apex of about a third.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dense_hu: tuple[float, float] = (1000.0, 1900.0)
    capsule_hu: tuple[float, float] = (1500.0, 2250.0)
    apex_marrow_hu: tuple[float, float] = (-20.0, 500.0)
    apex_size: tuple[float, float] = (0.75, 1.25)
    apex_cells_probability: float = 0.3
    sclerotic_probability: float = 0.2
    pneumatisation: tuple[float, float] = (0.35, 1.1)
    asymmetry: float = 0.12
    cell_mm: tuple[float, float] = (3.5, 7.5)
    wall_mm: tuple[float, float] = (0.25, 0.7)
    opaque_probability: float = 0.08
    canal_mm: tuple[float, float] = (2.4, 4.2)
    meatus_mm: tuple[float, float] = (1.7, 3.4)


@dataclass(frozen=True, slots=True)
class TemporalBone:
    """One temporal bone; mm and HU.

    Attributes
    ----------
    pneumatisation : 0 sclerotic, 1 wide.
    opaque : cells hold fluid, not air.
    apex_cells : the petrous apex holds cells, not marrow.
    """

    dense_hu: float
    capsule_hu: float
    apex_marrow_hu: float
    apex_size: float
    apex_cells: bool
    pneumatisation: float
    cell: float
    wall: float
    opaque: bool
    canal: float
    meatus: float
    key: NoiseKey


def sample_temporal(rng: np.random.Generator, ranges: TemporalRanges) -> tuple[TemporalBone, TemporalBone]:
    """Draw the left and the right temporal bone, alike but not the same."""
    u, r = rng.uniform, ranges
    sclerotic = rng.random() < r.sclerotic_probability
    both = u(0, 0.2) if sclerotic else u(*r.pneumatisation)
    dense, capsule, marrow = u(*r.dense_hu), u(*r.capsule_hu), u(*r.apex_marrow_hu)
    apex, cell, wall, meatus = u(*r.apex_size), u(*r.cell_mm), u(*r.wall_mm), u(*r.meatus_mm)

    def one() -> TemporalBone:
        return TemporalBone(
            dense_hu=dense, capsule_hu=capsule, apex_marrow_hu=marrow + rng.normal(0, 40),
            apex_size=apex * (1 + rng.normal(0, 0.06)), apex_cells=rng.random() < r.apex_cells_probability,
            pneumatisation=max(0.0, both + rng.normal(0, r.asymmetry)), cell=cell, wall=wall,
            opaque=rng.random() < r.opaque_probability, canal=u(*r.canal_mm),
            meatus=meatus * (1 + rng.normal(0, 0.1)), key=draw_key(rng),
        )  # fmt: skip

    return one(), one()


def draw_temporal(bone: TemporalBone, ground: Ground, side: float, *, draft: bool = False) -> None:
    """Draw one temporal bone in place; `side` 1 is the left, -1 the right; a draft has no ear."""
    if (plot := ground.crop((9, 5, -25), (56, 46, 5), side)) is not None:
        _pyramid(bone, plot, side)
    if (plot := ground.crop((36, 10, -44), (74, 60, 4), side)) is not None:
        _mastoid(bone, plot, side)
    if draft:
        return
    if (plot := ground.crop((41, 16, -28), (84, 33, -4), side)) is not None:
        _ear(bone, plot, side)
    if (plot := ground.crop((17, 20, -18), (47, 40, 0), side)) is not None:
        _labyrinth(bone, plot, side)


def outside_brain(canvas: Canvas) -> Tensor:
    """Share of every voxel that is not brain or its fluid: what new bone may take."""
    return torch.clamp(1 - canvas.grey - canvas.white - canvas.csf, 0, 1)


def _pyramid(bone: TemporalBone, plot: Plot, side: float) -> None:
    """The apex, which averaging has lost, and the density of the whole pyramid."""
    canvas, size = plot.canvas, bone.apex_size
    axis = tube(plot, APEX, tuple(r * size for r in APEX_RADII), side)
    index, w = plot.points(axis < 3.0)
    axis, parts = axis[index], (canvas.hu, canvas.uptake, canvas.bone, canvas.grey, canvas.white, canvas.csf)
    canvas = Canvas(*(f[index] for f in parts))
    plot = Plot(Where(w.x[0, 0], w.y[0, 0], w.z[0, 0]), canvas)
    texture = grain(plot.where, bone.key, 2.5)
    apex = axis + 0.4 * texture
    free = outside_brain(canvas)
    lateral = torch.clamp((plot.where.x * side - 24) / 8, 0, 1)
    deep = torch.clamp((-apex - 1.3) * 1.2 + 0.5, 0, 1)
    marrow = bone.apex_marrow_hu * (1 + 0.3 * texture) + 60 * texture
    filling = marrow + lateral * (bone.dense_hu - marrow)
    rim = bone.dense_hu * (0.75 + 0.08 * texture)
    new = inside(apex) * free * (1 - 0.9 * canvas.bone * lateral)
    plot.put(new, rim + deep * (filling - rim), bone=1.0, uptake=0.04)
    if bone.apex_cells:
        wall = cells(plot.where, bone.key, 0.8 * bone.cell) - bone.wall
        air = inside(-wall) * deep * (1 - lateral) * free
        plot.put(air, 25.0 if bone.opaque else -900.0)
    dense = torch.clamp((1.5 - axis) / 4, 0, 1) * lateral * canvas.bone
    canvas.hu += dense * torch.clamp(1 + 0.12 * texture, 0, 2) * (bone.dense_hu - canvas.hu)
    for field, new in zip(
        parts, (canvas.hu, canvas.uptake, canvas.bone, canvas.grey, canvas.white, canvas.csf), strict=True
    ):
        field[index] = new


def _labyrinth(bone: TemporalBone, plot: Plot, side: float) -> None:
    """Otic capsule, and in it the cochlea, vestibule and semicircular canals; the internal auditory canal."""
    canvas = plot.canvas
    capsule = ellipsoid(plot.offset((37, 27, -9), side), (8.5, 6.5, 6.0))
    plot.put(torch.clamp(0.5 - capsule / 2.5, 0, 1) * canvas.bone, bone.capsule_hu, bone=1.0)
    dx, dy, dz = plot.offset((33, 23.5, -11), side)
    turns = torch.sqrt(dx * dx + dy * dy + 1e-3)
    cochlea = torch.sqrt((turns - 2.0) ** 2 + (dz * 0.8) ** 2) - 0.9
    vestibule = ellipsoid(plot.offset((37, 27.5, -9), side), (1.9, 2.6, 2.3))
    dx, dy, dz = plot.offset((41, 30, -7.5), side)
    flat = torch.sqrt((torch.sqrt(dx * dx + dy * dy) - 3.4) ** 2 + dz * dz)
    upright = torch.sqrt((torch.sqrt((dx + dy) ** 2 / 2 + (dz - 2) ** 2) - 3.4) ** 2 + (dx - dy) ** 2 / 2)
    back = torch.sqrt((torch.sqrt((dx - dy) ** 2 / 2 + dz * dz) - 3.4) ** 2 + (dx + dy - 3) ** 2 / 2)
    canals = torch.minimum(torch.minimum(flat, upright), back) - 0.55
    fluid = torch.minimum(torch.minimum(cochlea, vestibule), canals)
    plot.put(inside(fluid), 30.0, csf=0.0)
    m = bone.meatus
    meatus = tube(plot, ((18.5, 28, -9.5), (25, 27.5, -9.5), (31, 27, -9.5)), (m * 1.5, m, m * 0.8), side)
    plot.put(inside(meatus), 14.0, csf=1.0)


def _ear(bone: TemporalBone, plot: Plot, side: float) -> None:
    """The external canal, the drum's cavity with the ossicles, the antrum."""
    way = ((48.5, 24.5, -17.5), (58, 24, -19), (68, 24, -22), (82, 25.5, -24))
    radius = tuple(bone.canal * f for f in (1.0, 0.9, 1.05, 1.35))
    canal = tube(plot, way, radius, side)
    bony = torch.clamp((63 - plot.where.x * side) / 2, 0, 1)
    plot.put(inside((canal - 1.2).abs() - 1.2) * bony, 0.9 * bone.dense_hu, bone=1.0)
    plot.put(inside(canal), -1000.0)
    dx, dy, dz = plot.offset((46, 25, -14), side)
    cavity = ellipsoid((dx + 0.35 * dz, dy, dz), (2.6, 4.5, 7.0))
    antrum = ellipsoid(plot.offset((50, 31, -7), side), (3.5, 5.5, 3.5))
    plot.put(inside(torch.minimum(cavity, antrum)), 25.0 if bone.opaque else -980.0)
    ossicles = tube(plot, ((45.8, 24.5, -8.5), (45.2, 25, -11.5), (43.5, 26, -13)), (1.2, 0.8, 0.4), side)
    plot.put(inside(ossicles) * 0.8, 1100.0, bone=1.0)


def _mastoid(bone: TemporalBone, plot: Plot, side: float) -> None:
    """Cells round the antrum as far as this bone is pneumatised, walls thin, the cortex left whole."""
    p, canvas = bone.pneumatisation, plot.canvas
    reach = ellipsoid(plot.offset((57, 37, -16), side), (7 + 7 * p, 8 + 9 * p, 7 + 17 * p))
    # The cortex is bone that has something else beside it: cells keep away from it.
    size = [3 if n > 2 else 1 for n in canvas.bone.shape]  # a slab may cut it thin
    pad = [n // 2 for n in size]
    solid = functional.avg_pool3d(canvas.bone[None, None], size, 1, pad, count_include_pad=False)[0, 0]
    index, w = plot.points((reach < 3) & (solid > 0.8))
    uneven = 1 + 0.25 * waves(w, bone.key, 23.0)
    wall = cells(w, bone.key, bone.cell * (0.7 + 0.5 * min(p, 1.0)))[0, 0]
    texture = grain(w, bone.key, 5.0)[0, 0]
    air = inside(bone.wall * uneven[0, 0] - wall) * inside(reach[index] + 2 * texture, 2.0)
    air = air * torch.clamp((solid[index] - 0.8) * 8, 0, 1)
    hu = 30.0 if bone.opaque else -900.0 + 250.0 * torch.clamp(1.2 - wall, 0, 1)
    for field, value in ((canvas.hu, hu), (canvas.bone, 0.0), (canvas.uptake, 0.0)):
        old = field[index]
        field[index] = old + air * (value - old)
