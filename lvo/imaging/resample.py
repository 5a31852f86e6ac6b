"""Bringing a volume into the head frame, and points to and fro."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from lvo.study import Affine, FloatArray, HeadPose, Volume

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grid:
    """A regular grid in the head frame.

    Attributes
    ----------
    shape : (z, y, x) voxels
    spacing : voxel size, mm
    origin : head-frame (x, y, z) of the first voxel's centre, mm
    """

    shape: tuple[int, int, int]
    spacing: float
    origin: tuple[float, float, float]

    @property
    def affine(self) -> Affine:
        """Index (k, j, i) to head-frame (x, y, z), shape (4, 4)."""
        out = np.zeros((4, 4))
        out[0, 2] = out[1, 1] = out[2, 0] = self.spacing
        out[:3, 3], out[3, 3] = self.origin, 1.0
        return out


HEAD_BOX = Grid(shape=(128, 112, 144), spacing=1.0, origin=(-71.5, -49.5, -72.5))
"""What the detector sees: from the carotid at the second vertebra up to where M3 leaves the fissure, out to
the skull."""
SKULL_BOX = Grid(shape=(96, 112, 144), spacing=1.0, origin=(-71.5, -49.5, -40.5))
"""The upper part of it, from V4 and the siphon: what has to be scanned, and where scans are judged. A scan of
the head alone ends below it, where it likes."""


def in_skull(box: FloatArray) -> FloatArray:
    """The part on SKULL_BOX of a volume on HEAD_BOX."""
    return box[-SKULL_BOX.shape[0] :]


def pose_matrix(pose: HeadPose) -> Affine:
    """Patient LPS to head frame, float64, shape (4, 4)."""
    return np.array(pose.matrix, dtype=np.float64)


def points_to_head(pose: HeadPose, points: npt.ArrayLike) -> F64:
    """Bring patient LPS points (n, 3) in mm to the head frame, shape (n, 3)."""
    return _move(pose_matrix(pose), points)


def points_to_patient(pose: HeadPose, points: npt.ArrayLike) -> F64:
    """Bring head-frame points (n, 3) in mm to patient LPS, shape (n, 3)."""
    return _move(_inverse(pose), points)


def grid_index_to_patient(pose: HeadPose, grid: Grid, index: npt.ArrayLike) -> F64:
    """Patient LPS mm, shape (n, 3), of grid indices (k, j, i), shape (n, 3)."""
    return _move(_inverse(pose) @ grid.affine, index)


def _inverse(pose: HeadPose) -> Affine:
    return np.asarray(np.linalg.inv(pose_matrix(pose)), dtype=np.float64)


def _move(matrix: Affine, points: npt.ArrayLike) -> F64:
    p = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    moved: F64 = p @ matrix[:3, :3].T + matrix[:3, 3]
    return moved


def grid_to_index(volume: Volume, pose: HeadPose, grid: Grid) -> Affine:
    """Map from grid index (k, j, i) to the volume's array index (k, j, i), shape (4, 4)."""
    result: Affine = np.linalg.inv(pose_matrix(pose) @ volume.affine) @ grid.affine
    return result


def to_head(
    volume: Volume, pose: HeadPose, grid: Grid = HEAD_BOX, fill: float = -1024.0, smooth: bool = True
) -> FloatArray:
    """Resample a volume to a grid of the head frame, linearly.

    Parameters
    ----------
    volume : HU, any orientation
    pose : patient LPS to head frame
    grid : where to sample
    fill : value outside the volume
    smooth : average source voxels along axes on which two or more of them fit into one of the grid's,
        so that noise of thin slices is not sampled but averaged; otherwise source HU are kept exactly.

    Returns
    -------
    float32, shape `grid.shape`, HU
    """
    step = grid_to_index(volume, pose, grid)
    box = _needed(step, grid.shape, volume.array.shape)
    if box is None:
        return np.full(grid.shape, fill, dtype=np.float32)
    part = volume.array[tuple(slice(a, b) for a, b in box)]
    step[:3, 3] -= [a for a, _ in box]
    if smooth:
        part, step = _shrink(part, step)
    if part.dtype not in (np.dtype(np.int16), np.dtype(np.float32)):
        part = part.astype(np.float32)
    image = sitk.GetImageFromArray(part)
    # SimpleITK orders x, y, z: reverse both sides of the index map.
    flip = np.eye(3)[::-1]
    move = sitk.AffineTransform((flip @ step[:3, :3] @ flip).ravel().tolist(), (flip @ step[:3, 3]).tolist())
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize([int(n) for n in grid.shape[::-1]])
    resampler.SetTransform(move)
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetDefaultPixelValue(fill)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    out: FloatArray = sitk.GetArrayFromImage(resampler.Execute(image))
    return out


def _needed(
    step: Affine, shape: tuple[int, int, int], source: tuple[int, ...]
) -> list[tuple[int, int]] | None:
    """Index ranges of the source that the grid touches; None when it touches none."""
    corners = np.array(np.meshgrid(*[(0.0, n - 1.0) for n in shape], indexing="ij")).reshape(3, -1)
    reached = step[:3, :3] @ corners + step[:3, 3:]
    low = np.maximum(np.floor(reached.min(1)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(reached.max(1)).astype(int) + 3, source)
    if (low >= high).any():
        return None
    return [(int(a), int(b)) for a, b in zip(low, high, strict=True)]


def _shrink(part: npt.NDArray[np.generic], step: Affine) -> tuple[npt.NDArray[np.generic], Affine]:
    """Average whole blocks of source voxels that fit into one grid voxel; adapt the index map."""
    moves = np.linalg.norm(np.linalg.inv(step[:3, :3]), axis=0)  # grid voxels per source voxel
    factors = [min(max(1, int(1 / m + 0.1)), n) for m, n in zip(moves, part.shape, strict=True)]
    if max(factors) == 1:
        return part, step
    image = sitk.BinShrink(sitk.GetImageFromArray(part), factors[::-1])
    new = step.copy()
    scale = np.array(factors, dtype=np.float64)
    new[:3, 3] = (step[:3, 3] - (scale - 1) / 2) / scale
    new[:3, :3] = step[:3, :3] / scale[:, None]
    return sitk.GetArrayFromImage(image), new
