"""The brain's outer surface as a cached field of distances, to keep cortical arteries on it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lvo.phantom.head.atlas import load_atlas

Array = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]
_CLOSE_MM = 9.0
"""Sulci and fissures narrower than twice this are bridged."""


@dataclass(frozen=True, slots=True, eq=False)
class BrainField:
    """Distance to the hull of the average brain.

    Attributes
    ----------
    values : float32 (voxels, 4): mm to the hull (negative inside), and its gradient along x, y, z.
    shape : (z, y, x) of the voxels. low : head-frame (x, y, z) of the first. step : mm between them.
    """

    values: F32
    shape: tuple[int, int, int]
    low: Array
    step: float

    def at(self, points: Array) -> tuple[Array, Array]:
        """Distance, (n,), and outward direction, (n, 3), at points (n, 3), by trilinear interpolation."""
        most = np.array(self.shape[::-1]) - 1.001
        place = np.clip((points - self.low) / self.step, 0, most)
        whole = place.astype(np.int64)
        f = (place - whole).astype(np.float32)
        _, ny, nx = self.shape
        base = (whole[:, 2] * ny + whole[:, 1]) * nx + whole[:, 0]
        out = np.zeros((len(points), 4), np.float32)
        for dz in (0, 1):
            wz = f[:, 2] if dz else 1 - f[:, 2]
            for dy in (0, 1):
                wy = wz * (f[:, 1] if dy else 1 - f[:, 1])
                for dx in (0, 1):
                    w = wy * (f[:, 0] if dx else 1 - f[:, 0])
                    out += w[:, None] * self.values[base + (dz * ny + dy) * nx + dx]
        way = out[:, 1:].astype(np.float64)
        way /= np.maximum(np.sqrt(np.einsum("ij,ij->i", way, way)), 1e-6)[:, None]
        return out[:, 0].astype(np.float64), way


@functools.lru_cache(maxsize=1)
def brain_field() -> BrainField:
    """The hull of the atlas' brain, sulci closed."""
    atlas = load_atlas()
    step = 2 * float(atlas.affine[0, 2])
    brain = np.pad((atlas.probability[0] + atlas.probability[1])[::2, ::2, ::2] > 0.5, 8)
    labels, count = ndimage.label(brain)
    sizes = ndimage.sum_labels(brain, labels, np.arange(1, count + 1))
    brain = labels == 1 + int(np.argmax(sizes))
    near = ndimage.distance_transform_edt(~brain, step) <= _CLOSE_MM
    closed = ndimage.distance_transform_edt(near, step) > _CLOSE_MM
    closed |= brain
    distance = ndimage.distance_transform_edt(~closed, step) - ndimage.distance_transform_edt(closed, step)
    distance = ndimage.gaussian_filter(distance.astype(np.float32), 0.7)[8:-8, 8:-8, 8:-8]
    gz, gy, gx = np.gradient(distance, step)
    values = np.stack([distance, gx, gy, gz], axis=-1).astype(np.float32)
    nz, ny, nx = distance.shape
    return BrainField(values.reshape(-1, 4), (nz, ny, nx), atlas.affine[:3, 3].copy(), step)


def onto_brain(points: Array, gap: float | Array, only_inwards: bool = False) -> Array:
    """Move points (n, 3) to `gap` mm outside the hull; with `only_inwards`, only those beyond it."""
    field = brain_field()
    moved = points
    for _ in range(2):
        distance, way = field.at(moved)
        off = distance - gap
        moved = moved - (np.maximum(off, 0.0) if only_inwards else off)[:, None] * way
    return moved
