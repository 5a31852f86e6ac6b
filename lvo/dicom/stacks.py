"""Instances to stacks: images that form one geometric volume. Positions come only from IPP and IOP."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lvo.dicom.instance import MAX_SKEW, Instance
from lvo.dicom.passes import (
    Pass,
    depths_of,
    feet_to_head,
    images_at_one_place,
    split_passes,
    split_reconstructions,
)
from lvo.dicom.pixels import Hu, decode_hu
from lvo.study import Reason, SliceRef, Stack

_FEWEST_FRAMES = 8
_ORIENTATION_TOLERANCE = 2e-3
_SPACING_TOLERANCE_MM = 1e-4
_SPACING_MM = (0.01, 100.0)
_DERIVED_TYPES = re.compile(r"MIP|MINIP|MPR|PROJECTION|REFORMAT|VOLUME.?REND|SUBTRACT|CURVED|PERFUSION|3D")


@dataclass(frozen=True, slots=True)
class Group:
    """Instances of one series that belong together, sorted from feet to head where they have positions.

    Attributes
    ----------
    has_geometry : every instance has a position, an orientation and a pixel spacing that make sense.
    passes : how many images lie at the same place, at most, where nothing tells them apart.
    phase, phases : which pass over the same range this is, and of how many, in order of time.
    """

    instances: tuple[Instance, ...]
    has_geometry: bool
    passes: int = 1
    reasons: tuple[Reason, ...] = ()
    phase: int = 1
    phases: int = 1

    @property
    def first(self) -> Instance:
        """The instance at the lowest place; what a group shares can be read from it."""
        return self.instances[0]

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Unit normal of the images, LPS."""
        o = np.asarray(self.first.orientation, dtype=np.float64)
        return np.asarray(np.cross(o[:3], o[3:]))

    @property
    def depths(self) -> npt.NDArray[np.float64]:
        """Position of every image along the normal, mm, in the order of the instances."""
        return depths_of(self.instances)

    @property
    def extent_mm(self) -> float:
        """Distance between the outermost images along the normal."""
        return float(np.ptp(self.depths)) if self.has_geometry else 0.0

    @property
    def spacing_mm(self) -> float | None:
        """Median distance between neighbouring images along the normal."""
        if not self.has_geometry or len(self.instances) < 2:
            return None
        return float(np.median(np.abs(np.diff(self.depths))))

    def stack(self) -> Stack:
        """The group as the shared noun, for findings to name their slice."""
        head = self.first
        if (
            head.orientation is None
            or head.pixel_spacing is None
            or head.rows is None
            or head.columns is None
        ):
            raise ValueError("a group without geometry is no stack")
        return Stack(
            series_instance_uid=head.series_uid,
            frame_of_reference_uid=head.frame_of_reference_uid,
            orientation=head.orientation,
            pixel_spacing=head.pixel_spacing,
            rows=head.rows,
            columns=head.columns,
            slices=tuple(
                SliceRef(i.sop_instance_uid, i.position, i.path, i.frame)
                for i in self.instances
                if i.position
            ),
        )


def group_instances(instances: Iterable[Instance]) -> list[Group]:
    """Split instances into groups by series, geometry, kind of image, kernel and pass.

    Tube current, exposure and anything else that varies slice by slice never splits. Acquisition
    number, temporal position and times split only where the parts lie over each other: an axial scan
    numbers every slice as an acquisition of its own.
    """
    series: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        series[instance.series_uid].append(instance)
    groups: list[Group] = []
    for members in series.values():
        kept, reasons = _in_one_frame(*_once_each(members))
        for part in _by_geometry(kept):
            groups.extend(_by_pass(part, reasons))
    groups.sort(key=lambda g: (g.first.series_number is None, g.first.series_number or 0, -len(g.instances)))
    return groups


def _once_each(instances: list[Instance]) -> tuple[list[Instance], tuple[Reason, ...]]:
    """One of every SOP Instance UID and frame; say what came twice and what contradicts itself."""
    seen: dict[tuple[str, int], Instance] = {}
    twice = conflicts = 0
    for instance in instances:
        key = instance.sop_instance_uid, instance.frame
        other = seen.setdefault(key, instance)
        if other is instance:
            continue
        kept = _same_image(other, instance)
        twice, conflicts = twice + (kept is not None), conflicts + (kept is None)
        seen[key] = kept or other
    uid = instances[0].series_uid
    reasons = []
    if twice:
        text = f"{twice} image(s) came more than once; each was used once."
        reasons.append(
            Reason(code="duplicate-instances", message=text, kind="repair", series_instance_uid=uid)
        )
    if conflicts:
        text = f"{conflicts} image(s) share an identifier with a different one; the series is not used."
        reasons.append(
            Reason(code="conflicting-instances", message=text, kind="rejection", series_instance_uid=uid)
        )
    return list(seen.values()), tuple(reasons)


def _in_one_frame(
    instances: list[Instance], reasons: tuple[Reason, ...]
) -> tuple[list[Instance], tuple[Reason, ...]]:
    """Take images that each name a frame of reference of their own as of one; anonymisers do this."""
    frames = {i.frame_of_reference_uid for i in instances}
    if not _FEWEST_FRAMES <= len(frames) == len(instances):
        return instances, reasons
    first = instances[0]
    text = "Every image names a frame of reference of its own; they were taken as one."
    note = Reason(
        code="frames-of-reference-differ",
        message=text,
        kind="caution",
        series_instance_uid=first.series_uid,
    )
    same = [replace(i, frame_of_reference_uid=first.frame_of_reference_uid) for i in instances]
    return same, (*reasons, note)


def _same_image(a: Instance, b: Instance) -> Instance | None:
    """The one to keep of two copies of an image; None where they differ in place or in HU.

    A copy that cannot be decoded yields to one that can: a transfer was cut short and repeated.
    """
    plane_a = (a.position, a.orientation, a.pixel_spacing, a.rows, a.columns)
    if plane_a != (b.position, b.orientation, b.pixel_spacing, b.rows, b.columns):
        return None
    if a.modality != "CT" or a.samples != 1:
        return a
    first, second = _hu_or_none(a), _hu_or_none(b)
    if first is None or second is None:
        return b if first is None else a
    return a if np.array_equal(first, second) else None


def _hu_or_none(instance: Instance) -> Hu | None:
    try:
        return decode_hu(instance)
    except ValueError:
        return None


def _by_geometry(instances: list[Instance]) -> list[list[Instance]]:
    parts: dict[Hashable, list[list[Instance]]] = defaultdict(list)
    for instance in instances:
        key = (
            instance.sop_class_uid,
            instance.rows,
            instance.columns,
            instance.frame_of_reference_uid,
            instance.image_type[2:3],
            bool(derived_types(instance)),
            instance.kernel,
            instance.position is None or instance.orientation is None,
            instance.slope is None or instance.intercept is None,
        )
        alike = parts[key]
        for part in alike:
            if _same_grid(part[0], instance):
                part.append(instance)
                break
        else:
            alike.append([instance])
    return [part for alike in parts.values() for part in alike]


def derived_types(instance: Instance) -> list[str]:
    """The values of ImageType that say that an image was computed from others and shows no slice."""
    return [value for value in instance.image_type if _DERIVED_TYPES.search(value)]


def _same_grid(a: Instance, b: Instance) -> bool:
    """Whether two images have the same directions and pixel spacing, but for rounding."""
    return _close(a.orientation, b.orientation, _ORIENTATION_TOLERANCE) and _close(
        a.pixel_spacing, b.pixel_spacing, _SPACING_TOLERANCE_MM
    )


def _close(a: tuple[float, ...] | None, b: tuple[float, ...] | None, tolerance: float) -> bool:
    if a is None or b is None:
        return a is b
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) < tolerance


def _by_pass(instances: list[Instance], reasons: tuple[Reason, ...]) -> list[Group]:
    if not all(_geometry_makes_sense(i) for i in instances):
        return [Group(tuple(instances), has_geometry=False, reasons=reasons)]
    groups = []
    for reconstruction in split_reconstructions(feet_to_head(instances)):
        parts = split_passes(reconstruction)
        sweeps = [part for part in parts if not part.aside]
        groups += [_group(part, reasons, phase, len(sweeps)) for phase, part in enumerate(sweeps, start=1)]
        groups += [_group(part, reasons) for part in parts if part.aside]
    return groups


def _group(part: Pass, reasons: tuple[Reason, ...], phase: int = 1, phases: int = 1) -> Group:
    if part.by_number:
        text = "Only the image numbers tell the passes over the same places apart; they were cut by these."
        uid = part.instances[0].series_uid
        note = Reason(code="phases-by-number", message=text, kind="caution", series_instance_uid=uid)
        reasons = (*reasons, note)
    return Group(part.instances, True, images_at_one_place(part.instances), reasons, phase, phases)


def _geometry_makes_sense(instance: Instance) -> bool:
    if instance.position is None or instance.orientation is None or instance.pixel_spacing is None:
        return False
    if not instance.rows or not instance.columns:
        return False
    if not _SPACING_MM[0] <= min(instance.pixel_spacing) <= max(instance.pixel_spacing) <= _SPACING_MM[1]:
        return False
    row, column = np.array(instance.orientation[:3]), np.array(instance.orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    return bool(max(abs(lengths[0] - 1), abs(lengths[1] - 1)) < 1e-6 and abs(row @ column) < MAX_SKEW)
