"""A group of images to one volume with one affine: gaps, uneven spacing and gantry tilt."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lvo.dicom.pixels import AIR_HU, decode_many
from lvo.dicom.stacks import Group
from lvo.errors import NotAnalysable, PixelsUnreadable, SlicesMissing
from lvo.study import Affine, Reason, Volume

GAP_FACTOR = 1.5
GAP_MM = 3.0
_THICK_STEP_MM = 7.6
_TILT_DEG = 0.1
HEAD_EXTENT_MM = 350.0
_LONG_EXTENT_MM = 420.0
_FINEST_STEP_MM = 0.4

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A volume and what was done to make it."""

    volume: Volume
    reasons: tuple[Reason, ...]


def gap_in(group: Group) -> str | None:
    """Say where slices are missing, or None.

    A step is a gap when it is over 1.5 times the median and over 3 mm, unless the slices on both sides
    are as thick as the step (a head scan with a thin base and a thick vertex has no gap).
    """
    depths = group.depths
    steps = np.abs(np.diff(depths))
    if len(steps) == 0:
        return None
    thickness = np.array([i.slice_thickness or 0.0 for i in group.instances])
    covered = np.minimum(np.maximum(thickness[:-1], thickness[1:]) * 1.2, _THICK_STEP_MM)
    gaps = (steps > GAP_FACTOR * np.median(steps)) & (steps > GAP_MM) & (steps > covered)
    if not gaps.any():
        return None
    worst, usual = float(steps[gaps].max()), float(np.median(steps))
    return f"({int(gaps.sum())} gap(s), the largest {worst:.1f} mm, where slices lie {usual:.2f} mm apart)"


def decode_group(group: Group) -> Decoded:
    """Decode a group into a volume in HU.

    The array is int16 ``(z, y, x)``, slices from feet to head where the stack is axial. Spacing that is
    uneven but without gaps is resampled by the true positions, and a tilted gantry is resampled upright
    by the shear that the positions give; both are said in the reasons. ``Volume.stack`` keeps the
    images as they were acquired.

    Raises
    ------
    SlicesMissing
        If slices are missing, or too many of them cannot be decoded.
    PixelsUnreadable
        If no image can be decoded.
    """
    uid = group.first.series_uid
    group, reasons = _head_part(group)
    if missing := gap_in(group):
        raise SlicesMissing(missing)
    array, failed = decode_many(group.instances)
    if failed:
        group, array = _without(group, array, failed)
        reasons.append(_reason("corrupt-slices", f"{len(failed)} image(s) could not be decoded.", uid))
        if missing := gap_in(group):
            raise SlicesMissing(f"{len(failed)} image(s) could not be decoded {missing}")
    reasons.extend(_header_reasons(group))
    stack = group.stack()
    array, affine, repairs = place(array, group)
    return Decoded(Volume(array, affine, stack), (*reasons, *repairs))


def _without(
    group: Group, array: npt.NDArray[np.int16], failed: list[int]
) -> tuple[Group, npt.NDArray[np.int16]]:
    keep = np.ones(len(group.instances), dtype=bool)
    keep[failed] = False
    if keep.sum() < 2:
        raise PixelsUnreadable(f"({len(failed)} of {len(group.instances)} images)")
    members = tuple(i for i, kept in zip(group.instances, keep, strict=True) if kept)
    return replace(group, instances=members), array[keep]


def _head_part(group: Group) -> tuple[Group, list[Reason]]:
    """Leave out what lies far below the head, and slices finer than the analysis can use."""
    reasons: list[Reason] = []
    uid = group.first.series_uid
    if group.extent_mm > _LONG_EXTENT_MM and abs(group.normal[2]) > 0.7:
        depths = group.depths * np.sign(group.normal[2])
        keep = depths >= depths.max() - HEAD_EXTENT_MM
        members = tuple(i for i, kept in zip(group.instances, keep, strict=True) if kept)
        text = f"The scan is {group.extent_mm:.0f} mm long; its upper {HEAD_EXTENT_MM:.0f} mm were read."
        reasons.append(_reason("cropped-to-head", text, uid, kind="information"))
        group = replace(group, instances=members)
    spacing = group.spacing_mm or 1.0
    stride = int(_FINEST_STEP_MM / max(spacing, 0.05) + 0.01)
    if stride > 1 and gap_in(group) is None:
        text = f"Slices {spacing:.2f} mm apart: every {stride}. was read."
        reasons.append(_reason("every-nth-slice", text, uid, kind="information"))
        group = replace(group, instances=group.instances[::stride])
    return group, reasons


def _header_reasons(group: Group) -> list[Reason]:
    reasons = []
    first = group.first
    if first.photometric == "MONOCHROME1":
        text = "The images are MONOCHROME1; HU were taken from the rescale, not inverted."
        reasons.append(_reason("monochrome1", text, first.series_uid, kind="caution"))
    thickness, spacing = first.slice_thickness, group.spacing_mm
    if thickness and spacing and spacing > GAP_FACTOR * thickness and spacing > 1.0:
        text = (
            f"Slices {thickness:.2f} mm thick lie {spacing:.2f} mm apart: tissue between them is not imaged."
        )
        reasons.append(_reason("slices-apart", text, first.series_uid, kind="caution"))
    return reasons


def place(
    array: npt.NDArray[np.int16], group: Group
) -> tuple[npt.NDArray[np.int16], Affine, tuple[Reason, ...]]:
    """Bring sorted slices to one affine whose axes are perpendicular; resample only where needed.

    Parameters
    ----------
    array : int16, shape (slices, rows, columns), HU, padding already air

    Returns
    -------
    array, affine : the volume; index (k, j, i) to LPS mm.
    reasons : what was repaired.
    """
    first = group.first
    uid = first.series_uid
    if first.orientation is None or first.pixel_spacing is None:
        raise NotAnalysable("(images without positions)")
    o = np.asarray(first.orientation, dtype=np.float64)
    positions = np.array([i.position for i in group.instances], dtype=np.float64)
    normal = group.normal
    depths = positions @ normal
    if len(depths) > 1 and depths[-1] < depths[0]:
        normal, depths = -normal, -depths
    row_axis, column_axis = o[3:] * first.pixel_spacing[0], o[:3] * first.pixel_spacing[1]
    reasons: list[Reason] = []

    drift = np.stack(
        [
            (positions - positions[0]) @ row_axis / first.pixel_spacing[0] ** 2,
            (positions - positions[0]) @ column_axis / first.pixel_spacing[1] ** 2,
        ],
        axis=1,
    )
    origin = positions[0]
    tilt = _tilt_deg(positions, normal)
    if tilt > _TILT_DEG or np.abs(drift - np.linspace(0, 1, len(drift))[:, None] * drift[-1]).max() > 0.5:
        array, low = _upright(array, drift)
        origin = origin + low[0] * row_axis + low[1] * column_axis
        text = f"The gantry was tilted by {tilt:.1f} degrees; the images were resampled upright."
        reasons.append(_reason("gantry-tilt", text, uid))

    step = float(np.median(np.diff(depths))) if len(depths) > 1 else 1.0
    fit_step, fit_start = _line(depths, step)
    if np.abs(depths - (fit_start + fit_step * np.arange(len(depths)))).max() <= max(0.06, 0.05 * step):
        origin = origin + (fit_start - depths[0]) * normal
        step = fit_step
    else:
        low_step, high_step = float(np.diff(depths).min()), float(np.diff(depths).max())
        text = f"Slices lie {low_step:.2f} to {high_step:.2f} mm apart; resampled to {step:.2f} mm."
        reasons.append(_reason("uneven-spacing", text, uid))
        array = _even(array, depths - depths[0], step)

    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2], affine[:3, 3] = normal * step, row_axis, column_axis, origin
    return array, affine, tuple(reasons)


def _line(depths: Floats, step: float) -> tuple[float, float]:
    if len(depths) < 2:
        return step, float(depths[0])
    slope, start = np.polynomial.Polynomial.fit(np.arange(len(depths)), depths, 1).convert().coef[::-1]
    return float(slope), float(start)


def _tilt_deg(positions: Floats, normal: Floats) -> float:
    along = positions[-1] - positions[0]
    length = float(np.linalg.norm(along))
    if length == 0:
        return 0.0
    across = float(np.linalg.norm(np.cross(along / length, normal)))
    return float(np.degrees(np.arcsin(min(1.0, across))))


def _upright(
    array: npt.NDArray[np.int16], drift: Floats
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """Shift every slice by its drift (rows, columns in pixels) onto one grid that holds them all.

    Returns the new array and the place of its first pixel in pixels of the first slice.
    """
    low = np.floor(drift.min(axis=0) + 1e-6).astype(np.int64)
    high = np.ceil(drift.max(axis=0) - 1e-6).astype(np.int64)
    rows, columns = array.shape[1] + int(high[0] - low[0]), array.shape[2] + int(high[1] - low[1])
    out = np.full((array.shape[0], rows, columns), AIR_HU, dtype=np.int16)
    for k, plane in enumerate(array):
        shifted = plane.astype(np.float32)
        whole = np.floor(drift[k] + 1e-6).astype(np.int64)
        for axis in (0, 1):
            shifted = _fraction_shift(shifted, max(0.0, float(drift[k, axis] - whole[axis])), axis)
        top, left = (whole - low).tolist()
        bottom, right = min(rows, top + shifted.shape[0]), min(columns, left + shifted.shape[1])
        out[k, top:bottom, left:right] = np.rint(shifted[: bottom - top, : right - left])
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


def _even(array: npt.NDArray[np.int16], depths: Floats, step: float) -> npt.NDArray[np.int16]:
    """Linear interpolation between neighbouring slices at their true depths."""
    count = int(np.floor(depths[-1] / step + 1e-6)) + 1
    out = np.empty((count, *array.shape[1:]), dtype=np.int16)
    for k in range(count):
        depth = k * step
        above = int(np.clip(np.searchsorted(depths, depth), 1, len(depths) - 1))
        weight = (depth - depths[above - 1]) / (depths[above] - depths[above - 1])
        weight = np.float32(np.clip(weight, 0, 1))
        out[k] = np.rint(array[above - 1] * (1 - weight) + array[above] * weight)
    return out


def _reason(code: str, text: str, uid: str, kind: str = "repair") -> Reason:
    return Reason.model_validate({"code": code, "message": text, "kind": kind, "series_instance_uid": uid})
