"""Smooth, tortuous, evenly spaced curves through knots: many at once, without a loop over points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lvo.phantom.vessels.tree import STEP_MM

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]


def curves(
    knots: Sequence[Array], onward: Sequence[Array | None], wave: Array, phase: Array, height: Array
) -> tuple[Array, Index, Array]:
    """Smooth tortuous curves through knots, a point about every STEP_MM, all curves in one go.

    Parameters
    ----------
    knots : (k, 3) each, two or more.
    onward : (3,) direction in which a curve sets out, or None.
    wave, phase, height : (curves, waves), (curves, waves), (curves, waves, 3): mm, turns, mm.

    Returns
    -------
    points : (points, 3), curve after curve.
    sizes : (curves,) points of each.
    along : (points,) fraction of the curve's length.
    """
    fine, counts = _hermite(knots, onward)
    arc, length = _arcs(fine, counts)
    owner = np.repeat(np.arange(len(counts)), counts)
    share = arc / length[owner]
    envelope = np.sin(np.pi * share)
    for w in range(wave.shape[1]):
        turn = np.sin(2 * np.pi * (arc / wave[owner, w] + phase[owner, w])) * envelope
        fine = fine + turn[:, None] * height[owner, w]
    arc, length = _arcs(fine, counts)
    sizes = np.maximum(4, (length / STEP_MM).astype(np.int64) + 1)
    place = np.repeat(np.arange(len(counts)), sizes)
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    along = (np.arange(len(place)) - first) / (sizes - 1)[place]
    offset = np.concatenate([[0.0], np.cumsum(length + 1.0)[:-1]])
    source = arc + offset[owner]
    at = np.searchsorted(source, along * length[place] + offset[place], side="right") - 1
    last = np.cumsum(counts) - 1
    at = np.minimum(at, last[place] - 1)
    at = np.maximum(at, (last - counts + 1)[place])
    gap = np.maximum(source[at + 1] - source[at], 1e-9)
    blend = np.clip((along * length[place] + offset[place] - source[at]) / gap, 0, 1)[:, None]
    points = fine[at] + blend * (fine[at + 1] - fine[at])
    return points, sizes, along


def _arcs(points: Array, counts: Index) -> tuple[Array, Array]:
    """Length up to every point, (points,), and whole length, (curves,), of curves laid end to end."""
    steps = np.zeros(len(points))
    difference = np.diff(points, axis=0)
    steps[1:] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    first = np.cumsum(counts) - counts
    steps[first] = 0.0
    total = np.cumsum(steps)
    arc = total - np.repeat(total[first], counts)
    return arc, np.maximum(arc[first + counts - 1], 1e-6)


def _hermite(knots: Sequence[Array], onward: Sequence[Array | None]) -> tuple[Array, Index]:
    """Cubic Hermite curves (tangents from the parabola through three knots), finer than STEP_MM."""
    flat = np.concatenate(knots)
    sizes = np.array([len(k) for k in knots])
    first = np.cumsum(sizes) - sizes
    last = first + sizes - 1
    gap = np.ones((len(flat), 3))
    gap[:-1] = np.diff(flat, axis=0)
    step = np.maximum(np.sqrt(np.einsum("ij,ij->i", gap, gap)), 0.2)
    slope = gap / step[:, None]
    tangent = np.empty_like(flat)
    before, after = step[:-1, None], step[1:, None]
    tangent[1:] = (after * slope[:-1] + before * slope[1:]) / (before + after)
    inner = sizes > 2
    tangent[first] = np.where(inner[:, None], 1.5 * slope[first] - 0.5 * tangent[first + 1], slope[first])
    tangent[last] = np.where(inner[:, None], 1.5 * slope[last - 1] - 0.5 * tangent[last - 1], slope[last - 1])
    for i, way in enumerate(onward):
        if way is not None:
            k = first[i]
            way = way / max(float(np.sqrt(way @ way)), 1e-6)
            tangent[k] = 0.5 * (way + tangent[k])
    is_piece = np.ones(len(flat), dtype=bool)
    is_piece[last] = False
    piece = np.flatnonzero(is_piece)
    many = np.maximum(2, np.ceil(step[piece] * 1.15 / STEP_MM).astype(np.int64))
    start = np.cumsum(many) - many
    own = np.repeat(np.arange(len(piece)), many)
    u = ((np.arange(len(own)) - start[own]) / many[own])[:, None]
    k = piece[own]
    h = step[k][:, None]
    v, uu = 1 - u, u * u
    vv = v * v
    curve = (
        vv * (1 + 2 * u) * flat[k]
        + uu * (3 - 2 * u) * flat[k + 1]
        + (vv * u * h) * tangent[k]
        - (uu * v * h) * tangent[k + 1]
    )
    owner_of_piece = np.repeat(np.arange(len(sizes)), sizes)[piece]
    counts = np.bincount(owner_of_piece, weights=many, minlength=len(sizes)).astype(np.int64)
    whole = np.empty((len(curve) + len(sizes), 3))
    ends = np.cumsum(counts + 1) - 1
    mask = np.ones(len(whole), dtype=bool)
    mask[ends] = False
    whole[mask], whole[ends] = curve, flat[last]
    return whole, counts + 1
