"""Skin, fat and muscle of the head over the average skull; also what of the face nobody draws better."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from lvo.phantom.head.atlas import load_atlas
from lvo.phantom.head.canvas import Canvas, NoiseKey, Where, draw_key
from lvo.phantom.head.lattice import Levels
from lvo.phantom.head.skull_maps import bone_maps
from lvo.phantom.head.texture import waves

Pair = tuple[float, float]
Solid = tuple[tuple[float, float, float], tuple[float, float, float]]
MUSCLES: tuple[Solid, ...] = (
    ((63, -6, 14), (10, 33, 37)),  # temporalis
    ((34, -6, -24), (13, 15, 17)),  # pterygoids
    ((20, 74, -24), (20, 21, 27)),  # semispinalis, splenius and trapezius
    ((46, 58, -28), (16, 22, 20)),  # splenius and sternocleidomastoid on the mastoid
    ((0, 26, -34), (26, 17, 18)),  # before the spine, and the pharynx
)
"""Bodies of muscle on the left side of the average head: centre and radii, mm."""
_LOWEST = -42.0
"""Canonical z under which `lvo.phantom.head.neck` draws everything, mm."""
_MEAN_MM = 8.8
"""Thickness of the average head's scalp, head-frame mm."""


class ScalpRanges(BaseModel):
    """How scalps differ: 4 to 9 mm thick (Hori et al., Anat Sci Int 1972; Larrabee 1995), mostly by fat."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    thickness_mm: Pair = (4.0, 9.0)
    skin_mm: Pair = (1.3, 2.4)
    galea_mm: Pair = (0.7, 1.5)
    face_fat_mm: Pair = (1.5, 6.0)
    muscle: Pair = (0.7, 1.08)
    skin_hu: Pair = (20.0, 65.0)
    fat_hu: Pair = (-112.0, -80.0)
    muscle_hu: Pair = (44.0, 66.0)
    muscle_fat: Pair = (0.0, 0.3)
    muscle_uptake: Pair = (0.03, 0.1)
    skin_uptake: Pair = (0.03, 0.12)
    hair_probability: float = 0.6
    hair_mm: Pair = (1.0, 8.0)
    hair_density: Pair = (0.02, 0.12)


@dataclass(frozen=True, slots=True)
class ScalpShape:
    """One scalp, as `ScalpRanges` names its numbers; mm and HU."""

    thickness: float
    skin: float
    galea: float
    face_fat: float
    muscle: float
    skin_hu: float
    fat_hu: float
    muscle_hu: float
    muscle_fat: float
    muscle_uptake: float
    skin_uptake: float
    hair: float
    hair_density: float
    keys: tuple[NoiseKey, NoiseKey]


def sample_scalp(rng: np.random.Generator, ranges: ScalpRanges, age: float) -> ScalpShape:
    """Draw a scalp; skin thins out, and muscle turns fatty and wastes, with age."""
    u, r = rng.uniform, ranges
    old = float(np.clip((age - 30) / 50, 0, 1))
    hair = u(*r.hair_mm) if rng.random() < r.hair_probability else 0.0
    return ScalpShape(
        thickness=u(*r.thickness_mm), skin=u(*r.skin_mm) * (1 - 0.15 * old), galea=u(*r.galea_mm),
        face_fat=u(*r.face_fat_mm), muscle=u(*r.muscle) * (1 - 0.12 * old), skin_hu=u(*r.skin_hu),
        fat_hu=u(*r.fat_hu), muscle_hu=u(*r.muscle_hu), muscle_fat=u(*r.muscle_fat) * (0.4 + 0.6 * old),
        muscle_uptake=u(*r.muscle_uptake), skin_uptake=u(*r.skin_uptake), hair=hair,
        hair_density=u(*r.hair_density), keys=(draw_key(rng), draw_key(rng)),
    )  # fmt: skip


def sample_surfaces(where: Where) -> Tensor:
    """Signed distances to the average skin and to the cranial cavity, (2, z, y, x), mm, negative inside."""
    return _sampled(where, 0)


def draw_scalp(
    shape: ScalpShape, levels: Levels, canvas: Canvas, surfaces: Tensor, vault: float = 1.0
) -> None:
    """Draw the head's soft tissue up to the skin in place, and air beyond, before brain and bone.

    Parameters
    ----------
    shape : one scalp
    levels : the points, (z, y, x)
    canvas : the tissue drawn so far
    surfaces : `sample_surfaces` at the coarse points
    vault : thickness of the vault relative to the average one: a thicker skull lifts the scalp.
    """
    skin, muscle = _fields(shape, levels, surfaces, vault)
    for fine, coarse, thinned in levels.blocks():
        above = float(levels.coarse.z[coarse].max()) > _LOWEST
        if above and bool((skin[coarse] < 2 + shape.hair).any()):
            w = levels.where
            part = thinned.full(skin[coarse]).neg_(), thinned.full(muscle[coarse]).neg_()
            _compose(shape, part, w.y[fine] + w.z[fine], canvas.hu[fine], canvas.uptake[fine])


def _compose(
    shape: ScalpShape, depths: tuple[Tensor, Tensor], up_and_back: Tensor, hu: Tensor, uptake: Tensor
) -> None:
    """Tissue from depth under the skin and depth in muscle, mm, in place."""
    depth, flesh = depths
    flesh = flesh.add_(0.5).clamp_(0, 1)
    torch.mul(flesh, shape.muscle_hu - shape.fat_hu, out=hu).add_(shape.fat_hu)
    torch.mul(flesh, shape.muscle_uptake, out=uptake).add_(0.01)
    if float(depth.min()) > shape.skin + 1:
        return
    rind = torch.clamp(shape.skin + 0.5 - depth, 0, 1)
    hu.add_(rind * (shape.skin_hu - hu))
    uptake.add_(rind * (shape.skin_uptake - uptake))
    body = torch.clamp(depth + 0.5, 0, 1)
    uptake.mul_(body)
    hu.add_(1000).mul_(body).sub_(1000)
    if shape.hair > 0:
        grown = torch.clamp(depth.add_(shape.hair), 0, 1).mul_(torch.clamp((up_and_back - 5) * 0.03, 0, 1))
        hu.add_(grown.mul_(1 - body), alpha=1000 * shape.hair_density)


def _fields(shape: ScalpShape, levels: Levels, surfaces: Tensor, vault: float) -> tuple[Tensor, Tensor]:
    """Signed distances to the skin and to muscle on the coarse grid, mm, negative inside."""
    skin, cavity = surfaces
    lift, roof, muscle, strands, galea = (levels.raised(v) for v in _slow_fields(shape, levels.slow, vault))
    skin = skin - lift
    # Above: the galea on the bone; everywhere else thin sheets of muscle between lobules of fat.
    other = (cavity + galea) * roof + (strands + torch.clamp(skin + 14, -9, 0) * 0.35) * (1 - roof)
    under = skin + shape.skin + shape.face_fat * (1 - roof) + 0.8 * roof
    return skin, torch.maximum(torch.minimum(muscle, other), under)


def _slow_fields(shape: ScalpShape, slow: Where, vault: float) -> tuple[Tensor, ...]:
    """Lift of the skin, share of vault, distances to muscles, strands of muscle, and from cavity to galea."""
    plate, roof = _sampled(slow, 1)
    drift = waves(slow, shape.keys[0], 110.0)
    lift = roof * (plate * (vault - 1) + shape.thickness * (1 + 0.12 * drift) - _MEAN_MM)
    side = slow.x.abs()
    muscle = torch.full_like(plate, 30.0)
    for (cx, cy, cz), radii in MUSCLES:
        scaled = [(side - cx) / radii[0], (slow.y - cy) / radii[1], (slow.z - cz) / radii[2]]
        length = torch.sqrt(scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2)
        muscle = torch.minimum(muscle, (length - shape.muscle) * min(radii))
    septa = waves(slow, shape.keys[1], 21.0)
    muscle = muscle + 2.5 * shape.muscle_fat * septa
    strands = 1.6 + 4 * shape.muscle_fat - 2.4 * septa.abs()
    galea = -plate * (1 + roof * (vault - 1)) - shape.galea - 0.4 * drift
    return lift, roof, muscle, strands, galea


def _sampled(where: Where, stack: int) -> Tensor:
    """Distances to the skin and to the cranial cavity (stack 0), or thickness and share of vault (1)."""
    atlas, maps = load_atlas(), _on(stack, where.x.device)
    grid = []
    for c, axis in ((where.x, 0), (where.y, 1), (where.z, 2)):
        low, step = float(atlas.affine[axis, 3]), float(atlas.affine[axis, 2 - axis])
        grid.append((c - low) * (2 / (step * (maps.shape[4 - axis] - 1))) - 1)
    at = torch.stack(grid, dim=-1)[None]
    found = functional.grid_sample(maps, at, align_corners=True, padding_mode="border")[0]
    if stack == 0:  # the map's edge goes on, but below: add how far away it is
        step = float(atlas.affine[1, 1])
        for g, n in zip(grid, maps.shape[:1:-1], strict=True):
            out = torch.clamp(g.abs() - 1, min=0) if g is not grid[2] else torch.clamp(g - 1, min=0)
            found[0] += out * (0.5 * (n - 1) * step)
    return found


@functools.lru_cache(maxsize=8)
def _on(stack: int, device: torch.device) -> Tensor:
    return torch.from_numpy(_maps()[2 * stack : 2 * stack + 2])[None].to(device)


@functools.lru_cache(maxsize=1)
def _maps() -> npt.NDArray[np.float32]:
    """Distances to the skin and to the cavity, thickness of the skull, share of vault, on the atlas grid."""
    atlas = load_atlas()
    step = float(atlas.affine[2, 0])
    labels, _ = ndimage.label(atlas.probability[5] > 0.5)
    outside = labels == labels[-1, 0, 0]
    far = ndimage.distance_transform_edt(outside) - ndimage.distance_transform_edt(~outside)
    # Averaging leaves the skin smooth; a little more takes away the voxels' steps.
    skin = ndimage.gaussian_filter((far - 0.5 * np.sign(far)) * step, 0.8)
    cavity, plate, _bone, vault = bone_maps()
    return np.stack([skin, cavity, plate, vault]).astype(np.float32)
