"""Draw lesions of the brain, and of what is round it, into a canvas."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lvo.anatomy import Side
from lvo.phantom.disease.infarct import (
    CSF_HU,
    GREY_HU,
    Infarct,
    crop_lattice,
    draw_infarct,
    efface,
    inner_depth,
    spread,
    sulci,
)
from lvo.phantom.disease.lesion_recipes import (
    Cavity,
    Craniotomy,
    Haematoma,
    Lesion,
    LesionTruth,
    SubarachnoidBlood,
    Subdural,
    Tumour,
    truth_of,
    widened,
)
from lvo.phantom.head.canvas import Canvas, Where, inside
from lvo.phantom.head.solids import Ground, Plot, Point, ellipsoid
from lvo.phantom.head.texture import waves

_OEDEMA_HU = 9.0
"""By how much vasogenic oedema lowers white matter."""


def draw_lesions(lesions: Sequence[Lesion], where: Where, canvas: Canvas) -> tuple[LesionTruth, ...]:
    """Draw lesions into the tissue, in place, in their order.

    Parameters
    ----------
    where : the canvas' points in canonical coordinates.
    """
    if lesions:
        ground = Ground.of(where, canvas)
        for lesion in lesions:
            _draw(lesion, ground)
    return tuple(truth_of(lesion) for lesion in lesions)


def _draw(lesion: Lesion, ground: Ground) -> None:
    match lesion:
        case Infarct():
            draw_infarct(lesion, ground)
        case Cavity():
            _draw_cavity(lesion, ground)
        case Haematoma():
            _draw_haematoma(lesion, ground)
        case SubarachnoidBlood():
            _draw_subarachnoid(lesion, ground)
        case Subdural():
            _draw_subdural(lesion, ground)
        case Tumour():
            _draw_tumour(lesion, ground)
        case Craniotomy():
            _draw_craniotomy(lesion, ground)


# ----------------------------------------------------------------------------- each kind


def _around(ground: Ground, centre: Point, reach: Point) -> Plot | None:
    low = centre[0] - reach[0], centre[1] - reach[1], centre[2] - reach[2]
    high = centre[0] + reach[0], centre[1] + reach[1], centre[2] + reach[2]
    return ground.crop(low, high)


def _all(mm: float) -> Point:
    return mm, mm, mm


def _room(canvas: Canvas) -> Tensor:
    """Share of a voxel that lies inside the dura."""
    return (canvas.grey + canvas.white + canvas.csf).clamp_(0, 1)


def _draw_cavity(cavity: Cavity, ground: Ground) -> None:
    if cavity.lost is None:
        plot = _around(ground, cavity.centre, widened(cavity.radii, 3.0))
        if plot is not None:
            distance = ellipsoid(plot.offset(cavity.centre), cavity.radii) + 0.5 * waves(
                plot.where, cavity.key, 7.0
            )
            _hollow(plot, inside(distance, 1.5), inside(distance - 1.5, 1.5))
        return
    plot = crop_lattice(ground, cavity.lost > 0.02)
    if plot is not None:
        field = torch.from_numpy(cavity.lost)[None].to(plot.where.x.device)
        lost = spread(field, plot.where, cavity.key, 2.5)[0]
        lost -= 0.16 * waves(plot.where, cavity.key[::-1], 17.0)  # some gyri live on, some are scar
        _hollow(plot, ((lost - 0.75) * 2 + 0.5).clamp_(0, 1), ((lost - 0.35) * 3 + 0.5).clamp_(0, 1))
    if cavity.ventricle_mm > 0:
        side = -1.0 if cavity.side is Side.RIGHT else 1.0
        middle, radii = (13.0, 12.0, 53.0), (5.0 + cavity.ventricle_mm, 32.0, 6.0 + cavity.ventricle_mm)
        low, high = (0.0, -24.0, 30.0), (40.0, 50.0, 80.0)
        plot = ground.crop(low, high, side)
        if plot is not None:
            _hollow(plot, inside(ellipsoid(plot.offset(middle, side), radii), 2.0), None)


def _hollow(plot: Plot, fluid: Tensor, scar: Tensor | None) -> None:
    """Fluid for brain, within a seam of gliosis."""
    c = plot.canvas
    if scar is not None:
        c.hu += scar * (c.grey + c.white) * -9.0
        c.uptake *= 1 - 0.5 * scar
    c.put(fluid * _room(c), CSF_HU, csf=1.0)


def _draw_haematoma(blood: Haematoma, ground: Ground) -> None:
    plot = _around(ground, blood.centre, widened(blood.radii, blood.oedema_mm + 14.0))
    if plot is not None:
        c = plot.canvas
        rough = waves(plot.where, blood.key, 26.0) + 0.35 * waves(plot.where, blood.key[::-1], 13.0)
        distance = ellipsoid(plot.offset(blood.centre), blood.radii) + 0.1 * min(blood.radii) * rough
        efface(plot, (1 - distance / 14.0).clamp_(0, 1) * 0.8)
        share = inside(distance, 1.5) * _room(c)
        wet = inside(distance - blood.oedema_mm, 0.8 * blood.oedema_mm + 1.0)
        c.hu -= wet * (_OEDEMA_HU * c.white + 0.4 * _OEDEMA_HU * c.grey)
        c.put(share, blood.hu + 2.0 * rough, uptake=0.01)
    if blood.ventricular > 0:
        side = -1.0 if blood.side is Side.RIGHT else 1.0
        plot = ground.crop((-8.0, -30.0, 25.0), (40.0, 70.0, 80.0), side)
        if plot is not None:  # blood sinks to the occipital horns of a patient who lies on the back
            deep = torch.from_numpy((1 - sulci())[None]).to(plot.where.x.device)
            low = ((plot.where.y - (60.0 - 70.0 * blood.ventricular)) / 8.0).clamp_(0, 1)
            share = spread(deep, plot.where)[0] * low * plot.canvas.csf
            plot.canvas.put(share, blood.hu - 8.0, csf=1.0)


def _draw_subarachnoid(blood: SubarachnoidBlood, ground: Ground) -> None:
    plot = _around(ground, blood.centre, (2.2 * blood.reach[0], 2.2 * blood.reach[1], 2.2 * blood.reach[2]))
    if plot is None:
        return
    c, w = plot.canvas, plot.where
    dx, dy, dz = plot.offset(blood.centre)
    square = (dx / blood.reach[0]) ** 2 + (dy / blood.reach[1]) ** 2 + (dz / blood.reach[2]) ** 2
    amount = torch.exp(-square).mul_(1.15 + 0.25 * waves(w, blood.key, 33.0)).clamp_(0, 1)
    c.hu += amount * c.csf * (blood.hu - CSF_HU)


def _draw_subdural(blood: Subdural, ground: Ground) -> None:
    side = -1.0 if blood.side is Side.RIGHT else 1.0
    y0, z0 = blood.centre[1:]
    a, b = blood.half_mm
    plot = ground.crop((4.0, y0 - a, z0 - b), (90.0, y0 + a, z0 + b), side)
    if plot is None:
        return
    c, w = plot.canvas, plot.where
    depth = spread(torch.from_numpy(inner_depth())[None].to(w.x.device), w)[0]
    profile = (1 - ((w.y - y0) / a) ** 2 - ((w.z - z0) / b) ** 2).clamp_(0, 1).sqrt_()
    profile *= (w.x * side / 8.0 - 0.5).clamp_(0, 1)  # thins out towards the falx
    thick = blood.thickness_mm * profile
    near = (1 - (depth - thick) / 12.0).clamp_(0, 1) * (thick / 6.0).clamp(0, 1)
    efface(plot, 0.9 * near)
    share = inside(depth - thick, 1.5) * (profile > 0) * _room(c)
    c.put(share, blood.hu + 4.0 * waves(w, blood.key, 25.0), uptake=0.005)


def _draw_tumour(tumour: Tumour, ground: Ground) -> None:
    plot = _around(ground, tumour.centre, _all(tumour.radius_mm + 1.5 * tumour.oedema_mm + 4.0))
    if plot is None:
        return
    c, w = plot.canvas, plot.where
    dx, dy, dz = plot.offset(tumour.centre)
    lobes = waves(w, tumour.key, 2.2 * tumour.radius_mm + 4.0)
    distance = torch.sqrt(dx * dx + dy * dy + dz * dz) - tumour.radius_mm + 0.13 * tumour.radius_mm * lobes
    if tumour.oedema_mm > 0:  # along the white matter, with fingers between the gyri
        fingers = 0.35 * tumour.oedema_mm * waves(w, tumour.key[::-1], 24.0)
        wet = (1 - (distance + fingers) / tumour.oedema_mm).clamp_(0, 1)
        efface(plot, 0.7 * wet)
        c.hu -= wet.mul_(_OEDEMA_HU) * (c.white + 0.25 * c.grey)
    room = _room(c)
    c.put(inside(distance, 1.5) * room, tumour.rim_hu, uptake=tumour.rim_uptake)
    if tumour.rim_mm < tumour.radius_mm:
        core = inside(distance + tumour.rim_mm * (1 + 0.4 * lobes), 2.0) * room
        c.put(core, tumour.core_hu, uptake=tumour.core_uptake)


def _draw_craniotomy(cut: Craniotomy, ground: Ground) -> None:
    plot = _around(ground, cut.centre, _all(cut.radius_mm + 12.0))
    if plot is None:
        return
    dx, dy, dz = plot.offset(cut.centre)
    from_middle = torch.sqrt(dx * dx + dy * dy + dz * dz) - cut.radius_mm
    share = inside(from_middle) if cut.missing else inside(from_middle.abs() - 0.5 * cut.gap_mm)
    plot.canvas.put(share * (4 * plot.canvas.bone).clamp_(max=1), GREY_HU, uptake=0.05)
