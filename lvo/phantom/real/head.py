"""A head whose tissue is that of a real CT: posed in the head frame once, then sampled like any phantom's."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from lvo.phantom.head.canvas import Canvas, Where
from lvo.phantom.head.deformation import DeformationRanges
from lvo.phantom.head.individual import Head, HeadRanges, Shape, draw_head, sample_head
from lvo.phantom.real.sources import AnatomyUnusable
from lvo.study import Volume

F64 = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]
_LOW, _HIGH = np.array([-96.0, -124.0, -150.0]), np.array([96.0, 124.0, 132.0])
"""Head-frame (x, y, z) of the box in which a head's tissue is kept, mm."""
_STEP_MM, _COARSE = 1.0, 2
_BODY_HU, _AIR_HU = -300.0, -1000.0
_BONE_HU = (180.0, 420.0)
_BRAIN_HU = (-25.0, 95.0)
_GREY_UPTAKE, _WHITE_UPTAKE, _CSF_UPTAKE = 0.028, 0.010, 0.004
_MUSCLE_UPTAKE, _FAT_UPTAKE, _BONE_UPTAKE = 0.06, 0.02, 0.04
_FOOTPRINT, _WHOLE = (60.0, 75.0), 0.9
"""Half axes of a head across, mm; the share of it that a scan must show where it counts as covered."""
_LEAST_COVER_MM = 70.0
SHAPES = DeformationRanges(
    size=(-0.03, 0.02), stretch=(-0.025, 0.025), roughness_mm=(0.5, 1.4), neck_slope=(0.0, 0.0),
    neck_curve=(0.0, 0.0), neck_side_slope=(0.0, 0.0), neck_twist_degrees=(0.0, 0.0),
)  # fmt: skip
"""How copies of a real head differ: a little, as it has a shape of its own already."""


@dataclass(frozen=True, slots=True, eq=False)
class Tissue:
    """A real head in the head frame.

    Attributes
    ----------
    name : for the truth table.
    hu : float32 (1, 1, z, y, x), every `_STEP_MM`.
    shares : float32 (1, 5, z, y, x), at twice that step: uptake, bone, grey, white, csf.
    covered : lowest and highest head-frame z that the scan shows, mm.
    """

    name: str
    hu: Tensor
    shares: Tensor
    covered: tuple[float, float]

    def sample(self, x: Tensor, y: Tensor, z: Tensor) -> Canvas:
        """Tissue at head-frame points, tensors (z, y, x); the rim goes on outside."""
        low, high = (torch.tensor(v, dtype=torch.float32, device=x.device) for v in (_LOW, _HIGH))
        axes = [2 * (c - low[a]) / (high[a] - low[a]) - 1 for a, c in enumerate((x, y, z))]
        grid = torch.stack(axes, dim=-1)[None]
        hu, shares = (
            functional.grid_sample(v.to(x.device), grid, align_corners=True, padding_mode="border")[0]
            for v in (self.hu, self.shares)
        )
        return Canvas(hu[0], *(s.contiguous() for s in shares))

    def at(self, points: F64, channel: int) -> F64:
        """One of `shares` at head-frame points (n, 3), (n,)."""
        step = _STEP_MM * _COARSE
        at = ((points - _LOW) / step).T[::-1]
        found: F64 = ndimage.map_coordinates(self.shares[0, channel].numpy(), at, order=1, mode="nearest")
        return found


@dataclass(frozen=True, slots=True, eq=False)
class RealHead(Head):
    """A head with the tissue of a real one; its recipes draw nothing, but say where lesions may be.

    Attributes
    ----------
    tissue : in canonical coordinates.
    turned : whether the tissue is seen in a mirror, and nothing else.
    """

    tissue: Tissue | None = None
    turned: bool = False

    def drawn(self, affine: F64, shape: Shape, device: torch.device | None = None) -> Canvas:
        """Tissue at every point of a lattice; as `lvo.phantom.head.individual.draw_head`."""
        assert self.tissue is not None
        where = self.where(affine, shape, device)
        return self.tissue.sample(-where.x if self.turned else where.x, where.y, where.z)


def draw_any(
    head: Head, affine: F64, shape: Shape, device: torch.device | None = None, *, draft: bool = False
) -> Canvas:
    """Tissue of a real head, or of one that is drawn; as `lvo.phantom.head.individual.draw_head`."""
    if isinstance(head, RealHead):
        return head.drawn(affine, shape, device)
    return draw_head(head, affine, shape, device, draft=draft)


def real_head(
    tissue: Tissue, rng: np.random.Generator, ranges: HeadRanges, age: float, turned: bool
) -> RealHead:
    """A copy of a real head, a little deformed."""
    plain = sample_head(rng, ranges.model_copy(update={"deformation": SHAPES}), age)
    parts = {f.name: getattr(plain, f.name) for f in fields(Head)}
    return RealHead(**parts, tissue=tissue, turned=turned)


def tissue_of(volume: Volume, matrix: F64, name: str) -> Tissue:
    """A real head CT brought to the head frame.

    Parameters
    ----------
    volume : HU, LPS mm.
    matrix : (4, 4) LPS mm to head-frame mm.

    Raises
    ------
    AnatomyUnusable
        Too little of the head is in the scan.
    """
    steps = np.round((_HIGH - _LOW) / _STEP_MM).astype(int) + 1
    to_index = np.linalg.inv(volume.affine) @ np.linalg.inv(matrix)
    hu, inside = _resampled(_without_table(volume), to_index, (int(steps[2]), int(steps[1]), int(steps[0])))
    covered = _covered(inside)
    if covered[1] - covered[0] < _LEAST_COVER_MM or covered[1] < 40:
        raise AnatomyUnusable(f"{name} shows the head only from {covered[0]:.0f} to {covered[1]:.0f} mm")
    coarse = torch.from_numpy(hu)[None, None, ::_COARSE, ::_COARSE, ::_COARSE]
    return Tissue(name, torch.from_numpy(hu)[None, None], _shares(coarse), covered)


def _without_table(volume: Volume) -> F32:
    """HU with nothing but the largest body in air."""
    hu = volume.array.astype(np.float32)
    spacing = np.array(volume.spacing)
    thin = tuple(slice(None, None, max(1, int(2.0 // s))) for s in spacing)
    body = ndimage.binary_opening(hu[thin] > _BODY_HU, iterations=2)
    labels, count = ndimage.label(body)
    if not count:
        return hu
    body = labels == 1 + int(np.argmax(ndimage.sum_labels(body, labels, np.arange(1, count + 1))))
    body = ndimage.binary_dilation(body, iterations=3)
    whole = np.stack(
        [ndimage.binary_fill_holes(s) for s in ndimage.binary_closing(body, iterations=4) | body]
    )
    zoom = [
        np.minimum(np.arange(n) // s.step, w - 1) for n, s, w in zip(hu.shape, thin, whole.shape, strict=True)
    ]
    hu[~whole[np.ix_(*zoom)]] = _AIR_HU
    return np.maximum(hu, _AIR_HU)


def _resampled(hu: F32, to_index: F64, shape: Shape) -> tuple[F32, npt.NDArray[np.bool_]]:
    """HU on the head-frame lattice, (z, y, x), and which of its voxels the scan holds."""
    z, y, x = (_LOW[2 - a] + _STEP_MM * np.arange(n) for a, n in enumerate(shape))
    out, inside = np.empty(shape, np.float32), np.empty(shape, bool)
    size = np.array(hu.shape)[:, None, None]
    for k, height in enumerate(z):
        plane = np.stack(np.broadcast_arrays(x[None, :], y[:, None], height), axis=0)
        at = np.einsum("ij,jyx->iyx", to_index[:3, :3], plane) + to_index[:3, 3, None, None]
        inside[k] = ((at > -0.5) & (at < size - 0.5)).all(0)
        out[k] = ndimage.map_coordinates(hu, at, order=1, mode="nearest")
    return out, inside


def _covered(inside: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Lowest and highest head-frame z at which most of a head's cross-section is in the scan, mm."""
    y, x = (_LOW[a] + _STEP_MM * np.arange(n) for a, n in ((1, inside.shape[1]), (0, inside.shape[2])))
    foot = (x[None, :] / _FOOTPRINT[0]) ** 2 + (y[:, None] / _FOOTPRINT[1]) ** 2 < 1
    whole = np.flatnonzero(inside[:, foot].mean(1) >= _WHOLE)
    if not len(whole):
        return 0.0, 0.0
    return float(_LOW[2] + _STEP_MM * whole[0]), float(_LOW[2] + _STEP_MM * whole[-1])


def _shares(hu: Tensor) -> Tensor:
    """Uptake, bone, grey, white and csf of voxels, from HU and from where in the average head they lie."""
    z, y, x = (torch.linspace(float(_LOW[2 - a]), float(_HIGH[2 - a]), n) for a, n in enumerate(hu.shape[2:]))
    zz, yy, xx = torch.meshgrid(z, y, x, indexing="ij")
    atlas = Where(xx.contiguous(), yy.contiguous(), zz.contiguous()).atlas()
    own = hu[0, 0]
    bone = ((own - _BONE_HU[0]) / (_BONE_HU[1] - _BONE_HU[0])).clamp(0, 1)
    soft = ((own > _BRAIN_HU[0]) & (own < _BRAIN_HU[1])).float() * (1 - bone)
    grey, white, csf = (soft * atlas[k] for k in range(3))
    brain = grey + white + csf
    muscle = (own > -20).float() * (1 - bone) * (1 - brain)
    fat = ((own > -200) & (own <= -20)).float()
    uptake = _GREY_UPTAKE * grey + _WHITE_UPTAKE * white + _CSF_UPTAKE * csf + _BONE_UPTAKE * bone
    uptake = uptake + _MUSCLE_UPTAKE * muscle + _FAT_UPTAKE * fat
    return torch.stack([uptake, bone, grey, white, csf])[None].contiguous()
