"""Can the arteries be followed? Motion and metal, measured on the scan and answered with reasons."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lvo.errors import MetalOverVessels, StrongMotion
from lvo.imaging.acceptance import CORE, Range, region
from lvo.imaging.resample import SKULL_BOX, Grid, pose_matrix
from lvo.study import Affine, FloatArray, HeadPose, Reason, Volume

F32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

# ----------------------------------------------------------------------------- motion

STRONG_MM = 3.0
"""An M1 is about 3 mm wide: a jump by its width cuts it in two. Clean phantoms show 1.6 mm at most, so does a
real head in 4 mm slices."""
SOME_MM = 2.0
SOME_PER_MM = 0.25
"""Slices that lie far apart differ by anatomy too: so much more is allowed per mm beyond 2 mm."""
_SKULL: tuple[Range, Range, Range] = ((-85.0, 85.0), (-112.0, 88.0), (-20.0, 120.0))
"""Cranium above the skull base. What lies lower changes quickly from slice to slice, or moves by itself."""
_CLIP: Range = (-200.0, 600.0)  # skin and bone make edges; air, foam and metal do not outshout them
_STEP_MM = 1.5
_PIXEL_MM = 3.0
_ARM_MM = 45.0  # turns count as the way that an M1 bifurcation moves
_SPANS_MM = (1.5, 3.0, 4.5, 6.0)  # a movement takes as long as the table needs for some mm
_TREND_MM = 20.0  # more than twice the longest movement, or the median would follow it
_TELLING = 0.6
_MISFIT_HU = 80.0


def check_motion(volume: Volume, pose: HeadPose) -> tuple[Reason, ...]:
    """Check that the head held still while the circle of Willis was scanned.

    Parameters
    ----------
    volume : HU, slices along axis 0
    pose : patient LPS to head frame

    Returns
    -------
    tuple of Reason
        A rejection when neighbouring slices jump by the width of an artery, a caution when by less.
    """
    jump = measure_motion(volume, pose)
    if jump >= STRONG_MM:
        detail = f"(Slices jump by {jump:.0f} mm.)"
        return (Reason(code=StrongMotion.code, message=StrongMotion(detail).message),)
    if jump >= SOME_MM + SOME_PER_MM * max(0.0, volume.spacing[0] - 2.0):
        text = f"The patient moved a little during the scan: slices jump by {jump:.1f} mm."
        return (Reason(code="some-motion", message=text, kind="caution"),)
    return ()


def measure_motion(volume: Volume, pose: HeadPose) -> float:
    """Largest in-plane jump of the head between slices that lie within 6 mm, mm; 0 where it cannot be told.

    Each block of slices is laid over the next by least squares on the edges of skin and skull. A head whose
    outline changes, or that lies askew, moves smoothly over z: what the median of the neighbours says is
    taken off, and what is left was the patient.

    Parameters
    ----------
    volume : HU, slices along axis 0
    pose : patient LPS to head frame
    """
    blocks, affine = _blocks(volume, pose_matrix(pose) @ volume.affine)
    if min(blocks.shape) < 8:
        return 0.0
    moves, edge = _register(blocks, affine)
    # Slices that hold little of the cranium, at the vertex or askew through its base, say nothing.
    told = np.flatnonzero(edge > _TELLING * np.median(edge[edge > 0])) if edge.any() else np.zeros(0, int)
    if len(told) < 6:
        return 0.0
    moves = moves[told[0] : told[-1] + 1]
    step = float(np.linalg.norm(affine[:3, 0]))
    half = min(max(2, round(_TREND_MM / step / 2)), len(moves) - 1)
    padded = np.pad(moves, ((half, half), (0, 0)), mode="reflect", reflect_type="odd")
    trend = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=0), axis=-1)
    path = np.concatenate([np.zeros((1, 3)), np.cumsum(moves - trend, axis=0)])
    spans = {min(max(1, round(mm / step)), len(moves)) for mm in _SPANS_MM}
    return float(max(np.linalg.norm(path[n:] - path[:-n], axis=1).max() for n in spans))


def _blocks(volume: Volume, to_head: Affine) -> tuple[F32, Affine]:
    """Blocks of about 1.5 x 3 x 3 mm of the slices that cross the core, and their index to the head frame."""
    low, high = _index_box(to_head, _SKULL, volume.array.shape)
    low[0], high[0] = (edge[0] for edge in _index_box(to_head, CORE, volume.array.shape))
    step = np.linalg.norm(to_head[:3, :3], axis=0)
    # One source voxel per mm tells as much of an edge as all of them, and is read much sooner.
    sparse = np.maximum(1, np.array([_STEP_MM / 2, 1.0, 1.0]) / step + 0.25).astype(int)
    size = np.maximum(1, np.rint(np.array([_STEP_MM, _PIXEL_MM, _PIXEL_MM]) / (step * sparse))).astype(int)
    count = (high - low) // (sparse * size)
    cut = tuple(slice(a, a + n * s * b, s) for a, n, s, b in zip(low, count, sparse, size, strict=True))
    part = np.clip(volume.array[cut], *_CLIP).astype(np.float32)
    (nz, ny, nx), (bz, by, bx) = count, size
    affine = to_head.copy()
    affine[:3, 3] += to_head[:3, :3] @ (low + (size - 1) / 2 * sparse)
    affine[:3, :3] *= sparse * size
    if not part.size:
        return np.zeros((0, 0, 0), np.float32), affine
    return part.reshape(nz, bz, ny, by, nx, bx).mean((1, 3, 5)), affine


def _index_box(
    to_head: Affine, ranges: tuple[Range, Range, Range], shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]:
    """First and behind-last array index (k, j, i) of a head-frame box, within a volume."""
    inverse = np.linalg.inv(to_head)
    corners = np.array(list(product(*ranges))).T
    reached = inverse[:3, :3] @ corners + inverse[:3, 3:]
    low = np.clip(np.floor(reached.min(1)), 0, shape).astype(int)
    high = np.clip(np.ceil(reached.max(1)) + 1, 0, shape).astype(int)
    return low, high


def _register(blocks: F32, affine: Affine) -> tuple[F32, F32]:
    """How each slice has moved against the one below it.

    Parameters
    ----------
    blocks : HU, shape (z, y, x)
    affine : their index (k, j, i) to the head frame, mm

    Returns
    -------
    moves : shape (z - 1, 3), mm: along y, along x, and the turn about the middle of the core times 45 mm
    edge : shape (z - 1), how much edge each pair shares
    """
    py, px = (float(np.linalg.norm(affine[:3, n])) for n in (1, 2))
    image = ndimage.gaussian_filter(blocks, (0, 0.7, 0.7))
    _, cy, cx = (np.linalg.inv(affine) @ [0.0, 5.0, 0.0, 1.0])[:3]
    y = ((np.arange(image.shape[1]) - cy) * py).astype(np.float32)[None, :, None]
    x = ((np.arange(image.shape[2]) - cx) * px).astype(np.float32)[None, None, :]
    inside = _within(affine, image.shape, _SKULL)
    shared = (inside[:-1] & inside[1:]).astype(np.float32)
    fixed, moving = image[:-1], image[1:]
    fixed_y, fixed_x = np.gradient(fixed, py, px, axis=(1, 2))
    pairs = len(fixed)
    plane = np.broadcast_to(np.arange(pairs, dtype=np.float32)[:, None, None], fixed.shape)
    moves, edge = np.zeros((pairs, 3), np.float32), np.zeros(pairs, np.float32)
    for turn in range(3):  # Gauss-Newton; three steps reach 8 mm
        down, right, angle = (moves[:, n, None, None] for n in range(3))
        rows = (y + down + angle / _ARM_MM * x) / py + cy
        columns = (x + right - angle / _ARM_MM * y) / px + cx
        place = np.array([plane, rows, columns], np.float32)
        seen = ndimage.map_coordinates(moving, place, output=np.float32, order=1, mode="nearest")
        dy, dx = np.gradient(seen, py, px, axis=(1, 2))
        dy, dx = (dy + fixed_y) / 2, (dx + fixed_x) / 2
        slope = np.stack([dy, dx, (dy * x - dx * y) / _ARM_MM], -1).reshape(pairs, -1, 3)
        miss = fixed - seen
        # Anatomy that comes and goes between slices fits nowhere; it must not pull.
        trust = shared / (1 + (miss / _MISFIT_HU) ** 2) ** 2 if turn else shared
        pull = np.swapaxes(slope * trust.reshape(pairs, -1, 1), 1, 2)
        normal = pull @ slope
        if not turn:
            edge = np.trace(normal, axis1=1, axis2=2)
        normal += np.eye(3, dtype=np.float32)  # keeps empty slices solvable, weighs nothing elsewhere
        moves = moves + np.linalg.solve(normal, pull @ miss.reshape(pairs, -1, 1))[..., 0]
    return moves, edge


def _within(affine: Affine, shape: tuple[int, ...], ranges: tuple[Range, Range, Range]) -> Mask:
    """Which voxels lie in a head-frame box; affine maps index (k, j, i) to the head frame."""
    inside = np.ones(shape, bool)
    k, j, i = np.ogrid[: shape[0], : shape[1], : shape[2]]
    for row, (low, high) in zip(affine[:3].astype(np.float32), ranges, strict=True):
        place = row[0] * k + row[1] * j + row[2] * i + row[3]
        inside &= (place >= low) & (place <= high)
    return inside


# ----------------------------------------------------------------------------- metal

METAL_HU = 3000.0
"""Enamel and petrous bone stay below; scanners that store twelve bits stop at 3071."""
MIN_METAL_MM3 = 15.0
HIDDEN_MM3 = 750.0
"""The arteries of the region hold 2500 mm3. Simulated clips and coils of 4 mm hide up to 400, large clips and
coils of 7 mm above the sella 1400 and more, beside it 700 to 950; coils of 5 and 6 mm fall on both sides."""
_WHOLE: tuple[Range, Range, Range] = ((-90.0, 90.0), (-115.0, 95.0), (-90.0, 115.0))
# Brain only, in every head: nothing there is dark but for a streak. Above the sella, and behind the clivus.
_BRAIN: tuple[tuple[Range, Range, Range], ...] = (
    ((-40.0, 40.0), (-6.0, 42.0), (9.0, 36.0)),
    ((-9.0, 9.0), (28.0, 40.0), (-18.0, 9.0)),
)
_DARK_HU = -30.0
_SMOOTH_MM = 3.0


@dataclass(frozen=True, slots=True)
class Metal:
    """How much metal there is, and how much it hides.

    Attributes
    ----------
    largest_mm3 : largest connected piece in the scanned head, mm3
    hidden_mm3 : of the core, metal and streaks, mm3; 0 without metal
    """

    largest_mm3: float
    hidden_mm3: float


def check_metal(
    volume: Volume, pose: HeadPose, head: FloatArray, grid: Grid = SKULL_BOX
) -> tuple[Reason, ...]:
    """Check that no metal hides the arteries.

    Parameters
    ----------
    volume : HU
    pose : patient LPS to head frame
    head : float32, shape `grid.shape`, HU, the volume in the head frame
    grid : of the head frame

    Returns
    -------
    tuple of Reason
        A rejection when metal and its streaks hide the core, a caution for any other metal in the head.
    """
    metal = measure_metal(volume, pose, head, grid)
    if metal.hidden_mm3 >= HIDDEN_MM3:
        detail = f"(They cover about {metal.hidden_mm3 / 1000:.0f} cm3 of it.)"
        return (Reason(code=MetalOverVessels.code, message=MetalOverVessels(detail).message),)
    if metal.largest_mm3 >= MIN_METAL_MM3:
        text = "There is metal in the scanned head; its streaks may hide an artery."
        return (Reason(code="metal", message=text, kind="caution"),)
    return ()


def measure_metal(volume: Volume, pose: HeadPose, head: FloatArray, grid: Grid = SKULL_BOX) -> Metal:
    """Measure metal in the scanned head and what it hides of the core.

    Bright streaks look like vessels, dark ones like nothing else in the brain; there are as many of either.

    Parameters
    ----------
    volume, pose, head, grid : as for :func:`check_metal`
    """
    largest = _largest_metal(volume, pose)
    if largest < MIN_METAL_MM3:
        return Metal(largest, 0.0)
    brain = np.logical_or.reduce([region(grid, part) for part in _BRAIN])
    calm = ndimage.uniform_filter(head, max(1, round(_SMOOTH_MM / grid.spacing)))  # noise is not a streak
    solid = (head >= METAL_HU) & region(grid, CORE)
    hidden = np.count_nonzero(solid) + 2 * np.count_nonzero((calm < _DARK_HU) & brain)
    return Metal(largest, float(hidden * grid.spacing**3))


def _largest_metal(volume: Volume, pose: HeadPose) -> float:
    """Volume of the largest connected piece of metal in the head, mm3, seen on a lattice of about 1 mm."""
    to_head = pose_matrix(pose) @ volume.affine
    low, high = _index_box(to_head, _WHOLE, volume.array.shape)
    sparse = np.maximum(1, 1 / np.linalg.norm(to_head[:3, :3], axis=0) + 0.25).astype(int)
    cut = tuple(slice(a, b, s) for a, b, s in zip(low, high, sparse, strict=True))
    bright = volume.array[cut] >= METAL_HU
    voxel = float(np.prod(np.array(volume.spacing) * sparse))
    if np.count_nonzero(bright) * voxel < MIN_METAL_MM3:
        return 0.0
    # Pieces are told apart only where there is any: all of the head would take long.
    around = ndimage.find_objects(bright.view(np.uint8))[0]
    labels, _ = ndimage.label(bright[around], np.ones((3, 3, 3)))
    return float(np.bincount(labels.ravel())[1:].max() * voxel)
