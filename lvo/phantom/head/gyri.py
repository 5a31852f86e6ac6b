"""Where sulci run: the zero set of noise of one wavelength, which winds and branches as gyri do."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from lvo.phantom.head.canvas import NoiseKey

F32 = npt.NDArray[np.float32]
_BLOCK = 96
_VOXELS = 9.0
"""Voxels of the periodic block, and of its wavelength."""
SPACING = 0.5 * _VOXELS
"""Distance from one zero set to the next, voxels."""


def sulcus_distance(
    at: tuple[Tensor, Tensor, Tensor], key: NoiseKey, turn: npt.NDArray[np.float64], spacing_mm: float
) -> Tensor:
    """Signed distance to the nearest sulcus, mm; its sign tells the gyri on either side apart.

    Parameters
    ----------
    at : x, y, z, mm; for sulci that stand upright on a surface: of the nearest place on that surface.
    key : which part of the noise
    turn : (3, 3) rotation of the noise, so that no two heads share a pattern.
    spacing_mm : distance from one sulcus to the next
    """
    block = _block(at[0].device)
    scale = SPACING / spacing_mm
    axes = []
    for row, offset in zip(turn, key, strict=True):
        c = (
            at[0] * (scale * float(row[0]))
            + at[1] * (scale * float(row[1]))
            + at[2] * (scale * float(row[2]))
        )
        index = torch.remainder(c + offset * 4, float(_BLOCK))
        axes.append((index + 1) * (2 / (_BLOCK + 1)) - 1)  # the block is padded by its own first layer
    grid = torch.stack(axes, dim=-1)[None]
    return functional.grid_sample(block, grid, align_corners=True)[0, 0] / scale


def random_turn(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A rotation, all of them equally likely."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    turn: npt.NDArray[np.float64] = q * np.sign(np.diag(r))
    return turn


@functools.lru_cache(maxsize=4)
def _block(device: torch.device) -> Tensor:
    return torch.from_numpy(np.pad(_signed_block(), 1, mode="wrap"))[None, None].to(device)


@functools.lru_cache(maxsize=1)
def _signed_block() -> F32:
    """One period of signed distance, voxels."""
    rng = np.random.default_rng(1871)
    frequency = np.fft.fftfreq(_BLOCK), np.fft.fftfreq(_BLOCK), np.fft.rfftfreq(_BLOCK)
    radius = np.sqrt(sum(f**2 for f in np.ix_(*frequency)))
    ring = np.exp(-0.5 * ((radius * _VOXELS - 1) / 0.16) ** 2)
    noise = np.fft.irfftn(
        np.fft.rfftn(rng.normal(size=(_BLOCK,) * 3)) * ring, s=(_BLOCK,) * 3, axes=(0, 1, 2)
    )
    wide = np.pad(noise, 12, mode="wrap")
    far = ndimage.distance_transform_edt(wide > 0) - ndimage.distance_transform_edt(wide <= 0)
    slope = np.sqrt(sum(g**2 for g in np.gradient(wide)))
    near = np.clip(wide / np.maximum(slope, 0.2 * slope.mean()), -1.5, 1.5)
    far = far - 0.5 * np.sign(far)
    share = np.clip(2.5 - np.abs(far), 0, 1)
    both = share * near + (1 - share) * far
    return np.asarray(both[12:-12, 12:-12, 12:-12], dtype=np.float32)
