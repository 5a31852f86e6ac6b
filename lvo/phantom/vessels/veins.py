"""A patient's veins and dural sinuses, with their variants and individual surface veins."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Side
from lvo.phantom.vessels.inner_table import depth_and_outward, settle
from lvo.phantom.vessels.routes import MNI_SCALE, to_head_frame
from lvo.phantom.vessels.tree import Tree
from lvo.phantom.vessels.vein_growth import NOWHERE, Growth, Sprout, VeinRanges
from lvo.phantom.vessels.vein_routes import IJV, SIGMOID, SSS, TS, VEIN_ROUTES, VeinRoute
from lvo.phantom.vessels.vein_surface import grow_surface_veins

__all__ = ["CORNER", "VeinRanges", "sample_granulations", "sample_veins"]

Array = npt.NDArray[np.float64]
CORNER = "corner"
"""Word in the names of the tubes that make a sinus triangular: they are no veins of their own."""
_MIDLINE_STRAY = 0.3
"""How far a midline vein strays sideways, relative to forwards and upwards."""


def sample_veins(rng: np.random.Generator, ranges: VeinRanges | None = None) -> Tree:
    """One patient's veins and sinuses, canonical head frame; parents come before their children.

    Sinuses lie on the inner table of the average skull, surface veins a little under it: this needs the head
    atlas. A surface vein runs from the sinus outward, other veins as `lvo.phantom.vessels.vein_routes` says.

    Raises
    ------
    AtlasMissing
        When the head atlas is not installed.
    """
    ranges = ranges or VeinRanges()
    growth = Growth(rng, ranges, MNI_SCALE * max(0.4, float(rng.normal(*ranges.calibre_mean_sd))))
    sizes = _transverse_sizes(growth)
    waiting = [
        (route, side)
        for route in VEIN_ROUTES
        for side in route.sides
        if sizes.get((route.name, side), 1.0) > 0
        and (not route.presence or rng.random() < getattr(ranges, route.presence))
    ]
    while waiting:
        unborn = {(route.name, side) for route, side in waiting}
        later = [(r, side) for r, side in waiting if _hangs_on(r, side) & unborn]
        ready = [pair for pair in waiting if pair not in later]
        growth.grow(
            [s for r, side in ready for s in _sprouts(growth, r, side, sizes.get((r.name, side), 1.0))]
        )
        waiting = later
    grow_surface_veins(growth)
    for route in VEIN_ROUTES:
        for side in route.sides if route.triangular else ():
            _add_corners(growth, route.name, side)
    return Tree(tuple(growth.branches), tuple(growth.variants))


def sample_granulations(
    rng: np.random.Generator, veins: Tree, ranges: VeinRanges | None = None
) -> tuple[Array, Array]:
    """Arachnoid granulations, round filling defects in the sinuses: centres (n, 3) and radii (n,), mm."""
    ranges = ranges or VeinRanges()
    sinuses = [b for b in veins.branches if b.name in (SSS, TS)]
    centres, radii = [np.empty((0, 3))], []
    for _ in range(int(rng.integers(ranges.granulations[0], ranges.granulations[1] + 1))):
        b = sinuses[int(rng.integers(len(sinuses)))]
        at = int(rng.integers(len(b.points)))
        radius = min(0.5 * MNI_SCALE * float(rng.uniform(*ranges.granulation_mm)), 0.8 * float(b.radius[at]))
        aside = rng.normal(size=3)
        centres.append((b.points[at] + aside / np.linalg.norm(aside) * (b.radius[at] - radius))[None])
        radii.append(radius)
    return np.concatenate(centres), np.array(radii, dtype=np.float64)


def _transverse_sizes(growth: Growth) -> dict[tuple[str, Side], float]:
    """Relative calibre of transverse sinus, sigmoid sinus and jugular vein on both sides."""
    rng, ranges = growth.rng, growth.ranges
    strong = Side.RIGHT if rng.random() < ranges.right_dominant else Side.LEFT
    weak = strong.mirrored
    absent = ranges.transverse_absent
    thin = absent + ranges.transverse_hypoplastic
    draw, size = rng.random(), float(rng.uniform(*ranges.equal_size))
    if draw < absent:
        size = 0.0
        growth.variants.append(f"absent transverse sinus {weak}")
    elif draw < thin:
        size = float(rng.uniform(*ranges.hypoplastic_size))
        growth.variants.append(f"hypoplastic transverse sinus {weak}")
    elif draw < thin + ranges.transverse_unequal:
        size = float(rng.uniform(*ranges.unequal_size))
    sizes = {(name, strong): float(rng.uniform(*ranges.dominant_size)) for name in (TS, SIGMOID, IJV)}
    for name, least in ((TS, 0.0), (SIGMOID, ranges.least_sigmoid), (IJV, ranges.least_jugular)):
        sizes[name, weak] = least + (1 - least) * size
    return sizes


def _hangs_on(route: VeinRoute, side: Side) -> set[tuple[str, Side]]:
    """What must have grown before a route can."""
    names = [one.partition("@")[0] for where in (route.start, route.end) for one in where.split("|") if one]
    return {(name, s) for name in names for s in (side, Side.MIDLINE)}


def _sprouts(growth: Growth, route: VeinRoute, side: Side, size: float) -> list[Sprout]:
    """The vein of a route, if this patient has what it needs."""
    rng, ranges = growth.rng, growth.ranges
    start, end = growth.place(route.start, side), growth.place(route.end, side)
    if (route.end and end == NOWHERE) or (route.hangs and start == NOWHERE):
        return []
    way = to_head_frame(route.waypoints, side)
    stray = rng.normal(0, ranges.wander_mm * route.wander, way.shape)
    if side is Side.MIDLINE:
        stray[:, 0] *= _MIDLINE_STRAY
    if route.name == SSS:  # towards the torcular it leaves the midline
        stray[:, 0] += rng.normal(0, ranges.sagittal_shift_mm) * np.linspace(0, 1, len(way)) ** 3
    width = size * growth.calibre * float(rng.lognormal(0, ranges.calibre_each_sd))
    width *= ranges.sinus_core if route.triangular else 1.0
    diameters = width * np.array(route.diameters)
    depth = None
    if route.clings == "brain":
        depth = np.full(2, rng.uniform(*ranges.surface_depth_mm))
    elif route.clings == "bone":  # a sinus that is not triangular lies partly in its groove
        depth = 0.5 * diameters * (1.0 if route.triangular else ranges.groove)
    return [
        Sprout(route.name, route.structure, side, way + stray, diameters, start, end, depth, route.wander)
    ]


def _add_corners(growth: Growth, name: str, side: Side) -> None:
    """Two thinner tubes on the bone beside a sinus: its section becomes a triangle, its base on the bone."""
    number = growth.index.get((name, side), -1)
    if number < 0:
        return
    b, ranges = growth.branches[number], growth.ranges
    _, outward = depth_and_outward(b.points)
    across = np.cross(np.gradient(b.points, axis=0), outward)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)
    radius = ranges.corner_size * b.radius
    for sign in (-1, 1):
        points = settle(b.points + sign * across * (ranges.corner_offset * b.radius)[:, None], radius)
        padded = np.pad(points, ((6, 6), (0, 0)), mode="edge")  # neighbours settle apart by the atlas' grain
        points = np.stack([np.convolve(padded[:, k], np.ones(13) / 13, "valid") for k in range(3)], axis=1)
        label = f"{name}, {CORNER} {'a' if sign < 0 else 'b'}"
        growth.add(Sprout(label, b.structure, b.side, points, 2 * radius, (number, 0), (number, 0)), points)
