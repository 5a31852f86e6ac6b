"""How far vessels stray from their routes: varied waypoints and waves of tortuosity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Side
from lvo.phantom.vessels.routes import Route, to_head_frame

Array = npt.NDArray[np.float64]
_WAVES = 3
_SWAY = 0.2
"""A waypoint strays at most so far, in standard deviations, relative to the way to its neighbours."""


@dataclass(frozen=True, slots=True)
class Style:
    """How far vessels stray from their routes.

    Attributes
    ----------
    wander_mm : standard deviation of a waypoint along each axis, for a route of wander 1, head-frame mm.
    wave_mm : shortest and longest wave of tortuosity, head-frame mm.
    swing : standard deviation of a wave's height along each axis, relative to a twelfth of its length.
    ripple : relative height of the waves in calibre.
    narrowing : a branch's calibre at its origin, at most, relative to what it leaves.
    """

    wander_mm: float = 1.1
    wave_mm: tuple[float, float] = (9.0, 30.0)
    swing: float = 0.22
    ripple: float = 0.04
    narrowing: float = 0.98


@dataclass(frozen=True, slots=True)
class Planned:
    """A route on one side of one patient; `size` multiplies its diameters."""

    route: Route
    side: Side
    size: float = 1.0
    swing: float = 1.0


@dataclass(frozen=True, slots=True)
class Draws:
    """Chance, drawn for all vessels before any grows.

    Attributes
    ----------
    knots : (k, 3) each, a vessel's varied waypoints, head-frame mm.
    wave, phase, height : (n, waves), (n, waves), (n, waves, 3): waves of tortuosity, mm, turns, mm.
    ripple : (n, 2) uniform, for the waves of calibre.
    """

    knots: list[Array]
    wave: Array
    phase: Array
    height: Array
    ripple: Array

    @classmethod
    def of(cls, planned: Sequence[Planned], rng: np.random.Generator, style: Style) -> Draws:
        """Draw for all vessels of a patient."""
        counts = [len(p.route.waypoints) for p in planned]
        sway = np.repeat(
            np.array([p.route.wander * style.wander_mm for p in planned])[:, None]
            * np.array([(p.route.lateral, 1.0, 1.0) for p in planned]).reshape(-1, 3),
            counts,
            axis=0,
        )
        jitter = rng.normal(0, 1, (sum(counts), 3)) * sway
        n = len(planned)
        wave = rng.uniform(*style.wave_mm, (n, _WAVES))
        swing = np.array([style.swing * p.route.wander * p.swing for p in planned])[:, None, None]
        height = rng.normal(0, 1, (n, _WAVES, 3)) * swing * wave[..., None] / 12
        height[..., 0] *= np.array([p.route.lateral for p in planned])[:, None]
        way = to_head_frame([w for p in planned for w in p.route.waypoints], Side.LEFT)
        jitter *= np.minimum(1.0, _SWAY * _room(way, counts) / np.maximum(sway.max(axis=1), 1e-6))[:, None]
        way += jitter
        right = np.repeat([p.side is Side.RIGHT for p in planned], counts)
        sided = np.repeat([p.side is not Side.MIDLINE for p in planned], counts)
        way[:, 0] = np.where(sided, np.maximum(way[:, 0], 0.8), way[:, 0]) * np.where(right, -1.0, 1.0)
        ends = np.cumsum(counts)
        knots = [way[e - c : e] for c, e in zip(counts, ends.tolist(), strict=True)]
        return cls(knots, wave, rng.random((n, _WAVES)), height, rng.uniform(0, 1, (n, 2)))

    def take(self, which: list[int]) -> Draws:
        """The draws of some of the vessels."""
        return Draws(
            [self.knots[i] for i in which],
            self.wave[which],
            self.phase[which],
            self.height[which],
            self.ripple[which],
        )


def _room(way: Array, counts: list[int]) -> Array:
    """Distance of every waypoint to the nearer of its neighbours on its route, mm, (waypoints,)."""
    gap = np.full(len(way) + 1, np.inf)
    gap[1:-1] = np.linalg.norm(np.diff(way, axis=0), axis=1)
    gap[np.cumsum([0, *counts])] = np.inf
    room: Array = np.minimum(gap[:-1], gap[1:])
    return room
