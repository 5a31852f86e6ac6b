"""Sorted slices to one affine whose axes are perpendicular: gantry tilt, uneven spacing and gaps.

Positions come from ImagePositionPatient and ImageOrientationPatient alone (PS3.3 C.7.6.2.1.1). The headers
settle the grid (`lay_out`) before any pixel is read; slices that already lie on it stay untouched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvo.dicom.pixels import AIR_HU, Hu
from lvo.dicom.stacks import Group
from lvo.errors import GeometryInconsistent, NotAnalysable
from lvo.study import Affine, Reason

TILT_DEG = 0.1
"""A tilt below this moves the end of a 250 mm scan by less than a pixel."""
MAX_TILT_DEG = 35.0
"""No gantry tilts further than 30 degrees: positions and orientation contradict each other."""
MAX_OFFSET_MM = 0.3
"""How far a slice may lie beside the straight line through all slices: more than positions are rounded."""
_FINEST_STEP_MM = 0.3
_GAP_FACTOR = 1.5
_GAP_MM = 3.0
_MANY_MISSING_FACTOR, _MANY_MISSING_MM = 3.5, 2.0
_THICK_STEP_MM = 7.6

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The grid of a volume, and how its slices get there.

    Attributes
    ----------
    affine : index (k, j, i) to LPS mm, axes perpendicular
    shape : voxels along (z, y, x)
    drift : how far each slice lies from the first along rows and columns, pixels, shape (slices, 2), where a
        tilted gantry has to be set upright; else None
    depths : position of each slice along the normal from the first, mm, where slices have to be brought to
        one spacing; else None
    gaps : where slices are missing
    reasons : what is to be repaired
    """

    affine: Affine
    shape: tuple[int, int, int]
    drift: Floats | None
    depths: Floats | None
    gaps: tuple[Gap, ...]
    reasons: tuple[Reason, ...]

    @property
    def untouched(self) -> bool:
        """Whether the slices lie on the grid as they are."""
        return self.drift is None and self.depths is None


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing slices between the images ``after`` and ``after + 1``; depths along the normal, mm."""

    after: int
    low: float
    high: float

    @property
    def width(self) -> float:
        """Distance between the slices on both sides, mm."""
        return self.high - self.low


def gaps(group: Group) -> tuple[Gap, ...]:
    """Places where slices are missing.

    A step is a gap when it is over 1.5 times the median and either over 3 mm or, in thin slices, over 2 mm
    with three slices gone; unless the slices on both sides are as thick as the step (a head scan with a thin
    base and a thick vertex has no gap).
    """
    depths = group.depths
    steps = np.abs(np.diff(depths))
    if len(steps) < 2:
        return ()
    usual = float(np.median(steps))
    thickness = np.array([i.slice_thickness or 0.0 for i in group.instances])
    covered = np.minimum(np.maximum(thickness[:-1], thickness[1:]) * 1.2, _THICK_STEP_MM)
    wide = (steps > _GAP_MM + 1e-3) | ((steps > _MANY_MISSING_MM) & (steps > _MANY_MISSING_FACTOR * usual))
    found = np.flatnonzero(wide & (steps > _GAP_FACTOR * usual) & (steps > covered))
    ends = np.sort(np.stack([depths[:-1], depths[1:]]), axis=0)
    return tuple(Gap(int(k), float(ends[0, k]), float(ends[1, k])) for k in found)


def lay_out(group: Group) -> Layout:
    """Find the grid of a stack from the headers of its images, sorted along the normal.

    Raises
    ------
    GeometryInconsistent
        If a slice lies beside the line through the others, or that line leans, as in no scan.
    """
    first = group.first
    if first.orientation is None or first.pixel_spacing is None or not first.rows or not first.columns:
        raise NotAnalysable("(images without positions)")
    o = np.asarray(first.orientation, dtype=np.float64)
    row_axis, column_axis = o[3:] * first.pixel_spacing[0], o[:3] * first.pixel_spacing[1]
    positions = np.array([i.position for i in group.instances], dtype=np.float64)
    normal = group.normal
    depths = positions @ normal
    if len(depths) > 1 and depths[-1] < depths[0]:
        normal, depths = -normal, -depths
    origin, rows, columns = positions[0], first.rows, first.columns
    reasons: list[Reason] = []

    drift, lean = _drift(positions, depths, row_axis, column_axis)
    tilt = _tilt_deg(positions, normal)
    tilted = tilt > TILT_DEG
    if tilt > MAX_TILT_DEG:
        raise GeometryInconsistent(f"(slices slide over each other by {tilt:.0f} degrees)")
    if tilted:
        low, size = _upright_frame(drift)
        origin, lean = origin + low[0] * row_axis + low[1] * column_axis, np.zeros(3)
        rows, columns = rows + size[0], columns + size[1]
        text = f"The gantry was tilted by {tilt:.1f} degrees; the images were resampled upright."
        reasons.append(_reason("gantry-tilt", text, group))
    depths, count = depths - depths[0], len(depths)
    line = _regular(depths, first.slice_thickness)
    if line is None:
        count, step = _even_steps(depths)
        steps = np.diff(depths)
        text = f"Slices lie {steps.min():.2f} to {steps.max():.2f} mm apart; resampled to {step:.2f} mm."
        reasons.append(_reason("uneven-spacing", text, group))
    else:
        step, start = line
        origin = origin + start * normal
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = (normal + lean) * step, row_axis, column_axis
    affine[:3, 3] = origin
    return Layout(
        affine=affine,
        shape=(count, rows, columns),
        drift=drift if tilted else None,
        depths=depths if line is None else None,
        gaps=gaps(group),
        reasons=tuple(reasons),
    )


def resample(array: Hu, layout: Layout) -> Hu:
    """Bring slices to their grid.

    Parameters
    ----------
    array : HU, shape (slices, rows, columns), sorted as the group that was laid out, padding already air;
        where something is resampled, what is below air becomes air in it

    Returns
    -------
    HU, shape `layout.shape`; the array itself where the slices already lie on the grid
    """
    if layout.untouched:
        return array
    # Fill values below air would smear into the neighbours of what they fill.
    np.maximum(array, np.asarray(AIR_HU, dtype=array.dtype), out=array)
    if layout.drift is not None:
        array = _upright(array, layout.drift)
    if layout.depths is not None:
        array = _even(array, layout.depths, layout.shape[0], layout.gaps)
    return array


def _drift(positions: Floats, depths: Floats, row_axis: Floats, column_axis: Floats) -> tuple[Floats, Floats]:
    """How far each slice lies from the first along rows and columns, pixels, shape (slices, 2).

    Also the straight line through it: mm beside the normal for each mm along it, LPS, shape (3,).
    """
    away = positions - positions[0]
    drift = np.stack([away @ axis / (axis @ axis) for axis in (row_axis, column_axis)], axis=1)
    if len(drift) < 2 or np.ptp(depths) == 0:
        return drift, np.zeros(3)
    line = np.polynomial.polynomial.polyfit(depths, drift, 1)
    beside = np.abs(drift - (line[0] + depths[:, None] * line[1]))
    size = np.array([np.linalg.norm(row_axis), np.linalg.norm(column_axis)])
    if (worst := float((beside * size).max())) > MAX_OFFSET_MM:
        raise GeometryInconsistent(f"(a slice lies {worst:.1f} mm beside the others)")
    return drift, line[1][0] * row_axis + line[1][1] * column_axis


def _regular(depths: Floats, thickness: float | None) -> tuple[float, float] | None:
    """Step and start of the grid on which the slices lie, mm; None where they lie on none."""
    if len(depths) < 2:
        return thickness or 1.0, 0.0
    start, step = np.polynomial.polynomial.polyfit(np.arange(len(depths)), depths, 1)
    beside = np.abs(depths - (start + step * np.arange(len(depths)))).max()
    return (float(step), float(start)) if beside <= max(0.06, 0.05 * step) else None


def _tilt_deg(positions: Floats, normal: Floats) -> float:
    along = positions[-1] - positions[0]
    length = float(np.linalg.norm(along))
    if length == 0:
        return 0.0
    across = float(np.linalg.norm(np.cross(along / length, normal)))
    return float(np.degrees(np.arcsin(min(1.0, across))))


def _upright_frame(drift: Floats) -> tuple[npt.NDArray[np.int64], tuple[int, int]]:
    """First pixel (in pixels of the first slice) of a grid that holds all slices, and how much it grows."""
    low = np.floor(drift.min(axis=0) + 1e-6).astype(np.int64)
    high = np.ceil(drift.max(axis=0) - 1e-6).astype(np.int64)
    return low, (int(high[0] - low[0]), int(high[1] - low[1]))


def _upright(array: Hu, drift: Floats) -> Hu:
    """Shift every slice by its drift (rows, columns in pixels) onto one grid that holds them all."""
    low, size = _upright_frame(drift)
    rows, columns = array.shape[1] + size[0], array.shape[2] + size[1]
    out = np.full((array.shape[0], rows, columns), AIR_HU, dtype=array.dtype)
    for k, plane in enumerate(array):
        shifted = plane.astype(np.float32)
        whole = np.floor(drift[k] + 1e-6).astype(np.int64)
        for axis in (0, 1):
            shifted = _fraction_shift(shifted, max(0.0, float(drift[k, axis] - whole[axis])), axis)
        top, left = (whole - low).tolist()
        bottom, right = min(rows, top + shifted.shape[0]), min(columns, left + shifted.shape[1])
        out[k, top:bottom, left:right] = _as(out.dtype, shifted[: bottom - top, : right - left])
    return out


def _fraction_shift(plane: npt.NDArray[np.float32], fraction: float, axis: int) -> npt.NDArray[np.float32]:
    """Move by a part of a pixel towards larger indices (linear interpolation); one pixel longer."""
    if fraction < 1e-3:
        return plane
    pad = [(0, 0), (0, 0)]
    pad[axis] = (1, 1)
    padded = np.pad(plane, pad, constant_values=AIR_HU)
    before = np.take(padded, range(padded.shape[axis] - 1), axis)
    after = np.take(padded, range(1, padded.shape[axis]), axis)
    return np.asarray(before * np.float32(fraction) + after * np.float32(1 - fraction))


def _even_steps(depths: Floats) -> tuple[int, float]:
    """Number and distance (mm) of even slices as fine as the finest tenth of the steps.

    The first and the last slice stay where they are: the step is the whole length by a whole number.
    """
    fine = max(float(np.percentile(np.diff(depths), 10)), _FINEST_STEP_MM)
    count = max(2, round(float(depths[-1]) / fine) + 1)
    return count, float(depths[-1]) / (count - 1)


def _even(array: Hu, depths: Floats, count: int, missing: tuple[Gap, ...]) -> Hu:
    """Linear interpolation at the true depths; gaps become air."""
    step = float(depths[-1]) / (count - 1)
    out = np.empty((count, *array.shape[1:]), dtype=array.dtype)
    holes = {gap.after for gap in missing}
    for k in range(count):
        above = int(np.clip(np.searchsorted(depths, k * step - 1e-6), 1, len(depths) - 1))
        part = (k * step - depths[above - 1]) / (depths[above] - depths[above - 1])
        weight = np.float32(np.clip(part, 0, 1))
        if above - 1 in holes and 0.01 < weight < 0.99:
            out[k] = AIR_HU
        else:
            out[k] = _as(out.dtype, array[above - 1] * (1 - weight) + array[above] * weight)
    return out


def _as(dtype: np.dtype[np.generic], values: npt.NDArray[np.floating]) -> npt.NDArray[np.generic]:
    return np.rint(values) if dtype.kind == "i" else values


def _reason(code: str, text: str, group: Group) -> Reason:
    return Reason(code=code, message=text, kind="repair", series_instance_uid=group.first.series_uid)
