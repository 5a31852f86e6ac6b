"""One patient's vertebral and basilar arteries inside the dura: laid to lengths that differ much."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Side
from lvo.phantom.vessels.routes import MNI_SCALE, Route, Waypoint
from lvo.phantom.vessels.routes_posterior import BASILAR, BRAINSTEM, CARRIED, DURA, V4
from lvo.phantom.vessels.variants import BOTH, TreeRanges, Variants

Array = npt.NDArray[np.float64]
_WAVINESS = 1.03
"""Length of a drawn artery over that of its waypoints' polygon."""
_TOP_Z = -22.0
"""Where the basilar artery divides on average, MNI mm."""
_MOST_SPARE = 0.75
"""Longest detour of V4 relative to its chord: beyond it there would be hairpins."""
_HIGHEST_MM = 8.0
"""Height of the widest sideways sweep of V4."""


def vertebrobasilar(
    v: Variants, rng: np.random.Generator, ranges: TreeRanges, age: float
) -> tuple[list[tuple[Route, Side, float]], dict[Side, Waypoint], float]:
    """Routes of the basilar artery and both V4, with factors of their calibre; where V4 pierce the dura.

    Last, how much higher than on average the basilar artery divides, mm.
    """
    length = float(np.clip(rng.normal(*ranges.basilar_length_mm), *ranges.basilar_length_limits_mm))
    higher = float(np.clip(rng.normal(0, ranges.basilar_top_sd_mm), *ranges.basilar_top_limits_mm))
    bed = _bed(_TOP_Z + higher, length * MNI_SCALE / _WAVINESS)
    # The basilar artery bows away from the stronger vertebral artery.
    strength = np.log(max(v.size["V4", Side.LEFT], 0.3) / max(v.size["V4", Side.RIGHT], 0.3))
    aged = max(0.0, 1 + ranges.basilar_bow_per_year * (age - 65) / 2)
    bow = -ranges.basilar_bow_dominance_mm * strength * 0.3 + aged * float(rng.normal(*ranges.basilar_bow_mm))
    share = np.linspace(0, 1, len(bed))
    bed[:, 0] += bow * np.sin(np.pi * share) + 0.6 * bow * (1 - share)
    diameters = tuple(d * (0.6 if v.trigeminal and n < 3 else 1.0) for n, d in enumerate(BASILAR.diameters))
    basilar = replace(BASILAR, waypoints=_waypoints(bed), diameters=diameters)
    routes: list[tuple[Route, Side, float]] = [(basilar, Side.MIDLINE, 1.0)]
    shared = rng.normal()
    holes: dict[Side, Waypoint] = {}
    for side in BOTH:
        mean, sd = ranges.v4_length_mm
        draw = np.sqrt(0.5) * shared + np.sqrt(0.5) * rng.normal()
        wanted = float(np.clip(mean + sd * draw, *ranges.v4_length_limits_mm))
        dura = np.array(DURA) + rng.normal(0, ranges.v4_dura_sd_mm, 3)
        joint = bed[0] * (1.0 if side is Side.LEFT else -1.0, 1, 1)
        way = _bowed(dura, joint, wanted * MNI_SCALE / _WAVINESS, rng)
        holes[side], *rest = _waypoints(way)
        route = replace(V4, waypoints=tuple(rest))
        if v.pica_ending is side:
            route = replace(V4, waypoints=tuple(rest[: len(rest) // 2]), end="")
        routes.append((route, side, 0.6 if v.trigeminal else 1.0))
    return routes, holes, higher


def carried(route: Route, higher: float) -> Route:
    """A route led to where this patient's basilar artery divides, so many mm higher than on average."""
    shares = CARRIED.get(route.name, ())
    lead = tuple((x, y, z + s * higher) for (x, y, z), s in zip(route.waypoints, shares, strict=False))
    return replace(route, waypoints=lead + route.waypoints[len(lead) :])


def _bed(top: float, length: float) -> Array:
    """The basilar artery's waypoints in front of the brainstem, from below up, (n, 3)."""
    z = np.linspace(-74, top, 60)
    y = np.interp(z, BRAINSTEM[:, 0], BRAINSTEM[:, 1])
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(z), np.diff(y)))])
    low = max(0.0, arc[-1] - length)
    at = np.linspace(low, arc[-1], max(3, int((arc[-1] - low) / 7) + 1))
    bed = np.zeros((len(at), 3))
    bed[:, 1], bed[:, 2] = np.interp(at, arc, y), np.interp(at, arc, z)
    return bed


def _bowed(start: Array, end: Array, length: float, rng: np.random.Generator) -> Array:
    """Waypoints from the dura to the basilar artery, swung out sideways until the course is long enough.

    A half sine wave of height a adds pi² a² / 4c to a chord c, a whole one four times, and one and a half
    waves nine times as much. The half wave is kept low, for there is not much room beside the medulla.
    """
    chord = float(np.linalg.norm(end - start))
    if length < chord:  # a short one pierces the dura higher up
        start = end + (start - end) * max(length / chord, 0.55)
        chord = float(np.linalg.norm(end - start))
    spare = min(max(0.0, length - chord), _MOST_SPARE * chord)
    single = min(np.sqrt(4 * chord * spare * 0.4) / np.pi, _HIGHEST_MM * float(rng.random()))
    spare -= (np.pi * single) ** 2 / (4 * chord)
    share = float(rng.beta(6, 2))
    double = np.sqrt(chord * spare * share) / np.pi
    triple = np.sqrt(4 * chord * spare * (1 - share) / 9) / np.pi
    along = np.linspace(0, 1, 11)[:-1]
    # Across the chord, mostly sideways; a whole wave goes to the middle first, where there is room.
    out = np.array([0.93, 0.25, 0.28]) + float(rng.normal(0, 0.25)) * np.array([0.2, 0.75, -0.62])
    height = single * np.sin(np.pi * along) + triple * np.sin(3 * np.pi * along)
    height -= double * np.sin(2 * np.pi * along)
    way: Array = start + along[:, None] * (end - start) + height[:, None] * out
    return way


def _waypoints(points: Array) -> tuple[Waypoint, ...]:
    return tuple((x, y, z) for x, y, z in points.tolist())
