"""Beam hardening, scatter and photon starvation: what bone does to its slice, on a coarse lattice.

Parallel rays through every slice of the gantry give mm of water and bone; what the scanner reads of them is
wrong by some mm, and filtered backprojection of that error is the artefact (Joseph and Spital 1978). The same
rays tell where noise is high: the variance of a ray grows with its attenuation (Hsieh 1998).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional

from lvo.phantom.scanner.xray import Spectrum, spectrum, split

Affine = npt.NDArray[np.float64]
F64 = npt.NDArray[np.float64]
Shape = tuple[int, int, int]
_TYPICAL = (165.0, 12.0)  # mm of water and of bone in the rays through the middle of a head
_BOW_TIE_MM = 125.0  # radius of the cylinder whose missing attenuation the bow-tie filter adds
_CENTRAL_MM = 30.0


class Beam(BaseModel):
    """How a scanner's beam and its corrections behave; one drawn value each.

    Attributes
    ----------
    kvp : tube voltage
    hardening : share of the beam hardening of bone that the scanner leaves, 0 to 1 (head protocols correct a
        part of it)
    scatter : scattered signal left after correction, relative to the slice's geometric mean signal
    modulation : how far tube current follows the attenuation of a slice, 0 (fixed) to 1 (constant noise)
    bow_tie : share of a cylinder's missing attenuation that the bow-tie filter adds at the sides, 0 to 1
    starved : signal, relative to the typical head's, below which a ray's noise streaks
    angles : number of views over 180 degrees
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kvp: float = 120.0
    hardening: float = 0.6
    scatter: float = 0.004
    modulation: float = 0.6
    bow_tie: float = 0.6
    starved: float = 0.15
    angles: int = 48


@dataclass(frozen=True, slots=True, eq=False)
class ArtefactMaps:
    """What the beam does to each place, on a coarse gantry lattice; float32 tensors (z, y, x).

    Attributes
    ----------
    affine : index (k, j, i) to gantry mm (LPS axes)
    error : HU to add
    noise : standard deviation of the noise, relative to that of a typical head's middle
    streaks : standard deviation of the noise of starved lateral rays, relative to the same
    """

    affine: Affine
    error: Tensor
    noise: Tensor
    streaks: Tensor

    def on(
        self, affine: Affine, shape: Shape, first: int = 0, last: int | None = None, *, streaks: bool = True
    ) -> Tensor:
        """Error, noise and streaks on slices first to last of any lattice, (3, last - first, y, x).

        Parameters
        ----------
        affine : the lattice's index (k, j, i) to gantry mm
        streaks : False leaves them out
        """
        count = (shape[0] if last is None else last) - first
        maps = torch.stack([self.error, self.noise, *([self.streaks] if streaks else [])])[None]
        start = affine.copy()
        start[:3, 3] += affine[:3, 0] * first
        return sample_maps(maps, np.linalg.inv(self.affine) @ start, (count, *shape[1:]))


def sample_maps(maps: Tensor, to_index: Affine, shape: Shape) -> Tensor:
    """Maps (1, c, z, y, x) on a lattice, (c, z, y, x); their edges go on beyond them.

    They are smooth: a lattice much finer than theirs is sampled sparsely and interpolated.

    Parameters
    ----------
    to_index : lattice index (k, j, i) to index (k, j, i) of the maps
    """
    pace = np.linalg.norm(to_index[:3, :3], axis=0)
    sparse = [max(1, min(int(0.75 / p), n - 1)) for p, n in zip(pace, shape, strict=True)]
    few = [-(-(n - 1) // s) + 1 for n, s in zip(shape, sparse, strict=True)]
    size = np.array(maps.shape[2:], float)
    scale = to_index[:3, :3] * np.array(sparse) * (2 / np.maximum(size - 1, 1))[:, None]
    offset = to_index[:3, 3] * 2 / np.maximum(size - 1, 1) - 1
    axes = [torch.arange(n, device=maps.device, dtype=torch.float32) for n in few]
    k, j, i = axes[0][:, None, None], axes[1][:, None], axes[2]
    rows = [
        (k * float(s[0]) + float(o)) + j * float(s[1]) + i * float(s[2])
        for s, o in zip(scale, offset, strict=True)
    ]
    grid = torch.stack([rows[2], rows[1], rows[0]], -1)[None]
    found = functional.grid_sample(maps, grid, align_corners=True, padding_mode="border")
    return enlarge(found[0], shape, sparse)


def enlarge(maps: Tensor, shape: Shape, factors: Sequence[float]) -> Tensor:
    """Linear interpolation of (c, z, y, x) maps that hold every n-th voxel along each axis, first to last."""
    for axis, (n, s) in enumerate(zip(shape, factors, strict=True)):
        if s != 1:  # one matrix product per axis is far quicker than trilinear interpolation
            at = torch.arange(maps.shape[axis + 1], device=maps.device)
            hat = torch.clamp(1 - (torch.arange(n, device=maps.device)[:, None] / s - at).abs(), min=0)
            maps = torch.einsum(_ALONG[axis], hat, maps)
    return maps


_ALONG = ("nm,cmyx->cnyx", "nm,czmx->cznx", "nm,czym->czyn")


def artefact_maps(hu: Tensor, affine: Affine, beam: Beam) -> ArtefactMaps:
    """Beam hardening, scatter and noise of a body.

    Parameters
    ----------
    hu : float32 (z, y, x): all that lies in the beam, shoulders and table as well, at 3 to 5 mm, slices in
        the gantry's plane
    affine : its index to gantry mm; steps along y and x must be equal
    """
    tube = spectrum(beam.kvp)
    step = float(np.linalg.norm(affine[:3, 2]))
    rays = Rays.of(hu.shape[1], hu.shape[2], step, beam.angles, str(hu.device))
    water, bone = (rays.project(part) for part in split(hu, tube))
    signal = tube.signal(((tube.water, water), (tube.bone, bone)))
    error = beam.hardening * (tube.read(signal) - water - tube.bone_mm * bone)
    error += _scatter(signal, water, beam, tube)
    noise, streaks = _noise(signal, water, rays, beam, tube)
    return ArtefactMaps(affine, 1000 * rays.reconstruct(error), noise, streaks)


def _scatter(signal: Tensor, water: Tensor, beam: Beam, tube: Spectrum) -> Tensor:
    """Mm of water by which scatter shortens rays, beyond what calibration on a head makes up for."""
    shadow = (signal < 0.6).float()
    depth = (torch.log(signal) * shadow).sum((0, 1)) / shadow.sum((0, 1)).clamp(min=1)
    level = beam.scatter * torch.exp(depth)
    typical = torch.full_like(
        level, float(np.exp(-tube.water * _TYPICAL[0] - tube.bone * _TYPICAL[1]) @ tube.weight)
    )
    usual = tube.read(typical + level) - tube.read(typical)
    lost: Tensor = tube.read((signal + level).clamp(max=1.0)) - tube.read(signal)
    return lost - usual * (water / _TYPICAL[0])


def _noise(signal: Tensor, water: Tensor, rays: Rays, beam: Beam, tube: Spectrum) -> tuple[Tensor, Tensor]:
    """Standard deviation of the noise, and of its part from starved lateral rays, each (z, y, x)."""
    typical = float(np.exp(-tube.water * _TYPICAL[0] - tube.bone * _TYPICAL[1]) @ tube.weight)
    mass = water.sum(-1)
    middle = (mass * rays.offsets).sum(1, keepdim=True) / mass.sum(1, keepdim=True).clamp(min=1e-3)
    s = rays.offsets - middle  # the patient is centred in the gantry, (views, bins)
    chord = 2 * torch.sqrt(torch.clamp(_BOW_TIE_MM**2 - s**2, min=0))
    passed = torch.exp(-0.02 * beam.bow_tie * (2 * _BOW_TIE_MM - chord))[..., None]
    variance = typical / (signal * passed).clamp(min=1e-6)
    central = (s.abs() < _CENTRAL_MM).float()[..., None]
    level = (variance * central).sum((0, 1)) / central.sum()
    variance = variance / level.clamp(min=0.05) ** beam.modulation
    excess = torch.clamp(variance - 1 / beam.starved, min=0) * rays.lateral[:, None, None]
    whole, streaks = rays.mean(torch.cat([variance, excess], -1)).clamp(min=0).sqrt().chunk(2)
    return whole.clamp(min=0.1), streaks


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """A sparse matrix as bags: row n is the weighted sum of some rows of what it is multiplied with."""

    index: Tensor
    start: Tensor
    weight: Tensor

    @classmethod
    def of(cls, row: npt.NDArray[np.int64], column: npt.NDArray[np.int64], weight: F64, rows: int) -> Sums:
        """From the places and values of its entries."""
        order = np.argsort(row, kind="stable")
        start = np.searchsorted(row[order], np.arange(rows))
        return cls(*(torch.from_numpy(a) for a in (column[order], start, weight[order].astype(np.float32))))

    def to(self, device: str) -> Sums:
        """The same on a device."""
        return Sums(self.index.to(device), self.start.to(device), self.weight.to(device))

    def __matmul__(self, dense: Tensor) -> Tensor:
        """(rows, c) of (columns, c)."""
        bag: Tensor = functional.embedding_bag(
            self.index, dense, self.start, mode="sum", per_sample_weights=self.weight
        )
        return bag


@dataclass(frozen=True, slots=True, eq=False)
class Rays:
    """Parallel rays through slices of ny by nx pixels, one pixel apart.

    Attributes
    ----------
    forward : (views * bins, ny * nx), mm of each pixel in each ray
    backward : (ny * nx, views * bins), the share of each ray in each pixel, sums to 1 over the views
    ramp : (bins, bins), the Shepp-Logan filter, 1/mm
    offsets : (bins,), mm of each ray from the middle
    lateral : (views,), 1 for rays along x, 0 for those further than 30 degrees from it
    size : (ny, nx)
    """

    forward: Sums
    backward: Sums
    ramp: Tensor
    offsets: Tensor
    lateral: Tensor
    size: tuple[int, int]

    @staticmethod
    @functools.lru_cache(maxsize=8)
    def of(ny: int, nx: int, step_mm: float, views: int, device: str) -> Rays:
        """Rays with views spread over 180 degrees."""
        bins = math.ceil(math.hypot(ny, nx)) + 2
        theta = np.pi * (np.arange(views) + 0.25) / views  # from x to the direction across the rays
        y, x = (np.arange(n) - (n - 1) / 2 for n in (ny, nx))
        place = np.cos(theta)[:, None, None] * x + np.sin(theta)[:, None, None] * y[:, None] + (bins - 1) / 2
        left = np.floor(place).astype(np.int64).reshape(views, -1)
        share = place.reshape(views, -1) - left
        ray = left + np.arange(views)[:, None] * bins
        rays = np.concatenate([ray, ray + 1]).ravel()
        pixels = np.tile(np.arange(ny * nx), 2 * views)
        weight = np.concatenate([1 - share, share]).ravel()
        n = np.arange(bins)[:, None] - np.arange(bins)
        ramp = -2 / (np.pi**2 * step_mm * (4.0 * n**2 - 1))
        lateral = np.clip((np.sin(theta) - np.cos(np.pi / 6)) / (1 - np.cos(np.pi / 6)), 0, 1)
        offsets = (np.arange(bins) - (bins - 1) / 2) * step_mm
        small = tuple(torch.from_numpy(a.astype(np.float32)).to(device) for a in (ramp, offsets, lateral))
        return Rays(
            Sums.of(rays, pixels, weight * step_mm, views * bins).to(device),
            Sums.of(pixels, rays, weight / views, ny * nx).to(device),
            small[0],
            small[1],
            small[2],
            (ny, nx),
        )

    def project(self, density: Tensor) -> Tensor:
        """Integrals, mm, (views, bins, z), of densities (z, y, x)."""
        flat = density.reshape(density.shape[0], -1).T.contiguous()
        return (self.forward @ flat).reshape(len(self.lateral), -1, density.shape[0])

    def reconstruct(self, sinogram: Tensor) -> Tensor:
        """Filtered backprojection of (views, bins, z), (z, y, x)."""
        return math.pi * self.mean(torch.matmul(self.ramp, sinogram))

    def mean(self, sinogram: Tensor) -> Tensor:
        """Mean over the views of the rays through every pixel, (z, y, x)."""
        found = self.backward @ sinogram.reshape(-1, sinogram.shape[-1])
        return found.T.reshape(-1, *self.size).contiguous()
