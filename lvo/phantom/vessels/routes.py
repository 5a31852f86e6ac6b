"""How a vessel's course is written down: waypoints on the cisterns, canals and fissures of an average head.

Waypoints are ``(lateral, y, z)`` in MNI152 millimetres for one side (lateral is positive away from the
midline); `lvo.phantom.vessels.growth` mirrors them, varies them and makes centrelines of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Side

Array = npt.NDArray[np.float64]
Waypoint = tuple[float, float, float]

MNI_SCALE = 1.06
"""Millimetres of the head frame (MNI size) per millimetre of an average adult head."""


@dataclass(frozen=True, slots=True)
class Route:
    """One unbranched vessel of an average person.

    Attributes
    ----------
    name : unique on its side.
    structure : a name of `lvo.phantom.vessels.labels`.
    start : where it leaves another route, ``"name@fraction"`` of that route's length; empty if the first
        waypoint is free. ``"left name@fraction"`` names a side. Of several, divided by ``|``, the first
        counts that this patient has.
    waypoints : (lateral, y, z) in MNI mm between start and end.
    diameters : mm in an average adult at evenly spaced places from start to end, two or more.
    end : where it joins another route, in the notation of `start`; empty if it ends at its last waypoint, as
        it also does where that other route is absent.
    paired : False for vessels of the midline.
    wander : how far this vessel strays from its route, relative to the others.
    lateral : how far it strays sideways, relative to forwards and upwards.
    spread : standard deviation of its calibre between people, relative to the mean.
    wider : True where it may be wider than what it leaves (carotid bulb, a pouch, a vessel with two feeders).
    surface : True for a vessel that lies on the surface of the brain.
    group : vessels of one group are wide or narrow together; its own name if empty.
    """

    name: str
    structure: str
    start: str
    waypoints: tuple[Waypoint, ...]
    diameters: tuple[float, ...]
    end: str = ""
    paired: bool = True
    wander: float = 1.0
    lateral: float = 1.0
    spread: float = 0.14
    wider: bool = False
    surface: bool = False
    group: str = ""


def to_head_frame(waypoints: npt.ArrayLike, side: Side) -> Array:
    """(lateral, y, z) in MNI mm, (n, 3), to head-frame LPS mm, (n, 3), for one side."""
    lateral, y, z = np.asarray(waypoints, dtype=np.float64).reshape(-1, 3).T
    x = lateral if side is not Side.RIGHT else -lateral
    return np.stack([x, -(y - 2.0), z + 33.0], axis=1)
