"""A tree of veins while it grows: many veins at once, laid on the skull where they belong there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from lvo.anatomy import Side
from lvo.phantom.vessels.curves import curves
from lvo.phantom.vessels.inner_table import settle
from lvo.phantom.vessels.tree import STEP_MM, Branch

Array = npt.NDArray[np.float64]
Pair = tuple[float, float]
Place = tuple[int, int]
"""A branch and one of its points; (-1, 0) is nowhere."""
NOWHERE: Place = (-1, 0)
_WAVES = 2
_LAID_EVERY = 9
"""Points of a curve from one that is laid on the skull to the next."""


class VeinRanges(BaseModel):
    """How veins differ: pairs are low and high, or mean and sd where the name says so; sizes are relative.

    Transverse sinuses: unilateral stenosis or hypoplasia in 33 % (Durst, J Neurointerv Surg
    2016;8:1173-77, by CTA); left hypoplastic in 21 % (Goyal, Neurointervention 2016;11:92-98), left
    smaller by 19 % on average and right dominance in 55 % (J Transl Neurosci 2024;9:15-25); aplasia in
    4 to 20 % on MRV (Alper, Cerebrovasc Dis 2004;18:236-9), much of it slow flow that CT would show.
    Occipital sinus 10 %, basal veins 91 % (Ayanzen, AJNR 2000;21:74-78). Superficial Sylvian vein
    missing in 2 % of specimens (Neurol Med Chir 2019, PMC6635146), thin in more. Vein of Labbé 17 +- 10
    mm from the sigmoid junction (Fang, BioMed Eng OnLine 2017;16:84). Eight to twelve bridging veins a
    side, none of them close to the torcular (Rhoton, Neurosurgery 2002;51 Suppl 4).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    calibre_mean_sd: Pair = (1.0, 0.12)
    calibre_each_sd: float = 0.12
    ripple: float = 0.05
    wander_mm: float = 1.0
    wave_mm: Pair = (9.0, 30.0)
    wave_slope: float = 0.02
    right_dominant: float = 0.62
    transverse_unequal: float = 0.32
    transverse_hypoplastic: float = 0.24
    transverse_absent: float = 0.03
    equal_size: Pair = (0.88, 1.05)
    unequal_size: Pair = (0.62, 0.9)
    hypoplastic_size: Pair = (0.28, 0.55)
    dominant_size: Pair = (0.95, 1.2)
    least_sigmoid: float = 0.25
    least_jugular: float = 0.4
    sagittal_shift_mm: float = 2.0
    corner_offset: float = 0.75
    corner_size: float = 0.5
    groove: float = 0.65
    sinus_core: float = 0.82
    inferior_sagittal: float = 0.7
    basal: float = 0.95
    deep_sylvian: float = 0.85
    superficial_sylvian: float = 0.9
    superior_petrosal: float = 0.75
    inferior_petrosal: float = 0.92
    intercavernous: float = 0.5
    inferior_ophthalmic: float = 0.6
    mastoid_emissary: float = 0.35
    occipital: float = 0.1
    trolard: float = 0.7
    labbe: float = 0.8
    anastomotic_mm: Pair = (1.6, 3.2)
    thinnest_mm: float = 0.5
    surface_size_sd: float = 0.25
    bridging_count: tuple[int, int] = (8, 12)
    bridging_mm: Pair = (1.2, 2.8)
    bridging_span: Pair = (0.08, 0.87)
    bridging_reach_deg: Pair = (28.0, 68.0)
    tributaries: tuple[int, int] = (1, 3)
    tributary_size: Pair = (0.4, 0.7)
    tributary_reach_deg: Pair = (10.0, 28.0)
    tributary_turn_deg: Pair = (25.0, 65.0)
    trolard_at: Pair = (0.48, 0.6)
    labbe_at: Pair = (0.6, 0.95)
    bridging_slant_mean_sd: Pair = (1.18, 0.1)
    bridging_stray_deg: float = 7.0
    surface_wander_deg: float = 3.0
    surface_depth_mm: Pair = (2.0, 4.5)
    granulations: tuple[int, int] = (0, 4)
    granulation_mm: Pair = (1.5, 6.0)


@dataclass(frozen=True, slots=True)
class Sprout:
    """A vein that is about to grow.

    Attributes
    ----------
    knots : (k, 3), two or more, between its ends; where it starts or ends on another vein comes besides.
    diameters : (m,) head-frame mm at even distances along it.
    depth : (m,) mm under the inner table at even distances along it; None where it is free.
    wander : how tortuous it is, relative to the others.
    """

    name: str
    structure: str
    side: Side
    knots: Array
    diameters: Array
    start: Place = NOWHERE
    end: Place = NOWHERE
    depth: Array | None = None
    wander: float = 1.0


@dataclass(slots=True)
class Growth:
    """What has grown so far."""

    rng: np.random.Generator
    ranges: VeinRanges
    calibre: float
    branches: list[Branch] = field(default_factory=list)
    variants: list[str] = field(default_factory=list)
    index: dict[tuple[str, Side], int] = field(default_factory=dict)

    def place(self, where: str, side: Side) -> Place:
        """Place of ``"name@fraction"``, the first of several divided by ``|`` that this patient has."""
        for choice in where.split("|"):
            name, _, fraction = choice.partition("@")
            found = self.index.get((name, side), self.index.get((name, Side.MIDLINE), -1))
            if found >= 0:
                return found, round(float(fraction) * (len(self.branches[found].points) - 1))
        return NOWHERE

    def at(self, place: Place) -> Array:
        """Head-frame mm of a place, (3,)."""
        point: Array = self.branches[place[0]].points[place[1]]
        return point

    def grow(self, sprouts: Sequence[Sprout]) -> list[int]:
        """Grow veins that hang on nothing but what has grown already; gives their numbers."""
        if not sprouts:
            return []
        lines = self._curves([self._knots(s) for s in sprouts], [s.wander for s in sprouts])
        laid = [i for i, s in enumerate(sprouts) if s.depth is not None]
        if laid:
            beds = self._laid([sprouts[i] for i in laid], [lines[i] for i in laid])
            for i, line in zip(laid, self._curves(beds, [0.0] * len(beds)), strict=True):
                lines[i] = line
        return [self.add(s, points) for s, points in zip(sprouts, lines, strict=True)]

    def add(self, sprout: Sprout, points: Array) -> int:
        """Add a vein along points (n, 3), with some unevenness of its calibre; gives its number."""
        t = np.arange(len(points)) * (2 * np.pi * STEP_MM / 25.0)
        phase = self.rng.uniform(0, 2 * np.pi, 2)
        uneven = 1 + 0.5 * self.ranges.ripple * (np.sin(t + phase[0]) + np.sin(2.3 * t + phase[1]))
        radius = 0.5 * _spread(sprout.diameters, len(points)) * uneven
        self.index.setdefault((sprout.name, sprout.side), len(self.branches))
        ends = (*sprout.start, *sprout.end)
        self.branches.append(Branch(sprout.name, sprout.structure, sprout.side, points, radius, *ends))
        return len(self.branches) - 1

    def _knots(self, sprout: Sprout) -> Array:
        ends = [self.at(p)[None] if p != NOWHERE else np.empty((0, 3)) for p in (sprout.start, sprout.end)]
        return np.concatenate([ends[0], sprout.knots, ends[1]])

    def _curves(self, knots: list[Array], wander: list[float]) -> list[Array]:
        n = len(knots)
        wave = self.rng.uniform(*self.ranges.wave_mm, (n, _WAVES))
        slope = self.ranges.wave_slope * np.array(wander)[:, None, None]
        height = self.rng.normal(0, 1, (n, _WAVES, 3)) * slope * wave[..., None]
        points, sizes, _ = curves(knots, [None] * n, wave, self.rng.random((n, _WAVES)), height)
        return np.split(points, np.cumsum(sizes)[:-1])

    def _laid(self, sprouts: list[Sprout], lines: list[Array]) -> list[Array]:
        """Some points of each line, brought to its depth but for ends that open into other veins."""
        beds = [np.concatenate([p[:-1:_LAID_EVERY], p[-1:]]) for p in lines]
        depths = [_spread(s.depth, len(b)) for s, b in zip(sprouts, beds, strict=True) if s.depth is not None]
        settled = settle(np.concatenate(beds), np.concatenate(depths))
        found = np.split(settled, np.cumsum([len(b) for b in beds])[:-1])
        for s, old, new in zip(sprouts, beds, found, strict=True):
            if s.start != NOWHERE:
                new[0] = old[0]
            if s.end != NOWHERE:
                new[-1] = old[-1]
        return found


def _spread(values: Array, n: int) -> Array:
    """Values at even distances as n of them."""
    return np.interp(np.linspace(0, len(values) - 1, n), np.arange(len(values)), values)
