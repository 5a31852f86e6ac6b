"""Nasal cavity and the sinuses round it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from lvo.phantom.head.canvas import Canvas, NoiseKey, Where, draw_key, inside
from lvo.phantom.head.solids import Ground, Plot, Point, cut, ellipsoid, table, tube
from lvo.phantom.head.texture import cells, waves

_MAP_BOTTOM = -37.0
TURBINATES: tuple[tuple[tuple[Point, ...], float], ...] = (
    (((7.5, -58, -43), (7.8, -35, -42), (7.2, -10, -43)), 1.0),
    (((5.6, -48, -28), (6.0, -30, -29), (5.6, -12, -31)), 0.75),
)
"""Inferior and middle turbinate: course on the left, radius relative to the nose's."""


class NoseRanges(BaseModel):
    """How noses and sinuses differ; mucosa enhances strongly; frontal sinus missing in some 5 to 10 %."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width_mm: tuple[float, float] = (11.0, 15.0)
    deviation_mm: float = 2.0
    turbinate_mm: tuple[float, float] = (2.8, 5.4)
    mucosa_uptake: tuple[float, float] = (0.25, 0.7)
    lining_mm: tuple[float, float] = (0.3, 1.8)
    antrum_size: tuple[float, float] = (0.8, 1.12)
    antrum_mucosa_mm: tuple[float, float] = (0.0, 5.0)
    antrum_filled_probability: float = 0.1
    frontal_size: tuple[float, float] = (0.3, 1.35)
    frontal_absent_probability: float = 0.07
    ethmoid_cell_mm: tuple[float, float] = (6.0, 11.0)
    ethmoid_filled: tuple[float, float] = (-0.3, 0.35)
    wall_mm: tuple[float, float] = (0.5, 1.4)
    wall_hu: tuple[float, float] = (350.0, 1000.0)


@dataclass(frozen=True, slots=True)
class Nose:
    """One nose with its sinuses; pairs are (left, right); mm and HU.

    Attributes
    ----------
    filled : share of each antrum's height that holds fluid.
    ethmoid_filled : share of the ethmoid cells whose mucosa is swollen shut.
    """

    width: float
    deviation: float
    turbinate: tuple[float, float]
    uptake: float
    lining: float
    antrum: tuple[float, float]
    antrum_mucosa: float
    filled: tuple[float, float]
    frontal: tuple[float, float]
    cell: float
    ethmoid_filled: float
    wall: float
    wall_hu: float
    keys: tuple[NoiseKey, NoiseKey]


def sample_nose(rng: np.random.Generator, ranges: NoseRanges) -> Nose:
    """Draw a nose."""
    u, r = rng.uniform, ranges
    antrum, frontal, swell = u(*r.antrum_size), u(*r.frontal_size), u(*r.turbinate_mm)

    def pair(middle: float, sd: float) -> tuple[float, float]:
        return middle * (1 + rng.normal(0, sd)), middle * (1 + rng.normal(0, sd))

    filled = [u(0.1, 0.9) if rng.random() < r.antrum_filled_probability else 0.0 for _ in range(2)]
    absent = rng.random() < r.frontal_absent_probability
    return Nose(
        width=u(*r.width_mm), deviation=rng.normal(0, r.deviation_mm), turbinate=pair(swell, 0.2),
        uptake=u(*r.mucosa_uptake), lining=u(*r.lining_mm), antrum=pair(antrum, 0.06),
        antrum_mucosa=u(*r.antrum_mucosa_mm), filled=(filled[0], filled[1]),
        frontal=(0.0, 0.0) if absent else pair(frontal, 0.25), cell=u(*r.ethmoid_cell_mm),
        ethmoid_filled=u(*r.ethmoid_filled), wall=u(*r.wall_mm), wall_hu=u(*r.wall_hu),
        keys=(draw_key(rng), draw_key(rng)),
    )  # fmt: skip


def draw_nose(nose: Nose, ground: Ground, depth: Ground) -> None:
    """Draw the nose and the sinuses in place.

    Parameters
    ----------
    depth : a ground whose canvas holds, as `hu`, the depth in the average bone of the face, mm.
    """
    low, high = (-17, -76, -58), (17, 4, 6)
    if (plot := ground.crop(low, high)) is not None and (under := depth.crop(low, high)) is not None:
        _ethmoid(nose, plot, under.canvas.hu)
        _cavity(nose, plot)
    for index, side in enumerate((1.0, -1.0)):
        low, high = (10, -60, -60), (50, -8, -10)
        if (plot := ground.crop(low, high, side)) is not None and (under := depth.crop(low, high, side)):
            _antrum(nose, plot, under.canvas.hu, side, index)
        low, high = (-3, -80, -6), (32, -54, 30)
        if (plot := ground.crop(low, high, side)) is not None and (under := depth.crop(low, high, side)):
            _frontal(nose, plot, under.canvas.hu, side, index)


def _ethmoid(nose: Nose, plot: Plot, depth: Tensor) -> None:
    """Ethmoid cells in the block that averaging made of them."""
    w = plot.where
    block = cut(nose.wall - depth, w.y + 20, -24 - w.z, w.z - 5)
    index, w = plot.points(block < 0.5)
    between = cells(w, nose.keys[0], nose.cell)[0, 0]
    opaque = waves(w, nose.keys[1], 20.0)[0, 0] > 1.8 - 3.0 * nose.ethmoid_filled
    wall = inside(between - 0.2, 0.8) * torch.clamp((w.y[0, 0] + 60) / 3, 0, 1)
    lining = inside(between - 0.28 - 0.35 * nose.lining, 0.8)
    hu = torch.where(opaque, 35.0, -980.0)
    hu = hu + lining * (40.0 - hu)
    hu = hu + 0.65 * wall * (nose.wall_hu - hu)
    share, canvas = inside(block[index]), plot.canvas
    for field, value in (
        (canvas.hu, hu), (canvas.bone, 0.6 * wall), (canvas.uptake, lining * nose.uptake),
        (canvas.csf, 0.0), (canvas.grey, 0.0), (canvas.white, 0.0),
    ):  # fmt: skip
        old = field[index]
        field[index] = old + share * (value - old)


def _cavity(nose: Nose, plot: Plot) -> None:
    """Nasal cavity, septum, turbinates."""
    w, canvas = plot.where, plot.canvas
    uneven = 1 + 0.12 * waves(w, nose.keys[0], 24.0)
    half = uneven * table(w.z, (-50.0, -44.0, -30.0, -18.0, -6.0), (0.75, 1.0, 0.75, 0.4, 0.22)) * nose.width
    front = -68.0 + 0.1 * (-w.z - 30).clamp(0, 30) + 0.45 * (w.z + 30).clamp(0, 40)
    room = cut(w.x.abs() - half, front - w.y, w.y + 4, -51.5 - w.z, w.z + 3.5 + 0.12 * (w.y + 40).abs())
    shell = (
        inside((room - 0.6).abs() - 0.6)
        * torch.clamp((-w.y - 6) / 4, 0, 1)
        * torch.clamp((-20 - w.z) / 6, 0, 1)
    )
    shell = shell * (w.y > -62)
    plot.put(shell * 0.8, nose.wall_hu, bone=0.8)
    plot.put(inside(room), 42.0, uptake=nose.uptake)
    index, line = plot.points(room < 0.5)
    air, plate = _passages(nose, line, room[index])
    for field, hollow, bony in (
        (canvas.hu, -1000.0, nose.wall_hu),
        (canvas.uptake, 0.0, 0.0),
        (canvas.bone, 0.0, 1.0),
    ):
        old = field[index]
        old = old + air * (hollow - old)
        field[index] = old + 0.8 * plate * (bony - old)


def _passages(nose: Nose, w: Where, room: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of air and of the septum's bone at points in the nasal cavity, each (n,)."""
    bend = nose.deviation * torch.sin((w.y + 68) * 0.055) * torch.sin((w.z + 52) * 0.07).clamp(0, 1)
    septum = (w.x - bend).abs()[0, 0]
    solid = septum - 1.0 - nose.lining
    wavy = 1.2 * waves(w, nose.keys[1], 25.0)
    nothing = Canvas.of_air(w)
    for index, side in enumerate((1.0, -1.0)):
        r = nose.turbinate[index]
        for points, scale in TURBINATES:
            tall = points[1][2] + 0.55 * (w.z + wavy - points[1][2])  # they hang like curtains
            line = Plot(Where(w.x, w.y, tall), nothing)
            distance = tube(line, points, (0.8 * scale * r, scale * r, 0.8 * scale * r), side)
            solid = torch.minimum(solid, distance[0, 0])
    air = inside(torch.maximum(room + nose.lining, -solid))
    return air, inside(septum - 0.5) * torch.clamp((w.y[0, 0] + 62) / 6, 0, 1)


def _antrum(nose: Nose, plot: Plot, depth: Tensor, side: float, index: int) -> None:
    """One maxillary sinus: a pyramid in the average maxilla, going on below the average head."""
    w, size = plot.where, nose.antrum[index]
    room = ellipsoid(plot.offset((29.5, -34, -36), side), (18 * size, 22 * size, 22 * size))
    taper = w.x * side - 47 + 0.45 * (w.y + 34).abs() + 0.25 * (-w.z - 34).clamp(0, 30)
    below = torch.clamp((_MAP_BOTTOM - w.z) / 3, 0, 1)
    room = cut(room, taper, (nose.wall - depth) * (1 - below) - 9 * below, 14.5 - w.x * side, -54 - w.z)
    under = inside((room - 1.0).abs() - 1.0) * below
    plot.put(under, nose.wall_hu, bone=1.0)
    swell = nose.antrum_mucosa * (waves(w, nose.keys[0], 30.0) - 0.4).clamp(0, 1)
    plot.put(inside(room), 30.0, uptake=0.2)
    level = nose.filled[index] * 40 - 53  # lying on the back, fluid gathers behind
    hu = torch.where(-w.y * 1.0 < -level, 15.0, -985.0) if nose.filled[index] > 0 else -985.0
    plot.put(inside(room + swell), hu)


def _frontal(nose: Nose, plot: Plot, depth: Tensor, side: float, index: int) -> None:
    """One frontal sinus, scalloped, between the tables."""
    size = nose.frontal[index]
    if size <= 0.05:
        return
    room = ellipsoid(plot.offset((9 * size, -70, 8), side), (13 * size, 8.5, 15 * size))
    room = cut(
        room + 1.5 * waves(plot.where, nose.keys[0], 14.0), 1.6 + nose.wall - depth, 0.7 - plot.where.x * side
    )
    plot.put(inside(room), -985.0)
