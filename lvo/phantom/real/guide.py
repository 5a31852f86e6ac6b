"""The average phantom tree as a map of the arteries: fitted to a real lumen, first stiffly, then softly."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from lvo.anatomy import Side
from lvo.phantom.real.sources import AnatomyUnusable
from lvo.phantom.vessels.arteries import sample_arteries
from lvo.phantom.vessels.routes import MNI_SCALE
from lvo.phantom.vessels.tree import Branch, Tree
from lvo.phantom.vessels.variants import TreeRanges

Array = npt.NDArray[np.float64]
_CORE = frozenset({"ICA-I", "ICA-T", "M1", "A1", "BA", "P1", "V4"})
_SHOWN = _CORE | {"ICA-C", "M2", "M3", "A2", "P2", "P3", "SCA", "VA"}
_LOWEST_MM = -95.0
"""Head-frame z below which the guide does not take part in the fit."""
_SCALES = (0.8, 1.35)
_TURN_DEG = 40.0
_FAR_MM, _MARGIN_MM = 8.0, 1.0
_FIELD_MM = 7.0
_WORST_MM = 4.5
"""Mean distance of the middle of the lumen from the guide beyond which the angiogram is refused."""
PLAIN: dict[str, object] = {
    "fetal_one_side": 0.0, "fetal_both_sides": 0.0, "pcoma_absent": 0.0, "p1_hypoplasia": 0.0,
    "acoma_absent": 0.0, "a1_hypoplasia": 0.0, "basilar_hypoplasia": 0.0, "vertebral_hypoplasia": 0.0,
    "azygos": 0.0, "fenestration_basilar": 0.0, "fenestration_m1": 0.0, "fenestration_a1": 0.0,
    "trigeminal": 0.0, "trifurcation": 0.0, "bovine_arch": 0.0, "left_vertebral_from_arch": 0.0,
    "kink": 0.0, "kink_per_year": 0.0, "medial_carotid": 0.0,
}  # fmt: skip
"""Settings of a tree without variants."""


@functools.lru_cache(maxsize=1)
def average_tree() -> Tree:
    """Arteries of the average phantom, without variants, waves or twigs; head-frame mm."""
    still: dict[str, object] = {
        "wander_mm": 0.0, "swing": 0.0, "ripple": 0.0, "calibre_sd": 0.0, "missing": {},
        "m1_length_mm": (22.5, 0.0), "m1_sag_mm": (0.9, 0.0), "siphon_length": (1.04, 0.0),
        "siphon_height": (1.0, 0.0), "terminus_mm": 0.0, "basilar_length_mm": (27.3, 0.0),
        "basilar_top_sd_mm": 0.0, "basilar_bow_mm": (0.0, 0.0), "v4_length_mm": (43.0, 0.0),
        "v4_dura_sd_mm": 0.0, "bulb_sd": 0.0, "pcoma_mm": (1.1, 0.0), "acoma_mm": (1.45, 0.0),
    }  # fmt: skip
    ranges = TreeRanges.model_validate(PLAIN | still)
    return sample_arteries(np.random.default_rng(0), ranges, 65.0, twigs=False)


@dataclass(frozen=True, slots=True, eq=False)
class Guide:
    """The average tree where the real one lies.

    Attributes
    ----------
    matrix : (4, 4) LPS mm of the angiogram to head-frame mm; never a mirror.
    tree : the average tree, moved to the real one, head-frame mm.
    field : (3, z, y, x) how far points were moved, mm, on a lattice of `_FIELD_MM` from `low` (x, y, z).
    misfit_mm : mean distance of the middle of the lumen from the guide, each at most 8 mm.
    """

    matrix: Array
    tree: Tree
    field: Array
    low: Array
    misfit_mm: float

    def at(self, name: str, side: Side) -> Branch:
        """A branch of the guide."""
        return self.tree.branches[self.tree.find(name, side)]

    def line(self, names: Iterable[str], side: Side) -> Array:
        """Points of several branches, one after the other, (n, 3)."""
        return np.concatenate([self.at(name, side).points for name in names])

    def warp(self, points: Array) -> Array:
        """Move points (n, 3) of any phantom as the average tree was moved near them."""
        return points + _moved(points, self.field, self.low)


def find_guide(lps: Array) -> Guide:
    """Bring the average tree and the middles of a lumen's vessels together.

    Parameters
    ----------
    lps : (n, 3) middles, LPS mm.

    Raises
    ------
    AnatomyUnusable
        They do not look like the arteries of a head.
    """
    average = average_tree()
    shown = _points(average, _SHOWN)
    shown = shown[shown[:, 2] > _LOWEST_MM]
    core = _points(average, _CORE)
    few = lps[np.random.default_rng(1).permutation(len(lps))[:1500]]
    starts = list(product((-25.0, -8.0, 8.0, 25.0), (-18.0, 0.0, 18.0)))
    fits = [_closest(few, shown, core, _start(few, core, pitch, lift), 12) for pitch, lift in starts]
    fits.sort(key=lambda fit: fit[1])
    matrix, _ = min((_closest(few, shown, core, m, 30) for m, _ in fits[:3]), key=lambda fit: fit[1])
    scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
    turn = np.degrees(Rotation.from_matrix(matrix[:3, :3] / scale).magnitude())
    moved = lps @ matrix[:3, :3].T + matrix[:3, 3]
    shown = shown[_covered(shown, moved)]
    moves = _soft(shown, moved)
    gap = np.minimum(cKDTree(shown + moves).query(moved)[0], _FAR_MM)
    if not _SCALES[0] < scale < _SCALES[1] or turn > _TURN_DEG or gap.mean() > _WORST_MM:
        raise AnatomyUnusable(
            f"the angiogram does not fit the arteries of a head: {gap.mean():.1f} mm off, scale {scale:.2f}, "
            f"turned by {turn:.0f} degrees"
        )
    field, low = _lattice(shown, moves)
    moved_tree = average.mapped(lambda points: points + _moved(points, field, low))
    return Guide(matrix, moved_tree, field, low, float(gap.mean()))


def _lattice(places: Array, values: Array) -> tuple[Array, Array]:
    """Values (n, 3) at places (n, 3), smoothed onto a lattice round them, and the lattice's first point."""
    low, high = places.min(0) - 5 * _FIELD_MM, places.max(0) + 5 * _FIELD_MM
    x, y, z = (np.arange(a, b, _FIELD_MM) for a, b in zip(low, high, strict=True))
    at = np.stack(np.meshgrid(z, y, x, indexing="ij"), axis=-1)[..., ::-1].reshape(-1, 3)
    field = _smooth(at, places, values, 10.0).T.reshape(3, len(z), len(y), len(x))
    for axis, line in enumerate((z, y, x), start=1):  # nothing moves at the lattice's rim
        inwards = np.minimum(np.arange(len(line)), np.arange(len(line))[::-1])
        field *= np.clip(inwards / 5, 0, 1).reshape([-1 if a == axis else 1 for a in range(4)])
    return field, low


def _moved(points: Array, field: Array, low: Array) -> Array:
    """How far points (n, 3) are moved, (n, 3); not at all beyond the lattice."""
    at = ((points - low) / _FIELD_MM).T[::-1]
    return np.stack([ndimage.map_coordinates(f, at, order=1, mode="constant") for f in field], axis=1)


def _points(tree: Tree, structures: frozenset[str]) -> Array:
    return np.concatenate([b.points[::2] for b in tree.branches if b.structure in structures])


def _start(lps: Array, core: Array, pitch_deg: float, lift_mm: float) -> Array:
    """The middle of the lumen on the middle of the circle of Willis, nodded and lifted."""
    matrix = np.eye(4)
    matrix[:3, :3] = MNI_SCALE * Rotation.from_euler("x", pitch_deg, degrees=True).as_matrix()
    middle = np.median(core, axis=0) + np.array([0.0, 0.0, lift_mm])
    matrix[:3, 3] = middle - matrix[:3, :3] @ np.median(lps, axis=0)
    return matrix


def _closest(lps: Array, shown: Array, core: Array, matrix: Array, rounds: int) -> tuple[Array, float]:
    """Iterated closest points both ways with weights that tighten; a similarity and what is left, mm."""
    guide = cKDTree(shown)
    for reach in np.geomspace(14.0, 4.0, rounds):
        moved = lps @ matrix[:3, :3].T + matrix[:3, 3]
        far, near = guide.query(moved)
        seen = core[_covered(core, moved)]
        away, own = cKDTree(moved).query(seen)
        source = np.concatenate([moved, moved[own]])
        target = np.concatenate([shown[near], seen])
        gap = np.concatenate([far, away])
        weight = 1 / (1 + (gap / reach) ** 2) ** 2
        weight[len(far) :] *= len(far) / max(len(away), 1)
        matrix = _similarity(source, target, weight) @ matrix
    moved = lps @ matrix[:3, :3].T + matrix[:3, 3]
    left = np.minimum(guide.query(moved)[0], _FAR_MM).mean()
    covered = _covered(core, moved)
    missed = np.minimum(cKDTree(moved).query(core[covered])[0], _FAR_MM).sum()
    missed += 0.5 * _FAR_MM * np.count_nonzero(~covered)  # a slab may end low, but better not
    return matrix, float(left + missed / len(core))


def _covered(points: Array, lumen: Array) -> npt.NDArray[np.bool_]:
    """Which points (n, 3) lie in the box that the lumen fills: beyond it the scan says nothing."""
    inside: npt.NDArray[np.bool_] = (
        (points > lumen.min(0) - _MARGIN_MM) & (points < lumen.max(0) + _MARGIN_MM)
    ).all(1)
    return inside


def _similarity(source: Array, target: Array, weight: Array) -> Array:
    """Weighted least-squares similarity without reflection (Umeyama 1991), (4, 4)."""
    share = weight / weight.sum()
    a, b = share @ source, share @ target
    p, q = source - a, target - b
    u, s, vt = np.linalg.svd((q * share[:, None]).T @ p)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    turn = u @ np.diag(sign) @ vt
    scale = float((s * sign).sum() / (share @ (p**2).sum(1)))
    matrix = np.eye(4)
    matrix[:3, :3] = scale * turn
    matrix[:3, 3] = b - matrix[:3, :3] @ a
    return matrix


def _soft(guide: Array, lumen: Array) -> Array:
    """How far each point of the guide is to be moved to lie on the lumen, smoothly, (n, 3)."""
    moves = np.zeros_like(guide)
    tree = cKDTree(lumen)
    for width, reach in zip(np.geomspace(25.0, 7.0, 24), np.geomspace(11.0, 5.0, 24), strict=True):
        now = guide + moves
        gap, near = tree.query(now)
        back_gap, back = cKDTree(now).query(lumen)
        places = np.concatenate([now, now[back]])
        pulls = np.concatenate([lumen[near] - now, lumen - now[back]])
        weight = 1 / (1 + (np.concatenate([gap, back_gap]) / reach) ** 2) ** 2
        few = np.random.default_rng(2).permutation(len(places))[:2500]
        moves = moves + 0.6 * _smooth(now, places[few], pulls[few], width, weight[few])
    return moves


def _smooth(
    points: Array, places: Array, values: Array, width_mm: float, weight: Array | None = None
) -> Array:
    """Values (n, 3) at places (n, 3), averaged round points (m, 3); they fade where no place is near."""
    square = (points**2).sum(1)[:, None] + (places**2).sum(1)[None] - 2 * points @ places.T
    kernel = np.exp(np.maximum(square, 0) / (-2 * width_mm**2))
    if weight is not None:
        kernel *= weight
    found: Array = kernel @ values / (kernel.sum(1, keepdims=True) + 0.3)
    return found
