"""Calcium in arterial walls: balls along the vessels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from lvo.phantom.disease.narrowing import across, tangents, third
from lvo.phantom.vessels.tree import Branch, Tree

Array = npt.NDArray[np.float64]
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Plaque:
    """Mural calcium as balls that touch each other.

    Attributes
    ----------
    points : (n, 3) centres, head-frame mm.
    radius : (n,) head-frame mm.
    hu : (n,) attenuation of the calcium itself; blur and voxel size make it bloom.
    """

    points: Array
    radius: Array
    hu: Array


class Odds(BaseModel):
    """A probability that changes with age: `at_70`, its odds multiplied by `per_decade` every ten years."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_70: float
    per_decade: float = 1.0

    def at(self, age: float) -> float:
        """Probability at an age in years."""
        odds = self.at_70 / max(1 - self.at_70, 1e-9) * self.per_decade ** ((age - 70) / 10)
        return float(odds / (1 + odds))


class CalciumSite(BaseModel):
    """Calcium of one structure: whether it has any, how many plaques, and where between its ends (0 to 1)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    present: Odds
    plaques: float
    along: Range = (0.0, 1.0)


class CalciumRanges(BaseModel):
    """Arterial calcification.

    At a mean age of 69 the Rotterdam Study found calcium in 82 % of intracranial internal carotid arteries,
    in about 75 % of extracranial carotid and in over 90 % of aortic arches (Bos et al., Arterioscler Thromb
    Vasc Biol 2011 and later; approximate), and in about 20 % of vertebrobasilar arteries (van der Toorn et
    al., Stroke 2022; approximate). Calcium of the MCA stem is rare. Sizes and numbers are approximate.

    Attributes
    ----------
    sites : by structure.
    burden_sd : sd of the logarithm of a patient's number of plaques.
    shared_years : sd of how much older or younger than the patient are the arteries, years.
    thickness_mm, length_mm, turn_deg, hu : low and high of one plaque: across the wall, along the vessel,
        half of the arc round it, and its attenuation.
    large : share of plaques that are drawn from the upper half of length and turn.
    most_balls : balls that one plaque has at most.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sites: dict[str, CalciumSite] = {
        "ICA-I": CalciumSite(present=Odds(at_70=0.82, per_decade=2.6), plaques=4.0, along=(0.25, 0.97)),
        "ICA-C": CalciumSite(present=Odds(at_70=0.70, per_decade=2.4), plaques=2.0, along=(0.0, 0.18)),
        "CCA": CalciumSite(present=Odds(at_70=0.35, per_decade=2.2), plaques=1.5, along=(0.6, 1.0)),
        "V4": CalciumSite(present=Odds(at_70=0.20, per_decade=2.2), plaques=1.5, along=(0.0, 0.6)),
        "VA": CalciumSite(present=Odds(at_70=0.15, per_decade=2.0), plaques=1.0, along=(0.0, 0.3)),
        "BA": CalciumSite(present=Odds(at_70=0.05, per_decade=2.0), plaques=1.0),
        "M1": CalciumSite(present=Odds(at_70=0.04, per_decade=1.8), plaques=1.0, along=(0.0, 0.9)),
        "aorta": CalciumSite(present=Odds(at_70=0.90, per_decade=2.6), plaques=6.0),
        "subclavian": CalciumSite(present=Odds(at_70=0.45, per_decade=2.2), plaques=1.5, along=(0.0, 0.5)),
    }
    burden_sd: float = 0.7
    shared_years: float = 7.0
    thickness_mm: Range = (0.4, 1.3)
    length_mm: Range = (0.6, 9.0)
    turn_deg: Range = (10.0, 100.0)
    hu: Range = (300.0, 1500.0)
    large: float = 0.25
    most_balls: int = 40


def no_plaque() -> Plaque:
    """No calcium."""
    return Plaque(np.empty((0, 3)), np.empty(0), np.empty(0))


def joined(parts: Sequence[Plaque]) -> Plaque:
    """Several plaques as one."""
    parts = [*parts, no_plaque()]
    return Plaque(
        np.concatenate([p.points for p in parts]),
        np.concatenate([p.radius for p in parts]),
        np.concatenate([p.hu for p in parts]),
    )


def sample_calcium(
    tree: Tree, age: float, rng: np.random.Generator, ranges: CalciumRanges
) -> tuple[Plaque, tuple[str, ...]]:
    """Calcium of a patient's arteries, left and right sharing the burden, and where it is in words."""
    arteries_age = age + float(rng.normal(0, ranges.shared_years))
    burden = float(np.exp(rng.normal(-0.5 * ranges.burden_sd**2, ranges.burden_sd)))
    parts, words = [], []
    for b in tree.branches:
        site = ranges.sites.get(b.structure)
        if site is None or len(b.points) < 4 or rng.random() > site.present.at(arteries_age):
            continue
        count = 1 + int(rng.poisson(burden * site.plaques))
        where = rng.uniform(*site.along, count) * b.length
        parts.append(mural_calcium(b, where, rng, ranges))
        words.append(f"calcified plaque {b.side} {b.structure}")
    return joined(parts), tuple(dict.fromkeys(words))


def mural_calcium(
    branch: Branch,
    where_mm: Array,
    rng: np.random.Generator,
    ranges: CalciumRanges,
    towards: Array | None = None,
) -> Plaque:
    """Plaques centred at `where_mm` (m,) along a branch, on the side `towards` (3,) or on any."""
    count = len(where_mm)
    large = rng.random(count) < ranges.large
    share = np.where(large, rng.uniform(0.5, 1, count), rng.uniform(0, 0.35, count))
    span, turn = (low + share * (high - low) for low, high in (ranges.length_mm, ranges.turn_deg))
    thick = rng.uniform(*ranges.thickness_mm, count)
    hu = rng.uniform(*ranges.hu, count)
    arc, step = branch.arc, branch.length / (len(branch.points) - 1)
    centre = np.clip(np.searchsorted(arc, where_mm), 0, len(arc) - 1)
    turn = np.deg2rad(turn)
    sheet = (span + thick) * (2 * turn * branch.radius[centre] + thick) / (0.6 * thick**2)
    balls = np.clip(sheet, 1, ranges.most_balls).astype(int)
    shrunk = np.sqrt(np.minimum(1.0, balls / sheet))  # what is left of a larger sheet stays closed
    span, turn = span * shrunk, turn * shrunk
    own = np.repeat(np.arange(count), balls)
    away, angle = np.sqrt(rng.random(len(own))), rng.uniform(0, 2 * np.pi, len(own))
    shift = 0.5 * span[own] * away * np.cos(angle) / step
    at = np.clip(centre[own] + np.rint(shift).astype(int), 0, len(arc) - 1)
    along = tangents(branch.points, at)
    side = rng.normal(size=(count, 3)) if towards is None else np.broadcast_to(towards, (count, 3))
    out = across(along, side[own])
    round_ = third(along, out)
    bearing = (turn[own] * away * np.sin(angle))[:, None]
    from_axis = branch.radius[at] + thick[own] * rng.uniform(-0.1, 0.35, len(own))
    points = branch.points[at] + (out * np.cos(bearing) + round_ * np.sin(bearing)) * from_axis[:, None]
    size = 0.5 * thick[own] * np.exp(rng.normal(0, 0.25, len(own)))
    return Plaque(points, size, hu[own] * rng.uniform(0.8, 1.2, len(own)))
