"""Tree and head are of two people: the small similarity that puts one into the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from lvo.phantom.real.head import Tissue
from lvo.phantom.vessels.tree import Branch, Tree

Array = npt.NDArray[np.float64]
_WITHIN = frozenset({"ICA-T", "M1", "M2", "M3", "A1", "A2", "A3", "BA", "P1", "P2", "P3"})
"""What lies among brain, not in bone."""
_SHIFT_MM, _TURN_DEG, _SIZE = 5.0, 5.0, 0.05
"""What is likely of each, one standard deviation."""
_PRIOR = 0.012
_BONE, _GREY, _WHITE, _CSF = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Seat:
    """A similarity: scale, then rotation about the origin (rotation vector, radians), then shift, mm."""

    scale: float = 1.0
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    outside: float = 0.0
    """Share of the intracranial arteries that lies in bone or beyond the brain."""

    def __call__(self, tree: Tree) -> Tree:
        """The tree in its place, its calibres scaled with it."""
        moved = tree.mapped(self.moved)
        return replace(
            moved, branches=tuple(replace(b, radius=b.radius * self.scale) for b in moved.branches)
        )

    def moved(self, points: Array) -> Array:
        """Points (n, 3) in their place."""
        turned: Array = self.scale * Rotation.from_rotvec(self.turn).apply(points) + np.array(self.shift)
        return turned


def seat(branches: tuple[Branch, ...], tissue: Tissue) -> Seat:
    """How a tree is to be moved so that it lies inside the skull of a head.

    Parameters
    ----------
    branches : real ones, head-frame mm.
    """
    points = np.concatenate([b.points[::3] for b in branches if b.structure in _WITHIN])

    def made(p: Array) -> Seat:
        turn, shift = np.radians(_TURN_DEG) * p[1:4], _SHIFT_MM * p[4:7]
        return Seat(float(np.exp(_SIZE * p[0])), _three(turn), _three(shift))

    def badness(p: Array) -> float:
        return _outside(made(p).moved(points), tissue) + _PRIOR * float((p**2).sum())

    found = minimize(
        badness, np.zeros(7), method="Powell", options={"maxiter": 6, "xtol": 0.05, "ftol": 1e-3}
    )
    best = made(found.x)
    return replace(best, outside=_outside(best.moved(points), tissue))


def _outside(points: Array, tissue: Tissue) -> float:
    bone = tissue.at(points, _BONE)
    brain = sum(tissue.at(points, channel) for channel in (_GREY, _WHITE, _CSF))
    return float((bone + np.maximum(0, 0.5 - brain)).mean())


def _three(v: Array) -> tuple[float, float, float]:
    a, b, c = v.tolist()
    return a, b, c
