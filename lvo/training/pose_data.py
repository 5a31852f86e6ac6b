"""Training samples for the pose network: synthetic heads in any pose, crop and disguise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch.nn import functional

from lvo.imaging.pose_fit import rotation_from_angles
from lvo.imaging.pose_input import CELL_MM, COARSE_MM, COORDINATE_SCALE_MM, OUTSIDE_HU, encode
from lvo.phantom.head.atlas import load_atlas
from lvo.phantom.head.individual import Head, HeadRanges, draw_head, sample_head

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
_FIELD_MM = 16.0
_BELOW_COVERED = -45.0
"""Head-frame z under which nothing counts as head: the atlas ends there."""


@dataclass(frozen=True, slots=True)
class BankedHead:
    """A head made ready for quick sampling.

    Attributes
    ----------
    hu : float16 tensor, shape (1, 1, z, y, x), HU
    canonical : float32 tensor, shape (1, 3, kz, ky, kx): canonical (x, y, z) on a coarse grid, mm
    low, high : head-frame (x, y, z) of the first and last voxel centre, mm; shared by both grids.
    """

    hu: torch.Tensor
    canonical: torch.Tensor
    low: F64
    high: F64


def bank_head(
    rng: np.random.Generator, ranges: HeadRanges | None = None, spacing_mm: float = 3.0
) -> BankedHead:
    """Make one head, a third of them with shoulders and chest, ready for `sample`.

    Parameters
    ----------
    ranges : how heads differ.
    """
    chest = rng.random() < 0.35
    below = rng.uniform(150, 330) if chest else rng.uniform(0, 120)
    return prepare(sample_head(rng, ranges), below, 200.0 if chest else 110.0, spacing_mm)


def prepare(head: Head, below_mm: float, half_width_mm: float, spacing_mm: float = 3.0) -> BankedHead:
    """Draw a head on an upright lattice.

    Parameters
    ----------
    below_mm : how far neck and chest go on below the atlas, mm.
    half_width_mm : half of the lattice's extent along x, mm.
    """
    extra = 0.5 * max(half_width_mm - 96.0, 0.0)  # a chest is deeper than a head, as shoulders are wider
    low = np.array([-half_width_mm, -100.0 - extra, load_atlas().bottom - below_mm])
    size = np.floor((np.array([half_width_mm, 140.0 + extra, 152.0]) - low) / spacing_mm).astype(int)
    high = low + size * spacing_mm
    affine = np.zeros((4, 4))
    affine[0, 2] = affine[1, 1] = affine[2, 0] = spacing_mm
    affine[:3, 3], affine[3, 3] = low, 1.0
    hu = draw_head(head, affine, (int(size[2]) + 1, int(size[1]) + 1, int(size[0]) + 1)).hu
    counts = np.maximum(np.ceil((high - low) / _FIELD_MM).astype(int), 1) + 1
    axes = [np.linspace(a, b, n) for a, b, n in zip(low, high, counts, strict=True)]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    found = head.deformation.to_canonical(np.stack([x, y, z], axis=-1).reshape(-1, 3))
    field = np.ascontiguousarray(found.T.reshape(3, *x.shape), dtype=np.float32)
    return BankedHead(hu.half()[None, None], torch.from_numpy(field)[None], low, high)


@dataclass(frozen=True, slots=True)
class Sample:
    """One training sample, float32 arrays.

    Attributes
    ----------
    image : shape (24, z, y, x) of 8 mm cells, as `lvo.imaging.pose_input.encode` gives them
    target : shape (3, z, y, x): canonical (x, y, z) / 100 mm
    head : shape (z, y, x): 1 where the cell lies in the head
    known : shape (z, y, x): 0 where the cell straddles an edge and is neither
    """

    image: F32
    target: F32
    head: F32
    known: F32


def sample(rng: np.random.Generator, head: BankedHead, shape: tuple[int, int, int]) -> Sample:
    """Put a banked head into a random pose in a random scan of `shape` 4 mm voxels (z, y, x)."""
    points = _scan_points(rng, head, shape)
    hu = _grid_sample(head.hu.float(), head, points, OUTSIDE_HU)[0]
    canonical = _grid_sample(head.canonical, head, _cells(points), 0.0, padding="border")
    valid = _visible(rng, shape)
    inside = functional.avg_pool3d(torch.from_numpy(hu > -400)[None].float(), 2)[0].numpy()
    if rng.random() < 0.5:  # a mirrored head is a head, and the canonical one is nearly symmetric
        hu, canonical, valid, inside = (np.flip(a, -1) for a in (hu, canonical, valid, inside))
        canonical = canonical * np.array([-1, 1, 1], np.float32).reshape(3, 1, 1, 1)
    hu = _disguise(rng, hu)
    hu = np.where(valid > 0, hu, OUTSIDE_HU)
    seen = valid.reshape(shape[0] // 2, 2, shape[1] // 2, 2, shape[2] // 2, 2).mean((1, 3, 5))
    above = canonical[2] > _BELOW_COVERED
    head_mask = (inside > 0.5) & (seen > 0.5) & above
    edge = ((inside > 0.1) & (inside <= 0.5)) | ((seen > 0) & (seen <= 0.5))
    edge |= np.abs(canonical[2] - _BELOW_COVERED) < 6
    known = (~edge).astype(np.float32)
    image = encode(hu.astype(np.float32), valid.astype(np.float32))
    target = np.ascontiguousarray(canonical / COORDINATE_SCALE_MM, dtype=np.float32)
    return Sample(image, target, head_mask.astype(np.float32), known)


def nothing(rng: np.random.Generator, shape: tuple[int, int, int]) -> Sample:
    """A scan without a head: water, blobs of tissue, bone and lung, or noise."""
    hu = np.full(shape, -1000.0, np.float32)
    coords = np.ogrid[tuple(slice(0, n) for n in shape)]
    for _ in range(int(rng.integers(1, 7))):
        centre, radius = rng.uniform(0.2, 0.8, 3) * shape, rng.uniform(3, 30, 3)
        power = rng.choice([2, 2, 8])
        level = sum((np.abs(c - m) / r) ** power for c, m, r in zip(coords, centre, radius, strict=True))
        hu[level < 1] = rng.choice([0, 40, -100, 300, 900, -850]) + rng.normal(0, 20)
    hu = _disguise(rng, hu)
    cells = tuple(n // 2 for n in shape)
    valid = _visible(rng, shape)
    image = encode(np.where(valid > 0, hu, OUTSIDE_HU).astype(np.float32), valid)
    zeros = np.zeros(cells, np.float32)
    return Sample(image, np.zeros((3, *cells), np.float32), zeros, np.ones(cells, np.float32))


def _scan_points(rng: np.random.Generator, head: BankedHead, shape: tuple[int, int, int]) -> torch.Tensor:
    """Head-frame (x, y, z) of every scan voxel, float32, shape (z, y, x, 3)."""
    easy = rng.random() < 0.35  # as the second look will see it: nearly upright
    spread = np.array((10, 8, 8)) if easy else np.array((48, 32, 32))
    rotation = rotation_from_angles(*rng.uniform(-spread, spread))
    size = rng.uniform(0.9, 1.1) if easy else np.exp(rng.uniform(np.log(0.74), np.log(1.28)))
    middle = rng.normal(0, 1, 3) * (25, 25, 35) + (0, 5, 25)
    if rng.random() < 0.2:  # anywhere: the head at the edge, or only neck and chest
        middle[2] = rng.uniform(head.low[2], 90)
    axes = [(np.arange(n) - (n - 1) / 2) * COARSE_MM / size for n in shape]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    points = np.stack([x, y, z], -1).astype(np.float32) @ rotation.T.astype(np.float32)
    return torch.from_numpy(points + middle.astype(np.float32))


def _cells(points: torch.Tensor) -> torch.Tensor:
    """Centres of blocks of eight voxels, shape (z / 2, y / 2, x / 2, 3)."""
    pooled = functional.avg_pool3d(points.permute(3, 0, 1, 2)[None], 2)[0]
    assert CELL_MM == 2 * COARSE_MM
    return pooled.permute(1, 2, 3, 0)


def _grid_sample(
    source: torch.Tensor, head: BankedHead, points: torch.Tensor, fill: float, padding: str = "zeros"
) -> F32:
    """Trilinear values of a banked grid at head-frame points, float32, shape (c, z, y, x)."""
    low, high = torch.from_numpy(head.low).float(), torch.from_numpy(head.high).float()
    where = 2 * (points - low) / (high - low) - 1
    shifted = source - fill if padding == "zeros" else source
    out = functional.grid_sample(shifted, where[None], padding_mode=padding, align_corners=True)[0]
    values: F32 = (out + fill if padding == "zeros" else out).numpy()
    return values


def _visible(rng: np.random.Generator, shape: tuple[int, int, int]) -> F32:
    """What of the grid the scanner covered: a tilted slab of slices and a round or square field of view."""
    z, y, x = np.ogrid[tuple(slice(0, n) for n in shape)]
    valid = np.ones(shape, bool)
    if rng.random() < 0.5:
        slope = rng.normal(0, 0.12, 2) * (rng.random() < 0.5)
        height = z + slope[0] * (y - shape[1] / 2) + slope[1] * (x - shape[2] / 2)
        low = rng.uniform(0, 0.45) * shape[0] if rng.random() < 0.6 else -np.inf
        high = rng.uniform(0.6, 1.0) * shape[0] if rng.random() < 0.6 else np.inf
        valid &= (height >= low) & (height <= high)
    if rng.random() < 0.4:
        radius = rng.uniform(20, 34)
        cy, cx = shape[1] / 2 + rng.normal(0, 4), shape[2] / 2 + rng.normal(0, 4)
        dy, dx = np.abs(y - cy), np.abs(x - cx)
        field = np.hypot(dy, dx) if rng.random() < 0.5 else np.maximum(dy, dx)
        valid &= field <= radius
    return valid.astype(np.float32)


# ----------------------------------------------------------------------------- disguises


def _disguise(rng: np.random.Generator, hu: F32) -> F32:
    """Contrast, table, metal, HU shifts, blur and noise, far beyond what scanners do."""
    hu = np.array(hu, np.float32)
    if rng.random() < 0.25:  # opacified sinuses and mastoids, a wrong scale of air
        hu[(hu < -300) & (ndimage.uniform_filter(hu, 5) > -500)] = rng.uniform(-600, 60)
    if rng.random() < 0.2:  # thick and thin skulls
        filtered = ndimage.maximum_filter(hu, 2) if rng.random() < 0.5 else ndimage.minimum_filter(hu, 2)
        hu = np.where(hu > -300, filtered, hu)
    bone = hu > 150
    gain = rng.uniform(0.5, 1.5) * np.exp(0.35 * _swell(rng, hu.shape))
    hu[bone] = 150 + (hu[bone] - 150) * gain[bone]
    soft = (hu > -200) & ~bone
    hu[soft] = hu[soft] * rng.uniform(0.6, 1.5) + rng.normal(0, 10)
    if rng.random() < 0.7:
        _vessels(rng, hu)
    if rng.random() < 0.5:
        _furniture(rng, hu)
    if rng.random() < 0.15:
        _metal(rng, hu)
    if rng.random() < 0.2:
        hu = ndimage.gaussian_filter(hu, rng.uniform(0.5, 1.3))
    elif rng.random() < 0.6:
        hu = ndimage.gaussian_filter(hu, (rng.uniform(0, 1.2), *([rng.uniform(0, 0.7)] * 2)))
    if rng.random() < 0.2:
        hu = np.repeat(hu[::2], 2, axis=0)[: len(hu)]
    if rng.random() < 0.5:
        hu = hu + _swell(rng, hu.shape) * np.float32(rng.uniform(0, 15))
    noise = rng.standard_normal(hu.shape, np.float32) * rng.uniform(0, 35)
    return np.clip(hu + noise, OUTSIDE_HU, 4000)


def _swell(rng: np.random.Generator, shape: tuple[int, ...]) -> F32:
    """A field that varies slowly, about unit variance."""
    low = torch.from_numpy(rng.standard_normal((1, 1, 4, 4, 4), np.float32))
    out: F32 = functional.interpolate(low, shape, mode="trilinear", align_corners=True)[0, 0].numpy()
    return out


def _vessels(rng: np.random.Generator, hu: F32) -> None:
    """Bright winding tubes within soft tissue, in place."""
    solid = np.argwhere((hu > -20) & (hu < 120))
    if not len(solid):
        return
    level = rng.uniform(80, 500)
    for _ in range(int(rng.integers(3, 25))):
        steps = int(rng.integers(5, 40))
        heading = rng.normal(0, 1, 3)
        turns = np.cumsum(rng.normal(0, 0.3, (steps, 3)), 0) + heading / np.linalg.norm(heading)
        path = solid[rng.integers(len(solid))] + np.cumsum(turns / np.linalg.norm(turns, axis=1)[:, None], 0)
        index = np.round(path).astype(int)
        index = index[((index >= 0) & (index < hu.shape)).all(1)]
        spot = tuple(index.T)
        share = rng.uniform(0.2, 1.0)
        tissue = (hu[spot] > -50) & (hu[spot] < 150)
        hu[spot] = np.where(tissue, hu[spot] + share * level, hu[spot])


def _furniture(rng: np.random.Generator, hu: F32) -> None:
    """A table below and a head rest round the head, in air only, in place."""
    z, y, x = np.ogrid[tuple(slice(0, n) for n in hu.shape)]
    air = hu < -700
    rows = np.where((hu > -300).any(axis=(0, 2)))[0]
    back = (rows.max() if len(rows) else hu.shape[1] * 0.8) + rng.uniform(-6, 3)
    curve = rng.uniform(-0.002, 0.012) * (x - hu.shape[2] / 2) ** 2
    shell = np.abs(y + curve - back - rng.uniform(0, 6)) < rng.uniform(0.5, 3)
    hu[shell & air & (z >= 0)] = rng.uniform(-950, 200)
    if rng.random() < 0.5:
        radius = rng.uniform(20, 30)
        ring = np.abs(np.hypot(x - hu.shape[2] / 2, (y - back + radius) * 0.9) - radius) < rng.uniform(0.5, 2)
        rest = ring & (y > back - radius * rng.uniform(0.3, 1.2)) & (hu < -700) & (z >= 0)
        hu[rest] = rng.uniform(-950, 0)


def _metal(rng: np.random.Generator, hu: F32) -> None:
    """A few very bright points with streaks in their slices, in place."""
    bright = np.argwhere(hu > 200)
    if not len(bright):
        return
    for spot in bright[rng.integers(len(bright), size=int(rng.integers(1, 5)))]:
        z, y, x = (int(v) for v in spot)
        angle = np.arctan2(*np.ogrid[-y : hu.shape[1] - y, -x : hu.shape[2] - x])
        far = np.hypot(*np.ogrid[-y : hu.shape[1] - y, -x : hu.shape[2] - x])
        streak = np.cos(angle * rng.integers(3, 12) + rng.uniform(0, 6)) * np.exp(-far / rng.uniform(5, 25))
        hu[max(z - 1, 0) : z + 1] += streak * rng.uniform(100, 900)
        hu[z, y, x] = 4000
