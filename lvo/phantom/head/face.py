"""The face: orbits, nose and sinuses, jaws with teeth, glands, drawn over the average head."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from lvo.phantom.head.canvas import Canvas, NoiseKey, Where, draw_key
from lvo.phantom.head.jaw import Jaw, JawRanges, draw_jaw, sample_jaw
from lvo.phantom.head.nose import Nose, NoseRanges, draw_nose, sample_nose
from lvo.phantom.head.orbit import Orbit, OrbitRanges, draw_orbit, sample_orbit
from lvo.phantom.head.skull_maps import sample_bone_maps
from lvo.phantom.head.solids import Ground


class FaceRanges(BaseModel):
    """How faces differ."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    orbit: OrbitRanges = OrbitRanges()
    nose: NoseRanges = NoseRanges()
    jaw: JawRanges = JawRanges()


@dataclass(frozen=True, slots=True)
class FaceShape:
    """One face."""

    orbit: Orbit
    nose: Nose
    jaw: Jaw
    key: NoiseKey


def sample_face(rng: np.random.Generator, ranges: FaceRanges, age: float) -> FaceShape:
    """Draw a face."""
    orbit, nose = sample_orbit(rng, ranges.orbit, age), sample_nose(rng, ranges.nose)
    return FaceShape(orbit, nose, sample_jaw(rng, ranges.jaw, age), draw_key(rng))


def draw_face(
    shape: FaceShape,
    where: Where,
    canvas: Canvas,
    depth: Tensor | None = None,
    ground: Ground | None = None,
    *,
    draft: bool = False,
) -> None:
    """Draw the face in place, last of skull and soft tissue.

    Parameters
    ----------
    shape : one face
    where : points, (z, y, x)
    canvas : the tissue drawn so far
    depth : what `lvo.phantom.head.vault.draw_vault` returned for these points; found anew if None.
    ground : points and tissue, if they have been looked at
    draft : True leaves out what a coarse map of attenuation does not need.
    """
    ground = ground or Ground.of(where, canvas)
    if ground.crop((-60, -80, -120), (60, -10, 30)) is None:
        return
    if depth is None:
        depth = -sample_bone_maps(where)[2]
    # The depth rides along as the canvas of a second ground, so that both are cut alike.
    under = replace(ground, canvas=Canvas(*(depth for _ in range(6))))
    draw_jaw(shape.jaw, ground, draft=draft)
    draw_nose(shape.nose, ground, under)
    for side in (1.0, -1.0):
        draw_orbit(shape.orbit, ground, side, shape.key, draft=draft)
