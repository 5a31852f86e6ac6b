"""One patient's arterial tree: variants drawn, routes laid accordingly, vessels grown, twigs added."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Side
from lvo.phantom.vessels.basilar import carried, vertebrobasilar
from lvo.phantom.vessels.growth import grow_planned
from lvo.phantom.vessels.middle_cerebral import middle_cerebral
from lvo.phantom.vessels.routes import Route, Waypoint
from lvo.phantom.vessels.routes_anterior import ACA, ACOMA, AZYGOS, EARLY, PERFORATORS
from lvo.phantom.vessels.routes_neck import (
    AORTA,
    CAROTID,
    CCA_FIRST,
    CCA_START,
    LEFT_ARCH,
    RIGHT_ARCH,
    TRIGEMINAL,
    VA_START,
    VERTEBRAL,
)
from lvo.phantom.vessels.routes_posterior import CEREBELLAR, LOST_P1, PCA, PCOMA
from lvo.phantom.vessels.surface import onto_brain
from lvo.phantom.vessels.tree import Tree
from lvo.phantom.vessels.twigs import grow_twigs
from lvo.phantom.vessels.variants import BOTH, TreeRanges, Variants, draw_variants
from lvo.phantom.vessels.wander import Planned, Style

Array = npt.NDArray[np.float64]
_NECK = frozenset({"CCA", "ICA-C", "ECA", "VA", "subclavian", "V4"})


def sample_arteries(
    rng: np.random.Generator, ranges: TreeRanges | None = None, age: float = 65.0, twigs: bool = True
) -> Tree:
    """Draw one arterial tree in the canonical head frame, from the aortic arch to the brain's surface.

    Parameters
    ----------
    age : years; vessels become wider and more tortuous with it.
    twigs : whether to add the small arteries on the brain's surface, for which the head atlas is needed.

    Raises
    ------
    lvo.phantom.head.atlas.AtlasMissing
        If twigs are wanted and the atlas is not installed.
    """
    wanted = ranges or TreeRanges()
    found = draw_variants(rng, wanted)
    planned = _sized(_plan(found, rng, wanted, age), rng, wanted, age, found)
    style = Style(wanted.wander_mm, swing=_swing(rng, wanted, age), ripple=wanted.ripple)
    if not twigs:
        return Tree(grow_planned(planned, rng, style), tuple(found.names))
    branches = grow_planned(planned, rng, style, lambda p: onto_brain(p, wanted.surface_gap_mm))
    return Tree((*branches, *grow_twigs(branches, rng, wanted)), tuple(found.names))


@dataclass(frozen=True, slots=True)
class _Wish:
    """A route on a side, and its calibre relative to the route's."""

    route: Route
    side: Side
    size: float = 1.0


def _swing(rng: np.random.Generator, ranges: TreeRanges, age: float) -> float:
    """Tortuosity of a patient."""
    aged = max(0.3, 1 + ranges.swing_per_year * (age - 65))
    return float(ranges.swing * aged * np.exp(ranges.swing_sd * rng.normal()))


def _plan(v: Variants, rng: np.random.Generator, ranges: TreeRanges, age: float) -> list[_Wish]:
    """All routes of a patient that may grow, parents before their children."""
    wishes = [_Wish(r, Side.MIDLINE) for r in AORTA]
    wishes += [_Wish(r, Side.RIGHT) for r in RIGHT_ARCH]
    wishes += [_Wish(r, Side.LEFT) for r in LEFT_ARCH]
    basilar, holes, higher = vertebrobasilar(v, rng, ranges, age)
    terminus = rng.normal(0, ranges.terminus_mm, (2, 3))
    for side, moved in zip(BOTH, terminus, strict=True):
        wishes += [_Wish(r, side) for r in _carotid(side, moved, v, rng, ranges, age)]
        wishes += [_Wish(r, side) for r in _vertebral(side, v, holes[side])]
        wishes += [_Wish(r, side, size) for r, size in middle_cerebral(side, v, rng, ranges)]
        wishes += [_Wish(r, side) for r in (*EARLY, *PERFORATORS)]
    wishes += [_Wish(r, side, size) for r, side, size in basilar]
    for side in BOTH:
        wishes += [_Wish(_cerebellar(r, v.pica_ending is side), side) for r in CEREBELLAR]
    wishes += _circle(v)
    wishes += [_Wish(r, s) for r, s in _limbs(v, rng)]
    higher *= ranges.circle_follows_top
    return [replace(w, route=carried(w.route, higher)) for w in wishes if v.has(w.route.name, w.side)]


def _carotid(
    side: Side, moved: Array, v: Variants, rng: np.random.Generator, ranges: TreeRanges, age: float
) -> list[Route]:
    """The carotid arteries of one side."""
    routes = []
    for route in CAROTID:
        way = route.waypoints
        if route.name == "CCA":
            origin = "bovine" if v.bovine and side is Side.LEFT else side.value
            route, way = replace(route, start=CCA_START[origin]), (*CCA_FIRST[origin], *way)
        elif route.name == "ICA-C":
            way = _neck_course(way, side, v, rng, ranges, age)
            wide = float(np.exp(ranges.bulb_sd * rng.normal()))
            bulb = tuple(max(d * wide, route.diameters[-1]) for d in route.diameters[:3])
            route = replace(route, diameters=(*bulb, *route.diameters[3:]))
        elif route.name == "ICA-I":
            way = _siphon(way, moved, rng, ranges)
        elif route.name == "ICA-T":
            way = tuple((x + moved[0], y + moved[1], z + moved[2]) for x, y, z in way)
        routes.append(replace(route, waypoints=way))
    return routes


def _vertebral(side: Side, v: Variants, hole: Waypoint) -> list[Route]:
    """The vertebral artery up to where it pierces the dura."""
    start = VA_START["arch" if v.arch_vertebral and side is Side.LEFT else side.value]
    return [replace(r, start=start, waypoints=(*r.waypoints, hole)) for r in VERTEBRAL]


def _neck_course(
    way: tuple[Waypoint, ...],
    side: Side,
    v: Variants,
    rng: np.random.Generator,
    ranges: TreeRanges,
    age: float,
) -> tuple[Waypoint, ...]:
    """The cervical internal carotid, kinked or displaced behind the pharynx in some."""
    chance = rng.random(2).tolist()
    amount, turn = float(rng.uniform(*ranges.kink_mm)), float(rng.uniform(0, 2 * np.pi))
    if chance[0] < max(0.0, ranges.kink + ranges.kink_per_year * (age - 65)):
        v.names.append(f"kinked cervical ICA {side}")
        x, y, z = way[2]
        a, b = amount * np.cos(turn), amount * np.sin(turn)
        bend = ((x + a, y + b, z + 1), (x + 0.4 * a, y + 0.4 * b, z + 5), (x - 0.5 * a, y - 0.5 * b, z + 4))
        return (*way[:2], *bend, *way[3:])
    if chance[1] < ranges.medial_carotid:
        v.names.append(f"medial cervical ICA {side}")
        shift = (0.0, 0.6 * amount, amount, 0.6 * amount, 0.0)
        return tuple((x - s, y, z) for (x, y, z), s in zip(way, shift, strict=True))
    return way


def _siphon(
    way: tuple[Waypoint, ...], moved: Array, rng: np.random.Generator, ranges: TreeRanges
) -> tuple[Waypoint, ...]:
    """The carotid siphon, drawn out or flattened, ending where this patient's terminus is."""
    length = float(np.clip(rng.normal(*ranges.siphon_length), *ranges.siphon_limits))
    height = float(np.clip(rng.normal(*ranges.siphon_height), *ranges.siphon_limits))
    centre_y, centre_z = 5.0, -33.0
    bent = []
    for n, (x, y, z) in enumerate(way):
        share = min(max((n - 3) / 2, 0.0), 1.0)
        near_end = max(0.0, (n - 8) / (len(way) - 9))
        bent.append(
            (
                x + near_end * moved[0],
                y + share * (1 - near_end) * (length - 1) * (y - centre_y) + near_end * moved[1],
                z + share * (1 - near_end) * (height - 1) * (z - centre_z) + near_end * moved[2],
            )
        )
    return tuple(bent)


def _cerebellar(route: Route, ends_here: bool) -> Route:
    """A cerebellar artery; the PICA in which the vertebral artery ends goes on from it."""
    return replace(route, start="V4@1") if ends_here and route.name == "PICA" else route


def _circle(v: Variants) -> list[_Wish]:
    """Anterior and posterior cerebral and communicating arteries."""
    wishes = []
    lost = [side for side in BOTH if not v.has("A1", side)]
    aca = {r.name: r for r in ACA}
    wishes += [_Wish(aca["A1"], side) for side in BOTH]
    if lost:
        here = lost[0].mirrored
        x, y, z = aca["A1"].waypoints[-1]
        end = ((x if lost[0] is Side.LEFT else -x, y, z),)
        wishes.append(_Wish(replace(ACOMA, start=f"{here} A1@1", end="", waypoints=end), Side.MIDLINE))
    else:
        wishes.append(_Wish(ACOMA, Side.MIDLINE))
    if v.azygos:
        wishes.append(_Wish(AZYGOS, Side.MIDLINE))
    for route in ACA:
        if route.name != "A1" and not (v.azygos and route.name == "A2"):
            wishes += [_Wish(route, side) for side in BOTH]
    for side in BOTH:
        gone = not v.has("P1", side)
        comm = replace(PCOMA, end="", waypoints=(*PCOMA.waypoints, LOST_P1)) if gone else PCOMA
        wishes += [_Wish(PCA[0], side), _Wish(comm, side)]
        wishes += [_Wish(route, side) for route in PCA[1:]]
    return wishes


def _limbs(v: Variants, rng: np.random.Generator) -> list[tuple[Route, Side]]:
    """Second limbs of fenestrated arteries, and a persistent trigeminal artery."""
    ways: dict[str, tuple[str, str, tuple[float, ...], tuple[Waypoint, ...]]] = {
        "BA": ("BA@0.04", "BA@0.32", (2.4, 2.4), ((4.5 * _sign(rng), -20.0, -44.5),)),
        "M1": ("M1@0.05", "M1@0.7", (1.8, 1.8), ((19, 8.5, -18),)),
        "A1": ("A1@0.25", "A1@0.95", (1.4, 1.4), ((7.5, 11.5, -17.5),)),
    }
    limbs = []
    for name, side in v.fenestrated.items():
        start, end, calibre, way = ways[name]
        limb = Route(f"{name} second limb", name, start, way, calibre, end=end, wander=0.3)
        limbs.append((limb, side))
    if v.trigeminal is not None:
        limbs.append((TRIGEMINAL, v.trigeminal))
    return limbs


def _sign(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0


def _sized(
    wishes: list[_Wish], rng: np.random.Generator, ranges: TreeRanges, age: float, v: Variants
) -> list[Planned]:
    """Calibres: one factor for the patient, one for each vessel that its two sides partly share."""
    groups = {name: n for n, name in enumerate(dict.fromkeys(w.route.group or w.route.name for w in wishes))}
    rho = ranges.calibre_side_correlation
    shared, own = rng.normal(0, 1, len(groups)), rng.normal(0, 1, (len(groups), 3))
    z = np.sqrt(rho) * shared[:, None] + np.sqrt(1 - rho) * own
    overall = float(rng.normal(0, ranges.calibre_sd)) + ranges.calibre_per_year * (age - 65)
    column = {Side.LEFT: 0, Side.RIGHT: 1, Side.MIDLINE: 2}
    planned = []
    for w in wishes:
        rest = max(0.0, w.route.spread**2 - ranges.calibre_sd**2) ** 0.5
        draw = float(z[groups[w.route.group or w.route.name], column[w.side]])
        size = w.size * v.size.get((w.route.name, w.side), 1.0) * float(np.exp(overall + rest * draw))
        planned.append(Planned(w.route, w.side, size))
    return planned
