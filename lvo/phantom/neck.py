"""Neck, jaw, shoulders and upper chest drawn below the head atlas, in canonical head-frame coordinates.

A sketch with the right tissues in the right places, so that whatever reads a scan from vertex to chest
meets one. It claims no anatomical truth below the skull base.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class NeckShape:
    """What varies below the skull base; mm, HU and slopes in mm per mm."""

    slope: float
    bend: float
    half_width: float
    half_depth: float
    chin: float
    airway: float
    jaw_hu: float
    spine_hu: float
    muscle_hu: float
    fat_hu: float
    lung_hu: float
    shoulder_z: float
    disc_phase: float


def sample_neck(rng: np.random.Generator) -> NeckShape:
    """Draw the shape of one neck."""
    u = rng.uniform
    return NeckShape(
        slope=u(-0.35, 0.45), bend=u(-0.6, 0.6), half_width=u(48, 78), half_depth=u(52, 75), chin=u(55, 85),
        airway=u(4, 12), jaw_hu=u(700, 1500), spine_hu=u(180, 450), muscle_hu=u(40, 70), fat_hu=u(-115, -75),
        lung_hu=u(-900, -700), shoulder_z=u(-200, -140), disc_phase=u(0, 17),
    )  # fmt: skip


def _step(value: Array, width: float = 1.5) -> F32:
    """1 inside (value < 0 mm), 0 outside, soft over `width`."""
    return np.asarray(np.clip(0.5 - value / width, 0, 1), dtype=np.float32)


def _ellipse(dx: Array, dy: Array, a: float | Array, b: float | Array) -> F32:
    """Approximate signed distance to an ellipse, mm; negative inside."""
    return ((np.sqrt((dx / a) ** 2 + (dy / b) ** 2) - 1) * np.minimum(a, b)).astype(np.float32)


def draw_neck(
    x: F32, y: F32, z: F32, shape: NeckShape, outline: F32, noise: F32, bottom: float
) -> tuple[F32, F32]:
    """HU and bone share at canonical points below the atlas.

    Parameters
    ----------
    x, y, z : float32 arrays of one shape, canonical head-frame mm.
    outline : float32, that shape: mm to the skin in the atlas' lowest slice, negative inside.
    noise : float32, that shape: smooth noise of unit variance, for tissue mixing.
    bottom : head-frame z of the atlas' lowest slice, mm.

    Returns
    -------
    hu, bone : float32, that shape.
    """
    down = bottom - z
    centre = 42 + 60 * np.tanh((shape.slope * down + shape.bend * down**2 / 400) / 60)
    skin, lungs = _skin(x, y, z, down, centre, shape, outline)
    body = skin < 2  # everything else is air: half the work
    hu, bone = np.full(x.shape, -1000, np.float32), np.zeros(x.shape, np.float32)
    if body.any():
        values = (x, y, z, down, centre, skin, lungs, noise)
        hu[body], bone[body] = _tissue(shape, *(v[body] for v in values))
    return hu, bone


def _tissue(
    shape: NeckShape, x: F32, y: F32, z: F32, down: F32, centre: F32, skin: F32, lungs: F32, noise: F32
) -> tuple[F32, F32]:
    """HU and bone share at points in and just around the body."""
    mix = np.clip(0.75 + 0.4 * noise - np.clip((6 + skin) / 4, 0, 1) * 1.2, 0, 1)
    hu = shape.fat_hu + mix * (shape.muscle_hu - shape.fat_hu)
    bone = np.zeros_like(hu)
    for value, share, is_bone in (
        *_jaw(x, y, down, shape),
        *_spine(x, y, z, centre, down, shape),
        *_chest(x, y, z, centre, shape, lungs),
        (-1000.0, _airway(x, y, centre, down, shape), False),
    ):
        hu = hu + share * (value - hu)
        bone = bone * (1 - share) + (share if is_bone else 0)
    inside = _step(skin)
    bone *= inside
    return (-1000 + inside * (hu + 1000)).astype(np.float32), bone.astype(np.float32)


Part = tuple[float, Array, bool]


def _skin(x: F32, y: F32, z: F32, down: F32, centre: F32, shape: NeckShape, outline: F32) -> tuple[F32, F32]:
    """Signed distance to the skin and, for the chest, to the lungs, mm."""
    neck = _ellipse(x, y - centre - 4, shape.half_width, shape.half_depth)
    # The face goes on down to the chin in front, and gives way to the neck at once behind.
    front = np.clip((35 - y) / 60, 0, 1)
    blend = np.clip(down / (22 + (shape.chin - 22) * front), 0, 1)
    blend = blend * blend * (3 - 2 * blend)
    skin = outline * (1 - blend) + neck * blend
    widen = np.clip((shape.shoulder_z - z) / 55, 0, 1)
    widen = widen * widen * (3 - 2 * widen)
    chest_y = centre - 5
    chest = _ellipse(
        x, y - chest_y, shape.half_width + widen * (205 - shape.half_width), shape.half_depth + widen * 45
    )
    skin = np.where(widen > 0, np.minimum(skin, chest), skin)
    apex = shape.shoulder_z - 45 - z
    size = np.sqrt(np.clip(apex / 90, 1e-4, 1))
    lungs = _ellipse(np.abs(x) - 68, y - chest_y, 55 * size, 80 * size) + np.where(apex < 0, 100, 0)
    return skin.astype(np.float32), lungs.astype(np.float32)


def _jaw(x: F32, y: F32, down: F32, shape: NeckShape) -> list[Part]:
    """Mandible, teeth and tongue space."""
    arch = np.abs(_ellipse(x, y + 12, 44.0, 66.0))
    lower = shape.chin - 18
    body = _step(np.maximum(arch - 5, np.abs(down - lower) - 13)) * (y < 5)
    ramus = _step(np.maximum(np.maximum(np.abs(np.abs(x) - 46) - 4, np.abs(y - 8) - 16), down - lower - 8))
    inner = np.abs(_ellipse(x, y + 17, 31.0, 52.0))
    crown = 0.5 + 0.5 * np.cos(np.arctan2(y + 17, np.abs(x) + 1e-3) * 26)
    teeth = _step(np.maximum(inner - 5, np.abs(down - lower + 23) - 9)) * (y < -12) * np.clip(crown * 2, 0, 1)
    palate = _step(np.maximum(_ellipse(x, y + 20, 30.0, 45.0), np.abs(down - 3) - 2))
    return [
        (shape.jaw_hu * 0.8, palate * 0.7, True),
        (shape.jaw_hu, np.maximum(body, ramus), True),
        (shape.jaw_hu * 1.8, teeth, True),
    ]


def _spine(x: F32, y: F32, z: F32, centre: F32, down: F32, shape: NeckShape) -> list[Part]:
    """Vertebral bodies, arches, canal and cord; hyoid and thyroid cartilage."""
    level = np.abs(np.mod(z + shape.disc_phase, 17.0) - 8.5)
    here = _step(level - 6.5)
    body = _step(_ellipse(x, y - centre + 10, 12.0, 9.0))
    rim = _step(np.abs(_ellipse(x, y - centre + 10, 12.0, 9.0)) - 1.2)
    canal = _step(_ellipse(x, y - centre - 8, 11.0, 9.0))
    arch = _step(np.abs(_ellipse(x, y - centre - 9, 14.0, 13.0)) - 3) * (y > centre + 2) * here
    spinous = _step(np.maximum(np.abs(x) - 3, np.abs(y - centre - 30) - 12)) * here
    facet = _step(_ellipse(np.abs(x) - 21, y - centre - 1, 8.0, 9.0))
    cord = _step(_ellipse(x, y - centre - 8, 6.0, 4.5))
    fade = np.clip(down / 8, 0, 1)
    hu = shape.spine_hu
    cartilage = _step(
        np.maximum(np.abs(np.abs(x) - 6 - 0.5 * (y - centre + 52)) - 2, np.abs(down - shape.chin - 25) - 14)
    ) * (np.abs(y - centre + 38) < 15)
    return [
        (80.0, body * (1 - here), False),
        (hu, body * here * fade, True),
        (hu * 2.2, rim * here * fade, True),
        (hu * 1.7, facet * fade, True),
        (12.0, canal, False),
        (32.0, cord, False),
        (hu * 2.0, np.maximum(arch, spinous) * fade, True),
        (180.0, cartilage, False),
    ]


def _chest(x: F32, y: F32, z: F32, centre: F32, shape: NeckShape, lungs: F32) -> list[Part]:
    """Lungs, ribs, clavicles, shoulder joints and breastbone."""
    if float(z.min()) > shape.shoulder_z:
        return []
    below = shape.shoulder_z - z
    ribs = _step(np.abs(lungs - 5) - 4) * _step(np.abs(np.mod(z + 0.5 * y, 26.0) - 13) - 5) * (below > 20)
    clavicle = _step(np.hypot(y - centre + 45 - np.abs(x) * 0.1, below - 35 + np.abs(x) * 0.1) - 6)
    clavicle = clavicle * (np.abs(x) > 15)
    joint = _step(np.sqrt((np.abs(x) - 165) ** 2 + (y - centre) ** 2 + (below - 55) ** 2) - 24)
    return [
        (450.0, ribs, True),
        (500.0, np.maximum(clavicle, joint), True),
        (shape.lung_hu, _step(lungs, 3.0), False),
    ]


def _airway(x: F32, y: F32, centre: F32, down: F32, shape: NeckShape) -> F32:
    """Pharynx, larynx and trachea: wide and flat above, round below."""
    flat = np.clip(1 - down / 80, 0, 1)
    front = 28 + 6 * (1 - flat)
    return _step(_ellipse(x, y - centre + front, shape.airway * (1 + flat), shape.airway * (1 - 0.4 * flat)))
