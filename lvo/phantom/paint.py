"""Paint tubes into a lattice of any pose: how much of every voxel is lumen, and which point of which vessel.

A vessel is a chain of capsules between its centreline points, the radius running on linearly. Everything is
done with tensors on the wanted device, and the answer depends neither on the order of the vessels nor on the
number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lvo.phantom.paint_claims import Chains, Pieces, chunks, claim_voxels, read_claims
from lvo.phantom.vessels.labels import LABEL_OF
from lvo.phantom.vessels.tree import Branch

Affine = npt.NDArray[np.float64]
_SLAB_VOXELS = 1 << 24
"""Voxels that are painted at once: bounds the memory beside the result to 128 MB for the competing claims."""
_SLIM, _LONGEST_MM = 0.6, 2.0
"""Longest straight piece relative to the radius, and in all: it cuts a curve of 6 mm radius by 0.08 mm."""

_CENTRELINE_VOXELS = 0.35
"""Voxels from one place on a centreline to the next, so that it is unbroken."""


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """The voxels that vessels touch.

    Attributes
    ----------
    shape : (z, y, x) of the lattice.
    voxel : int64 (n,), flat index of each touched voxel, ascending.
    share : float32 (n,), how much of it is lumen, above 0, at most 1.
    point : int64 (n,), the centreline point that owns it, counted on through all branches.
    peak : float32 (points,), share of a voxel on the centreline at each point: below 1 where the vessel is
        thinner than the blur.
    """

    shape: tuple[int, int, int]
    voxel: Tensor
    share: Tensor
    point: Tensor
    peak: Tensor

    @property
    def cover(self) -> Tensor:
        """Share of every voxel that is lumen, float32 (z, y, x), made anew at each use."""
        return self.spread(self.share, 0.0)

    @property
    def index(self) -> Tensor:
        """Owning point of every voxel, int32 (z, y, x), -1 where none, made anew at each use."""
        return self.spread(self.point.to(torch.int32), -1)

    @property
    def within(self) -> Tensor:
        """Which of the touched voxels lie inside the lumen, by the half-way point of its edge, bool (n,)."""
        return self.share >= 0.5 * self.peak[self.point]

    def spread(self, values: Tensor, background: float) -> Tensor:
        """Values (n,) of the touched voxels as a whole volume (z, y, x)."""
        whole = values.new_full((int(np.prod(self.shape)),), background)
        whole[self.voxel] = values
        return whole.view(self.shape)


def paint(
    branches: Sequence[Branch],
    affine: Affine,
    shape: tuple[int, int, int],
    device: torch.device | str = "cpu",
    *,
    edge_mm: float,
    widen_mm: float = 0.0,
    lobes: npt.NDArray[np.float64] | None = None,
) -> Painted:
    """Paint vessels into a lattice; where several overlap, a voxel is of the one with the largest share.

    Parameters
    ----------
    affine : array index (k, j, i) to head-frame mm, orthogonal axes in any pose, steps of any size.
    shape : (z, y, x); a slab of a scan is a lattice like any other.
    edge_mm : width over which the lumen's edge falls from 1 to 0: hypot(blur, voxel).
    widen_mm : added to every radius, to draw a sheath (a canal through bone, a cistern round an artery).
    lobes : (points, 3) from `draw_lobes` for lumina that are not round.

    Notes
    -----
    A disc whose edge falls linearly over e has the area pi (R^2 + e^2 / 12), R being where it is half down.
    So R^2 = r^2 - e^2 / 12 gives the true area; R cannot be less than e / 2, and a vessel thinner than
    r = e / sqrt(3) is a cone of that width whose peak 3 r^2 / e^2 keeps the amount of lumen.
    """
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    chains = Chains(
        np.concatenate([b.points for b in branches] or [np.empty((0, 3))]),
        np.concatenate([b.radius for b in branches] or [np.empty(0)]) + widen_mm,
        *_cuts(branches, float(steps.min())),
        lobes,
    )
    return _claimed(chains, affine, shape, edge_mm, torch.device(device))


def paint_balls(
    points: npt.NDArray[np.float64],
    radius: npt.NDArray[np.float64],
    affine: Affine,
    shape: tuple[int, int, int],
    device: torch.device | str = "cpu",
    *,
    edge_mm: float,
) -> Painted:
    """As `paint`, but balls about points (n, 3) of radii (n,), each its own vessel."""
    own = np.arange(len(points))
    return _claimed(Chains(points, radius, own, own, None), affine, shape, edge_mm, torch.device(device))


def _claimed(
    chains: Chains, affine: Affine, shape: tuple[int, int, int], edge_mm: float, device: torch.device
) -> Painted:
    """Let pieces compete for the part of a lattice that they can touch."""
    peak = torch.from_numpy(np.minimum(1.0, 3 * chains.radius**2 / edge_mm**2).astype(np.float32)).to(device)
    pieces = _pieces(chains, affine, shape, edge_mm, device)
    if len(pieces.low) == 0:
        nothing = torch.zeros(0, dtype=torch.int64, device=device)
        return Painted(shape, nothing, *read_claims(nothing), peak)
    low = np.maximum(pieces.low.min(0), 0).tolist()
    high = np.minimum(pieces.high.max(0), shape).tolist()
    rows, columns = (low[1], high[1]), (low[2], high[2])
    wide, layer = columns[1] - columns[0], (rows[1] - rows[0]) * (columns[1] - columns[0])
    thick = max(1, min(high[0] - low[0], _SLAB_VOXELS // layer))
    claims = torch.zeros(thick * layer, dtype=torch.int64, device=device)
    voxels, found = [], []
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    for bottom in range(low[0], high[0], thick):
        slab = (bottom, min(bottom + thick, high[0])), rows, columns
        for chunk, window in chunks(pieces, slab, device):
            claim_voxels(claims, pieces, chunk, window, slab, steps, edge_mm)
        voxel = claims.nonzero().squeeze(1)
        found.append(claims[voxel])
        claims[voxel] = 0
        k, rest = voxel // layer, voxel % layer
        j, i = rest // wide, rest % wide
        voxels.append(((k + bottom) * shape[1] + j + rows[0]) * shape[2] + i + columns[0])
    return Painted(shape, torch.cat(voxels), *read_claims(torch.cat(found)), peak)


def draw_lobes(
    branches: Sequence[Branch], rng: np.random.Generator, amplitude: float, wavelength: float = 8.0
) -> npt.NDArray[np.float64]:
    """How lumina differ from a circle: vectors (points, 3) for `paint`.

    Along a vector the radius is larger by up to `amplitude` of itself, across it smaller, with a slighter
    threefold lobe; its direction and length change smoothly over about `wavelength` radii of vessel.
    """
    if not branches:
        return np.empty((0, 3))
    sizes, bottom, step = _steps(branches)
    own = np.repeat(np.arange(len(sizes)), sizes)
    length = np.add.reduceat(np.linalg.norm(step, axis=1), bottom)
    radius = np.add.reduceat(np.concatenate([b.radius for b in branches]), bottom) / sizes
    gaps = np.maximum(1, np.ceil(length / (wavelength * radius)).astype(np.int64))
    first = np.cumsum(gaps + 1) - gaps - 1
    wild = rng.normal(size=(int((gaps + 1).sum()), 3))
    at = (np.arange(len(own)) - bottom[own]) / np.maximum(sizes - 1, 1)[own] * gaps[own]
    low = np.minimum(at.astype(np.int64), gaps[own] - 1)
    smooth = wild[first[own] + low] + (at - low)[:, None] * (
        wild[first[own] + low + 1] - wild[first[own] + low]
    )
    step[bottom] = step[np.minimum(bottom + 1, len(step) - 1)]
    along = step / np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-9)
    smooth -= along * (along * smooth).sum(1, keepdims=True)
    vectors: npt.NDArray[np.float64] = smooth * np.sqrt(
        2 * amplitude / (1 + (smooth**2).sum(1, keepdims=True))
    )
    return vectors


def point_labels(branches: Sequence[Branch]) -> npt.NDArray[np.uint8]:
    """Number of each centreline point's vessel in `vessels.LABELS`, (points,)."""
    numbers = [LABEL_OF[b.structure, b.side] for b in branches]
    return np.repeat(np.array(numbers, np.uint8), [len(b.points) for b in branches])


def label_of(
    arteries: tuple[Painted, Sequence[Branch]], veins: tuple[Painted, Sequence[Branch]] | None = None
) -> Tensor:
    """Vessel labels of a lattice, uint8 (z, y, x): 0 or a number of `vessels.LABELS`; arteries win."""
    shape, device = arteries[0].shape, arteries[0].voxel.device
    whole = torch.zeros(int(np.prod(shape)), dtype=torch.uint8, device=device)
    for painted, branches in (*([veins] if veins else []), arteries):
        labels = torch.from_numpy(point_labels(branches)).to(device)
        inner = painted.within
        whole[painted.voxel[inner]] = labels[painted.point[inner]]
    return whole.view(shape)


def centreline(
    branches: Sequence[Branch],
    affine: Affine,
    shape: tuple[int, int, int],
    device: torch.device | str = "cpu",
) -> Tensor:
    """Labels of the voxels that centrelines pass through, uint8 (z, y, x), unbroken along each branch.

    Where several pass, the smallest number wins: reportable sites before other arteries before veins.
    """
    whole = torch.full((int(np.prod(shape)),), 255, dtype=torch.uint8, device=device)
    if branches:
        inverse = np.linalg.inv(affine)
        _, _, step = _steps(branches)
        at = np.concatenate([b.points for b in branches]) @ inverse[:3, :3].T + inverse[:3, 3]
        back = step @ inverse[:3, :3].T
        many = max(1, int(np.ceil(np.linalg.norm(back, axis=1).max() / _CENTRELINE_VOXELS)))
        fine = at - np.linspace(0, 1, many, endpoint=False)[:, None, None] * back
        voxel = np.rint(fine).astype(np.int64)
        inside = ((voxel >= 0) & (voxel < shape)).all(-1)
        flat = np.ravel_multi_index(tuple(voxel[inside].T), shape)
        labels = np.broadcast_to(point_labels(branches), inside.shape)[inside]
        place, label = (torch.from_numpy(v).to(whole.device) for v in (flat, labels))
        whole.scatter_reduce_(0, place, label, "amin")
    return torch.where(whole == 255, 0, whole).view(shape)


def _pieces(
    chains: Chains, affine: Affine, shape: tuple[int, int, int], edge: float, device: torch.device
) -> Pieces:
    """Straight pieces on a lattice; those far from it are left out."""
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    turn = affine[:3, :3] / steps
    at = (chains.points - affine[:3, 3]) @ turn
    a, z, radius, lobes = chains.first, chains.last, chains.radius, chains.lobes
    half = np.sqrt(np.maximum(radius**2 - edge**2 / 12, edge**2 / 4))
    peak = np.minimum(1.0, 3 * radius**2 / edge**2)
    bulge = 1.0 if lobes is None else 1.0 + 0.8 * float((lobes**2).sum(1).max(initial=0.0))
    reach = (np.maximum(half[a], half[z]) * bulge + edge / 2)[:, None]
    low = np.ceil((np.minimum(at[a], at[z]) - reach) / steps).astype(np.int64)
    high = np.floor((np.maximum(at[a], at[z]) + reach) / steps).astype(np.int64) + 1
    near = ((high > 0) & (low < shape)).all(1)
    a, z, low, high = a[near], z[near], low[near], high[near]

    def send(values: npt.NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(device)

    return Pieces(
        start=send(at[a]),
        along=send(at[z] - at[a]),
        radius=send(half[a]),
        change=send(half[z] - half[a]),
        peak=send(peak[a]),
        peak_change=send(peak[z] - peak[a]),
        lobe=None if lobes is None else send(lobes[a] @ turn),
        first=torch.from_numpy(a).to(device),
        count=torch.from_numpy(z - a).to(device),
        low=low,
        high=high,
    )


def _steps(
    branches: Sequence[Branch],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Points of each branch, running number of its first, and the way to every point from the one before."""
    sizes = np.array([len(b.points) for b in branches], dtype=np.int64)
    bottom = np.cumsum(sizes) - sizes
    points = np.concatenate([b.points for b in branches])
    step = np.zeros_like(points)
    step[1:] = np.diff(points, axis=0)
    step[bottom] = 0.0
    return sizes, bottom, step


def _cuts(branches: Sequence[Branch], voxel: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First and last point of pieces about as long as a voxel, longer where the whole vessel is wide."""
    if not branches:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    sizes, bottom, step = _steps(branches)
    widest_step = np.maximum(np.maximum.reduceat(np.linalg.norm(step, axis=1), bottom), 1e-6)
    narrow = np.array([b.radius.min() for b in branches])
    longest = np.minimum(np.maximum(voxel, _SLIM * narrow), _LONGEST_MM)
    stride = np.maximum(1, (longest / widest_step + 1e-6).astype(np.int64))
    many = np.maximum(1, -(-(sizes - 1) // stride))
    owner = np.repeat(np.arange(len(sizes)), many)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(many) - many, many)
    first = bottom[owner] + number * stride[owner]
    last = np.minimum(first + stride[owner], (bottom + sizes - 1)[owner])
    return first, last
