"""Instances to stacks: images that form one geometric volume. Positions come only from IPP and IOP."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvo.dicom.headers import Instance
from lvo.study import Reason, SliceRef, Stack

_ORIENTATION_TOLERANCE = 2e-3
_SAME_PLACE_MM = 0.01
_PERFUSION_PASSES = 6


@dataclass(frozen=True, slots=True)
class Group:
    """Instances of one series that belong together, sorted from feet to head where they have positions.

    Attributes
    ----------
    has_geometry : every instance has a position, an orientation and a pixel spacing that make sense.
    passes : how many images lie at the same place, at most.
    """

    instances: tuple[Instance, ...]
    has_geometry: bool
    passes: int = 1
    reasons: tuple[Reason, ...] = ()

    @property
    def first(self) -> Instance:
        """The instance at the lowest place; what a group shares can be read from it."""
        return self.instances[0]

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Unit normal of the images, LPS."""
        return _normal(self.first)

    @property
    def depths(self) -> npt.NDArray[np.float64]:
        """Position of every image along the normal, mm, in the order of the instances."""
        return _depths(self.instances)

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
        kept, reasons = _once_each(members)
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
        plane = (instance.position, instance.orientation, instance.rows, instance.columns)
        if plane == (other.position, other.orientation, other.rows, other.columns):
            twice += 1
        else:
            conflicts += 1
    uid = instances[0].series_uid
    reasons = []
    if twice:
        text = f"{twice} image(s) came more than once; each was used once."
        reasons.append(
            Reason(code="duplicate-instances", message=text, kind="repair", series_instance_uid=uid)
        )
    if conflicts:
        text = f"{conflicts} image(s) share an identifier with one at another place; the series is not used."
        reasons.append(
            Reason(code="conflicting-instances", message=text, kind="rejection", series_instance_uid=uid)
        )
    return list(seen.values()), tuple(reasons)


def _by_geometry(instances: list[Instance]) -> list[list[Instance]]:
    parts: dict[Hashable, list[list[Instance]]] = defaultdict(list)
    for instance in instances:
        spacing = instance.pixel_spacing
        key = (
            instance.sop_class_uid,
            instance.rows,
            instance.columns,
            spacing and tuple(round(s, 4) for s in spacing),
            instance.frame_of_reference_uid,
            instance.image_type[2:3],
            instance.kernel,
            instance.position is None or instance.orientation is None,
        )
        alike = parts[key]
        for part in alike:
            if _same_direction(part[0], instance):
                part.append(instance)
                break
        else:
            alike.append([instance])
    return [part for alike in parts.values() for part in alike]


def _same_direction(a: Instance, b: Instance) -> bool:
    if a.orientation is None or b.orientation is None:
        return a.orientation is b.orientation
    return max(abs(x - y) for x, y in zip(a.orientation, b.orientation, strict=True)) < _ORIENTATION_TOLERANCE


def _by_pass(instances: list[Instance], reasons: tuple[Reason, ...]) -> list[Group]:
    if not _geometry_makes_sense(instances[0]):
        return [Group(tuple(instances), has_geometry=False, reasons=reasons)]
    ordered = _feet_to_head(instances)
    passes = _passes(ordered)
    if passes >= _PERFUSION_PASSES:
        return [Group(tuple(ordered), True, passes, reasons)]
    if len(ordered) > 1:
        for part_of in _PASS_KEYS:
            parts: dict[Hashable, list[Instance]] = defaultdict(list)
            for instance in ordered:
                parts[part_of(instance)].append(instance)
            if _is_a_pass_split(list(parts.values()), passes):
                return [Group(tuple(p), True, _passes(p), reasons) for p in parts.values()]
    return [Group(tuple(ordered), True, passes, reasons)]


_PASS_KEYS: tuple[Callable[[Instance], Hashable], ...] = (
    lambda i: i.temporal_position,
    lambda i: i.acquisition_number,
    lambda i: i.acquisition_time,
    lambda i: i.content_time,
)


def _is_a_pass_split(parts: list[list[Instance]], passes: int) -> bool:
    """Whether the parts are whole passes over the same range, not pieces of one pass."""
    if not 2 <= len(parts) <= max(2, passes) + 1:
        return False
    large = [part for part in parts if len(part) >= 4]
    if len(large) < 2:
        return False
    if any(_passes(part) > 1 for part in large):
        return False
    ranges = sorted((float(d.min()), float(d.max())) for d in map(_depths, large))
    shorter = min(high - low for low, high in ranges)
    overlap = max(a[1] - b[0] for a, b in itertools.pairwise(ranges))
    return overlap > 0.25 * shorter


def _geometry_makes_sense(instance: Instance) -> bool:
    if instance.position is None or instance.orientation is None or instance.pixel_spacing is None:
        return False
    if not instance.rows or not instance.columns or min(instance.pixel_spacing) <= 0:
        return False
    row, column = np.array(instance.orientation[:3]), np.array(instance.orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    return bool(max(abs(lengths[0] - 1), abs(lengths[1] - 1)) < 0.01 and abs(row @ column) < 0.01)


def _normal(instance: Instance) -> npt.NDArray[np.float64]:
    o = np.asarray(instance.orientation, dtype=np.float64)
    normal = np.cross(o[:3], o[3:])
    return np.asarray(normal / np.linalg.norm(normal))


def _depths(instances: Iterable[Instance]) -> npt.NDArray[np.float64]:
    members = list(instances)
    positions = np.array([i.position for i in members], dtype=np.float64)
    return np.asarray(positions @ _normal(members[0]))


def _feet_to_head(instances: list[Instance]) -> list[Instance]:
    """Sorted along the normal, so that the largest component of the direction increases."""
    normal = _normal(instances[0])
    sign = 1.0 if normal[int(np.argmax(np.abs(normal)))] > 0 else -1.0
    numbers = np.array([i.instance_number or 0 for i in instances])
    order = np.lexsort((numbers, np.round(_depths(instances) * sign, 4)))
    return [instances[n] for n in order]


def _passes(instances: list[Instance]) -> int:
    """The largest number of images at one place."""
    depths = np.sort(_depths(instances))
    starts = np.flatnonzero(np.diff(depths, prepend=-np.inf) > _SAME_PLACE_MM)
    return int(np.diff(starts, append=len(depths)).max())
