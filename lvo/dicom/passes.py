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
_MUCH_CLOSER = 0.6
_KEYS: tuple[tuple[Callable[[Instance], Hashable], bool], ...] = (
    (lambda i: i.temporal_position, True),
    (lambda i: i.kvp, True),
    (lambda i: i.image_type, False),
    (lambda i: i.acquisition_number, True),
    (lambda i: i.acquisition_time, True),
    (lambda i: i.content_time, False),
)
"""What may tell passes apart, surest first, and whether it does so even where image numbers run through.

Exposure and tube current never do: they vary within a pass. So may the time of reconstruction, where several
computers share the slices of one pass between them.
"""


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
    numbered_through = repeats == 1 and _numbers_run_through(ordered)
    for key, sure in _KEYS:
        if numbered_through and not sure:
            continue
        parts: dict[Hashable, list[Instance]] = defaultdict(list)
        for instance in ordered:
            parts[key(instance)].append(instance)
        sweeps = [part for part in parts.values() if len(part) >= _FEWEST_PLACES]
        if 2 <= len(parts) <= max(2, repeats) + 1 and _are_sweeps(sweeps, repeats):
            few = [i for part in parts.values() if len(part) < _FEWEST_PLACES for i in part]
            aside = (Pass(tuple(feet_to_head(few)), aside=True),) if few else ()
            return (*_in_time(Pass(tuple(part)) for part in sweeps), *aside)
    for order, by_number in _ORDERS[:1] if numbered_through else _ORDERS:
        if blocks := _blocks(ordered, max(2, repeats), order):
            return _in_time(Pass(tuple(feet_to_head(block)), by_number=by_number) for block in blocks)
    return (Pass(tuple(ordered)),)


_ORDERS: tuple[tuple[Callable[[Instance], Any], bool], ...] = (
    (lambda i: i.acquisition_time, False),
    (lambda i: i.content_time, False),
    (lambda i: i.instance_number or 0, True),
)
"""In which order images may have been taken, surest first, and whether only their numbers say so."""


def _numbers_run_through(ordered: Sequence[Instance]) -> bool:
    """Whether image numbers rise, or fall, from slice to slice: those of two passes begin anew."""
    steps = np.diff([i.instance_number or 0 for i in ordered])
    return bool((steps > 0).all() or (steps < 0).all())


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
    """Passes as runs in some order, each of which sweeps the whole range once, from end to end; else []."""
    sequence = sorted(ordered, key=order)
    places, rest = divmod(len(sequence), repeats)
    if rest or places < _FEWEST_PLACES or len({order(i) for i in sequence}) != len(sequence):
        return []
    blocks = [sequence[k : k + places] for k in range(0, len(sequence), places)]
    reference = np.sort(depths_of(blocks[0]))
    # The places of another pass may lie between those of the first.
    step = float(np.median(np.diff(reference)))
    for block in blocks:
        steps = np.diff(depths := depths_of(block))
        if not ((steps > SAME_PLACE_MM).all() or (steps < -SAME_PLACE_MM).all()):
            return []
        if np.abs(np.sort(depths) - reference).max() > max(0.9 * step, SAME_PLACE_MM):
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
    """The largest number of images at one place; at least two where two sweeps lie beside each other.

    No scanner lays slices close together and far apart by turns. Where it looks as if one did, slices of one
    sweep lie between those of another.
    """
    depths = np.sort(depths_of(instances))
    starts = np.flatnonzero(np.diff(depths, prepend=-np.inf) > SAME_PLACE_MM)
    most = int(np.diff(starts, append=len(depths)).max())
    steps = np.diff(depths[starts])
    close = steps[1:-1] < _MUCH_CLOSER * np.minimum(steps[:-2], steps[2:])
    return max(most, 2) if np.count_nonzero(close) >= _FEWEST_PLACES else most


def split_reconstructions(ordered: list[Instance]) -> list[list[Instance]]:
    """Split images of one geometry by slice thickness, where the same range was reconstructed more than once.

    A thickness that changes along a single sweep (a thin base and a thick vertex) never splits.

    Parameters
    ----------
    ordered : from feet to head, all with the same orientation
    """
    repeats = images_at_one_place(ordered)
    parts: dict[float, list[Instance]] = defaultdict(list)
    for instance in ordered:
        parts[round(instance.slice_thickness or 0.0, 1)].append(instance)
    sweeps = list(parts.values())
    if repeats == 1 or not 2 <= len(sweeps) <= repeats or min(map(len, sweeps)) < _FEWEST_PLACES:
        return [ordered]
    # Where each part still shows its places as often as all do together, thickness is not what differs.
    return sweeps if max(map(images_at_one_place, sweeps)) < repeats else [ordered]
