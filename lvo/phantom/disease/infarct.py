"""Acute infarcts: which tissue dies of a lack of flow, and how it looks on NCCT and CTA as hours pass."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from lvo.anatomy import Side
from lvo.phantom.disease.territory import GRID_MM, Supply, lattice_axes, sample_lattice
from lvo.phantom.head.atlas import load_atlas
from lvo.phantom.head.canvas import NoiseKey, Where, draw_key
from lvo.phantom.head.solids import Ground, Plot, Point
from lvo.phantom.head.texture import waves
from lvo.phantom.vessels.routes import MNI_SCALE

F32 = npt.NDArray[np.float32]
Range = tuple[float, float]
GREY_HU, WHITE_HU, CSF_HU, GREY_UPTAKE = 37.0, 29.0, 8.0, 0.045
"""Of normal tissue; what an infarct takes is a share of them."""
_FIELD_MM = 3.0
"""Fields of the lattice are looked up at points about so far apart and interpolated between them."""
_SULCI_MM = 24.0
"""Cerebrospinal fluid nearer to the inner table is in sulci and fissures, deeper in ventricles."""
_LIMIT = 0.02
_RESIDUAL = {**dict.fromkeys(("M3", "M4", "A2", "A3", "P2", "P3", "SCA", "AICA", "PICA"), 1.0), "M2": 0.3}


class InfarctRanges(BaseModel):
    """Acute infarction.

    Flow below 10 to 12 ml / 100 g / min infarcts within 2 to 3 hours and below 17 to 18 in the end (Jones et
    al., J Neurosurg 1981), of a normal 50: 0.35 (1 - exp(-t / 5 h)) passes 0.16 at 3 hours. Net water uptake
    lowers attenuation by its own share; it passes 11.5 % at about 4.5 hours (Minnerup et al., Ann Neurol
    2016) and approaches 20 to 25 % after a day (approximate): 24 % (1 - exp(-t / 7 h)) gives 3 % at 1, 10 %
    at 4 and 20 % at 12 hours.
    White matter takes up less. Sulci vanish from about 3 hours on (approximate).

    Attributes
    ----------
    hours : median, sd of the logarithm, least and most since onset.
    threshold : share of normal flow below which tissue infarcts in the end; growth_hours : its time constant.
    residual : low and high share of the missing flow that twigs too small to see bring to cortex and white
        matter; perforators have none, and the insula, fed from the trunks, has little.
    border_mm : over which neighbouring territories help each other.
    patchiness : sd of flow from place to place, of normal flow.
    water : low and high of the final net water uptake of grey matter; water_hours : its time constant.
    white : water uptake of white matter, of grey's.
    darkening : by how much a total lack of flow lowers the enhancement of the tissue in the CTA.
    swelling : low and high of the share of sulci that vanish in the end; swelling_hours : delay and time
        constant.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hours: tuple[float, float, float, float] = (3.5, 0.8, 0.4, 24.0)
    threshold: float = 0.35
    residual: Range = (0.02, 0.14)
    border_mm: float = 3.0
    growth_hours: float = 5.0
    patchiness: float = 0.06
    water: Range = (0.19, 0.29)
    water_hours: float = 7.0
    white: Range = (0.3, 0.65)
    darkening: Range = (0.5, 0.9)
    swelling: Range = (0.4, 0.95)
    swelling_hours: tuple[float, float] = (2.5, 8.0)


@dataclass(frozen=True, slots=True, eq=False)
class Infarct:
    """Tissue beyond an occlusion.

    Attributes
    ----------
    core : float32 on the lattice of `lvo.phantom.disease.territory`, 0 (alive) to 1 (infarcted).
    deficit : likewise, missing share of normal flow.
    water, white : net water uptake of grey matter now, and white matter's share of it.
    darkening : see `InfarctRanges`.
    swelling : share of the sulci that have vanished by now.
    centre : canonical mm, of the core; volume_ml : of the core.
    """

    side: Side
    centre: Point
    volume_ml: float
    hours: float
    core: F32
    deficit: F32
    water: float
    white: float
    darkening: float
    swelling: float
    key: NoiseKey
    kind: str = "acute infarct"


def draw_hours(rng: np.random.Generator, ranges: InfarctRanges) -> float:
    """Hours since onset."""
    median, sd, least, most = ranges.hours
    return float(np.clip(median * np.exp(rng.normal(0, sd)), least, most))


def sample_infarct(
    supply: Supply,
    perfusion: npt.ArrayLike,
    hours: float,
    rng: np.random.Generator,
    ranges: InfarctRanges | None = None,
) -> Infarct | None:
    """What a lack of flow has done by now; None where no branch lacks any.

    Parameters
    ----------
    perfusion : (branches,) of the tree that `supply` was made from: flow at the tissue, of normal, 0 to 1,
        collaterals included.
    """
    r = ranges or InfarctRanges()
    flow = np.clip(np.asarray(perfusion, np.float32), 0, 1)[supply.branch]
    if float(flow.min()) > 1 - _LIMIT:
        return None
    helped = float(rng.uniform(*r.residual)) * np.array([_RESIDUAL.get(s, 0.0) for s in supply.structures])
    flow = flow + (1 - flow) * helped.astype(np.float32)[supply.branch]
    flow = ndimage.gaussian_filter(flow, r.border_mm / GRID_MM, mode="nearest", truncate=2.5)
    rough = ndimage.gaussian_filter(rng.normal(0, 1, flow.shape), 1.2, truncate=2.5)
    flow += (r.patchiness / rough.std() * rough * (flow < 1 - _LIMIT)).astype(np.float32)
    threshold = r.threshold * (1 - np.exp(-hours / r.growth_hours))
    core = np.clip(0.5 + (threshold - flow) / 0.08, 0, 1).astype(np.float32)
    weight = core * supply.brain
    volume = float(weight.sum()) * (GRID_MM / MNI_SCALE) ** 3 / 1000
    centre = supply.centre(weight if volume > 0.1 else np.clip(1 - flow, 0, 1) * supply.brain)
    side = Side.MIDLINE if abs(centre[0]) < 8 else Side.LEFT if centre[0] > 0 else Side.RIGHT
    delay, constant = r.swelling_hours
    return Infarct(
        side=side,
        centre=centre,
        volume_ml=volume,
        hours=hours,
        core=core,
        deficit=np.clip(1 - flow, 0, 1).astype(np.float32),
        water=float(rng.uniform(*r.water)) * float(1 - np.exp(-hours / r.water_hours)),
        white=float(rng.uniform(*r.white)),
        darkening=float(rng.uniform(*r.darkening)),
        swelling=float(rng.uniform(*r.swelling)) * float(1 - np.exp(-max(hours - delay, 0) / constant)),
        key=draw_key(rng),
    )


def draw_infarct(infarct: Infarct, ground: Ground) -> None:
    """Darken the tissue, in place."""
    plot = crop_lattice(ground, infarct.deficit > _LIMIT)
    if plot is None:
        return
    device = plot.where.x.device
    maps = (infarct.core, infarct.deficit, infarct.core * sulci())
    fields = torch.stack([torch.from_numpy(m).to(device) for m in maps])
    core, deficit, swollen = spread(fields, plot.where, infarct.key)
    c = plot.canvas
    c.uptake *= 1 - infarct.darkening * deficit
    lost = core * infarct.water
    c.hu -= lost * (GREY_HU * c.grey + (WHITE_HU * infarct.white) * c.white)
    if infarct.swelling > _LIMIT:
        efface(plot, swollen * infarct.swelling, GREY_HU * (1 - infarct.water))


def enhancement_lost(lesions: Iterable[object], where: Where) -> Tensor:
    """Share of its enhancement that tissue lacks beyond occlusions, as `draw_infarct` darkens it.

    Returns
    -------
    Tensor
        float32 (z, y, x) at the points of `where`, 0 to 1.
    """
    lost = torch.zeros_like(where.x)
    for infarct in lesions:
        if isinstance(infarct, Infarct):
            share = torch.from_numpy(infarct.darkening * infarct.deficit).to(lost.device)
            lost = torch.maximum(lost, sample_lattice(share[None], where)[0])
    return lost


# ----------------------------------------------------------------------------- shared with other lesions


def efface(plot: Plot, share: Tensor, tissue_hu: float = GREY_HU) -> None:
    """Press a share of the cerebrospinal fluid out and brain into its place, in place."""
    c = plot.canvas
    pressed = share * c.csf
    c.csf -= pressed
    c.grey += pressed
    c.hu += pressed * (tissue_hu - CSF_HU)
    c.uptake += pressed * (0.6 * GREY_UPTAKE)


def crop_lattice(ground: Ground, inside: npt.NDArray[np.bool_]) -> Plot | None:
    """The part of a grid where something on the lattice is."""
    if not inside.any():
        return None
    low, high = [], []
    for axis, line in zip((2, 1, 0), lattice_axes()[::-1], strict=True):
        others = tuple(a for a in range(3) if a != axis)
        hit = line[inside.any(axis=others)]
        low.append(float(hit[0]) - GRID_MM)
        high.append(float(hit[-1]) + GRID_MM)
    return ground.crop((low[0], low[1], low[2]), (high[0], high[1], high[2]))


def spread(fields: Tensor, where: Where, key: NoiseKey | None = None, wobble_mm: float = 1.5) -> Tensor:
    """Fields (n, z, y, x) of the lattice on a grid, their edges made irregular by up to some mm."""
    xyz = torch.stack([where.x, where.y, where.z])[None]
    sizes = []
    for axis, n in enumerate(where.shape):
        last = [0, 0, 0]
        last[axis] = n - 1
        ends = xyz[0][:, 0, 0, 0], xyz[0][:, last[0], last[1], last[2]]
        sizes.append(max(2, round(float((ends[1] - ends[0]).norm()) / _FIELD_MM) + 1))
    sizes = [min(n, s) for n, s in zip(where.shape, sizes, strict=True)]
    x, y, z = functional.interpolate(xyz, size=sizes, mode="trilinear", align_corners=True)[0]
    coarse = Where(x, y, z)
    if key is not None:
        shift = wobble_mm * waves(coarse, key, 19.0)
        coarse = Where(x + shift, y - 0.7 * shift, z + 0.8 * shift)
    found = sample_lattice(fields, coarse)[None]
    return functional.interpolate(found, size=list(where.shape), mode="trilinear", align_corners=True)[0]


@functools.lru_cache(maxsize=1)
def inner_depth() -> F32:
    """Depth under the inner table of the average head on the lattice, mm, negative outside."""
    atlas = load_atlas()
    room = ndimage.binary_fill_holes(atlas.probability[:3].sum(0) > 0.5)
    step = float(atlas.affine[1, 1])
    return _on_lattice((ndimage.distance_transform_edt(room) - ndimage.distance_transform_edt(~room)) * step)


@functools.lru_cache(maxsize=1)
def fluid() -> F32:
    """Share of cerebrospinal fluid in the average head on the lattice."""
    return _on_lattice(ndimage.uniform_filter(load_atlas().probability[2], 3))


def _on_lattice(values: npt.NDArray[np.floating]) -> F32:
    """Values on the atlas' grid (z, y, x) at the points of the lattice."""
    atlas = load_atlas()
    grid = np.meshgrid(*lattice_axes(), indexing="ij")
    index = [(c - atlas.affine[2 - a, 3]) / atlas.affine[2 - a, a] for a, c in enumerate(grid)]
    found: F32 = ndimage.map_coordinates(values, index, order=1, mode="nearest").astype(np.float32)
    return found


@functools.lru_cache(maxsize=1)
def sulci() -> F32:
    """Where cerebrospinal fluid is in sulci and fissures, not in ventricles, on the lattice, 0 to 1."""
    found: F32 = np.clip((_SULCI_MM - inner_depth()) / 8.0, 0, 1).astype(np.float32)
    return found
