"""A patient's arteries and veins: centrelines with radii, sampled from the routes with their variants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from lvo.anatomy import Segment, Side
from lvo.phantom.routes import ARTERIES, MNI_SCALE, VEINS, Route

Array = npt.NDArray[np.float64]
STEP_MM = 0.5
"""Distance between the points of a centreline."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One unbranched vessel of one patient.

    Attributes
    ----------
    points : (n, 3) head frame, mm (LPS axes), in the direction of flow from its parent.
    radius : (n,) head-frame mm.
    parent : index of the branch it leaves, or -1.
    parent_point : index into the parent's points where it leaves.
    joins : index of the branch its far end opens into, or -1.
    """

    name: str
    side: Side
    segment: Segment | None
    points: Array
    radius: Array
    parent: int = -1
    parent_point: int = 0
    joins: int = -1

    @property
    def length(self) -> float:
        """Length of the centreline, head-frame mm."""
        return float(np.linalg.norm(np.diff(self.points, axis=0), axis=1).sum())


@dataclass(frozen=True, slots=True)
class Tree:
    """All vessels of one kind in one patient; parents come before their children."""

    branches: tuple[Branch, ...]
    variants: tuple[str, ...] = ()

    def find(self, name: str, side: Side) -> int:
        """Index of a branch by name and side (or midline), or -1 where this patient lacks it."""
        for i, b in enumerate(self.branches):
            if b.name == name and b.side in (side, Side.MIDLINE):
                return i
        return -1

    def mapped(self, move: Callable[[Array], Array]) -> Tree:
        """The same tree with every point moved."""
        flat = np.concatenate([b.points for b in self.branches])
        parts = np.split(move(flat), np.cumsum([len(b.points) for b in self.branches])[:-1])
        return replace(
            self, branches=tuple(replace(b, points=p) for b, p in zip(self.branches, parts, strict=True))
        )


def sample_arteries(rng: np.random.Generator) -> Tree:
    """One arterial tree with anatomical variants, left and right independent.

    Variant frequencies: fetal PCA 17 % on one side and 3 % on both, PComA under 1 mm in 44 %,
    hypoplastic A1 10 %, hypoplastic VA 15 %, basilar hypoplasia 5.6 %, early M1 bifurcation 16 %.
    """
    variants = _draw_variants(rng)
    return _grow(ARTERIES, rng, variants)


def sample_veins(rng: np.random.Generator) -> Tree:
    """The dural sinuses and the larger veins; the transverse sinuses are often unequal."""
    sizes: dict[tuple[str, Side], float] = {}
    weak = Side.LEFT if rng.random() < 0.6 else Side.RIGHT
    sizes["transverse and sigmoid sinus", weak] = rng.uniform(0.35, 1.0)
    for route in VEINS:
        for side in (Side.LEFT, Side.RIGHT):
            if "cortical" in route.name or "Sylvian" in route.name or "Labbé" in route.name:
                sizes[route.name, side] = 0.0 if rng.random() < 0.25 else float(rng.lognormal(0, 0.3))
    return _grow(VEINS, rng, _Variants(sizes=sizes, early=frozenset(), names=()))


@dataclass(frozen=True, slots=True)
class _Variants:
    sizes: dict[tuple[str, Side], float]
    early: frozenset[Side]
    names: tuple[str, ...]


def _draw_variants(rng: np.random.Generator) -> _Variants:
    both = (Side.LEFT, Side.RIGHT)
    sizes: dict[tuple[str, Side], float] = {}
    names: list[str] = []
    early: set[Side] = set()
    fetal: set[Side] = set()
    draw = rng.random()
    if draw < 0.03:
        fetal = set(both)
    elif draw < 0.20:
        fetal = {both[rng.integers(2)]}
    for side in both:
        pcoma = rng.lognormal(np.log(0.85), 0.45)
        sizes["PComA", side] = 0.0 if pcoma * 1.25 < 0.6 else pcoma
        if side in fetal:
            sizes["PComA", side] = rng.uniform(1.5, 1.9)
            sizes["P1", side] = rng.uniform(0.2, 0.55)
            names.append(f"fetal PCA {side}")
        if rng.random() < 0.085:
            early.add(side)
            names.append(f"early M1 bifurcation {side}")
        for name, rate in (
            ("M2a", 0.25),
            ("M3p", 0.25),
            ("M3t", 0.2),
            ("temporal", 0.2),
            ("PICA", 0.12),
            ("AICA", 0.1),
        ):
            if rng.random() < rate:
                sizes[name, side] = 0.0
    weak = both[rng.integers(2)]
    for name, rate, low, high in (("A1", 0.10, 0.25, 0.55), ("V4", 0.15, 0.3, 0.6)):
        if rng.random() < rate:
            sizes[name, weak] = rng.uniform(low, high)
            names.append(f"hypoplastic {name} {weak}")
        weak = both[rng.integers(2)]
    if rng.random() < 0.056:
        sizes["BA", Side.MIDLINE] = rng.uniform(0.45, 0.65)
        names.append("hypoplastic basilar")
    if rng.random() < 0.06:
        sizes["AComA", Side.LEFT] = 0.0
    return _Variants(sizes, frozenset(early), tuple(names))


def _grow(routes: tuple[Route, ...], rng: np.random.Generator, variants: _Variants) -> Tree:
    branches: list[Branch] = []
    index: dict[tuple[str, Side], int] = {}
    calibre = float(rng.normal(1.0, 0.10)) * MNI_SCALE
    for route in routes:
        for side in (Side.LEFT, Side.RIGHT) if route.paired else (Side.MIDLINE,):
            if route.name == "AComA" and side is Side.RIGHT:
                continue
            size = variants.sizes.get((route.name, side), 1.0) * calibre * float(rng.lognormal(0, 0.08))
            start, parent, parent_point = _anchor(route.start, side, branches, index)
            end_side = Side.RIGHT if route.name == "AComA" else side
            end, joins, _ = _anchor(route.end, end_side, branches, index)
            absent = variants.sizes.get((route.name, side), 1.0) == 0.0
            if absent or (route.start and start is None) or (route.end and end is None):
                continue
            points = _centreline(_varied(route, side in variants.early), side, start, end, rng)
            t = np.linspace(0, 1, len(points))
            d0, d1 = route.diameters
            ripple = 1 + 0.04 * np.sin(2 * np.pi * (t * rng.uniform(1, 4) + rng.random()))
            index[route.name, side] = len(branches)
            branches.append(
                Branch(
                    route.name,
                    side,
                    route.segment,
                    points,
                    0.5 * size * (d0 + (d1 - d0) * t) * ripple,
                    parent,
                    parent_point,
                    joins,
                )
            )
    return Tree(tuple(branches), variants.names)


def _anchor(
    where: str, side: Side, branches: list[Branch], index: dict[tuple[str, Side], int]
) -> tuple[Array | None, int, int]:
    """Point, branch and point index of ``"name@fraction"``; (None, -1, 0) if absent or not asked for."""
    if not where:
        return None, -1, 0
    name, fraction = where.split("@")
    i = index.get((name, side), index.get((name, Side.MIDLINE), -1))
    if i < 0:
        return None, -1, 0
    k = round(float(fraction) * (len(branches[i].points) - 1))
    return branches[i].points[k], i, k


def _varied(route: Route, early: bool) -> Route:
    """Early M1 bifurcation: a short trunk, and two M2 running side by side to where M1 would have ended."""
    if not early or route.name not in ("M1", "M2s", "M2i"):
        return route
    if route.name == "M1":
        return replace(route, waypoints=route.waypoints[:2])
    offset = 2.2 if route.name == "M2s" else -2.2
    shifted = (29, 7 + offset, -18.5 + 0.4 * offset), (34.5, 6.5 + offset, -18.5 + 0.4 * offset)
    return replace(route, waypoints=(*shifted, *route.waypoints))


def to_head_frame(waypoints: npt.ArrayLike, side: Side) -> Array:
    """(lateral, y, z) in MNI mm to head-frame LPS mm, for one side."""
    lateral, y, z = np.asarray(waypoints, dtype=np.float64).reshape(-1, 3).T
    x = lateral if side is not Side.RIGHT else -lateral
    return np.stack([x, -(y - 2.0), z + 33.0], axis=1)


def _centreline(
    route: Route, side: Side, start: Array | None, end: Array | None, rng: np.random.Generator
) -> Array:
    """A smooth wandering curve through the varied waypoints, a point every STEP_MM."""
    way = to_head_frame(route.waypoints, side) if route.waypoints else np.empty((0, 3))
    way = way + rng.normal(0, 1.1 * route.wander, way.shape) * (0.6 if not route.paired else 1.0)
    knots = np.concatenate(
        [*([start[None]] if start is not None else []), way, *([end[None]] if end is not None else [])]
    )
    chord = np.concatenate(
        [[0.0], np.cumsum(np.maximum(np.linalg.norm(np.diff(knots, axis=0), axis=1), 0.2))]
    )
    fine = CubicSpline(chord, knots)(np.linspace(0, chord[-1], max(8, int(chord[-1] / 0.25))))
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(fine, axis=0), axis=1))])
    n = max(4, int(arc[-1] / STEP_MM) + 1)
    s = np.linspace(0, arc[-1], n)
    points = np.stack([np.interp(s, arc, fine[:, k]) for k in range(3)], axis=1)
    for _ in range(3):  # tortuosity: a few waves, none at the ends so that junctions stay closed
        wave = rng.uniform(9, 30)
        swing = rng.normal(0, 0.22 * route.wander, 3) * wave / 12
        points = (
            points
            + np.sin(np.pi * s / s[-1])[:, None]
            * np.sin(2 * np.pi * (s / wave + rng.random()))[:, None]
            * swing
        )
    return points
