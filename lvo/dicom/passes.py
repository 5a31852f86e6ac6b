"""Several passes over the same places in one series: phases, energies, perfusion. Told apart, never mixed."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lvo.dicom.instance import Instance

SAME_PLACE_MM = 0.01
_MIN_OVERLAP = 0.25
_FEWEST_PLACES = 4
_KEYS: tuple[Callable[[Instance], Hashable], ...] = (
    lambda i: i.temporal_position,
    lambda i: i.kvp,
    lambda i: i.image_type,
    lambda i: i.acquisition_number,
    lambda i: i.acquisition_time,
    lambda i: i.content_time,
)
"""What may tell passes apart, surest first. Exposure and tube current never do: they vary within a pass."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Images of one sweep, from feet to head.

    Attributes
    ----------
    by_number : only image numbers set it apart.
    aside : no sweep but what lies beside one: a few images at a place that the sweeps show too.
    """

    instances: tuple[Instance, ...]
    by_number: bool = False
    aside: bool = False


def split_passes(ordered: list[Instance]) -> tuple[Pass, ...]:
    """Split images of one geometry into passes, in order of time; what lies beside them comes last.

    Parameters
    ----------
    ordered : from feet to head, all with the same orientation

    Returns
    -------
    tuple of Pass
        One pass where the places do not repeat, or where nothing in the headers tells the images at one place
        apart: these stay together, and whoever uses them sees it (`images_at_one_place`).
    """
    repeats = images_at_one_place(ordered)
    for key in _KEYS:
        parts: dict[Hashable, list[Instance]] = defaultdict(list)
        for instance in ordered:
            parts[key(instance)].append(instance)
        sweeps = [part for part in parts.values() if len(part) >= _FEWEST_PLACES]
        if 2 <= len(parts) <= max(2, repeats) + 1 and _are_sweeps(sweeps, repeats):
            few = [i for part in parts.values() if len(part) < _FEWEST_PLACES for i in part]
            aside = (Pass(tuple(feet_to_head(few)), aside=True),) if few else ()
            return (*_in_time(Pass(tuple(part)) for part in sweeps), *aside)
    if repeats > 1:
        for order, by_number in _ORDERS:
            if blocks := _blocks(ordered, repeats, order):
                return _in_time(Pass(tuple(feet_to_head(block)), by_number=by_number) for block in blocks)
    return (Pass(tuple(ordered)),)


_ORDERS: tuple[tuple[Callable[[Instance], Any], bool], ...] = (
    (lambda i: i.acquisition_time, False),
    (lambda i: i.content_time, False),
    (lambda i: i.instance_number or 0, True),
)
"""In which order images may have been taken one by one, and whether only their numbers say so."""


def _in_time(parts: Iterable[Pass]) -> tuple[Pass, ...]:
    def began(part: Pass) -> tuple[str, str, int, int]:
        first = min(part.instances, key=lambda i: (i.acquisition_time, i.content_time))
        number = min(i.instance_number or 0 for i in part.instances)
        return first.acquisition_time, first.content_time, first.temporal_position or 0, number

    return tuple(sorted(parts, key=began))


def _are_sweeps(parts: list[list[Instance]], repeats: int) -> bool:
    """Whether the parts are whole passes over the same range, not pieces of one pass.

    An axial scan numbers and times every slice as an acquisition of its own; a helical scan in two blocks
    has two acquisitions side by side. Neither may be split. A single sweep is one where the places repeat and
    the rest is a few images only.
    """
    if any(images_at_one_place(part) > 1 for part in parts):
        return False
    if len(parts) < 2:
        return len(parts) == 1 and repeats > 1
    ranges = sorted((float(d.min()), float(d.max())) for d in map(depths_of, parts))
    shortest = min(high - low for low, high in ranges)
    overlap = max(a[1] - b[0] for a, b in itertools.pairwise(ranges))
    return overlap > _MIN_OVERLAP * shortest


def _blocks(ordered: list[Instance], repeats: int, order: Callable[[Instance], Any]) -> list[list[Instance]]:
    """Passes as runs in some order, each of which sweeps all places once, from end to end; else []."""
    sequence = sorted(ordered, key=order)
    places, rest = divmod(len(sequence), repeats)
    if rest or places < _FEWEST_PLACES or len({order(i) for i in sequence}) != len(sequence):
        return []
    blocks = [sequence[k : k + places] for k in range(0, len(sequence), places)]
    reference = np.sort(depths_of(blocks[0]))
    for block in blocks:
        steps = np.diff(depths := depths_of(block))
        if not ((steps > SAME_PLACE_MM).all() or (steps < -SAME_PLACE_MM).all()):
            return []
        if np.abs(np.sort(depths) - reference).max() > SAME_PLACE_MM:
            return []
    return blocks


def depths_of(instances: Sequence[Instance]) -> npt.NDArray[np.float64]:
    """Position of every image along the common normal, mm."""
    o = np.asarray(instances[0].orientation, dtype=np.float64)
    positions = np.array([i.position for i in instances], dtype=np.float64)
    return np.asarray(positions @ np.cross(o[:3], o[3:]))


def feet_to_head(instances: Sequence[Instance]) -> list[Instance]:
    """Sorted along the normal, so that the largest component of the direction increases."""
    o = np.asarray(instances[0].orientation, dtype=np.float64)
    normal = np.cross(o[:3], o[3:])
    sign = 1.0 if normal[int(np.argmax(np.abs(normal)))] > 0 else -1.0
    numbers = np.array([i.instance_number or 0 for i in instances])
    order = np.lexsort((numbers, np.round(depths_of(instances) * sign, 4)))
    return [instances[n] for n in order]


def images_at_one_place(instances: Sequence[Instance]) -> int:
    """The largest number of images at one place."""
    depths = np.sort(depths_of(instances))
    starts = np.flatnonzero(np.diff(depths, prepend=-np.inf) > SAME_PLACE_MM)
    return int(np.diff(starts, append=len(depths)).max())
