"""The sharpness of a reconstruction kernel, and blur on lattices."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Steps = tuple[float, float, float]
FWHM = 2 * math.sqrt(2 * math.log(2))
"""Width at half maximum of a Gaussian of standard deviation 1."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A reconstruction kernel.

    Attributes
    ----------
    name : as the scanner calls it
    f50 : frequency at which the transfer function is one half, 1/mm: about 0.35 to 0.45 soft, 0.8 to 1.1 bone
    iterative : how much iterative reconstruction takes from fine noise, 0 (none) to 1 (blotchy)
    floor : noise power at frequency 0 relative to the ramp at f50: what sampling folds back
    """

    name: str
    f50: float
    iterative: float = 0.0
    floor: float = 0.03

    @property
    def sigma_mm(self) -> float:
        """Standard deviation of the Gaussian point spread whose transfer function this is, mm."""
        return math.sqrt(math.log(2) / 2) / (math.pi * self.f50)

    @property
    def peak(self) -> float:
        """Frequency of the most noise, without iterative reconstruction and floor, 1/mm."""
        return self.f50 / math.sqrt(4 * math.log(2))

    def power(self, f: Tensor) -> Tensor:
        """Noise power in plane at frequencies in 1/mm, not normalised."""
        ratio = f / self.f50
        fine = 1 + 4 * self.iterative * (f / self.peak) ** 2
        power: Tensor = (ratio + self.floor) * torch.exp(-2 * math.log(2) * ratio**2) / fine
        return power


def blur(hu: Tensor, steps_mm: Steps, sigma_mm: Steps, already_mm: Steps = (0.0, 0.0, 0.0)) -> None:
    """Blur in place with a Gaussian along each axis.

    Parameters
    ----------
    hu : float32 (z, y, x)
    steps_mm : patient mm per voxel along (z, y, x)
    sigma_mm : standard deviation of the point spread along each axis; `scan_sigma` gives a scan's
    already_mm : the same of what the image is blurred by already
    """
    for axis in (2, 1, 0):
        variance = sigma_mm[axis] ** 2 - already_mm[axis] ** 2
        taps = _taps(variance / steps_mm[axis] ** 2) if variance > 0 else []
        if taps and hu.shape[axis] > len(taps):
            _convolve(hu, axis, taps)


def _taps(variance: float) -> list[float]:
    """Weights of a symmetric filter of this variance in voxels, centre first; none where it hardly blurs."""
    if variance < 0.02:
        return []
    if variance < 0.3:  # three taps of the very variance
        return [1 - variance, variance / 2]
    reach = math.ceil(2.5 * math.sqrt(variance))
    weights = np.exp(-(np.arange(reach + 1) ** 2) / (2 * variance))
    return [float(w) for w in weights / (2 * weights.sum() - weights[0])]


def _convolve(hu: Tensor, axis: int, taps: list[float], piece: int = 16) -> None:
    """Symmetric convolution along one axis in place; the edge value goes on beyond the edges."""
    count, reach = hu.shape[axis], len(taps) - 1
    along = 1 if axis == 0 else 0  # work on pieces that stay in the cache
    for first in range(0, hu.shape[along], piece):
        part = hu.narrow(along, first, min(piece, hu.shape[along] - first))
        edges = [part.narrow(axis, at, 1).expand(*_wide(part, axis, reach)) for at in (0, count - 1)]
        padded = torch.cat([edges[0], part, edges[1]], axis)
        part *= taps[0]
        for n, weight in enumerate(taps[1:], start=1):
            part.add_(padded.narrow(axis, reach - n, count), alpha=weight)
            part.add_(padded.narrow(axis, reach + n, count), alpha=weight)


def _wide(part: Tensor, axis: int, size: int) -> list[int]:
    return [size if n == axis else int(m) for n, m in enumerate(part.shape)]
