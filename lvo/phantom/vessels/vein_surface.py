"""Veins on the brain's surface, individual in every patient: bridging, anastomotic and their tributaries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Side
from lvo.phantom.vessels.routes import to_head_frame
from lvo.phantom.vessels.vein_growth import Growth, Place, Sprout
from lvo.phantom.vessels.vein_routes import SSS, SYLVIAN, TS

Array = npt.NDArray[np.float64]
_CENTRE, _AXES = np.array([0.0, 15.0, 45.0]), np.array([67.0, 84.0, 73.0])
"""An ellipsoid near the cranial cavity, head-frame mm: where surface veins begin to be laid."""
_KNOT_MM = 4.0
_SIDEWAYS = 0.75
"""A bridging vein runs along the sinus before it enters: exponent of its way along the sinus."""
_OFF_MIDLINE = 0.02
_TAPER_TRUNK, _TAPER_BRIDGING = 0.6, 0.45


@dataclass(frozen=True, slots=True)
class _Plan:
    """A surface vein: from a place, as angles, to a goal; `width` is its calibre where it ends in another."""

    name: str
    side: Side
    start: Place
    first: Array
    goal: Array
    width: float
    taper: float


def grow_surface_veins(growth: Growth) -> None:
    """The veins of Trolard and Labbé, the bridging veins, and what flows into them, on both sides."""
    plans = [
        plan
        for side in (Side.LEFT, Side.RIGHT)
        for plan in (*_anastomotic(growth, side), *_bridging(growth, side))
    ]
    numbers = growth.grow([_sprout(growth, plan) for plan in plans])
    growth.grow(
        [
            _sprout(growth, small)
            for plan, number in zip(plans, numbers, strict=True)
            for small in _tributaries(growth, plan, number)
        ]
    )


def _anastomotic(growth: Growth, side: Side) -> list[_Plan]:
    """Trolard and Labbé, from their sinuses to the Sylvian vein, or near to where it would be."""
    rng, ranges = growth.rng, growth.ranges
    sylvian = growth.index.get((SYLVIAN, side), -1)
    plans = []
    for name, start, chance in (
        ("vein of Trolard", f"{SSS}@{rng.uniform(*ranges.trolard_at)}", ranges.trolard),
        ("vein of Labbé", f"{TS}@{rng.uniform(*ranges.labbe_at)}", ranges.labbe),
    ):
        place = growth.place(start, side)
        goal = to_head_frame((62, -20, 14), side)[0] + rng.normal(0, 5, 3)
        if sylvian >= 0:
            points = growth.branches[sylvian].points
            goal = points[int(rng.uniform(0.7, 1.0) * (len(points) - 1))]
        if place[0] >= 0 and rng.random() < chance:
            width = float(rng.uniform(*ranges.anastomotic_mm))
            first = _angles(growth.at(place))
            plans.append(_Plan(name, side, place, first, _angles(goal), width, _TAPER_TRUNK))
    return plans


def _bridging(growth: Growth, side: Side) -> list[_Plan]:
    """Veins that enter the superior sagittal sinus, at irregular distances."""
    rng, ranges = growth.rng, growth.ranges
    count = int(rng.integers(ranges.bridging_count[0], ranges.bridging_count[1] + 1))
    span = np.linspace(*ranges.bridging_span, count + 1)
    plans = []
    for n, fraction in enumerate(rng.uniform(span[:-1], span[1:])):
        place = growth.place(f"{SSS}@{fraction}", side)
        first = _angles(growth.at(place))
        reach = np.deg2rad(rng.uniform(*ranges.bridging_reach_deg)) * (1 if side is Side.LEFT else -1)
        along = first[1] * rng.normal(*ranges.bridging_slant_mean_sd)  # away from the vertex: in front
        along += np.deg2rad(rng.normal(0, ranges.bridging_stray_deg))  # forwards, behind backwards
        goal = np.array([first[0] + reach, along])
        width = float(rng.uniform(*ranges.bridging_mm))
        plans.append(_Plan(f"bridging vein {n + 1}", side, place, first, goal, width, _TAPER_BRIDGING))
    return plans


def _tributaries(growth: Growth, plan: _Plan, trunk: int) -> list[_Plan]:
    """Smaller veins that meet a surface vein at a slant."""
    rng, ranges = growth.rng, growth.ranges
    points = growth.branches[trunk].points
    plans = []
    for n in range(int(rng.integers(ranges.tributaries[0], ranges.tributaries[1] + 1))):
        k = int(rng.uniform(0.2, 0.85) * (len(points) - 1))
        here = _angles(points[k])
        ahead = _angles(points[min(k + 20, len(points) - 1)]) - here
        turn = np.deg2rad(rng.uniform(*ranges.tributary_turn_deg)) * rng.choice([-1, 1])
        way = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ ahead
        way *= np.deg2rad(rng.uniform(*ranges.tributary_reach_deg)) / max(float(np.linalg.norm(way)), 1e-6)
        width = float(rng.uniform(*ranges.tributary_size)) * plan.width
        name = f"{plan.name}, tributary {n + 1}"
        plans.append(_Plan(name, plan.side, (trunk, k), here, here + way, width, _TAPER_TRUNK))
    return plans


def _sprout(growth: Growth, plan: _Plan) -> Sprout:
    """A wandering way between two points given as angles."""
    rng, ranges = growth.rng, growth.ranges
    way = plan.goal - plan.first
    size = float(np.linalg.norm(way * (1, np.cos(0.5 * (plan.first[0] + plan.goal[0])))) * _AXES.mean())
    t = np.linspace(0, 1, max(5, int(size / _KNOT_MM)))[1:, None]
    sway = np.deg2rad(ranges.surface_wander_deg) * rng.normal(size=(4, 2)) / np.arange(1, 5)[:, None] ** 0.5
    waves = np.sin(np.pi * t * np.arange(1, 5)) @ (sway * min(1.0, size / 40))
    angles = plan.first + way * np.concatenate([t, t**_SIDEWAYS], axis=1) + waves
    sign = -1.0 if plan.side is Side.RIGHT else 1.0
    angles[:, 0] = sign * np.maximum(sign * angles[:, 0], _OFF_MIDLINE)
    cos = np.cos(angles[:, 0])
    ball = np.stack([np.sin(angles[:, 0]), cos * np.sin(angles[:, 1]), cos * np.cos(angles[:, 1])], axis=1)
    width = plan.width * growth.calibre * float(rng.lognormal(0, ranges.surface_size_sd))
    depth = np.full(2, rng.uniform(*ranges.surface_depth_mm))
    diameters = np.maximum(width * np.array([1.0, plan.taper]), ranges.thinnest_mm)
    knots = _CENTRE + _AXES * ball
    return Sprout(
        plan.name, "cortical vein", plan.side, knots, diameters, plan.start, depth=depth, wander=0.5
    )


def _angles(point: Array) -> Array:
    """Latitude to the left and angle from the vertex to the back, radians, as seen from the head's middle."""
    ball = (point - _CENTRE) / _AXES
    ball = ball / np.linalg.norm(ball)
    return np.array([np.arcsin(ball[0]), np.arctan2(ball[1], ball[2])])
