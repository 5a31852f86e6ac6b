"""Changes to the calibre and the course of arteries: pure functions of a tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lvo.phantom.vessels.tree import Branch, Tree

Array = npt.NDArray[np.float64]
LEAST_RADIUS_MM = 0.03
"""No lumen becomes thinner: a closed one is an occlusion, not a stenosis."""
_FLAT = 3.0
"""Exponent of a waist: 2 is a Gaussian, larger is flatter at its narrowest and steeper at its shoulders."""


def waist(arc: Array, centre_mm: float, length_mm: float, skew: float = 0.0) -> Array:
    """How far a stenosis is developed along a vessel, 0 to 1, shape (n,).

    Parameters
    ----------
    arc : (n,) mm along the vessel.
    length_mm : full width at half maximum.
    skew : -1 to 1; above 0 the shoulder against the flow is the steeper one.
    """
    side = np.where(arc < centre_mm, 1 - 0.6 * skew, 1 + 0.6 * skew)
    found: Array = np.exp(-np.log(2) * np.abs((arc - centre_mm) / (0.5 * length_mm * side)) ** _FLAT)
    return found


def narrowed(radius: Array, developed: Array, grade: float, reference: float | Array | None = None) -> Array:
    """Radius with a stenosis of a diameter reduction `grade` (0 to 1) where `developed` is 1.

    `reference` is the radius that the grade refers to (NASCET: of the normal vessel beyond); None is the
    vessel's own at each point (WASID).
    """
    target = (radius if reference is None else np.minimum(reference, radius)) * (1 - grade)
    return np.maximum(radius + developed * (target - radius), np.minimum(radius, LEAST_RADIUS_MM))


def reshaped(tree: Tree, radii: Mapping[int, Array]) -> Tree:
    """The same tree with other radii in some branches."""
    branches = list(tree.branches)
    for i, radius in radii.items():
        branches[i] = replace(branches[i], radius=radius)
    return replace(tree, branches=tuple(branches))


def bent(tree: Tree, index: int, move: Array, decay_mm: float) -> Tree:
    """The same tree with one branch displaced and whatever leaves it pulled along.

    Parameters
    ----------
    move : (n, 3) displacement of every point of the branch, head-frame mm; 0 at its start, or the branch
        comes off its parent.
    decay_mm : over which length of a branch leaving (or opening into) it the displacement dies away.
    """
    moves = {index: move}
    for i, b in enumerate(tree.branches):
        if i == index or not (b.parent in moves or b.joins in moves):
            continue
        pulled = np.zeros((1, 3))
        if b.parent in moves:
            by = moves[b.parent][b.parent_point]
            pulled = pulled + np.exp(-b.arc / decay_mm)[:, None] * by if by.any() else pulled
        if b.joins in moves:
            by = moves[b.joins][b.join_point]
            left = (b.arc[-1] - b.arc) / decay_mm
            pulled = pulled + np.exp(-left)[:, None] * by if by.any() else pulled
        if len(pulled) > 1:
            moves[i] = np.where(np.abs(pulled) > 1e-3, pulled, 0.0)
    branches = list(tree.branches)
    for i, by in moves.items():
        branches[i] = replace(branches[i], points=branches[i].points + by)
    return replace(tree, branches=tuple(branches))


def tangents(points: Array, at: npt.NDArray[np.intp] | None = None) -> Array:
    """Unit vectors along a centreline at some of its points, or at all, (m, 3)."""
    where = np.arange(len(points)) if at is None else at
    along = points[np.minimum(where + 1, len(points) - 1)] - points[np.maximum(where - 1, 0)]
    return along / _length(along)


def across(along: Array, wanted: Array) -> Array:
    """The part of `wanted` that is perpendicular to unit vectors `along`, made unit, (n, 3)."""
    part: Array = wanted - (wanted * along).sum(-1, keepdims=True) * along
    if (np.abs(part).max(axis=-1) < 1e-3).any():  # parallel: any other way will do
        part = part + 1e-2 * third(along, np.roll(along, 1, axis=-1) + (0.3, -0.2, 0.1))
    return part / _length(part)


def third(a: Array, b: Array) -> Array:
    """Vector product of vectors (n, 3)."""
    x = a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1]
    y = a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2]
    return np.stack([x, y, a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]], axis=1)


def _length(vectors: Array) -> Array:
    found: Array = np.sqrt((vectors * vectors).sum(-1, keepdims=True))
    return np.maximum(found, 1e-9)


def off_centre(branch: Branch, thinner: Array, towards: Array) -> Array:
    """Displacement (n, 3) that puts a narrowed lumen at one wall of the vessel that it was.

    `thinner` (n,) is by how much the radius shrank times the eccentricity (0 to 1); `towards`
    (3,) is any vector.
    """
    unit = across(tangents(branch.points), np.broadcast_to(towards, branch.points.shape))
    return unit * thinner[:, None]


def piece(branch: Branch, first: int, last: int, name: str) -> Branch:
    """Points `first` to `last` (inclusive) of a branch as one of its own that leaves and joins nothing."""
    part = slice(first, last + 1)
    return replace(
        branch,
        name=name,
        points=branch.points[part],
        radius=branch.radius[part],
        parent=-1,
        parent_point=0,
        joins=-1,
        join_point=0,
    )
