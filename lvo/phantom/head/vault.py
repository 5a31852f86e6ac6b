"""The bone that the average head knows of: the vault with its tables and diploe, and the rough base."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional

from lvo.phantom.head.canvas import Canvas, NoiseKey, Where, draw_key, inside
from lvo.phantom.head.skull_maps import sample_bone_maps
from lvo.phantom.head.solids import Ground, Plot, coarse_points
from lvo.phantom.head.texture import grain, waves

Maps = tuple[Tensor, Tensor, Tensor, Tensor]
_PIECE = 32768
_BOTTOM = -40.5
"""Head-frame z at which the average head ends, mm."""


class VaultRanges(BaseModel):
    """How vaults differ: pairs are low and high, or mean and sd where the name says so.

    Thickness of the adult vault about 4 to 9 mm (Lynnerup, Forensic Sci Int 2001;117:45-51); thickness is
    relative to the average head's; HU of cortex and diploe as clinical CT shows them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    thickness_mean_sd: tuple[float, float] = (1.0, 0.17)
    thickness_limits: tuple[float, float] = (0.6, 1.6)
    unevenness: tuple[float, float] = (0.03, 0.14)
    outer_table_mm: tuple[float, float] = (1.1, 2.3)
    inner_table_mm: tuple[float, float] = (0.8, 1.8)
    cortex_hu: tuple[float, float] = (1250.0, 1950.0)
    diploe_hu: tuple[float, float] = (300.0, 900.0)
    base_cortex_mm: tuple[float, float] = (0.7, 2.0)
    base_cortex_share: tuple[float, float] = (0.8, 1.15)
    base_marrow_hu: tuple[float, float] = (80.0, 550.0)
    texture: tuple[float, float] = (0.12, 0.45)
    plate_scale: tuple[float, float] = (0.6, 1.45)
    base_swell_mm: tuple[float, float] = (-0.9, 0.7)
    base_rough_mm: tuple[float, float] = (0.2, 0.9)
    hyperostosis_probability: float = 0.08
    hyperostosis_mm: tuple[float, float] = (1.5, 7.0)
    suture_hu: tuple[float, float] = (0.0, 700.0)
    age_loss_per_decade: tuple[float, float] = (0.0, 0.05)


@dataclass(frozen=True, slots=True)
class VaultShape:
    """One skull, as `VaultRanges` names its numbers; mm and HU.

    Attributes
    ----------
    thickness, plate : relative to the average vault and to the average plate of the base.
    base_cortex_share : HU of the base's cortex relative to the vault's.
    swell, rough : how much thicker and how uneven the bone of the base is.
    keys : of texture, and of the slow undulations of vault and base.
    """

    thickness: float
    unevenness: float
    outer: float
    inner: float
    cortex_hu: float
    diploe_hu: float
    base_cortex: float
    base_cortex_share: float
    base_marrow_hu: float
    texture: float
    plate: float
    swell: float
    rough: float
    hyperostosis: float
    suture_hu: float
    keys: tuple[NoiseKey, NoiseKey, NoiseKey]


def sample_vault(rng: np.random.Generator, ranges: VaultRanges, age: float) -> VaultShape:
    """Draw a skull; bone thins out with age from the fifth decade on."""
    u = rng.uniform
    r = ranges
    loss = 1 - u(*r.age_loss_per_decade) * max(age - 45, 0) / 10
    return VaultShape(
        thickness=float(np.clip(rng.normal(*r.thickness_mean_sd), *r.thickness_limits)),
        unevenness=u(*r.unevenness), outer=u(*r.outer_table_mm), inner=u(*r.inner_table_mm),
        cortex_hu=u(*r.cortex_hu) * (0.5 + 0.5 * loss), diploe_hu=u(*r.diploe_hu) * loss,
        base_cortex=u(*r.base_cortex_mm),
        base_cortex_share=u(*r.base_cortex_share), base_marrow_hu=u(*r.base_marrow_hu) * loss,
        texture=u(*r.texture),
        plate=u(*r.plate_scale), swell=u(*r.base_swell_mm), rough=u(*r.base_rough_mm),
        hyperostosis=u(*r.hyperostosis_mm) if rng.random() < r.hyperostosis_probability else 0.0,
        suture_hu=u(*r.suture_hu), keys=(draw_key(rng), draw_key(rng), draw_key(rng)),
    )  # fmt: skip


def draw_vault(shape: VaultShape, where: Where, canvas: Canvas, ground: Ground | None = None) -> Tensor:
    """Draw the vault and every other bone that comes from the average head, in place.

    To be called after brain and soft tissue and before `lvo.phantom.head.skull_base.draw_base` and
    `lvo.phantom.head.face.draw_face`, which carve and add to it. Nothing is drawn below the average head.

    Parameters
    ----------
    shape : one skull
    where : points, (z, y, x)
    canvas : the tissue drawn so far
    ground : both, if they have been looked at

    Returns
    -------
    Tensor
        Depth in the average bone of base and face with the air in it, mm, (z, y, x), for
        `lvo.phantom.head.face.draw_face`; negative elsewhere.
    """
    depth = torch.full_like(where.x, -9.0)
    ground = ground or Ground.of(where, canvas)
    index = _band(shape, ground)
    if len(index) == 0:
        return depth
    share, hu = torch.zeros_like(where.x), torch.zeros_like(where.x)
    # Pieces that stay in the processor's cache take half the time; an accelerator has no use for them.
    for piece in index.split(_PIECE) if index.device.type == "cpu" else (index,):
        line = Where(*(c.reshape(-1)[piece].view(1, 1, -1) for c in (where.x, where.y, where.z)))
        maps = sample_bone_maps(line)
        kept = _touched(shape, maps).view(-1).nonzero()[:, 0]
        line = Where(*(c[..., kept] for c in (line.x, line.y, line.z)))
        cavity, plate, bone, vault = (m[..., kept] for m in maps)
        for whole, part in zip(
            (share, hu, depth), _bone(shape, line, (cavity, plate, bone, vault)), strict=True
        ):
            whole.view(-1)[piece[kept]] = part.view(-1)
    Plot(where, canvas).put(share, hu, uptake=0.02, bone=1.0)
    return depth


def _band(shape: VaultShape, ground: Ground) -> Tensor:
    """Flat indices of the points near a surface of the average skull, found on a coarse grid."""
    points = coarse_points(ground.where)
    cavity, plate, bone, vault = sample_bone_maps(points)
    reach = 0.5 * ground.gap_mm + 0.5  # no point is further from a coarse one, and edges are soft
    scale = max(shape.thickness, shape.plate) * (1 + 2 * shape.unevenness)
    shell = (cavity < plate * scale + reach) & (cavity > -reach - shape.hyperostosis)
    near = shell | (bone + 10 * vault < reach + shape.swell + 3 * shape.rough)
    near &= points.z > _BOTTOM - ground.gap_mm
    ends = functional.pad(near[None, None].float(), (0, 1, 0, 1, 0, 1))
    near = functional.max_pool3d(ends, 2, 1)[0, 0] > 0  # a block is near if one of its eight corners is
    for axis, n in enumerate(ground.where.shape):
        near = near.repeat_interleave(4, dim=axis).narrow(axis, 0, n)
    return near.reshape(-1).nonzero()[:, 0]


def _touched(shape: VaultShape, maps: Maps) -> Tensor:
    """Where there may be bone, by what `sample_bone_maps` found."""
    cavity, plate, bone, vault = maps
    scale = max(shape.thickness, shape.plate, 0.7 + 0.3 * shape.plate) * (1 + 2.5 * shape.unevenness)
    shell = (cavity < plate * scale + 0.5) & (cavity > -0.5 - shape.hyperostosis)
    return shell | (bone + 10 * vault < 0.5 + shape.swell + 5 * shape.rough)


def _bone(shape: VaultShape, where: Where, maps: Maps) -> tuple[Tensor, Tensor, Tensor]:
    """Share of bone, its HU, and depth in the average bone, at points, from `sample_bone_maps` there."""
    cavity, plate, bone, vault = maps
    slow = waves(where, shape.keys[1], 55.0)
    texture = grain(where, shape.keys[0], 2.6)
    scale = shape.plate + vault * (shape.thickness - shape.plate)
    clivus = torch.clamp((plate - 3) * 0.5, 0, 1) * (1 - vault)  # thick plates do not vary as thin ones do
    scale = scale + clivus * (1 - 0.3 * (1 - shape.plate) - scale)
    thick = plate * scale * (1 + shape.unevenness * slow)
    if shape.hyperostosis > 0:
        extra = _hyperostosis(shape, where, vault)
        cavity, thick = cavity + extra, thick + extra
    rough = waves(where, shape.keys[2], 17.0) + 0.5 * texture
    bone = bone + 10 * vault - (shape.swell + shape.rough * rough)
    shell = (cavity - 0.5 * thick).abs() - 0.5 * thick
    surface = torch.maximum(torch.minimum(shell, bone), _BOTTOM - where.z)
    # Plates thinner than the soft edge would lose nothing to it otherwise: their share is their thickness.
    share = inside(surface) * torch.clamp(thick.maximum(-2 * bone), 0, 1)
    outer, inner = (shape.base_cortex + vault * (t - shape.base_cortex) for t in (shape.outer, shape.inner))
    deep = torch.minimum(cavity - inner, thick - cavity - outer)
    marrow = torch.clamp(torch.maximum(deep, -bone - shape.base_cortex) * 1.2 + 0.5, 0, 1)
    filling = shape.base_marrow_hu + vault * (shape.diploe_hu - shape.base_marrow_hu)
    filling = filling * (1 + shape.texture * (texture + 0.6 * slow)) + 60 * texture
    cortex = shape.cortex_hu * (shape.base_cortex_share + vault * (1 - shape.base_cortex_share))
    cortex = cortex * (1 + 0.05 * texture)
    hu = cortex + marrow * (filling - cortex)
    if shape.suture_hu > 50:
        hu = hu - shape.suture_hu * _sutures(where, texture) * vault
    return share, torch.clamp(hu, 20, 3000), -bone


def _hyperostosis(shape: VaultShape, where: Where, vault: Tensor) -> Tensor:
    """Inward thickening of the frontal bone beside the midline, mm."""
    lateral = torch.exp(-(((where.x.abs() - 22) / 18) ** 2))
    return shape.hyperostosis * vault * lateral * torch.clamp((-where.y - 5) / 30, 0, 1)


def _sutures(where: Where, texture: Tensor) -> Tensor:
    """1 in the coronal, sagittal and lambdoid sutures."""
    side = where.x.abs()
    jag = 1.4 * texture
    coronal = where.y + 12 + 0.18 * side + jag
    lambdoid = where.y - 100 + 0.9 * side + 0.35 * (where.z - 60) + jag
    sagittal = side + (where.y < -12) * 9.0 + (where.z < 60) * 9.0 + 0.7 * jag
    nearest = torch.minimum(torch.minimum(coronal.abs(), lambdoid.abs()), sagittal)
    return torch.clamp(1.3 - nearest * 0.8, 0, 1) * (where.z > 14)
