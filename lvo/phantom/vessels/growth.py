"""Routes become centrelines: all vessels of one generation at once, without a loop over points.

A vessel's waypoints are varied, joined by a smooth curve, given a few waves of tortuosity that vanish at
both ends (so that junctions stay closed), and resampled to even steps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Side
from lvo.phantom.vessels.curves import curves
from lvo.phantom.vessels.routes import MNI_SCALE, Route
from lvo.phantom.vessels.tree import Branch
from lvo.phantom.vessels.wander import Draws, Planned, Style

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Mover = Callable[[Array], Array]
_KNOTS = 17
"""Places along a vessel at which its calibre is given."""
_CONTINUES = 0.995
"""A route that starts beyond this fraction of another goes on in its direction."""
_CLOSE_MM = 1.5
"""A waypoint so near to the beginning of its vessel is left out."""


@dataclass(slots=True)
class _State:
    """What has grown so far: planned vessel -> index in `branches`."""

    branches: list[Branch] = field(default_factory=list)
    index: dict[tuple[str, Side], int] = field(default_factory=dict)


def grow(
    routes: Sequence[Route],
    rng: np.random.Generator,
    sizes: Mapping[tuple[str, Side], float] | None = None,
    style: Style | None = None,
) -> tuple[Branch, ...]:
    """Grow routes on their sides; a size of 0 leaves a vessel out, and with it whatever hangs on it.

    Parameters
    ----------
    routes : parents before their children.
    sizes : factor of the diameters by name and side; 1 where not given.
    """
    given = sizes or {}
    planned = [
        Planned(route, side, given.get((route.name, side), 1.0))
        for route in routes
        for side in ((Side.LEFT, Side.RIGHT) if route.paired else (Side.MIDLINE,))
    ]
    return grow_planned([p for p in planned if p.size > 0], rng, style or Style())


def grow_planned(
    planned: Sequence[Planned], rng: np.random.Generator, style: Style, surface: Mover | None = None
) -> tuple[Branch, ...]:
    """Grow vessels, parents before their children; one whose only start is absent is left out.

    Parameters
    ----------
    surface : moves points (n, 3) onto the brain's surface, for routes that lie there.
    """
    draws = Draws.of(planned, rng, style)
    state = _State()
    waiting = list(range(len(planned)))
    while waiting:
        ready, later = _ready(planned, waiting, state)
        if not ready:
            break
        _grow_level([planned[i] for i in ready], draws.take(ready), state, style, surface)
        waiting = later
    return tuple(state.branches)


@functools.lru_cache(maxsize=4096)
def _places(where: str, side: Side) -> tuple[tuple[str, Side, float], ...]:
    """Route, side and fraction of every alternative of a start or an end."""
    found = []
    for place in where.split("|") if where else []:
        name, fraction = place.split("@")
        first, _, rest = name.partition(" ")
        if first in (Side.LEFT.value, Side.RIGHT.value):
            found.append((rest, Side(first), float(fraction)))
        else:
            found.append((name, side, float(fraction)))
    return tuple(found)


def _keys(name: str, side: Side) -> tuple[tuple[str, Side], ...]:
    return (name, side), (name, Side.MIDLINE)


def _ready(planned: Sequence[Planned], waiting: list[int], state: _State) -> tuple[list[int], list[int]]:
    """Which of the waiting can grow now because all they hang on has grown, and which cannot yet."""
    unborn = {(planned[i].route.name, planned[i].side) for i in waiting}
    ready, later = [], []
    for i in waiting:
        p = planned[i]
        places = [*_places(p.route.start, p.side), *_places(p.route.end, p.side)]
        if any(key in unborn for name, side, _ in places for key in _keys(name, side)):
            later.append(i)
        elif not p.route.start or any(
            key in state.index for n, s, _ in _places(p.route.start, p.side) for key in _keys(n, s)
        ):
            ready.append(i)
    return ready, later


@dataclass(frozen=True, slots=True)
class _Anchor:
    """A place on a branch that has grown."""

    branch: int
    point: int
    at: Array
    radius: float
    onward: Array | None


def _anchor(where: str, side: Side, state: _State) -> _Anchor | None:
    for name, wanted, fraction in _places(where, side):
        for key in _keys(name, wanted):
            if key in state.index:
                i = state.index[key]
                b = state.branches[i]
                k = round(fraction * (len(b.points) - 1))
                onward = b.points[-1] - b.points[-4] if fraction > _CONTINUES else None
                return _Anchor(i, k, b.points[k], float(b.radius[k]), onward)
    return None


def _grow_level(
    planned: list[Planned], draws: Draws, state: _State, style: Style, surface: Mover | None
) -> None:
    starts = [_anchor(p.route.start, p.side, state) for p in planned]
    ends = [_anchor(p.route.end, p.side, state) for p in planned]
    on_brain = [i for i, p in enumerate(planned) if p.route.surface]
    knots = list(draws.knots)
    if surface is not None and on_brain:
        moved = surface(np.concatenate([knots[i] for i in on_brain]))
        cuts = np.cumsum([len(knots[i]) for i in on_brain])[:-1]
        for i, piece in zip(on_brain, np.split(moved, cuts), strict=True):
            knots[i] = piece
    knots = [_joined(a, k, e) for a, k, e in zip(starts, knots, ends, strict=True)]
    onward = [a.onward if a else None for a in starts]
    points, sizes, along = curves(knots, onward, draws.wave, draws.phase, draws.height)
    radius = _radii(planned, sizes, along, draws.ripple, starts, style)
    stop = 0
    for p, start, end, n in zip(planned, starts, ends, sizes.tolist(), strict=True):
        state.index[p.route.name, p.side] = len(state.branches)
        state.branches.append(
            Branch(
                p.route.name,
                p.route.structure,
                p.side,
                points[stop : stop + n],
                radius[stop : stop + n],
                start.branch if start else -1,
                start.point if start else 0,
                end.branch if end else -1,
                end.point if end else 0,
            )
        )
        stop += n


def _joined(start: _Anchor | None, knots: Array, end: _Anchor | None) -> Array:
    """Knots between two anchors, without a first or last one that would make the vessel turn back."""
    if start is not None:
        if len(knots) > 1 and _turns_back(start.at, knots[0], knots[1]):
            knots = knots[1:]
        knots = np.concatenate([start.at[None], knots])
    if end is not None:
        if len(knots) > 2 and _turns_back(end.at, knots[-1], knots[-2]):
            knots = knots[:-1]
        knots = np.concatenate([knots, end.at[None]])
    return knots


def _turns_back(a: Array, b: Array, c: Array) -> bool:
    """Whether the way from a by b to c has a sharp bend at b, or begins with next to nothing."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = a.tolist(), b.tolist(), c.tolist()
    ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - bx, cy - by, cz - bz
    near, far = (ux * ux + uy * uy + uz * uz) ** 0.5, (vx * vx + vy * vy + vz * vz) ** 0.5
    onward = ux * vx + uy * vy + uz * vz
    return bool(near < _CLOSE_MM or onward < -0.1 * near * far)


def _radii(
    planned: list[Planned],
    sizes: Index,
    along: Array,
    ripple: Array,
    starts: list[_Anchor | None],
    style: Style,
) -> Array:
    """Radius of every point, (points,): the profile with slight waves, never wider than the parent."""
    table = np.stack([_profile(p.route.diameters) * p.size for p in planned]) * (0.5 * MNI_SCALE)
    limit = np.array(
        [
            style.narrowing * a.radius if a and not p.route.wider else np.inf
            for p, a in zip(planned, starts, strict=True)
        ]
    )
    owner = np.repeat(np.arange(len(planned)), sizes)
    at = along * (_KNOTS - 1)
    low = np.minimum(at.astype(np.int64), _KNOTS - 2)
    value = table[owner, low] + (at - low) * (table[owner, low + 1] - table[owner, low])
    count, phase = 1 + 3 * ripple[:, 0], ripple[:, 1]
    value *= 1 + style.ripple * np.sin(2 * np.pi * (along * count[owner] + phase[owner]))
    first = value[np.cumsum(sizes) - sizes]
    found: Array = value * np.minimum(1.0, limit / first)[owner]
    return found


_PROFILES: dict[tuple[float, ...], Array] = {}


def _profile(diameters: tuple[float, ...]) -> Array:
    """Diameters at `_KNOTS` evenly spaced places, (knots,); kept, as routes share them."""
    if diameters not in _PROFILES:
        places = np.linspace(0, len(diameters) - 1, _KNOTS)
        _PROFILES[diameters] = np.interp(places, np.arange(len(diameters)), diameters)
    return _PROFILES[diameters]
