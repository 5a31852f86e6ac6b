"""Sorted slices to one affine whose axes are perpendicular: gantry tilt, uneven spacing and gaps.

Positions come from ImagePositionPatient and ImageOrientationPatient alone (PS3.3 C.7.6.2.1.1). Slices that
already lie on one grid are handed on untouched.
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
MAX_OFFSET_MM = 0.3
"""How far a slice may lie beside the straight line through all slices: more than positions are rounded."""
_FINEST_STEP_MM = 0.3
_GAP_FACTOR = 1.5
_GAP_MM = 3.0
_MANY_MISSING_FACTOR, _MANY_MISSING_MM = 3.5, 2.0
_THICK_STEP_MM = 7.6

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Placed:
    """A volume on one grid.

    Attributes
    ----------
    array : HU, shape (z, y, x)
    affine : index (k, j, i) to LPS mm, axes perpendicular
    reasons : what was repaired
    """

    array: Hu
    affine: Affine
    reasons: tuple[Reason, ...]


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


def place(array: Hu, group: Group) -> Placed:
    """Bring sorted slices to one affine; resample only where they do not lie on one grid.

    Parameters
    ----------
    array : HU, shape (slices, rows, columns), padding already air
    group : the images, in the same order

    Raises
    ------
    GeometryInconsistent
        If a slice lies beside the line through the others, as in no scan.
    """
    first = group.first
    if first.orientation is None or first.pixel_spacing is None:
        raise NotAnalysable("(images without positions)")
    o = np.asarray(first.orientation, dtype=np.float64)
    row_axis, column_axis = o[3:] * first.pixel_spacing[0], o[:3] * first.pixel_spacing[1]
    positions = np.array([i.position for i in group.instances], dtype=np.float64)
    normal = group.normal
    depths = positions @ normal
    if len(depths) > 1 and depths[-1] < depths[0]:
        normal, depths = -normal, -depths
    origin = positions[0]
    reasons: list[Reason] = []

    drift, lean = _drift(positions, depths, row_axis, column_axis)
    tilt = _tilt_deg(positions, normal)
    if tilt > TILT_DEG:
        array, low = _upright(_floored(array), drift)
        origin, lean = origin + low[0] * row_axis + low[1] * column_axis, np.zeros(3)
        text = f"The gantry was tilted by {tilt:.1f} degrees; the images were resampled upright."
        reasons.append(_repair("gantry-tilt", text, group))
    depths = depths - depths[0]
    line = _regular(depths, first.slice_thickness)
    if line is None:
        array, step = _even(_floored(array), depths, gaps(group))
        steps = np.diff(depths)
        text = f"Slices lie {steps.min():.2f} to {steps.max():.2f} mm apart; resampled to {step:.2f} mm."
        reasons.append(_repair("uneven-spacing", text, group))
    else:
        step, start = line
        origin = origin + start * normal
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = (normal + lean) * step, row_axis, column_axis
    affine[:3, 3] = origin
    return Placed(array, affine, tuple(reasons))


def _floored(array: Hu) -> Hu:
    """Fill values below air would smear into the neighbours of what they fill."""
    floored: Hu = np.maximum(array, np.asarray(AIR_HU, dtype=array.dtype))
    return floored


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


def _upright(array: Hu, drift: Floats) -> tuple[Hu, npt.NDArray[np.int64]]:
    """Shift every slice by its drift (rows, columns in pixels) onto one grid that holds them all.

    Returns the new array and the place of its first pixel in pixels of the first slice.
    """
    low = np.floor(drift.min(axis=0) + 1e-6).astype(np.int64)
    high = np.ceil(drift.max(axis=0) - 1e-6).astype(np.int64)
    rows, columns = array.shape[1] + int(high[0] - low[0]), array.shape[2] + int(high[1] - low[1])
    out = np.full((array.shape[0], rows, columns), AIR_HU, dtype=array.dtype)
    for k, plane in enumerate(array):
        shifted = plane.astype(np.float32)
        whole = np.floor(drift[k] + 1e-6).astype(np.int64)
        for axis in (0, 1):
            shifted = _fraction_shift(shifted, max(0.0, float(drift[k, axis] - whole[axis])), axis)
        top, left = (whole - low).tolist()
        bottom, right = min(rows, top + shifted.shape[0]), min(columns, left + shifted.shape[1])
        out[k, top:bottom, left:right] = _as(out.dtype, shifted[: bottom - top, : right - left])
    return out, low


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


def _even(array: Hu, depths: Floats, missing: tuple[Gap, ...]) -> tuple[Hu, float]:
    """Linear interpolation at the true depths, in steps as fine as the finest tenth; gaps become air.

    The first and the last slice stay where they are: the step is the whole length by a whole number.
    """
    fine = max(float(np.percentile(np.diff(depths), 10)), _FINEST_STEP_MM)
    count = max(2, round(float(depths[-1]) / fine) + 1)
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
    return out, step


def _as(dtype: np.dtype[np.generic], values: npt.NDArray[np.floating]) -> npt.NDArray[np.generic]:
    return np.rint(values) if dtype.kind == "i" else values


def _repair(code: str, text: str, group: Group) -> Reason:
    return Reason(code=code, message=text, kind="repair", series_instance_uid=group.first.series_uid)
