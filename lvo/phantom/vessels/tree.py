"""The nouns of vessels: branches with a centreline and radii, and the tree that they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Segment, Side
from lvo.phantom.vessels.labels import LABEL_OF, SEGMENT_OF

Array = npt.NDArray[np.float64]
STEP_MM = 0.5
"""Distance between the points of a centreline, head-frame mm."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One unbranched vessel of one patient.

    Attributes
    ----------
    name : unique on its side: "M1", "angular", "BA".
    structure : a name of `lvo.phantom.vessels.labels`: "M1", "M4", "BA".
    points : (n, 3) head frame, mm (LPS axes), in the direction of normal flow.
    radius : (n,) head-frame mm; divide by `lvo.phantom.vessels.routes.MNI_SCALE` for an average adult's.
    parent : index of the branch it leaves, or -1.
    parent_point : index into the parent's points where it leaves.
    joins : index of the branch that its far end opens into, or -1.
    join_point : index into that branch's points.
    """

    name: str
    structure: str
    side: Side
    points: Array
    radius: Array
    parent: int = -1
    parent_point: int = 0
    joins: int = -1
    join_point: int = 0

    @property
    def segment(self) -> Segment | None:
        """The reportable segment it is, or None."""
        return SEGMENT_OF.get(self.structure)

    @property
    def label(self) -> int:
        """Its number in a label map."""
        return LABEL_OF[self.structure, self.side]

    @property
    def arc(self) -> Array:
        """Length of the centreline up to every point, (n,), head-frame mm."""
        steps = np.linalg.norm(np.diff(self.points, axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])

    @property
    def length(self) -> float:
        """Length of the centreline, head-frame mm."""
        return float(np.linalg.norm(np.diff(self.points, axis=0), axis=1).sum())


@dataclass(frozen=True, slots=True)
class Tree:
    """All vessels of one kind in one patient; parents come before their children.

    Attributes
    ----------
    variants : what is not textbook anatomy, in words, with the side.
    """

    branches: tuple[Branch, ...]
    variants: tuple[str, ...] = ()

    def find(self, name: str, side: Side) -> int:
        """Index of a branch by name and side (or midline), or -1 where this patient lacks it."""
        for i, b in enumerate(self.branches):
            if b.name == name and b.side in (side, Side.MIDLINE):
                return i
        return -1

    def mapped(self, move: Callable[[Array], Array]) -> Tree:
        """The same tree with every point moved, all at once: `move` takes and gives (n, 3)."""
        flat = move(np.concatenate([b.points for b in self.branches]))
        ends = np.cumsum([len(b.points) for b in self.branches])
        return replace(
            self,
            branches=tuple(
                replace(b, points=flat[end - len(b.points) : end])
                for b, end in zip(self.branches, ends.tolist(), strict=True)
            ),
        )

    def mirrored(self) -> Tree:
        """The tree of the mirrored head: x changes its sign, left and right change places."""
        branches = tuple(
            replace(b, side=b.side.mirrored, points=b.points * np.array([-1.0, 1.0, 1.0]))
            for b in self.branches
        )
        return Tree(branches, tuple(map(mirrored_words, self.variants)))


def mirrored_words(text: str) -> str:
    """A description with its sides exchanged."""
    swap = {Side.LEFT.value: Side.RIGHT.value, Side.RIGHT.value: Side.LEFT.value}
    return " ".join(swap.get(word, word) for word in text.split(" "))
