"""What an angiogram does not show, from a phantom: neck below it, twigs beyond it, vessels too thin for it.

The phantom's tree is moved to the real one's place first. What is real stays exactly where it is; what is
added to it bends to meet it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Side
from lvo.phantom.real.branches import RealTree
from lvo.phantom.real.grafts import GROUP, Forest, Growing, at_end, bent, bent_from, tapered, unit
from lvo.phantom.real.lost import BEND_MM, LEAST_POINTS, lost_trunks, short_trunks
from lvo.phantom.vessels.tree import Branch, Tree
from lvo.phantom.vessels.variants import BOTH

Array = npt.NDArray[np.float64]
_NECK = frozenset({"aorta", "subclavian", "CCA", "ECA"})
_SPLICED = frozenset({"ICA-C", "ICA-I", "VA", "V4"})
_TRUNKS = ("ICA-T", "M1", "M2s", "M2i", "A1", "A2", "BA", "P1", "P2")
_LEAVES = frozenset({"M2", "M3", "M4", "A2", "A3", "P2", "P3", "SCA", "AICA", "PICA"})
_GROWN_ON = frozenset({"M3", "M4", "A3", "P3", "SCA", "AICA", "PICA"})
_BY_PARENT = frozenset({"lenticulostriate", "PComA", "AComA"})
_CLAIM_MM, _TURN_MM, _BESIDE_MM, _REACH_MM = 45.0, 8.0, 5.0, 30.0
"""How far off a leaf its continuation may be (the nearest come first); what turning round counts;
within how many mm a phantom's branch is the same as a real one; how far off the real tree one may begin."""
_NECK_BEND_MM = 35.0
_TAPER_MM = 15.0


def completed(real: RealTree, phantom: Tree) -> Tree:
    """A whole arterial tree, from the arch to the twigs, whose trunks and side branches are the real ones.

    Parameters
    ----------
    phantom : without variants, in canonical coordinates.
    """
    around = phantom.mapped(real.guide.warp)
    state = Growing()
    words = []
    for number, b in enumerate(around.branches):
        if b.structure in _NECK:
            parent = state.index.get(b.parent, -1)
            state.index[number] = state.add(replace(b, parent=parent))
    for side in BOTH:
        _splice(state, real, around, ("ICA-C", "ICA-I"), side)
    lacking = [side for side in BOTH if real.find("V4", side) < 0]
    for side in BOTH:
        if side not in lacking:
            _splice(state, real, around, ("VA", "V4"), side)
    _real_rest(state, real)
    for side in lacking:
        _free_vertebral(state, around, side)
        words.append(f"V4 {side} from the phantom")
    _open_into_basilar(state)
    words += lost_trunks(state, around) + short_trunks(state, around)
    _phantom_rest(state, real, around)
    return Tree(tuple(state.branches), ("composed of real arteries", *words))


# ----------------------------------------------------------------------------- what feeds the real tree


def _splice(state: Growing, real: RealTree, around: Tree, names: tuple[str, str], side: Side) -> None:
    """Two successive vessels, the phantom's up to where the angiogram begins, the real ones from there on."""
    low, high = names
    drawn = [around.branches[around.find(name, side)] for name in names]
    own = [real.branches[n] if (n := real.find(name, side)) >= 0 else None for name in names]
    first = own[0] or own[1]
    assert first is not None
    line, wide = np.concatenate([d.points for d in drawn]), np.concatenate([d.radius for d in drawn])
    cut = int(np.argmin(np.linalg.norm(line - first.points[0], axis=1)))
    border = len(drawn[0].points)
    cut = max(cut, LEAST_POINTS)
    line = bent(line[: cut + 1], first.points[0], _NECK_BEND_MM)
    wide = tapered(wide[: cut + 1], float(first.radius[:6].mean()), backwards=True)
    at_parent = drawn[0].parent_point
    parent = state.index.get(drawn[0].parent, -1)
    if own[0] is not None or cut <= border + LEAST_POINTS:
        lower = [(line, wide)] + ([(own[0].points[1:], own[0].radius[1:])] if own[0] is not None else [])
        upper = [(own[1].points, own[1].radius)] if own[1] is not None else []
    else:
        lower = [(line[:border], wide[:border])]
        assert own[1] is not None
        upper = [(line[border - 1 :], wide[border - 1 :]), (own[1].points[1:], own[1].radius[1:])]
    n = state.add(_branch(low, side, lower, parent, at_parent))
    state.add(_branch(high, side, upper, n, len(state.branches[n].points) - 1))


def _branch(name: str, side: Side, parts: list[tuple[Array, Array]], parent: int, at: int) -> Branch:
    points, radius = (np.concatenate([p[k] for p in parts]) for k in (0, 1))
    return Branch(name, name, side, points, radius, parent, at)


def _free_vertebral(state: Growing, around: Tree, side: Side) -> None:
    """The phantom's vertebral artery, bent to where the real basilar artery begins."""
    basilar = state.branches[state.of("BA", side)]
    parent = state.index.get(around.branches[around.find("VA", side)].parent, -1)
    for name in ("VA", "V4"):
        b = around.branches[around.find(name, side)]
        points = b.points if name == "VA" else bent(b.points, basilar.points[0], _NECK_BEND_MM)
        if name == "V4":
            points = bent_from(points, state.branches[parent].points[-1], BEND_MM)
        at = b.parent_point if name == "VA" else len(state.branches[parent].points) - 1
        parent = state.add(replace(b, points=points, parent=parent, parent_point=at, joins=-1))


def _open_into_basilar(state: Growing) -> None:
    """Both vertebral arteries end at the first point of the basilar artery."""
    basilar = state.of("BA", Side.MIDLINE)
    for side in BOTH:
        n = state.of("V4", side)
        points = bent(state.branches[n].points, state.branches[basilar].points[0], BEND_MM)
        state.branches[n] = replace(state.branches[n], points=points, joins=basilar, join_point=0)


def _real_rest(state: Growing, real: RealTree) -> None:
    """All other real branches."""
    place: dict[int, int] = {}
    for number, b in enumerate(real.branches):
        if b.name in _SPLICED:
            place[number] = state.of(b.name, b.side)
            continue
        parent, at = place.get(b.parent, -1), b.parent_point
        if parent >= 0:  # counted from the end: what was spliced on came before
            at += len(state.branches[parent].points) - len(real.branches[b.parent].points)
        place[number] = state.add(replace(b, parent=parent, parent_point=at, joins=-1))


# ----------------------------------------------------------------------------- what the real tree feeds


def _phantom_rest(state: Growing, real: RealTree, around: Tree) -> None:
    """The phantom's other branches: beyond real leaves, then beside them, then on their own parents."""
    drawn = around.branches
    done = _NECK | _SPLICED
    dropped = {
        n for n, b in enumerate(drawn) if b.name in _TRUNKS or b.structure in done or b.name == "M2m"
    }  # fmt: skip
    claims = _claims(state, around, dropped)
    taken = {_chain(drawn[n].name) for n in claims}
    forest = Forest.of(state)
    for number, b in enumerate(drawn):
        if number in state.index or number in dropped:
            continue
        if number in claims:
            leaf, cut = claims[number]
            _attach(state, number, b, leaf, len(state.branches[leaf].points) - 1, cut)
        elif b.parent in state.index and b.parent not in dropped:
            _follow(state, number, b)
        elif b.structure in _BY_PARENT or b.structure not in GROUP:
            _on_parent(state, number, b, around)
        elif not (_chain(b.name) in taken and b.structure in ("M2", "M3", "M4")) and not _is_twig(b):
            _beside(state, number, b, forest)


def _chain(name: str) -> str:
    """A cortical branch's name without that of its part."""
    return name.removesuffix(" M2").removesuffix(" M3")


def _is_twig(b: Branch) -> bool:
    return " twig " in b.name or "." in b.name


def _claims(state: Growing, around: Tree, dropped: set[int]) -> dict[int, tuple[int, int]]:
    """Phantom branch that goes on from a real leaf: to the leaf's number and the first point that is used.

    A leaf that nothing goes on from would look like an occlusion: it tapers.
    """
    ends = {
        b.parent for b in state.branches if b.parent >= 0 and at_end(b.parent_point, state.branches[b.parent])
    }
    leaves = [n for n, b in enumerate(state.branches) if b.structure in _LEAVES and n not in ends]
    options = []
    for leaf in leaves:
        up = state.branches[leaf]
        ahead = unit(up.points[-1] - up.points[max(-12, -len(up.points))])
        for n, b in enumerate(around.branches):
            same = b.side is up.side and GROUP.get(b.structure) == GROUP[up.structure]
            if not same or n in dropped or b.structure not in _GROWN_ON or _is_twig(b):
                continue
            way = np.gradient(b.points, axis=0)
            turn = 1 - (way @ ahead) / np.maximum(np.linalg.norm(way, axis=1), 1e-9)
            cost = np.linalg.norm(b.points - up.points[-1], axis=1) + _TURN_MM * turn
            k = int(np.argmin(cost[:-LEAST_POINTS])) if len(cost) > 2 * LEAST_POINTS else 0
            if cost[k] < _CLAIM_MM and _later(b.structure, up.structure):
                options.append((float(cost[k]), leaf, n, k))
    found: dict[int, tuple[int, int]] = {}
    used: set[int] = set()
    chains: set[tuple[str, Side]] = set()
    for _, leaf, n, k in sorted(options):
        chain = _chain(around.branches[n].name), around.branches[n].side
        if leaf not in used and chain not in chains:
            found[n] = leaf, k
            used.add(leaf)
            chains.add(chain)
    for leaf in set(leaves) - used:
        b = state.branches[leaf]
        thin = np.minimum(1.0, 0.2 + (b.length - b.arc) / _TAPER_MM)
        state.branches[leaf] = replace(b, radius=b.radius * thin)
    return found


def _later(one: str, other: str) -> bool:
    """Whether blood may come from `other` to `one`: M4 after M2."""
    return one[0] != other[0] or one[1:] >= other[1:]


def _attach(state: Growing, number: int, b: Branch, parent: int, at: int, cut: int) -> None:
    """Put a phantom's branch from a point on onto a branch of the tree."""
    up = state.branches[parent]
    points = bent_from(b.points[cut:], up.points[at], BEND_MM)
    radius = b.radius[cut:] * min(
        1.0, float(up.radius[max(at - 3, 0) : at + 1].mean()) / float(b.radius[cut])
    )
    joined = replace(b, points=points, radius=radius, parent=parent, parent_point=at, joins=-1)
    state.index[number], state.skip[number] = state.add(joined), cut


def _follow(state: Growing, number: int, b: Branch) -> None:
    """A branch of a phantom's branch goes where that went; one of a part left out is left out."""
    at = b.parent_point - state.skip.get(b.parent, 0)
    if at < 1 or state.index[b.parent] < 0:
        return
    _attach(state, number, b, state.index[b.parent], at, 0)


def _on_parent(state: Growing, number: int, b: Branch, around: Tree) -> None:
    """A thin vessel of a trunk, at the nearest place of the same trunk; one between two trunks joins both."""
    parent = state.of(around.branches[b.parent].name, b.side if b.side is not Side.MIDLINE else Side.LEFT)
    if parent < 0:
        return
    up = state.branches[parent]
    low = int(0.3 * len(up.points)) if up.structure == "ICA-I" else 0  # above the canal
    at = low + int(np.argmin(np.linalg.norm(up.points[low:] - b.points[0], axis=1)))
    if b.joins >= 0:
        _join(state, number, b, (parent, at), around)
    else:
        _attach(state, number, b, parent, at, 0)


def _join(state: Growing, number: int, b: Branch, start: tuple[int, int], around: Tree) -> None:
    side = Side.RIGHT if b.structure == "AComA" else b.side
    into = state.of(around.branches[b.joins].name, side)
    if into < 0:
        return
    parent, at = start
    if b.structure == "AComA":
        at = len(state.branches[parent].points) - 1
    last = len(state.branches[into].points) - 1
    one, other = state.branches[parent].points[at], state.branches[into].points[last]
    share = np.linspace(0, 1, len(b.points))[:, None]
    points = b.points + (1 - share) * (one - b.points[0]) + share * (other - b.points[-1])
    joined = replace(b, points=points, parent=parent, parent_point=at, joins=into, join_point=last)
    state.index[number] = state.add(joined)


def _beside(state: Growing, number: int, b: Branch, forest: Forest) -> None:
    """A phantom's branch of its own, from where it leaves the real ones on."""
    found = forest.trees.get((GROUP[b.structure], b.side))
    if found is None:
        return
    gap, near = found[0].query(b.points)
    same = np.flatnonzero(gap < _BESIDE_MM)
    cut = int(same[-1]) if len(same) else int(np.argmin(gap))
    if gap[cut] > _REACH_MM or len(b.points) - cut < LEAST_POINTS:
        return
    parent, at = int(found[1][near[cut]]), int(found[2][near[cut]])
    if at_end(at, state.branches[parent]):
        at = len(state.branches[parent].points) - 1
    _attach(state, number, b, parent, max(at, 1), cut)
