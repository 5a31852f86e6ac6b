"""Metal that treatment leaves on and in vessels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lvo.phantom.disease.narrowing import across, tangents, third
from lvo.phantom.scanner.metal import MetalObject
from lvo.phantom.vessels.tree import Branch

Array = npt.NDArray[np.float64]
_WIRES = 4
_STEP = 3
"""Centreline points from one point of a wire to the next."""


def stent(branch: Branch, first: int, last: int, wire_mm: float) -> tuple[MetalObject, ...]:
    """A braided tube in the lumen from point `first` to `last`: wires that wind either way."""
    part = slice(first, last + 1, _STEP)
    points, radius, arc = branch.points[part], branch.radius[part], branch.arc[part]
    along = tangents(points)
    out = across(along, np.broadcast_to((0.36, 0.48, 0.8), points.shape))
    round_ = third(along, out)
    turn = arc * (2 * np.pi / (5 * radius.mean()))
    wires = []
    for k in range(_WIRES):
        angle = ((-1) ** k * turn + np.pi * k / 2)[:, None]
        line = points + radius[:, None] * (np.cos(angle) * out + np.sin(angle) * round_)
        wires.append(MetalObject("stent", line, 0.5 * wire_mm, "steel"))
    return tuple(wires)


def coil_mass(centre: Array, radius: float, density: float) -> tuple[MetalObject, ...]:
    """A ball of platinum wire, packed to a `density` (0 to 1)."""
    return (MetalObject("coil", centre[None], radius, "gold", fill=density, hu=20000.0),)


def clip(neck: Array, along: Array, length_mm: float) -> tuple[MetalObject, ...]:
    """A clip whose two blades close on `neck` (3,), with its spring behind them along unit vector `along`."""
    aside = across(along[None], np.array([[0.2, 0.9, 0.3]]))[0]
    blade = neck + np.array([[-0.5], [0.5]]) * length_mm * along
    turn = np.linspace(0, 2 * np.pi, 9)[:, None]
    spring = neck + along * (0.5 * length_mm + 2.0) + 2.0 * (np.cos(turn) * along + np.sin(turn) * aside)
    lines = blade + 0.5 * aside, blade - 0.5 * aside, spring
    return tuple(MetalObject("clip", line, 0.6, "titanium", hu=7000.0) for line in lines)
