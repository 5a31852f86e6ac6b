"""The brain of one person: gyri and sulci, nuclei, ventricles, cerebellum, and the fluid round them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from lvo.phantom.head.brain_maps import sample_sharp, sample_smooth
from lvo.phantom.head.canvas import Canvas, NoiseKey, Where, draw_key, inside
from lvo.phantom.head.gyri import random_turn, sulcus_distance
from lvo.phantom.head.lattice import Levels
from lvo.phantom.head.texture import waves

F64 = npt.NDArray[np.float64]
Pair = tuple[float, float]


class BrainRanges(BaseModel):
    """How brains differ; pairs are low and high, or mean and sd where the name says so.

    HU: white matter 30 +- 3.5, deep grey 33 +- 3 unenhanced, grey 42 to 50 and white 30 to 34 in CTA.
    Cortex 2.5 to 3 mm (Fischl & Dale, PNAS 2000). Ventricles grow from about 18 ml at 25 years to 50 ml at
    80, fluid from about a tenth of the cranial cavity to a quarter (Good et al., NeuroImage 2001;14:21-36;
    Walhovd et al., Neurobiol Aging 2011;32:916-932), approximately.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    white_hu_mean_sd: Pair = (29.5, 1.3)
    contrast_hu_mean_sd: Pair = (8.0, 1.1)
    contrast_loss_per_decade: float = 0.25
    deep_share: Pair = (0.55, 0.9)
    csf_hu: Pair = (2.0, 11.0)
    grey_uptake: Pair = (0.020, 0.036)
    white_uptake: Pair = (0.006, 0.014)
    cortex_mm: Pair = (2.6, 3.1)
    sulcus_spacing_mm: Pair = (11.0, 14.0)
    sulcus_depth_mm: Pair = (10.0, 14.5)
    ages: tuple[float, ...] = (20, 45, 65, 80, 95)
    ventricle_ml: tuple[float, ...] = (16, 21, 32, 46, 58)
    ventricle_log_sd: float = 0.35
    sulcus_width_mm: tuple[float, ...] = (0.2, 0.35, 0.55, 0.85, 1.1)
    shrinkage_mm: tuple[float, ...] = (-0.8, -0.6, -0.2, 0.3, 0.6)
    atrophy_sd: float = 0.35
    hypodensity_hu: tuple[float, ...] = (0, 0.3, 3, 6, 8)
    asymmetry_mm: Pair = (0.2, 1.1)
    texture_hu: Pair = (0.3, 0.9)


@dataclass(frozen=True, slots=True, eq=False)
class BrainShape:
    """One brain; HU and mm.

    Attributes
    ----------
    ventricle_shift : by how much the ventricles' walls stand further out than the average ones.
    shrinkage : by how much the brain's surface lies further in than the average one.
    hypodensity : HU that white matter beside the ventricles has lost.
    turn : rotation of the pattern of sulci
    keys : of sulci, of their depth and width, and of slow differences.
    """

    white_hu: float
    cortex_hu: float
    deep_hu: float
    csf_hu: float
    grey_uptake: float
    white_uptake: float
    cortex_mm: float
    spacing: float
    depth: float
    width: float
    ventricle_shift: float
    asymmetry: float
    shrinkage: float
    hypodensity: float
    texture: float
    turn: F64
    keys: tuple[NoiseKey, ...]


_SHIFT_MM = (-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
_SHIFT_ML = (10.0, 14.8, 19.5, 25.5, 33.6, 43.1, 54.2, 66.8, 80.1, 93.6)
"""Volume of the ventricles for a shift of their walls, anatomical ml, as drawn in the canonical head."""


def sample_brain(rng: np.random.Generator, ranges: BrainRanges, age: float) -> BrainShape:
    """Draw a brain of someone of an age, years."""
    r, u = ranges, rng.uniform
    white = rng.normal(*r.white_hu_mean_sd)
    contrast = max(2.0, rng.normal(*r.contrast_hu_mean_sd) - r.contrast_loss_per_decade * (age - 50) / 10)
    atrophy = float(np.exp(rng.normal(0, r.atrophy_sd)))
    volume = np.interp(age, r.ages, r.ventricle_ml) * np.exp(rng.normal(0, r.ventricle_log_sd))
    volume *= atrophy**0.5
    shrinkage = float(np.interp(age, r.ages, r.shrinkage_mm)) + 0.9 * np.log(atrophy)
    return BrainShape(
        white_hu=white, cortex_hu=white + contrast, deep_hu=white + contrast * u(*r.deep_share),
        csf_hu=u(*r.csf_hu), grey_uptake=u(*r.grey_uptake), white_uptake=u(*r.white_uptake),
        cortex_mm=u(*r.cortex_mm) * (1 - 0.0012 * (age - 40)),
        spacing=u(*r.sulcus_spacing_mm), depth=u(*r.sulcus_depth_mm),
        width=0.5 * float(np.interp(age, r.ages, r.sulcus_width_mm)) * atrophy,
        ventricle_shift=float(np.interp(np.log(volume), np.log(_SHIFT_ML), _SHIFT_MM)),
        asymmetry=u(*r.asymmetry_mm), shrinkage=float(np.clip(shrinkage, -1.1, 3.0)),
        hypodensity=float(np.interp(age, r.ages, r.hypodensity_hu)) * float(rng.gamma(1.2, 1 / 1.2)),
        texture=u(*r.texture_hu), turn=random_turn(rng), keys=tuple(draw_key(rng) for _ in range(6)),
    )  # fmt: skip


def draw_brain(shape: BrainShape, levels: Levels, canvas: Canvas, cavity: Tensor) -> None:
    """Draw everything inside the inner table, in place, but dura, plexus and pineal gland.

    Parameters
    ----------
    shape : one brain
    levels : the points, (z, y, x)
    canvas : the tissue drawn so far
    cavity : mm to the inner table at the coarse points, negative inside the skull.
    """
    if float(levels.slow.z.max()) < -42 or float(levels.slow.z.min()) > 150:
        return
    fields = _fields(shape, levels, cavity)
    for fine, coarse, thinned in levels.blocks():
        part = {name: value[coarse] for name, value in fields.items()}
        if bool((part["cavity"] < 3).any()):
            parts = (canvas.hu, canvas.uptake, canvas.bone, canvas.grey, canvas.white, canvas.csf)
            f = {name: thinned.full(value) for name, value in part.items()}
            _compose(shape, f, levels.where.z[fine], Canvas(*(t[fine] for t in parts)))


def fill_skull(shape: BrainShape, levels: Levels, canvas: Canvas, cavity: Tensor) -> None:
    """Draw the brain as one tissue, in place; parameters as of `draw_brain`."""
    content = inside(levels.to_coarse.full(cavity)).mul_(torch.clamp(levels.where.z + 40, 0, 1))
    mean = 0.45 * shape.white_hu + 0.4 * shape.cortex_hu + 0.15 * shape.csf_hu
    canvas.hu.lerp_(torch.full_like(content, mean), content)
    canvas.white.copy_(content)


def _compose(shape: BrainShape, f: dict[str, Tensor], z: Tensor, canvas: Canvas) -> None:
    """Tissue from the fields of `_fields`, brought to all points."""
    content = inside(f["cavity"]).mul_(torch.clamp(z + 40, 0, 1))
    beside = f["sulcus"].abs_()
    half = f["width"]
    # A sheet thinner than a voxel fills the share of it that it is thick.
    sulci = torch.clamp(half - beside + 0.5, 0, 1).sub_(torch.clamp(0.5 - half - beside, 0, 1))
    floor = f["floor"]
    tissue = torch.clamp(f["pia"] + 0.5, 0, 1).mul_(1 - sulci.mul_(inside(floor)))
    tissue.mul_(torch.clamp(f["ventricle"] + 0.5, 0, 1)).mul_(content)
    under = torch.minimum(f["cortex"], torch.maximum(beside.sub_(half), floor))
    cortex = torch.clamp(under.neg_().add_(0.5 + shape.cortex_mm), 0, 1)
    deep = f["nuclei"].mul_(0.45).add_(0.5).clamp_(0, 1)
    deep = torch.clamp(deep - cortex, min=0)
    grey = (cortex + deep).mul_(tissue)
    white = tissue - grey
    csf = content - tissue
    hu = cortex.mul_(shape.cortex_hu - shape.white_hu).add_(deep, alpha=shape.deep_hu - shape.white_hu)
    hu.add_(f["offset"]).add_(shape.white_hu).mul_(tissue).add_(csf, alpha=shape.csf_hu)
    rest = 1 - content
    canvas.hu.mul_(rest).add_(hu)
    canvas.uptake.mul_(rest).add_(grey, alpha=shape.grey_uptake).add_(white, alpha=shape.white_uptake)
    canvas.bone.mul_(rest)
    for field, value in ((canvas.grey, grey), (canvas.white, white), (canvas.csf, csf)):
        field.mul_(rest).add_(value)


def midline(shape: BrainShape, where: Where) -> Tensor:
    """How far to the left of x = 0 the middle of this brain lies, mm."""
    return 0.7 * waves(Where(torch.zeros_like(where.x), where.y, where.z), shape.keys[3], 150.0)


def _fields(shape: BrainShape, levels: Levels, cavity: Tensor) -> dict[str, Tensor]:
    """Smooth fields of which the tissue is composed, on the coarse grid, (z, y, x) each, mm or HU.

    ventricle, cavity, sulcus, floor are signed distances (floor: negative where there are sulci), pia and
    cortex depths, width half of the sulcus', nuclei log odds, offset HU.
    """
    slow, coarse = _slow_fields(shape, levels.slow), levels.coarse
    m = {name: levels.raised(value) for name, value in slow.items()}
    moved = Where(coarse.x + m["shift x"], coarse.y + m["shift y"], coarse.z + m["shift z"])
    sharp = sample_sharp(moved)
    surface = (moved.x + m["offset x"], moved.y + m["offset y"], moved.z + m["offset z"])
    sulcus = sulcus_distance(surface, shape.keys[0], shape.turn, shape.spacing)
    if bool((slow["cerebellum"] > 0).any()):
        sulcus = sulcus + m["cerebellum"] * (_folia(moved, m["swell"]) - sulcus)
    thinning = m["thinning"]
    depth = sharp["pia"]
    width = m["width"] * (0.7 + 0.6 * torch.clamp(1 - depth / 15, 0, 1))
    return {
        "ventricle": sharp["ventricle"], "cavity": cavity, "sulcus": sulcus,
        "pia": torch.minimum(depth - thinning, -cavity - 0.4),
        "floor": torch.maximum(depth - m["depth"], 4.5 - m["core"]),
        "cortex": sharp["cortex"] - thinning, "width": width, "nuclei": sharp["nuclei"], "offset": m["hu"],
    }  # fmt: skip


def _slow_fields(shape: BrainShape, slow: Where) -> dict[str, Tensor]:
    """What varies over a centimetre and more: where the average brain has moved to, and how it differs."""
    middle = midline(shape, slow)
    m = sample_smooth(Where(slow.x - middle, slow.y, slow.z))
    drift = waves(slow, shape.keys[2], 90.0)
    push = shape.ventricle_shift + shape.asymmetry * drift
    push = push * torch.exp(-((torch.clamp(m["ventricle"], min=0) / 16) ** 2))
    away = [m[f"away {axis}"] for axis in "xyz"]
    surface = Where(*(c + m[f"offset {a}"] for c, a in zip((slow.x, slow.y, slow.z), "xyz", strict=True)))
    swell, gape = waves(surface, shape.keys[1], 37.0), waves(surface, shape.keys[5], 26.0)
    behind = torch.clamp((slow.y - 22) * 0.2, 0, 1)
    cerebellum = torch.clamp(-0.5 * m["tentorium"], 0, 1) * behind
    lateral = ((slow.x.abs() - 42) / 13) ** 2 + ((slow.y + 5) / 24) ** 2 + ((slow.z - 25) / 18) ** 2
    sylvian = torch.exp(-lateral)
    tent = torch.exp(-((m["tentorium"] / 5) ** 2)) * behind
    leuko = torch.exp(-torch.clamp(m["ventricle"] - push, min=0) / 5.0) * (1 + 0.5 * swell)
    leuko = torch.clamp(leuko - 0.1, min=0) * torch.clamp((slow.z - 28) * 0.1, 0, 1)
    width = shape.width * torch.clamp(1 + 0.4 * drift + 0.7 * gape, 0.15, 3) * (1 - 0.5 * cerebellum)
    return {
        "shift x": -middle - push * away[0], "shift y": -push * away[1], "shift z": -push * away[2],
        **{name: m[name] for name in ("offset x", "offset y", "offset z", "core")},
        "thinning": (shape.shrinkage * (1 + 0.25 * drift + 1.3 * sylvian) + 0.25 * swell) * (1 - 0.7 * tent),
        "depth": shape.depth * (1 + 0.45 * swell) * (1 - 0.5 * cerebellum), "swell": swell,
        "width": torch.clamp(width, min=0.04), "cerebellum": cerebellum,
        "hu": shape.texture * waves(slow, shape.keys[4], 23.0) - shape.hypodensity * leuko,
    }  # fmt: skip


def _folia(where: Where, swell: Tensor) -> Tensor:
    """Distance to the fissures of the cerebellum: nearly parallel, round its middle, mm."""
    back, up = where.y - 42, where.z - 2
    radius = torch.sqrt(back**2 + up**2 + 0.15 * where.x**2 + 25)
    angle = torch.atan2(up, back) + 0.12 * swell + 0.06 * torch.cos(where.x * 0.09)
    phase = angle * 7.0
    return torch.asin(torch.sin(phase) * 0.98) * radius / 7.0
