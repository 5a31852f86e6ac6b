"""Small arteries on the brain's surface: two generations of twigs off the cortical arteries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvo.phantom.vessels.curves import curves
from lvo.phantom.vessels.routes import MNI_SCALE
from lvo.phantom.vessels.surface import brain_field
from lvo.phantom.vessels.tree import Branch
from lvo.phantom.vessels.variants import TreeRanges

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
CARRIERS = frozenset({"M4", "A3", "P3"})
"""Structures that have twigs."""
_MEDIAL = frozenset({"A3", "P3"})
_MEDIAL_MM = 14.0
"""Twigs of these structures so near the midline run on the medial face of their hemisphere."""
_STRIDE_MM = 4.0
_WAVES = 3


@dataclass(frozen=True, slots=True)
class _Buds:
    """Where twigs begin: parent and point (n,), place, direction and normal of the surface (n, 3)."""

    parent: Index
    point: Index
    place: Array
    along: Array
    radius: Array


def grow_twigs(branches: tuple[Branch, ...], rng: np.random.Generator, ranges: TreeRanges) -> list[Branch]:
    """Twigs of the cortical arteries and, once more, of the longer twigs."""
    first = _generation(list(branches), 0, rng, ranges)
    second = _generation([*branches, *first], len(branches), rng, ranges)
    return [*first, *second]


def _generation(
    branches: list[Branch], since: int, rng: np.random.Generator, ranges: TreeRanges
) -> list[Branch]:
    carriers = [i for i in range(since, len(branches)) if branches[i].structure in CARRIERS]
    buds = _buds(branches, carriers, rng, ranges)
    if buds is None:
        return []
    n = len(buds.parent)
    length = rng.uniform(*ranges.twig_length_mm, n) * np.clip(buds.radius / 0.45, 0.5, 1.3)
    steps = np.maximum(2, np.rint(length / _STRIDE_MM).astype(np.int64))
    within = np.array([branches[i].structure in _MEDIAL for i in buds.parent.tolist()])
    medial = within & (np.abs(buds.place[:, 0]) < _MEDIAL_MM)
    knots = _march(buds, steps, medial, rng, ranges)
    wave = rng.uniform(6, 16, (n, _WAVES))
    height = rng.normal(0, ranges.swing, (n, _WAVES, 3)) * wave[..., None] / 12
    lines = [k[: s + 1] for k, s in zip(knots, steps.tolist(), strict=True)]
    points, sizes, along = curves(lines, [None] * n, wave, rng.random((n, _WAVES)), height)
    start = buds.radius * rng.uniform(*ranges.twig_size, n)
    owner = np.repeat(np.arange(n), sizes)
    radius = start[owner] * (1 - 0.45 * along)
    out, stop = [], 0
    for k, size in enumerate(sizes.tolist()):
        up = branches[int(buds.parent[k])]
        out.append(
            Branch(
                f"{up.name} twig {k}" if since == 0 else f"{up.name}.{k}",
                up.structure,
                up.side,
                points[stop : stop + size],
                radius[stop : stop + size],
                int(buds.parent[k]),
                int(buds.point[k]),
            )
        )
        stop += size
    return out


def _buds(
    branches: list[Branch], carriers: list[int], rng: np.random.Generator, ranges: TreeRanges
) -> _Buds | None:
    """Places at irregular intervals along the carriers that are wide enough to give off a visible twig."""
    parents, points = [], []
    for i in carriers:
        n = len(branches[i].points)
        gaps = rng.uniform(*ranges.twig_spacing_mm, max(1, int(0.5 * n / ranges.twig_spacing_mm[0])))
        at = np.rint(np.cumsum(gaps) / 0.5).astype(np.int64)
        at = at[at < n - 6]
        parents.append(np.full(len(at), i))
        points.append(at)
    parent, point = np.concatenate([*parents, []]).astype(np.int64), np.concatenate([*points, []])
    point = point.astype(np.int64)
    if not len(parent):
        return None
    pairs = list(zip(parent.tolist(), point.tolist(), strict=True))
    radius = np.array([branches[i].radius[k] for i, k in pairs])
    wide = radius * 2 * ranges.twig_size[1] / MNI_SCALE > ranges.twig_least_mm
    place = np.array([branches[i].points[k] for i, k in pairs])
    along = np.array([branches[i].points[min(k + 3, len(branches[i].points) - 1)] for i, k in pairs]) - place
    keep = np.flatnonzero(wide)
    return _Buds(parent[keep], point[keep], place[keep], along[keep], radius[keep]) if len(keep) else None


def _march(
    buds: _Buds, steps: Index, medial: npt.NDArray[np.bool_], rng: np.random.Generator, ranges: TreeRanges
) -> Array:
    """Knots of twigs that turn off their parents and follow the surface, (n, most steps + 1, 3).

    Those on the medial face of a hemisphere keep to its plane until they come out of the fissure.
    """
    n, most = len(buds.parent), int(steps.max())
    field = brain_field()
    sideways = np.array([1.0, 0.0, 0.0])
    distance, normal = field.at(buds.place)
    inside = medial & (distance < -2)
    normal = np.where(inside[:, None], sideways, normal)
    ahead = _unit(buds.along - np.einsum("ij,ij->i", buds.along, normal)[:, None] * normal)
    angle = np.deg2rad(rng.uniform(*ranges.twig_angle_deg, n)) * np.where(rng.random(n) < 0.5, -1, 1)
    heading = np.cos(angle)[:, None] * ahead + np.sin(angle)[:, None] * np.cross(normal, ahead)
    bend = rng.normal(0, 0.3, (n, most))
    dip = ranges.surface_gap_mm - rng.uniform(*ranges.sulcus_depth_mm, n)[:, None] * np.maximum(
        0, np.sin(np.cumsum(rng.uniform(0.3, 1.1, (n, most)), axis=1) + rng.uniform(0, 6.3, (n, 1)))
    )
    knots = np.empty((n, most + 1, 3))
    knots[:, 0] = p = buds.place
    for k in range(most):
        turned = heading + bend[:, k, None] * np.cross(normal, heading)
        p = p + _STRIDE_MM * _unit(turned)
        distance, normal = field.at(p)
        inside = medial & (distance < -4)
        off = np.where(inside, 0.0, distance - dip[:, k])
        p = p - np.clip(off, -4, 8)[:, None] * normal
        normal = np.where(inside[:, None], sideways, normal)
        knots[:, k + 1] = p
        step = p - knots[:, k]
        heading = _unit(step - np.einsum("ij,ij->i", step, normal)[:, None] * normal)
    return knots


def _unit(v: Array) -> Array:
    scaled: Array = v / np.maximum(np.sqrt(np.einsum("ij,ij->i", v, v)), 1e-6)[:, None]
    return scaled
