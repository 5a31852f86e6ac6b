"""One random unenhanced head: an atlas sharpened, deformed and given HU, on a head-frame grid."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lvo.phantom.atlas import Atlas, load_atlas
from lvo.phantom.deformation import Deformation, sample_deformation
from lvo.phantom.neck import NeckShape, draw_neck, sample_neck

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HeadModel:
    """One synthetic head without contrast.

    Attributes
    ----------
    hu : float32, shape (z, y, x), HU
    bone : float32, same shape: share of bone, 0 to 1.
    brain : float32, same shape: share of what lies inside the dura (grey, white, CSF), 0 to 1.
    affine : float64, shape (4, 4), array index (k, j, i) to head-frame (x, y, z), mm.
    deformation : the map behind `warp`.
    """

    hu: F32
    bone: F32
    brain: F32
    affine: F64
    deformation: Deformation

    def warp(self, points: npt.ArrayLike) -> F64:
        """Where canonical anatomical points (n, 3) lie in this head, head-frame mm, shape (n, 3)."""
        return self.deformation.from_canonical(points)


def sample_head(
    rng: np.random.Generator,
    spacing_mm: float = 1.5,
    below_mm: float | None = None,
    half_width_mm: float = 96.0,
    roughness_mm: float = 2.5,
) -> HeadModel:
    """Draw one head.

    Parameters
    ----------
    rng : numpy Generator
    spacing_mm : voxel size of the grid, mm
    below_mm : how far neck and chest go on below the atlas, 0 to 350 mm; None draws it.
    half_width_mm : half of the grid's extent along x, mm; shoulders need more than the head's 96.
    roughness_mm : sd of the smooth deformation, mm

    Returns
    -------
    HeadModel
        Grid along x, y, z of the head frame, from `below_mm` under the skull base to over the vertex.

    Raises
    ------
    lvo.phantom.atlas.AtlasMissing
        When the atlas package is not installed.
    """
    atlas = load_atlas()
    below = float(rng.uniform(0, 350)) if below_mm is None else float(below_mm)
    deformation = sample_deformation(rng, roughness_mm)
    extra = 0.5 * max(half_width_mm - 96.0, 0.0)  # a chest is deeper than a head, as shoulders are wider
    size = (-half_width_mm, -100.0 - extra, atlas.bottom - below), (half_width_mm, 140.0 + extra, 152.0)
    x, y, z = (np.arange(a, b + 1e-6, spacing_mm) for a, b in zip(*size, strict=True))
    where = deformation.on_grid(z, y, x)
    channels = canonical_head(rng, atlas)
    hu, bone, brain = (np.empty(where.shape[1:], np.float32) for _ in range(3))
    # Atlas and neck are drawn to either side of the lowest slice, with one atlas voxel of overlap.
    split = int(np.searchsorted(z, atlas.bottom - 25))
    index = ((where[::-1, split:] - atlas.affine[2::-1, 3].reshape(3, 1, 1, 1)) / 1.5).astype(np.float32)
    for out, channel, fill in zip((hu, bone, brain), channels, (-1000.0, 0.0, 0.0), strict=True):
        out[split:] = _sample(channel, index, fill)
    shape = sample_neck(rng)
    low = where[2].min(axis=(1, 2)) < atlas.bottom + 1.5
    if low.any():
        _add_neck(rng, atlas, where[:, low], shape, low, (hu, bone, brain))
    affine = np.zeros((4, 4))
    affine[0, 2] = affine[1, 1] = affine[2, 0] = spacing_mm
    affine[:, 3] = (x[0], y[0], z[0], 1.0)
    return HeadModel(hu, bone, brain, affine, deformation)


def _sample(channel: F32, index: F32, fill: float) -> F32:
    """Trilinear values at (3, ...) array indices; the top, front and sides go on into `fill`."""
    # order 1 with mode "constant" would darken the outermost half voxel, which is air here anyway
    out: F32 = ndimage.map_coordinates(channel, index, order=1, mode="constant", cval=fill)
    return out


def _add_neck(
    rng: np.random.Generator,
    atlas: Atlas,
    where: F32,
    shape: NeckShape,
    low: npt.NDArray[np.bool_],
    out: tuple[F32, F32, F32],
) -> None:
    """Draw the neck into the slices that reach below the atlas, in place."""
    x, y, z = where
    outline = _outline(atlas)
    rows = (y - atlas.affine[1, 3]) / atlas.affine[1, 1]
    columns = (x - atlas.affine[0, 3]) / atlas.affine[0, 2]
    distance = ndimage.map_coordinates(outline, [rows, columns], order=1, mode="nearest")
    noise = _noise_like(rng, x.shape, 4)
    hu, bone = draw_neck(x, y, z, shape, distance, noise, atlas.bottom)
    own = np.clip((atlas.bottom + 1.5 - z) / 1.5, 0, 1)
    for target, new in zip(out, (hu, bone, np.zeros_like(hu)), strict=True):
        target[low] = np.where(
            own > 0, own * new + (1 - own) * np.where(own < 1, target[low], 0), target[low]
        )


@functools.lru_cache(maxsize=2)
def _outline(atlas_or_none: Atlas | None = None) -> F32:
    """Signed distance to the skin in the atlas' lowest slice, mm, shape (y, x), negative inside."""
    atlas = atlas_or_none or load_atlas()
    inside = ndimage.binary_fill_holes(atlas.probability[5, 0] < 0.5)
    step = float(atlas.affine[1, 1])
    outer = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    return np.asarray(outer * step, dtype=np.float32)


# ----------------------------------------------------------------------------- the canonical head


def canonical_head(rng: np.random.Generator, atlas: Atlas) -> tuple[F32, F32, F32]:
    """HU, bone and brain of one undeformed head on the atlas grid, each float32, shape (z, y, x)."""
    p = _sharpen(rng, atlas)
    grey, white, csf, bone, soft, _air = p
    u = rng.uniform
    z, y, x = _coordinates(atlas)
    eye = _ball(x, y, z, (33, -57, -4), 19)
    hu = -1000.0 * p[5]
    hu += grey * u(33, 42) + white * u(25, 34) + csf * np.where(eye > 0.3, u(8, 25), u(0, 15))
    hu += bone * _bone_hu(rng, atlas, x, y, z)
    hu += soft * _soft_hu(rng, atlas, x, y, z)
    brain = (grey + white + csf) * (1 - np.clip(2 * eye, 0, 1))
    return hu.astype(np.float32), bone, brain.astype(np.float32)


def _sharpen(rng: np.random.Generator, atlas: Atlas) -> F32:
    """Make an individual of the average: a power on the odds, with smooth noise where bone meets air."""
    p = atlas.probability
    power = rng.uniform(1.6, 3.0)
    logits = power * _log_probability(atlas)
    shape = p.shape[1:]
    coarse, fine = _noise_like(rng, shape, 6), _noise_like(rng, shape, 2)
    # The vault is thin and blurred by averaging and needs help; the skull base is thick enough as it is.
    vault = np.clip((_coordinates(atlas)[0] + 10) / 20, 0, 1)
    logits[3] += rng.uniform(0.1, 1.1) * vault + rng.uniform(-1.2, 0) * (1 - vault)
    logits[3] += 0.5 * coarse + 0.5 * fine
    logits[4] += rng.uniform(-0.3, 0.3) - 0.4 * coarse
    # Air cells and sinuses vary most: from sclerotic to widely pneumatised.
    cells = (atlas.skin_depth > 6) | (_ethmoid(atlas) > 0.3)
    logits[5] += np.where(cells, rng.uniform(-1.5, 2.0) + 1.6 * fine, 0)
    logits[:3] += rng.normal(0, 0.25, (3, 1, 1, 1))
    logits -= logits.max(axis=0)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0)
    return logits


@functools.lru_cache(maxsize=2)
def _log_probability(atlas: Atlas) -> F32:
    """Log of the map, the ethmoid cells given the air that averaging took from them."""
    p = atlas.probability.copy()
    moved = 0.55 * _ethmoid(atlas) * p[3]
    p[3] -= moved
    p[5] += moved
    return np.asarray(np.log(p + 1e-4), dtype=np.float32)


@functools.lru_cache(maxsize=2)
def _ethmoid(atlas: Atlas) -> F32:
    """Soft mask of the ethmoid and the nose, 1 in the middle."""
    z, y, x = _coordinates(atlas)
    square = (x / 14) ** 2 + ((y + 42) / 26) ** 2 + ((z + 8) / 20) ** 2
    return np.clip(2 - 2 * square, 0, 1).astype(np.float32)


@functools.lru_cache(maxsize=2)
def _coordinates(atlas: Atlas) -> tuple[F32, F32, F32]:
    """Open head-frame coordinate grids z, y, x of the atlas, mm."""
    n = atlas.probability.shape[1:]
    z, y, x = (atlas.affine[2 - a, 3] + np.arange(n[a]) * atlas.affine[2 - a, a] for a in range(3))
    grids = np.ix_(z.astype(np.float32), y.astype(np.float32), x.astype(np.float32))
    return grids[0], grids[1], grids[2]


def _ball(x: F32, y: F32, z: F32, centre: tuple[float, float, float], radius: float) -> F32:
    """A soft ball on both sides of the midline, 1 in its middle."""
    square = (np.abs(x) - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2
    return np.asarray(np.exp(-square / radius**2), dtype=np.float32)


def _bone_hu(rng: np.random.Generator, atlas: Atlas, x: F32, y: F32, z: F32) -> F32:
    """Cortex outside, marrow inside, dense petrous pyramids, and texture."""
    u = rng.uniform
    shape = atlas.bone_depth.shape
    texture = _noise_like(rng, shape, 2)
    marrow = np.clip((atlas.bone_depth + 0.7 * texture - u(1.5, 4.0)) / 1.5, 0, 1)
    cortex_hu, marrow_hu = u(900, 1500), u(180, 600)
    hu = cortex_hu + marrow * (marrow_hu - cortex_hu)
    petrous = np.maximum(_ball(x, y, z, (36, 30, -10), 16), _ball(x, y, z, (24, 22, -12), 12))
    hu += petrous * (u(900, 1700) - hu) * np.clip(1.1 + 0.5 * texture, 0, 1)
    hu += 120 * texture * u(0.5, 2.0)
    # Thin plates of the face and the ethmoid are blurred in the atlas and weaker in a scan.
    face = np.clip((-y - 20) / 30, 0, 1) * np.clip((8 - z) / 20, 0, 1)
    hu *= 1 - face * u(0.2, 0.55)
    return np.clip(hu, 100, 2200).astype(np.float32)


def _soft_hu(rng: np.random.Generator, atlas: Atlas, x: F32, y: F32, z: F32) -> F32:
    """Skin, fat and muscle: fat under the skin and in the orbits, muscle deep and behind."""
    u = rng.uniform
    noise = _noise_like(rng, atlas.skin_depth.shape, 4)
    depth = atlas.skin_depth
    muscle = np.clip(0.45 + 0.5 * noise + np.clip((-z - 10) / 30, 0, 1) * 0.5, 0, 1)
    muscle = np.where(depth < u(2.0, 3.5), 0.85, muscle)
    orbit = _ball(x, y, z, (28, -42, -2), 20) * (depth > 4)
    muscle = muscle * (1 - np.clip(1.6 * orbit, 0, 1) * np.clip(0.9 - 0.35 * noise, 0, 1))
    fat = u(-115, -70)
    return np.asarray(fat + muscle * (u(35, 65) - fat), dtype=np.float32)


@functools.lru_cache(maxsize=4)
def _noise_block(voxels: int) -> F32:
    """A periodic block of smooth unit noise; heads take shifted and flipped parts of it."""
    white = np.random.default_rng(voxels).normal(size=(192, 192, 192)).astype(np.float32)
    smooth = ndimage.gaussian_filter(white, voxels / 2.0, mode="wrap")
    return np.asarray(smooth / smooth.std(), dtype=np.float32)


def _noise_like(rng: np.random.Generator, shape: tuple[int, ...], voxels: int) -> F32:
    """Smooth unit noise with a correlation length of about `voxels`."""
    block = _noise_block(voxels)
    block = block[tuple(slice(None, None, int(s)) for s in rng.choice([-1, 1], 3))]
    start = rng.integers(0, 192, 3)
    index = [np.mod(s + np.arange(n), 192) for s, n in zip(start, shape, strict=True)]
    return block[np.ix_(*index)]
