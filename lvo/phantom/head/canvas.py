"""Points of a grid in canonical coordinates, what the atlas says of them, and the tissue drawn there."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from lvo.phantom.head.atlas import Atlas, load_atlas

NoiseKey = tuple[float, float, float]
"""Where in the endless noise a field begins, in noise cells; drawn once and kept."""
_BLOCK, _CELL = 96, 4
"""Voxels of the periodic block of noise, and of its correlation length, along each axis."""


@dataclass(frozen=True, slots=True, eq=False)
class Where:
    """Points of a grid.

    Attributes
    ----------
    x, y, z : float32 tensors of one shape (z, y, x): canonical head-frame mm (x to the left, y to the back,
        z up, origin near the sella).
    """

    x: Tensor
    y: Tensor
    z: Tensor

    @property
    def shape(self) -> torch.Size:
        """Shape (z, y, x) of the grid."""
        return self.x.shape

    def atlas(self) -> Tensor:
        """Tissue probabilities, float32 (6, z, y, x), in the order of `lvo.phantom.head.atlas.CLASSES`.

        Below the atlas' lowest slice its values go on; beyond its other faces there is air.
        """
        maps, atlas = _atlas_maps(self.x.device), load_atlas()
        return _sample(maps, self, atlas)[:6]

    def depths(self) -> tuple[Tensor, Tensor]:
        """Depth in the average bone and under the average skin, mm, each (z, y, x)."""
        maps, atlas = _atlas_maps(self.x.device), load_atlas()
        found = _sample(maps[:, 6:], self, atlas)
        return found[0], found[1]

    def noise(self, key: NoiseKey, grain_mm: float) -> Tensor:
        """Smooth noise of mean 0 and variance about 1, correlated over about `grain_mm`, (z, y, x)."""
        block = _noise_block(self.x.device)
        size = float(_BLOCK)
        axes = []
        for coordinate, offset in zip((self.x, self.y, self.z), key, strict=True):
            index = torch.remainder(coordinate * (_CELL / grain_mm) + offset * _CELL, size)
            axes.append((index + 1) * (2 / (size + 1)) - 1)  # the block is padded by its own first layer
        grid = torch.stack(axes, dim=-1)[None]
        return functional.grid_sample(block, grid, align_corners=True)[0, 0]


@dataclass(slots=True, eq=False)
class Canvas:
    """Tissue at every point of a grid while it is being drawn: float32 tensors of one shape (z, y, x).

    Attributes
    ----------
    hu : unenhanced attenuation.
    uptake : HU gained for each HU that blood has gained (blood volume and leak), 0 to 1.
    bone, grey, white, csf : shares of the voxel, 0 to 1.
    """

    hu: Tensor
    uptake: Tensor
    bone: Tensor
    grey: Tensor
    white: Tensor
    csf: Tensor

    @classmethod
    def of_air(cls, where: Where) -> Canvas:
        """Nothing but air."""
        zero = torch.zeros_like(where.x)
        return cls(torch.full_like(where.x, -1000.0), *(zero.clone() for _ in range(5)))

    def put(
        self,
        share: Tensor,
        hu: Tensor | float,
        *,
        uptake: Tensor | float = 0.0,
        bone: float = 0.0,
        grey: float = 0.0,
        white: float = 0.0,
        csf: float = 0.0,
    ) -> None:
        """Replace `share` (0 to 1) of every voxel by a tissue, in place."""
        self.hu += share * (hu - self.hu)
        self.uptake += share * (uptake - self.uptake)
        for old, new in ((self.bone, bone), (self.grey, grey), (self.white, white), (self.csf, csf)):
            old += share * (new - old)


def draw_key(rng: np.random.Generator) -> NoiseKey:
    """A fresh place in the noise."""
    a, b, c = (float(v) for v in rng.uniform(0, _BLOCK / _CELL, 3))
    return a, b, c


def inside(distance: Tensor, soft_mm: float = 1.0) -> Tensor:
    """Share inside a surface from a signed distance (negative inside), soft over `soft_mm`."""
    return torch.clamp(0.5 - distance / soft_mm, 0, 1)


@functools.lru_cache(maxsize=4)
def _noise_block(device: torch.device) -> Tensor:
    """One padded period of smooth noise, (1, 1, n + 2, n + 2, n + 2)."""
    white = np.random.default_rng(96).normal(size=(_BLOCK,) * 3).astype(np.float32)
    smooth = ndimage.gaussian_filter(white, _CELL / 2.0, mode="wrap")
    padded = np.pad(smooth / smooth.std(), 1, mode="wrap")
    return torch.from_numpy(padded)[None, None].to(device)


@functools.lru_cache(maxsize=4)
def _atlas_maps(device: torch.device) -> Tensor:
    """Six probabilities and two depths, (1, 8, z, y, x)."""
    atlas = load_atlas()
    maps = np.concatenate([atlas.probability, atlas.bone_depth[None], atlas.skin_depth[None]])
    return torch.from_numpy(maps)[None].to(device)


def _sample(maps: Tensor, where: Where, atlas: Atlas) -> Tensor:
    """Trilinear values of the atlas maps, (c, z, y, x)."""
    low = atlas.affine[:3, 3]
    step = (atlas.affine[0, 2], atlas.affine[1, 1], atlas.affine[2, 0])
    sizes = maps.shape[:1:-1]
    axes = [
        (c - float(a)) * (2 / (float(s) * (n - 1))) - 1
        for c, a, s, n in zip((where.x, where.y, where.z), low, step, sizes, strict=True)
    ]
    grid = torch.stack([axes[0], axes[1], torch.clamp(axes[2], min=-1.0)], dim=-1)[None]
    found: Tensor = functional.grid_sample(maps, grid, align_corners=True, padding_mode="zeros")[0]
    if maps.shape[1] == 8:
        found[5] += 1 - found[:6].sum(0)  # beyond the atlas is air
    return found
