"""The noise of filtered backprojection: its texture, and how to lay it over an image.

With the transfer function M(f) of a kernel, the ramp makes the noise power in plane proportional
to ``f M(f)^2`` (Riederer, Pelc and Chesler, Phys Med Biol 1978; Kijewski and Judy, ibid. 1987); along z it
follows the slice profile. Peaks measured on scanners lie at 0.2 to 0.3 per mm for soft, above 0.4 for bone
kernels (Solomon, Christianson and Samei, Med Phys 2012).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from lvo.phantom.scanner.kernels import FWHM, Kernel, Steps

_TILE_SLICES = 48
_CROSS: tuple[tuple[int, int], ...] = (
    (0, 0),
    (-1, 0),
    (1, 0),
    (0, -1),
    (0, 1),
    (-1, -1),
    (-1, 1),
    (1, -1),
    (1, 1),
)
_ANGULAR_POWER = 6  # streaks: noise power within about 30 degrees of the vertical frequencies


@dataclass(frozen=True, slots=True)
class Grain:
    """How noise is correlated on a lattice.

    Attributes
    ----------
    kernel : reconstruction kernel of the scan
    thickness_mm : width of its slice profile
    scan_mm : pixel size (z, y, x) of the scan, where the lattice is another one to which the scan's pixels
        are brought: whole pixels that fit into a voxel are averaged, then interpolated linearly. None on the
        scan's own lattice.
    streaks : noise of rays that run from side to side, as behind shoulders
    """

    kernel: Kernel
    thickness_mm: float
    scan_mm: Steps | None = None
    streaks: bool = False


def noise_field(
    shape: tuple[int, int, int],
    steps_mm: Steps,
    sd_hu: float,
    grain: Grain,
    rng: np.random.Generator,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Fresh noise, float32 (z, y, x).

    Parameters
    ----------
    steps_mm : patient mm per voxel along (z, y, x)
    sd_hu : standard deviation in the scan's own pixels; it is less on a lattice that averages them
    rng : draws a few integers, so that every device draws the same noise
    """
    out = torch.zeros(shape, device=device)
    add_noise(out, steps_mm, sd_hu, grain, rng)
    return out


def add_noise(hu: Tensor, steps_mm: Steps, sd_hu: float, grain: Grain, rng: np.random.Generator) -> None:
    """Add noise to an image (z, y, x) in place; see :func:`noise_field`."""
    tile = NoiseTile.of(hu.shape, steps_mm, sd_hu, grain, hu.device)
    for first in range(0, hu.shape[0], tile.depth):
        tile.add(hu[first : first + tile.depth], rng)


@dataclass(frozen=True, slots=True, eq=False)
class NoiseTile:
    """Noise that is laid over one block of slices after another, shifted and flipped afresh each time.

    Attributes
    ----------
    values : HU, float32 (z, y, x), periodic; no narrower than the image, so that no slice shows it twice
    """

    values: Tensor

    @classmethod
    def of(
        cls, shape: Sequence[int], steps_mm: Steps, sd_hu: float, grain: Grain, device: torch.device
    ) -> NoiseTile:
        """Noise for an image of this shape; parameters as for :func:`noise_field`."""
        size = (
            next_fast_len(min(shape[0], _TILE_SLICES), real=True),
            next_fast_len(shape[1], real=True),
            next_fast_len(shape[2], real=True),
        )
        along, plane = _power(size, steps_mm, grain, device)
        shaped = _white(size, str(device)) * along.sqrt()[:, None, None]
        shaped *= plane.sqrt() * (sd_hu * resampled_sd(steps_mm, grain))
        return cls(torch.fft.irfftn(shaped, s=size))

    @property
    def depth(self) -> int:
        """Slices that it covers at once."""
        return int(self.values.shape[0])

    def add(self, hu: Tensor, rng: np.random.Generator, relative: Tensor | None = None) -> None:
        """Add it to at most `depth` slices in place.

        Parameters
        ----------
        relative : what to multiply it with, broadcasts to `hu`
        """
        first = int(rng.integers(0, self.depth - hu.shape[0] + 1))
        shifts = [int(rng.integers(0, n)) for n in self.values.shape[1:]]
        flips = [axis for axis in range(3) if rng.integers(0, 2)]
        part = self.values[first : first + hu.shape[0]]
        part = torch.roll(part.flip(flips) if flips else part, shifts, (1, 2))
        part = part[:, : hu.shape[1], : hu.shape[2]]
        hu += part if relative is None else part * relative


def resampled_sd(steps_mm: Steps, grain: Grain) -> float:
    """Standard deviation of a scan's noise after it was brought to a lattice, relative to before."""
    if grain.scan_mm is None:
        return 1.0
    bins = _bins(steps_mm, grain.scan_mm)
    coarse = [n * p for n, p in zip(bins, grain.scan_mm, strict=True)]
    fine = [torch.from_numpy((np.arange(60) / 60 - 0.5) / p) for p in grain.scan_mm]
    before = _profile(fine[0], grain, 1).mean() * _plane(fine[1], fine[2], grain, (1, 1)).mean()
    # The spectrum of averaged pixels is periodic, interpolation leaves images of it beyond the first period.
    f = [torch.from_numpy((np.arange(180) / 60 - 1.5) / c) for c in coarse]
    left = [torch.sinc(v * c) ** 4 for v, c in zip(f, coarse, strict=True)]
    along = (_profile(f[0], grain, bins[0]) * left[0]).sum() / 60
    plane = (_plane(f[1], f[2], grain, bins[1:]) * left[1][:, None] * left[2]).sum() / 3600
    shrunk = float(np.prod(grain.scan_mm) / np.prod(coarse))
    return float(torch.sqrt(along * plane / before * shrunk))


def scan_sigma(grain: Grain, steps_mm: Steps) -> Steps:
    """Standard deviation of a scan's point spread along (z, y, x) on a lattice of `steps_mm`, mm.

    Averaging pixels and interpolating between them blurs as much as a box and a triangle do.
    """
    plain = (grain.thickness_mm / FWHM, grain.kernel.sigma_mm, grain.kernel.sigma_mm)
    if grain.scan_mm is None:
        return plain
    bins = _bins(steps_mm, grain.scan_mm)
    z, y, x = (
        math.sqrt(v**2 + (n * p) ** 2 / 6 + ((n * p) ** 2 - p**2) / 12)
        for v, n, p in zip(plain, bins, grain.scan_mm, strict=True)
    )
    return z, y, x


def _bins(steps_mm: Steps, pixels_mm: Steps) -> tuple[int, int, int]:
    """Whole pixels that are averaged along each axis because they fit into a step."""
    z, y, x = (max(1, int(s / p + 0.1)) for s, p in zip(steps_mm, pixels_mm, strict=True))
    return z, y, x


def _averaged(f: Tensor, pixel: float, bins: int) -> Tensor:
    """Power that is left at a frequency when `bins` pixels are averaged."""
    turn = f * pixel
    turn = turn - torch.round(turn)
    return (torch.sinc(turn * bins) / torch.sinc(turn)) ** 2


def _profile(f: Tensor, grain: Grain, bins: int) -> Tensor:
    """Noise power along z: the transfer function of a Gaussian slice profile, squared."""
    width = 2 * math.pi * grain.thickness_mm / FWHM
    out = torch.zeros_like(f)
    if grain.scan_mm is None:
        out += torch.exp(-((f * width) ** 2))
        return out
    pixel = grain.scan_mm[0]
    f = f - torch.round(f * pixel * bins) / (pixel * bins)
    for n in range(-bins, bins + 1):
        at = f + n / (pixel * bins)
        out += torch.exp(-((at * width) ** 2)) * _averaged(at, pixel, bins)
    return out


def _plane(fy: Tensor, fx: Tensor, grain: Grain, bins: tuple[int, int]) -> Tensor:
    """Noise power in plane at frequencies (y,) and (x,), shape (y, x).

    That of a scan's pixels, or of the mean of some of them, is periodic: what is beyond half the sampling
    frequency is folded back.
    """
    out = torch.zeros(len(fy), len(fx), dtype=fy.dtype, device=fy.device)
    turns, pixels, rates = _CROSS[:1], (0.0, 0.0), (0.0, 0.0)
    if grain.scan_mm is not None:
        pixels = grain.scan_mm[1:]
        rates = (1 / (pixels[0] * bins[0]), 1 / (pixels[1] * bins[1]))
        fy, fx = (f - torch.round(f / r) * r for f, r in zip((fy, fx), rates, strict=True))
        sharp = grain.kernel.f50 / min(rates)
        turns = _CROSS[: 1 if sharp < 0.25 else 5 if sharp < 0.5 else 9]
    for a, b in turns:
        y, x = fy + a * rates[0], fx + b * rates[1]
        radius = torch.sqrt(y[:, None] ** 2 + x**2)
        power = grain.kernel.power(radius)
        if grain.streaks:
            power = power * (y[:, None].abs() / radius.clamp(min=1e-6)) ** _ANGULAR_POWER
        out += power * (_averaged(y, pixels[0], bins[0])[:, None] * _averaged(x, pixels[1], bins[1]))
    return out


def _power(
    size: tuple[int, int, int], steps_mm: Steps, grain: Grain, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Noise power on a lattice along z, (z,), and in plane, (y, x / 2 + 1), each of mean 1.

    Sampling folds what lies beyond the lattice's highest frequency back once in every direction.
    """
    pixels = grain.scan_mm or (0.0, 0.0, 0.0)
    bins = _bins(steps_mm, grain.scan_mm) if grain.scan_mm else (1, 1, 1)
    axes = []
    for n, (step, count) in enumerate(zip(steps_mm, size, strict=True)):
        f = (np.fft.rfftfreq if n == 2 else np.fft.fftfreq)(count, step)
        folded = torch.from_numpy((f + np.arange(-1, 2)[:, None] / step).astype(np.float32)).to(device)
        axes.append((folded, torch.sinc(folded * (pixels[n] * bins[n])) ** 4))  # linear interpolation
    along = sum(
        (_profile(f, grain, bins[0]) * k for f, k in zip(*axes[0], strict=True)),
        torch.zeros(1, device=device),
    )
    plane = torch.zeros(size[1], size[2] // 2 + 1, device=device)
    coarse = grain.scan_mm is None and grain.kernel.f50 * max(steps_mm[1:]) > 0.5
    for a, b in _CROSS if coarse else _CROSS[:5]:
        kept = axes[1][1][a + 1][:, None] * axes[2][1][b + 1]
        plane += _plane(axes[1][0][a + 1], axes[2][0][b + 1], grain, bins[1:]) * kept
    whole = plane.sum() * 2 - plane[:, 0].sum() - (plane[:, -1].sum() if size[2] % 2 == 0 else 0)
    return along / along.mean(), plane * (size[1] * size[2]) / whole


@functools.lru_cache(maxsize=6)
def _white(size: tuple[int, int, int], device: str) -> Tensor:
    """Fourier transform of white noise of sd 1, complex64 (z, y, x / 2 + 1)."""
    white = np.random.default_rng(20261124).standard_normal(size, dtype=np.float32)
    transform: Tensor = torch.fft.rfftn(torch.from_numpy(white).to(device))
    return transform
