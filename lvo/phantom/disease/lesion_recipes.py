"""What lesions there are: frozen recipes, in canonical head-frame mm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Side
from lvo.phantom.disease.infarct import Infarct
from lvo.phantom.head.canvas import NoiseKey
from lvo.phantom.head.solids import Point

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Cavity:
    """What an old infarct leaves: fluid, a rim of scar, and a ventricle drawn out towards it.

    Attributes
    ----------
    lost : float32 on the lattice of `territory.Supply`, 0 to 1, of a territorial one; None for a lacune.
    radii : of a lacune, mm.
    ventricle_mm : by how much the ventricle of its side is wider.
    """

    kind: Literal["old infarct", "lacune"]
    side: Side
    centre: Point
    volume_ml: float
    lost: F32 | None
    radii: Point
    ventricle_mm: float
    key: NoiseKey


@dataclass(frozen=True, slots=True, eq=False)
class Haematoma:
    """Blood in the brain, with oedema round it, perhaps some in the ventricles (0 to 1, `ventricular`)."""

    kind: Literal["deep haemorrhage", "lobar haemorrhage"]
    side: Side
    centre: Point
    volume_ml: float
    radii: Point
    hu: float
    oedema_mm: float
    ventricular: float
    key: NoiseKey


@dataclass(frozen=True, slots=True, eq=False)
class SubarachnoidBlood:
    """Blood in cisterns, fissures and sulci round a point, thinning out over `reach` mm."""

    side: Side
    centre: Point
    volume_ml: float
    reach: Point
    hu: float
    key: NoiseKey
    kind: str = "subarachnoid haemorrhage"


@dataclass(frozen=True, slots=True, eq=False)
class Subdural:
    """A crescent under the dura of one side: thickness in its middle, half-lengths along y and z, mm."""

    side: Side
    centre: Point
    volume_ml: float
    thickness_mm: float
    half_mm: tuple[float, float]
    hu: float
    key: NoiseKey
    kind: str = "subdural haematoma"


@dataclass(frozen=True, slots=True, eq=False)
class Tumour:
    """A mass: an enhancing rim (as thick as it is large for a solid one) round a core, and oedema.

    Attributes
    ----------
    radius_mm, rim_mm, oedema_mm : sizes.
    rim_hu, core_hu : without contrast.
    rim_uptake, core_uptake : HU gained for each that blood gains.
    """

    kind: Literal["glioma", "metastasis", "meningioma"]
    side: Side
    centre: Point
    volume_ml: float
    radius_mm: float
    rim_mm: float
    oedema_mm: float
    rim_hu: float
    core_hu: float
    rim_uptake: float
    core_uptake: float
    key: NoiseKey


@dataclass(frozen=True, slots=True, eq=False)
class Craniotomy:
    """A round piece of the vault sawn out and put back (`gap_mm` wide cut), or left out (`missing`)."""

    side: Side
    centre: Point
    volume_ml: float
    radius_mm: float
    gap_mm: float
    missing: bool
    kind: str = "craniotomy"


Lesion = Infarct | Cavity | Haematoma | SubarachnoidBlood | Subdural | Tumour | Craniotomy


@dataclass(frozen=True, slots=True)
class LesionTruth:
    """A row of the truth table: centre in canonical mm, volume in ml of an average adult's head."""

    kind: str
    side: Side
    centre: Point
    volume_ml: float


def truth_of(lesion: Lesion) -> LesionTruth:
    """What a lesion is called, where it lies and how large it is."""
    return LesionTruth(lesion.kind, lesion.side, lesion.centre, lesion.volume_ml)


def widened(point: Point, more: float) -> Point:
    """Each coordinate larger by some mm."""
    return point[0] + more, point[1] + more, point[2] + more


def ball_ml(radii: Point, scale: float) -> float:
    """Volume of an ellipsoid in ml; `scale` is head-frame mm per mm of an average adult."""
    return 4 / 3 * math.pi * radii[0] * radii[1] * radii[2] / scale**3 / 1000
