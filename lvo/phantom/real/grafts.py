"""A tree that grows of real and drawn branches, and lines that bend to meet."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from lvo.anatomy import Side
from lvo.phantom.vessels.tree import Branch
from lvo.phantom.vessels.variants import BOTH

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Key = tuple[str, Side]
_END_POINTS = 4
GROUP: dict[str, str] = {
    "M1": "MCA", "M2": "MCA", "M3": "MCA", "M4": "MCA", "A1": "ACA", "A2": "ACA", "A3": "ACA",
    "P1": "PCA", "P2": "PCA", "P3": "PCA", "BA": "hind", "V4": "hind", "SCA": "hind", "AICA": "hind",
    "PICA": "hind", "ICA-I": "ICA",
    "ICA-T": "ICA", "ophthalmic": "ICA", "anterior choroidal": "ICA",
}  # fmt: skip
"""What takes the place of what."""


@dataclass(slots=True)
class Growing:
    """The tree as it grows.

    Attributes
    ----------
    index : phantom branch to branch of `branches`; -1 where it is left out.
    skip : points at a phantom branch's beginning that were left out.
    by_key : name and side to branch of `branches`.
    """

    branches: list[Branch] = field(default_factory=list)
    index: dict[int, int] = field(default_factory=dict)
    skip: dict[int, int] = field(default_factory=dict)
    by_key: dict[Key, int] = field(default_factory=dict)

    def add(self, b: Branch) -> int:
        """Append a branch under a name that is not taken."""
        if (b.name, b.side) in self.by_key:
            b = replace(b, name=f"{b.name} again")
        self.by_key[b.name, b.side] = len(self.branches)
        self.branches.append(b)
        return len(self.branches) - 1

    def of(self, name: str, side: Side) -> int:
        """Branch of a name and side, or midline; -1 where there is none."""
        return self.by_key.get((name, side), self.by_key.get((name, Side.MIDLINE), -1))


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Points of the tree by group and side: of which branch, and which of its points."""

    trees: dict[tuple[str, Side], tuple[cKDTree, Index, Index]]

    @classmethod
    def of(cls, state: Growing) -> Forest:
        """All points of a tree as it is now."""
        found: dict[tuple[str, Side], list[tuple[int, Branch]]] = {}
        for n, b in enumerate(state.branches):
            if b.structure in GROUP:
                for side in BOTH if b.side is Side.MIDLINE else (b.side,):
                    found.setdefault((GROUP[b.structure], side), []).append((n, b))
        return cls(
            {
                key: (
                    cKDTree(np.concatenate([b.points for _, b in rows])),
                    np.concatenate([np.full(len(b.points), n) for n, b in rows]),
                    np.concatenate([np.arange(len(b.points)) for _, b in rows]),
                )
                for key, rows in found.items()
            }
        )


def at_end(point: int, b: Branch) -> bool:
    """Whether one of a branch's points is as good as its last: what leaves there goes on with it."""
    return point >= len(b.points) - 1 - _END_POINTS


def bent(points: Array, end: Array, reach_mm: float) -> Array:
    """A line (n, 3) whose end is moved to a place, the rest the less the further off it is."""
    return bent_from(points[::-1], end, reach_mm)[::-1]


def bent_from(points: Array, start: Array, reach_mm: float) -> Array:
    """A line (n, 3) whose beginning is moved to a place (3,); it is nowhere stretched to twice its length."""
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    off = start - points[0]
    reach = max(reach_mm, 1.5 * float(np.linalg.norm(off)))
    moved: Array = points + np.exp(-((arc / reach) ** 2))[:, None] * off
    return moved


def tapered(radius: Array, end: float, *, backwards: bool) -> Array:
    """Radii that reach `end` at the last point over the last 40 points."""
    share = np.clip(1 - (len(radius) - 1 - np.arange(len(radius))) / 40, 0, 1) if backwards else np.zeros(1)
    tapered: Array = radius * (1 + share * (end / radius[-1] - 1))
    return tapered


def unit(v: Array) -> Array:
    """A vector (3,) of length 1."""
    scaled: Array = v / max(float(np.linalg.norm(v)), 1e-9)
    return scaled
