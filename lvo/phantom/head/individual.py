"""One random head without contrast: its recipe, and its tissue at the points of any lattice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict

from lvo.phantom.head.brain import BrainRanges, BrainShape, draw_brain, fill_skull, sample_brain
from lvo.phantom.head.canvas import Canvas, Where
from lvo.phantom.head.chest import ChestRanges, ChestShape, draw_chest, sample_chest
from lvo.phantom.head.deformation import Deformation, DeformationRanges, Field, sample_deformation
from lvo.phantom.head.dura import DuraRanges, DuraShape, draw_dura, sample_dura
from lvo.phantom.head.face import FaceRanges, FaceShape, draw_face, sample_face
from lvo.phantom.head.lattice import Levels, Thinned
from lvo.phantom.head.neck import NeckRanges, NeckShape, draw_neck, sample_neck
from lvo.phantom.head.scalp import ScalpRanges, ScalpShape, draw_scalp, sample_scalp, sample_surfaces
from lvo.phantom.head.skull_base import BaseRanges, BaseShape, draw_base, sample_base
from lvo.phantom.head.solids import Ground
from lvo.phantom.head.vault import VaultRanges, VaultShape, draw_vault, sample_vault
from lvo.phantom.workers import spread

F64 = npt.NDArray[np.float64]
Shape = tuple[int, int, int]
_CHUNK = 1_600_000
"""Voxels that are drawn at a time."""


class HeadRanges(BaseModel):
    """How heads differ; ages as in series of patients with acute stroke (mean 70, sd 14 years)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    age_mean_sd: tuple[float, float] = (70.0, 14.0)
    age_limits: tuple[float, float] = (18.0, 98.0)
    deformation: DeformationRanges = DeformationRanges()
    brain: BrainRanges = BrainRanges()
    dura: DuraRanges = DuraRanges()
    scalp: ScalpRanges = ScalpRanges()
    vault: VaultRanges = VaultRanges()
    base: BaseRanges = BaseRanges()
    face: FaceRanges = FaceRanges()
    neck: NeckRanges = NeckRanges()
    chest: ChestRanges = ChestRanges()


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The recipe of one head: numbers from which every voxel follows.

    Attributes
    ----------
    age : years
    deformation : canonical head to this one.
    flipped : True for the mirror image of what the shapes say; `deformation` is mirrored already.
    """

    age: float
    deformation: Deformation
    brain: BrainShape
    dura: DuraShape
    scalp: ScalpShape
    vault: VaultShape
    base: BaseShape
    face: FaceShape
    neck: NeckShape
    chest: ChestShape
    flipped: bool = False

    def warp(self, points: npt.ArrayLike) -> F64:
        """Where canonical anatomical points (n, 3) lie in this head, head-frame mm, shape (n, 3)."""
        return self.deformation.from_canonical(points)

    def where(self, affine: F64, shape: Shape, device: torch.device | None = None) -> Where:
        """Canonical coordinates of a lattice's points, as recipes know them: not mirrored where `flipped`."""
        k, j, i = (np.arange(n, dtype=np.float64) for n in shape)
        x, y, z = self.deformation.field(affine, shape, device).at((k, j, i))
        return Where(-x if self.flipped else x, y, z)

    def mirrored(self) -> Head:
        """The mirror image of this head: x to -x."""
        return replace(self, deformation=self.deformation.mirrored(), flipped=not self.flipped)


def sample_head(rng: np.random.Generator, ranges: HeadRanges | None = None, age: float | None = None) -> Head:
    """Draw the recipe of one head.

    Parameters
    ----------
    rng : numpy Generator
    ranges : how heads differ
    age : years; None draws it.
    """
    r = ranges or HeadRanges()
    years = float(np.clip(rng.normal(*r.age_mean_sd), *r.age_limits)) if age is None else float(age)
    # Parts have generators of their own, so that a change to one leaves the others as they are.
    own = rng.spawn(9)
    return Head(
        age=years,
        deformation=sample_deformation(own[0], r.deformation),
        brain=sample_brain(own[1], r.brain, years),
        dura=sample_dura(own[2], r.dura, years),
        scalp=sample_scalp(own[3], r.scalp, years),
        vault=sample_vault(own[4], r.vault, years),
        base=sample_base(own[5], r.base, years),
        face=sample_face(own[6], r.face, years),
        neck=sample_neck(own[7], r.neck, years),
        chest=sample_chest(own[8], r.chest, years),
    )


def draw_head(
    head: Head, affine: F64, shape: Shape, device: torch.device | None = None, *, draft: bool = False
) -> Canvas:
    """Tissue at every point of a lattice.

    Parameters
    ----------
    head : what to draw
    affine : (4, 4), array index (k, j, i) to head-frame (x, y, z) of this individual, mm; may be oblique.
    shape : (z, y, x) of the lattice
    device : of the tensors; None is the CPU. There the lattice is drawn in slabs, to bound the memory.
    draft : True draws what a coarse map of attenuation needs: skin, fat, muscle, bone, air, the brain as one.

    Returns
    -------
    Canvas
        Float32 tensors of `shape`.

    Raises
    ------
    lvo.phantom.head.atlas.AtlasMissing
        When the atlas package is not installed.
    """
    device = device or torch.device("cpu")
    field = head.deformation.field(affine, shape, device)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    factor = Thinned.of(shape, spacing).factors[0]
    rows = shape[0]
    if device.type == "cpu":
        rows = min(rows, max(1, _CHUNK // (shape[1] * shape[2] * factor)) * factor)
    slabs = spread(
        lambda first: _draw_slab(
            head, field, spacing, first, (min(rows, shape[0] - first), *shape[1:]), draft
        ),
        range(0, shape[0], rows),
    )
    if len(slabs) == 1:
        return slabs[0]
    names = ("hu", "uptake", "bone", "grey", "white", "csf")
    return Canvas(*(torch.cat([getattr(slab, name) for slab in slabs]) for name in names))


def _draw_slab(head: Head, field: Field, spacing: F64, first: int, shape: Shape, draft: bool) -> Canvas:
    """Tissue in the slices from `first` on."""
    levels = Levels.of(shape, spacing, lambda i: _unflipped(head, field, (i[0] + first, i[1], i[2])))
    where = levels.where
    canvas = Canvas.of_air(where)
    surfaces = sample_surfaces(levels.coarse)
    draw_scalp(head.scalp, levels, canvas, surfaces, head.vault.thickness)
    ground = Ground.of(where, canvas)
    if draft:
        fill_skull(head.brain, levels, canvas, surfaces[1])
    else:
        draw_brain(head.brain, levels, canvas, surfaces[1])
        draw_dura(head.dura, head.brain, levels, ground)
    draw_neck(head.neck, where, canvas, ground, draft=draft)
    draw_chest(head.chest, where, canvas, ground)
    depth = draw_vault(head.vault, where, canvas, ground)
    draw_base(head.base, where, canvas, ground, draft=draft)
    draw_face(head.face, where, canvas, depth, ground, draft=draft)
    return canvas


def _unflipped(head: Head, field: Field, index: tuple[F64, F64, F64]) -> Where:
    """Canonical coordinates for recipes, which know nothing of a mirror."""
    x, y, z = field.at(index)
    return Where(-x if head.flipped else x, y, z)
