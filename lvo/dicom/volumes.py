"""A group of images decoded into one volume, with a reason for everything that was done to it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lvo.dicom.geometry import Gap, gaps, lay_out, resample
from lvo.dicom.pixels import MAX_SLICE_PIXELS, Hu, Report, decode_many
from lvo.dicom.stacks import Group
from lvo.errors import PixelsUnreadable, SeriesTooLarge, SlicesMissing
from lvo.study import Reason, Volume

MAX_VOXELS = 1 << 30
"""Two gigabytes of int16; four thousand slices of 512 by 512 pixels."""
MAX_SIDE = 32767
"""What NIfTI can hold along one axis."""
HEAD_EXTENT_MM = 350.0
_LONG_EXTENT_MM = 420.0
_FINEST_STEP_MM = 0.4
VESSELS_BELOW_VERTEX_MM = (25.0, 180.0)
"""Where the arteries the detector looks at can lie, measured down from the top of the skull: 50 to 155 mm
in an upright head of usual size, and a margin for pose and size."""
_MAX_GAP_MM = 40.0
_BONE_HU, _BONE_CM2 = 300, 2.0


@dataclass(frozen=True, slots=True)
class Decoded:
    """A volume and what was done to make it."""

    volume: Volume
    reasons: tuple[Reason, ...]


def decode_group(group: Group, *, whole: bool = False) -> Decoded:
    """Decode a group into a volume in HU.

    The array is int16 ``(z, y, x)``, slices from feet to head where the stack is axial. Spacing that is
    uneven but without gaps is resampled by the true positions, and a tilted gantry is resampled upright
    by the shear that the positions give; both are said in the reasons. ``Volume.stack`` keeps the
    images as they were acquired.

    Parameters
    ----------
    whole : every slice, with HU exactly as they are (float32 where a rescale is not whole). Otherwise only
        what the analysis needs: the part of a long scan that can hold the head, slices no finer than 0.4 mm.

    Raises
    ------
    SlicesMissing
        If slices are missing where the vessels are, or too many of them cannot be decoded.
    PixelsUnreadable
        If no image can be decoded.
    GeometryInconsistent
        If a slice lies beside the others.
    SeriesTooLarge
        If the volume would have more than `MAX_VOXELS` voxels, or more than `MAX_SIDE` along an axis.
    """
    reasons: list[Reason] = []
    if not whole:
        group, reasons = _head_part(group)
    check_size(group)
    array, report = decode_many(group.instances, exact=whole)
    if report.failed:
        group, array = _without(group, array, report.failed)
        text = f"{len(report.failed)} image(s) could not be decoded."
        reasons.append(_reason("corrupt-slices", text, group))
    layout = lay_out(group)
    if layout.gaps:
        reasons.append(_gaps_allowed(layout.gaps, array, group, len(report.failed)))
    if math.prod(layout.shape) > MAX_VOXELS or max(layout.shape) > MAX_SIDE:
        raise SeriesTooLarge("(after resampling)")
    span = tuple((gap.low, gap.high) for gap in layout.gaps)
    volume = Volume(resample(array, layout), layout.affine, group.stack(), span)
    return Decoded(volume, (*reasons, *pixel_reasons(report, group), *layout.reasons))


def check_size(group: Group) -> None:
    """Refuse what memory cannot hold, before any pixel is read.

    Raises
    ------
    SeriesTooLarge
        If an image has more than `MAX_SLICE_PIXELS` pixels, or the stack more than `MAX_VOXELS` or more than
        `MAX_SIDE` along an axis.
    """
    sides = len(group.instances), group.first.rows or 0, group.first.columns or 0
    if sides[1] * sides[2] > MAX_SLICE_PIXELS or math.prod(sides) > MAX_VOXELS or max(sides) > MAX_SIDE:
        raise SeriesTooLarge(f"({len(group.instances)} images of {group.first.rows} rows)")


def _gaps_allowed(missing: tuple[Gap, ...], array: Hu, group: Group, failed: int) -> Reason:
    """The caution for gaps that no vessel crosses.

    Raises
    ------
    SlicesMissing
        If a gap lies where the vessels can be, or is too wide to trust what lies around it.
    """
    widest = max(gap.width for gap in missing)
    usual = group.spacing_mm or 0.0
    detail = f"{len(missing)} gap(s), the largest {widest:.1f} mm, where slices lie {usual:.2f} mm apart"
    if failed:
        detail = f"{failed} image(s) could not be decoded: {detail}"
    top = _vertex_depth(array, group)
    if top is None or widest > _MAX_GAP_MM:
        raise SlicesMissing(f"({detail})")
    upwards = float(np.sign(group.normal[2]))
    for gap in missing:
        below = sorted((top - gap.low * upwards, top - gap.high * upwards))
        if below[0] < VESSELS_BELOW_VERTEX_MM[1] and below[1] > VESSELS_BELOW_VERTEX_MM[0]:
            raise SlicesMissing(f"({detail})")
    text = f"Slices are missing away from the vessels ({detail}); the volume holds air there."
    return _reason("gap-outside-vessels", text, group, "caution")


def _vertex_depth(array: Hu, group: Group) -> float | None:
    """Height of the uppermost slice with bone, mm; None where the stack is not axial or shows no bone."""
    if abs(group.normal[2]) < 0.7 or group.first.pixel_spacing is None:
        return None
    row, column = group.first.pixel_spacing
    least = _BONE_CM2 * 100 / (row * column)
    bony = np.array([np.count_nonzero(plane > _BONE_HU) >= least for plane in array])
    heights = group.depths * np.sign(group.normal[2])
    return float(heights[bony].max()) if bony.any() else None


def _without(group: Group, array: Hu, failed: tuple[int, ...]) -> tuple[Group, Hu]:
    """The images that could be decoded."""
    keep = np.ones(len(group.instances), dtype=bool)
    keep[list(failed)] = False
    if keep.sum() < min(2, len(keep)):
        raise PixelsUnreadable(f"({len(failed)} of {len(group.instances)} images)")
    members = tuple(i for i, kept in zip(group.instances, keep, strict=True) if kept)
    return replace(group, instances=members), array[keep]


def _head_part(group: Group) -> tuple[Group, list[Reason]]:
    """Leave out what lies far below the head, and slices finer than the analysis can use."""
    reasons: list[Reason] = []
    if group.extent_mm > _LONG_EXTENT_MM and abs(group.normal[2]) > 0.7:
        depths = group.depths * np.sign(group.normal[2])
        keep = depths >= depths.max() - HEAD_EXTENT_MM
        members = tuple(i for i, kept in zip(group.instances, keep, strict=True) if kept)
        text = f"The scan is {group.extent_mm:.0f} mm long; its upper {HEAD_EXTENT_MM:.0f} mm were read."
        reasons.append(_reason("cropped-to-head", text, group, "information"))
        group = replace(group, instances=members)
    spacing = group.spacing_mm or 1.0
    stride = int(_FINEST_STEP_MM / max(spacing, 0.05) + 0.01)
    if stride > 1 and not gaps(group):
        text = f"Slices {spacing:.2f} mm apart: every {stride}. was read."
        reasons.append(_reason("every-nth-slice", text, group, "information"))
        group = replace(group, instances=group.instances[::stride])
    return group, reasons


def pixel_reasons(report: Report, group: Group) -> list[Reason]:
    """What was unusual about the pixels, and what the headers say of them."""
    reasons = []
    first = group.first
    if count := report.notes["high-bits-masked"]:
        text = f"{count} image(s) hold something in the bits above BitsStored; it was left out."
        reasons.append(_reason("high-bits-masked", text, group, "caution"))
    if count := report.notes["values-clipped"]:
        text = f"{count} image(s) hold values beyond ±32767 HU, which were set to that."
        reasons.append(_reason("values-clipped", text, group))
    if any(i.slope is None or i.intercept is None for i in group.instances):
        text = "Images lack the rescale to HU; their stored values were taken as HU."
        reasons.append(_reason("rescale-missing", text, group, "caution"))
    if first.photometric == "MONOCHROME1":
        text = "The images are MONOCHROME1; HU were taken from the rescale, not inverted."
        reasons.append(_reason("monochrome1", text, group, "caution"))
    thickness, spacing = first.slice_thickness, group.spacing_mm
    if thickness and spacing and spacing > 1.5 * thickness and spacing > 1.0:
        text = f"Slices {thickness:.2f} mm thick lie {spacing:.2f} mm apart: tissue between is not imaged."
        reasons.append(_reason("slices-apart", text, group, "caution"))
    return reasons


def _reason(
    code: str, text: str, group: Group, kind: Literal["repair", "caution", "information"] = "repair"
) -> Reason:
    return Reason(code=code, message=text, kind=kind, series_instance_uid=group.first.series_uid)
