"""How one patient's middle cerebral artery divides, and which trunk feeds which cortical branch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Side
from lvo.phantom.vessels.routes import MNI_SCALE, Route, Waypoint
from lvo.phantom.vessels.routes_anterior import CORTICAL, M1, MIDDLE_TRUNK, TRUNKS, Cortical
from lvo.phantom.vessels.variants import TreeRanges, Variants

Array = npt.NDArray[np.float64]
_ORIGIN = (13.2, 4.6, -19.3)
"""Where M1 begins on average, (lateral, y, z) in MNI mm."""
_GENU_MM = 24.5
"""Length of `M1`'s course up to the limen insulae, MNI mm: where the trunks' own waypoints begin."""
_WAVINESS = 1.09
"""Length of a drawn M1 over that of its waypoints' polygon."""
_APART: dict[str, Waypoint] = {"M2s": (0.0, 1.2, 1.8), "M2i": (0.0, -1.2, -1.8), "M2m": (0.0, 0.0, 0.0)}
"""How trunks of an early bifurcation run side by side, (lateral, y, z) mm off the course of M1."""
_ABSENT = 0.5
"""A cortical branch of less than this calibre, relative to the average, is not seen."""
_MIDDLE = frozenset({"central", "anterior parietal", "posterior parietal", "angular"})


def middle_cerebral(
    side: Side, found: Variants, rng: np.random.Generator, ranges: TreeRanges
) -> list[tuple[Route, float]]:
    """Routes of M1, the trunks and the cortical branches of one side, with factors of their calibre.

    Names the early bifurcation and the trifurcation in `found`.
    """
    length = float(np.clip(rng.normal(*ranges.m1_length_mm), *ranges.m1_length_limits_mm))
    three = rng.random() < ranges.trifurcation
    if length < ranges.m1_early_mm:
        found.names.append(f"early M1 bifurcation {side}")
    if three:
        found.names.append(f"M1 trifurcation {side}")
    sag = float(rng.normal(*ranges.m1_sag_mm))
    stem, onward = _divide(_sagging(M1.waypoints, sag), length * MNI_SCALE / _WAVINESS)
    dominance = float(rng.uniform(0.0, 1.0))
    trunks = _share_out(dominance, three)
    routes: list[tuple[Route, float]] = [(replace(M1, waypoints=stem), 1.0)]
    for trunk in (*TRUNKS, *([MIDDLE_TRUNK] if three else [])):
        size = (len(trunks[trunk.name]) / (3.5 if three else 5.0)) ** ranges.trunk_exponent
        way = _trunk_course(trunk, stem[-1], onward)
        routes.append((replace(trunk, waypoints=way), size))
    sizes = _sizes(rng, ranges)
    for name, members in trunks.items():
        routes.extend(_branches(name, members, sizes))
    return routes


def _sizes(rng: np.random.Generator, ranges: TreeRanges) -> dict[str, float]:
    """Factors of the cortical branches' calibre on one side, by name; nothing is drawn where none vary."""
    if not ranges.cortical_sd:
        return {branch.name: 1.0 for branch in CORTICAL}
    whole = -abs(float(rng.normal(0, 0.7 * ranges.cortical_sd)))
    each = rng.normal(whole, ranges.cortical_sd, len(CORTICAL)).tolist()
    return {branch.name: min(float(np.exp(v)), 1.4) for branch, v in zip(CORTICAL, each, strict=True)}


def _share_out(dominance: float, three: bool) -> dict[str, list[Cortical]]:
    """Cortical branches by trunk; `dominance` is 0 where the superior trunk reaches furthest."""
    least = 0.02 + 0.93 * dominance
    shared: dict[str, list[Cortical]] = {"M2s": [], "M2i": []}
    if three:
        shared["M2m"] = []
    for branch in CORTICAL:
        if three and branch.name in _MIDDLE:
            shared["M2m"].append(branch)
        else:
            shared["M2s" if branch.share > least else "M2i"].append(branch)
    return shared


def _branches(trunk: str, members: list[Cortical], sizes: dict[str, float]) -> list[tuple[Route, float]]:
    """The three parts of every branch of a trunk; the last one goes on where the trunk ends.

    A branch that is too small to be seen is left out, unless it is the one that the trunk ends in.
    """
    places = {"M2s": "superior", "M2i": "inferior", "M2m": "middle"}
    at = [float(getattr(m, places[trunk])) for m in members]
    furthest = max(at)
    routes = []
    for branch, fraction in zip(members, at, strict=True):
        where = 1.0 if fraction == furthest else fraction
        size = sizes[branch.name]
        if where < 1.0 and size < _ABSENT:
            continue
        c = branch.calibre
        parts = (
            (f"{branch.name} M2", "M2", f"{trunk}@{where}", branch.insular, (1.05 * c, 1.0 * c), 1.1),
            (f"{branch.name} M3", "M3", f"{branch.name} M2@1", branch.opercular, (0.98 * c, 0.85 * c), 1.3),
            (branch.name, "M4", f"{branch.name} M3@1", branch.cortical, (0.83 * c, 0.7 * c, 0.45 * c), 1.8),
        )
        for name, structure, start, way, calibre, wander in parts:
            surface = structure == "M4"
            route = Route(
                name, structure, start, way, calibre, wander=wander, surface=surface, group=branch.name
            )
            routes.append((route, max(size, _ABSENT)))
    return routes


def _sagging(way: tuple[Waypoint, ...], sag: float) -> tuple[Waypoint, ...]:
    """M1 arched forward and up (positive) or down between its origin and the limen insulae."""
    lift = [sag * np.sin(np.pi * min(max((x - 13.0) / 24.0, 0.0), 1.0)) for x, _, _ in way]
    return tuple((x, y + 0.5 * up, z + up) for (x, y, z), up in zip(way, lift, strict=True))


def _divide(way: tuple[Waypoint, ...], length: float) -> tuple[tuple[Waypoint, ...], tuple[Waypoint, ...]]:
    """Waypoints of M1 up to its division after `length` MNI mm, and of its course from there to the genu."""
    line = np.array([_ORIGIN, *way])
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    over = max(0.0, length - arc[-1])
    cut = np.array([np.interp(length, arc, line[:, k]) for k in range(3)])
    cut += over * np.array([0.0, -0.6, 0.6])
    stem = [w for w, s in zip(way, arc[1:].tolist(), strict=True) if s < length - 2.5]
    onward = [w for w, s in zip(way, arc[1:].tolist(), strict=True) if length + 3 < s < _GENU_MM]
    return (*stem, _waypoint(cut)), tuple(onward)


def _waypoint(p: Array) -> Waypoint:
    x, y, z = p.tolist()
    return x, y, z


def _trunk_course(trunk: Route, origin: Waypoint, onward: tuple[Waypoint, ...]) -> tuple[Waypoint, ...]:
    """A trunk's waypoints: beside the course of M1 as far as the genu, then its own from its origin on."""
    apart = np.array(_APART[trunk.name])
    beside = tuple(_waypoint(np.array(w) + apart) for w in onward)
    own = trunk.waypoints
    ahead = [w for w in own if w[2] > origin[2] + 2.5 or origin[0] < 39.0]
    return (*beside, *(ahead if len(ahead) >= 2 else own[-2:]))
