"""Which artery feeds which part of the brain, from the patient's own arteries.

Every point of a coarse canonical lattice belongs to the nearest branch among those that may feed its part of
the brain: perforators the deep grey matter, cerebellar arteries the cerebellum, and the branches of one
hemisphere its cortex and white matter. There, points on the average cortex that anatomists give to one of the
three cerebral arteries stand in for the twigs that no branch of this tree reaches; each acts for the nearest
branch of its artery.

Borders after Tatu et al., Neurology 2012 (supratentorial) and 1996 (brainstem and cerebellum).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional

from lvo.anatomy import Side
from lvo.phantom.disease.supply_data import ANCHORS, DEEP, FEEDERS, TERRITORY_OF, lies_under_tentorium
from lvo.phantom.head.atlas import load_atlas
from lvo.phantom.head.canvas import Where
from lvo.phantom.head.deformation import Deformation
from lvo.phantom.vessels.routes import MNI_SCALE
from lvo.phantom.vessels.tree import STEP_MM, Tree

Array = npt.NDArray[np.float64]
GRID_MM = 5.0
"""Spacing of the lattice."""
_LOW, _SIZE = np.array([-87.5, -80.0, -40.0]), (33, 39, 36)
"""First point (x, y, z) of the lattice, canonical mm, and its shape (z, y, x)."""
_POINT_MM = 4.0
"""Of a centreline, one point in so many mm stands for it."""
_GREY, _WHITE, _CSF = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Supply:
    """The branch that feeds each point of the lattice.

    Attributes
    ----------
    branch : int32 (z, y, x), index in the tree; points outside the brain have their nearest brain point's.
    brain : float32 (z, y, x), share of grey and white matter in the average head, 0 to 1.
    structures : structure of every branch of the tree.
    """

    branch: npt.NDArray[np.int32]
    brain: npt.NDArray[np.float32]
    structures: tuple[str, ...]

    def territory(self) -> npt.NDArray[np.str_]:
        """Name of every lattice point's territory: "MCA", "ACA", "PCA", "SCA", "lenticulostriate" ..."""
        names = np.array([TERRITORY_OF.get(s, "") for s in self.structures])
        found: npt.NDArray[np.str_] = names[self.branch]
        return found

    def volumes(self) -> Array:
        """Brain fed by each branch of the tree, ml of an average adult, (branches,)."""
        cell = (GRID_MM / MNI_SCALE) ** 3 / 1000
        weights = self.brain.ravel().astype(np.float64)
        fed = np.bincount(self.branch.ravel(), weights, len(self.structures))
        return np.asarray(cell * fed, dtype=np.float64)

    def centre(self, weight: npt.NDArray[np.float32]) -> tuple[float, float, float]:
        """Canonical (x, y, z) of the middle of something on the lattice, weights (z, y, x)."""
        total = float(weight.sum())
        axes = zip(lattice_axes(), ((1, 2), (0, 2), (0, 1)), strict=True)
        z, y, x = (float((line * weight.sum(axis=others)).sum()) / total for line, others in axes)
        return x, y, z

    def neighbours(self, branch: int) -> npt.NDArray[np.int64]:
        """Branches of one side, the nearest first: by the middle of what they feed, and itself the first."""
        at = np.stack(np.meshgrid(*lattice_axes(), indexing="ij"), axis=-1).reshape(-1, 3)
        weight, own = self.brain.ravel().astype(np.float64), self.branch.ravel()
        count = len(self.structures)
        total = np.bincount(own, weight, count)
        sums = np.stack([np.bincount(own, weight * at[:, a], count) for a in range(3)], axis=1)
        middle = sums / np.maximum(total, 1e-9)[:, None]
        distance = np.linalg.norm(middle - middle[branch], axis=1)
        distance[(total <= 0) | (np.sign(middle[:, 2]) != np.sign(middle[branch, 2]))] = np.inf
        found: npt.NDArray[np.int64] = np.argsort(distance)[: int(np.isfinite(distance).sum())]
        return found

    def field(self, values: npt.ArrayLike, where: Where) -> Tensor:
        """One value per branch as a smooth field over a grid, float32 (z, y, x) on the grid's device."""
        own = np.asarray(values, dtype=np.float32)[self.branch]
        return sample_lattice(torch.from_numpy(own)[None].to(where.x.device), where)[0]

    def nearest(self, values: npt.ArrayLike, where: Where) -> Tensor:
        """One value per lattice point (of the shape of `branch`) or per branch, of the nearest lattice point.

        float32 (z, y, x) on the grid's device; for labels, which must not be mixed.
        """
        own = np.asarray(values, dtype=np.float32)
        own = own if own.shape == self.branch.shape else own[self.branch]
        field = torch.from_numpy(np.ascontiguousarray(own))[None].to(where.x.device)
        return sample_lattice(field, where, mode="nearest")[0]


def lattice_axes() -> tuple[Array, Array, Array]:
    """Canonical z, y and x of the lattice, mm."""
    z, y, x = (_LOW[2 - a] + GRID_MM * np.arange(n) for a, n in enumerate(_SIZE))
    return z, y, x


def sample_lattice(fields: Tensor, where: Where, mode: str = "bilinear") -> Tensor:
    """Fields (n, z, y, x) on the lattice at the points of a grid; their rim goes on outside.

    `mode` is as in `torch.nn.functional.grid_sample`: trilinear, or "nearest".
    """
    axes = [
        (c - float(a)) * (2 / (GRID_MM * (n - 1))) - 1
        for c, a, n in zip((where.x, where.y, where.z), _LOW, _SIZE[::-1], strict=True)
    ]
    grid = torch.stack(axes, dim=-1)[None]
    found = functional.grid_sample(fields[None], grid, mode=mode, align_corners=True, padding_mode="border")
    return found[0]


def supply(tree: Tree, deformation: Deformation | None = None) -> Supply:
    """Give every part of the brain to a branch.

    Parameters
    ----------
    tree : arteries.
    deformation : of the head they were mapped into; None if they are canonical, which saves inverting it at
        every point.
    """
    lattice = _lattice()
    feeders = _Feeders.of(tree, deformation)
    owner = np.full(len(lattice.points), -1, np.int32)
    for number, names in enumerate(FEEDERS):
        for side in (-1, 1):
            here = (lattice.part == number) & ((lattice.points[:, 0] >= 0) == (side > 0))
            chosen = feeders.choose(names, side)
            if chosen is not None and here.any():
                owner[here] = chosen.nearest(lattice.points[here])
    if (owner < 0).any():  # a tree without any artery for a part: whatever is nearest
        owner[owner < 0] = feeders.nearest(lattice.points[owner < 0])
    return Supply(owner[lattice.nearest], lattice.brain, tuple(b.structure for b in tree.branches))


@dataclass(frozen=True, slots=True, eq=False)
class _Feeders:
    """Points that feed: canonical (n, 3), the detour in mm that each counts as, and whose they are."""

    points: Array
    detour: Array
    branch: npt.NDArray[np.int32]
    structure: npt.NDArray[np.str_]
    side: npt.NDArray[np.int8]

    @classmethod
    def of(cls, tree: Tree, deformation: Deformation | None) -> _Feeders:
        stride = max(1, round(_POINT_MM / STEP_MM))
        wanted = {name for names in FEEDERS for name in names}
        kept = [i for i, b in enumerate(tree.branches) if b.structure in wanted] or [0]
        parts = [tree.branches[i].points[stride // 2 :: stride] for i in kept]
        parts = [p if len(p) else tree.branches[i].points[-1:] for i, p in zip(kept, parts, strict=True)]
        counts = [len(p) for p in parts]
        points = np.concatenate(parts)
        if deformation is not None:
            points = deformation.to_canonical(points)
        branch = np.repeat(np.array(kept, np.int32), counts)
        structure = np.repeat(np.array([tree.branches[i].structure for i in kept]), counts)
        sides = np.array([_SIDE[tree.branches[i].side] for i in kept], np.int8)
        return cls(points, np.zeros(len(points)), branch, structure, np.repeat(sides, counts))

    def choose(self, names: dict[str, float], side: int) -> _Feeders | None:
        """Those of some structures (with their detours) on one side or in the midline, and their anchors."""
        own = np.isin(self.structure, list(names)) & (self.side != -side)
        if not own.any():
            return None
        structure = self.structure[own]
        detour = np.array([names[s] for s in structure])
        chosen = _Feeders(self.points[own], detour, self.branch[own], structure, self.side[own])
        return chosen.with_anchors(side) if "M3" in names else chosen

    def with_anchors(self, side: int) -> _Feeders:
        """Add the cortex points of the cerebral arteries, each for the nearest branch of its artery."""
        artery = np.array([TERRITORY_OF.get(str(s), "") for s in self.structure])
        points, branch, structure = [self.points], [self.branch], [self.structure]
        for name, anchors in ANCHORS.items():
            own = np.flatnonzero(artery == name)
            if len(own):
                at = anchors * (side, 1, 1)
                near = own[cKDTree(self.points[own]).query(at)[1]]
                points.append(at)
                branch.append(self.branch[near])
                structure.append(self.structure[near])
        more = sum(len(p) for p in points[1:])
        detour = np.append(self.detour, np.zeros(more))
        sides = np.append(self.side, np.full(more, side, np.int8))
        names = np.concatenate(structure)
        return _Feeders(np.concatenate(points), detour, np.concatenate(branch), names, sides)

    def nearest(self, at: Array) -> npt.NDArray[np.int32]:
        """Branch whose point is nearest, the detours being a fourth dimension."""
        tree = cKDTree(np.column_stack([self.points, self.detour]))
        found: npt.NDArray[np.int32] = self.branch[tree.query(np.column_stack([at, np.zeros(len(at))]))[1]]
        return found


_SIDE = {Side.LEFT: 1, Side.RIGHT: -1, Side.MIDLINE: 0}


@dataclass(frozen=True, slots=True, eq=False)
class _Lattice:
    """The canonical lattice.

    Attributes
    ----------
    points : (n, 3) those inside the brain, canonical mm; part : (n,) of the brain, index in `FEEDERS`.
    brain : (z, y, x) share of grey and white matter.
    nearest : (z, y, x) running number of the nearest point inside.
    """

    points: Array
    part: npt.NDArray[np.int8]
    brain: npt.NDArray[np.float32]
    nearest: npt.NDArray[np.intp]


@functools.lru_cache(maxsize=1)
def _lattice() -> _Lattice:
    atlas = load_atlas()
    zz, yy, xx = np.meshgrid(*lattice_axes(), indexing="ij")
    tissue = ndimage.uniform_filter(atlas.probability[_GREY] + atlas.probability[_WHITE], 3)
    index = [(c - atlas.affine[2 - a, 3]) / atlas.affine[2 - a, a] for a, c in enumerate((zz, yy, xx))]
    brain = ndimage.map_coordinates(tissue, index, order=1, mode="nearest").astype(np.float32)
    inside = brain > 0.25
    points = np.stack([xx[inside], yy[inside], zz[inside]], axis=1)
    return _Lattice(points, _parts(points), brain * inside, _nearest(inside))


def _nearest(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """For every lattice point the running number of the nearest point inside."""
    number = np.cumsum(inside.ravel()).reshape(inside.shape) - 1
    index = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    found: npt.NDArray[np.intp] = number[tuple(index)]
    return found


def _parts(points: Array) -> npt.NDArray[np.int8]:
    """Part of the brain of each point, an index in `FEEDERS`."""
    part = np.zeros(len(points), np.int8)
    lateral = np.abs(points[:, 0])
    part[lies_under_tentorium(lateral, points[:, 1], points[:, 2])] = 1
    for number, (centre, radii) in DEEP:
        offset = (np.stack([lateral, points[:, 1], points[:, 2]], axis=1) - centre) / radii
        part[(offset**2).sum(1) < 1] = number
    return part
