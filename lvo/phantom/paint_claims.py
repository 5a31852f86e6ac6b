"""How straight pieces of vessels compete for voxels: the tensor work beneath `lvo.phantom.paint`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Span = tuple[int, int]
_CHUNK_CPU, _CHUNK_GPU = 1 << 17, 1 << 23
"""Distances computed at once: what fits a processor's cache, or fills a graphics card."""
_WINDOW_SIZES = np.array([4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 4096])
"""A piece's window is enlarged to one of these along each axis, so that many pieces share one tensor."""
_OUTSIDE = 1e9
"""Added to the squared distance of what lies outside the slab."""


@dataclass(frozen=True, slots=True, eq=False)
class Chains:
    """Centreline points (n, 3) and radii (n,), first and last point of every piece, lobes of the points."""

    points: npt.NDArray[np.float64]
    radius: npt.NDArray[np.float64]
    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]
    lobes: npt.NDArray[np.float64] | None


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Straight pieces of vessels, in mm along the lattice's array axes from its first voxel.

    Attributes
    ----------
    start, along : (n, 3), first end and the way to the second.
    radius, change, peak, peak_change : (n,), at the first end, and how it changes to the second.
    lobe : (n, 3), see `draw_lobes`.
    first, count : int64 (n,), running number of the first point, and points on to the second.
    low, high : int64 (n, 3), voxels that it may touch; may reach beyond the lattice.
    """

    start: Tensor
    along: Tensor
    radius: Tensor
    change: Tensor
    peak: Tensor
    peak_change: Tensor
    lobe: Tensor | None
    first: Tensor
    count: Tensor
    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]


def chunks(
    pieces: Pieces, slab: tuple[Span, Span, Span], device: torch.device
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Pieces that touch a slab, as (indices, window), in groups of one window and of bounded size."""
    least, most = np.array(slab).T
    near = np.flatnonzero(((pieces.high > least) & (pieces.low < most)).all(1))
    size = pieces.high[near] - pieces.low[near]
    windows = _WINDOW_SIZES[np.searchsorted(_WINDOW_SIZES, size)]
    code = (windows * np.array([1 << 40, 1 << 20, 1])).sum(1)
    limit = _CHUNK_CPU if device.type == "cpu" else _CHUNK_GPU
    order = np.argsort(code, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(code[order])) + 1):
        if len(group):
            window = windows[group[0]]
            many = max(1, limit // int(window.prod()))
            for k in range(0, len(group), many):
                yield near[group[k : k + many]], window


def claim_voxels(
    claims: Tensor,
    pieces: Pieces,
    chunk: npt.NDArray[np.int64],
    window: npt.NDArray[np.int64],
    slab: tuple[Span, Span, Span],
    steps: npt.NDArray[np.float64],
    edge: float,
) -> None:
    """Let some pieces claim voxels of the slab: the largest share has it, at equal shares the nearest axis.

    A claim is one integer: share (16 bits), nearness to the axis (15 bits), point (32 bits).
    """
    pick = torch.from_numpy(chunk).to(claims.device)
    corner = torch.from_numpy(pieces.low[chunk]).to(claims.device)
    start, along = pieces.start[pick], pieces.along[pick]
    gaps: list[Tensor] = []
    squares: list[Tensor] = []
    places: list[Tensor] = []
    wide = slab[2][1] - slab[2][0]
    strides = ((slab[1][1] - slab[1][0]) * wide, wide, 1)
    for axis, (least, most) in enumerate(slab):
        number = corner[:, axis : axis + 1] + torch.arange(int(window[axis]), device=claims.device)
        view = [len(chunk), 1, 1, 1]
        view[axis + 1] = int(window[axis])
        gap = number * float(steps[axis]) - start[:, axis : axis + 1]
        gaps.append(gap.view(view))
        beyond = (number < least) | (number >= most)
        squares.append((gap * gap + beyond * _OUTSIDE).view(view))
        places.append(((number - least) * strides[axis]).view(view))
    way, length = _project(gaps, along), _each((along * along).sum(1).clamp(min=1e-12))
    t = (way / length).clamp_(0, 1)
    square = squares[0] + (squares[1] + squares[2])
    distance = square.sub_(t * (way.mul_(2) - t * length)).clamp_(min=0).sqrt_()
    half = _each(pieces.radius[pick]) + t * _each(pieces.change[pick])
    if pieces.lobe is not None:
        lobe = pieces.lobe[pick]
        half = half * _bulge(
            distance / half, _project(gaps, lobe) - t * _each((lobe * along).sum(1)), half, lobe
        )
    depth = half - distance
    hit = (depth > -0.5 * edge).nonzero(as_tuple=True)
    depth, t, half = depth[hit], t[hit], half[hit]
    own = pick[hit[0]]
    share = (depth / edge + 0.5).clamp_(max=1) * (pieces.peak[own] + t * pieces.peak_change[own])
    near = (depth / half).clamp_(0, 1)
    point = pieces.first[own] + (t * pieces.count[own] + 0.5).to(torch.int64)
    claim = ((share * 65535 + 0.5).to(torch.int64) << 15) | (near * 32767).to(torch.int64)
    place = (places[0] + (places[1] + places[2]))[hit]
    claims.scatter_reduce_(0, place, (claim << 32) | point, "amax")


def _each(values: Tensor) -> Tensor:
    """One value per piece, beside its window."""
    return values.view(-1, 1, 1, 1)


def _project(gaps: list[Tensor], onto: Tensor) -> Tensor:
    """Inner product of the way from a piece's start to every voxel of its window with a vector."""
    z, y, x = (g * _each(onto[:, axis]) for axis, g in enumerate(gaps))
    return z + (y + x)


def _bulge(near: Tensor, across: Tensor, half: Tensor, lobe: Tensor) -> Tensor:
    """Radius over mean radius in the direction of each voxel: an oval with a threefold lobe.

    With w = cos(angle) on the rim, w^2 - 1/2 is cos(2 angle) / 2 and w^3 - 3 w / 4 is cos(3 angle) / 4; both
    go to 0 towards the axis and stay as they are beyond the rim.
    """
    strength = _each((lobe * lobe).sum(1))
    q = (near * near).clamp(max=1)
    w = across / (half * near.clamp(min=1))
    return 1 + (w * w - 0.5 * strength * q) + w * (w * w - 0.75 * strength * q)


def read_claims(claims: Tensor) -> tuple[Tensor, Tensor]:
    """Share of lumen, float32, and owning point, int64, of claims (n,)."""
    return (claims >> 47).to(torch.float32) / 65535, claims & 0xFFFFFFFF
