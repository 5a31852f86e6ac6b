"""What differs between patients' arterial trees: ranges, and one patient's draw."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from pydantic import BaseModel, ConfigDict

from lvo.anatomy import Side

BOTH = (Side.LEFT, Side.RIGHT)
Span = tuple[float, float]


class TreeRanges(BaseModel):
    """How arterial trees vary: probabilities, (mean, standard deviation) and (low, high).

    Frequencies: fetal PCA 16-18 % on one side and 2-5 % on both, PComA under 1 mm in 44 %, complete circle
    17 %, basilar hypoplasia 5.6 % (published CTA series, listed in `docs/phantom.md`). From general
    knowledge: A1 hypoplasia 10 %, vertebral hypoplasia 10-25 %, early M1 bifurcation 15-20 % of patients,
    bovine arch 15 %, left vertebral artery from the arch 5 %, azygos A2 1 %, fenestrations 1-2 %, persistent
    trigeminal artery 0.2-0.5 %. Height of the basilar artery's top: SD 4.5 mm (100 CTAs, Ilków et al., Cesk
    Slov Neurol N 2018), 4.7 mm (130 angiograms, No Shinkei Geka 1979;7:1155), of which the shape of the head
    makes two. Lengths in mm of an average adult. `_per_year` is per year from age 65.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    calibre_sd: float = 0.07
    calibre_side_correlation: float = 0.5
    calibre_per_year: float = 0.001
    wander_mm: float = 1.1
    swing: float = 0.24
    swing_sd: float = 0.25
    swing_per_year: float = 0.012
    ripple: float = 0.04

    fetal_one_side: float = 0.17
    fetal_both_sides: float = 0.035
    fetal_p1_absent: float = 0.3
    fetal_p1_size: Span = (0.2, 0.6)
    fetal_pcoma_mm: Span = (1.6, 2.2)
    pcoma_absent: float = 0.17
    pcoma_mm: Span = (1.11, 0.34)
    """Median, and standard deviation of the logarithm, where not fetal."""
    p1_hypoplasia: float = 0.03
    acoma_absent: float = 0.06
    acoma_mm: Span = (1.45, 0.35)
    a1_hypoplasia: float = 0.10
    a1_absent: float = 0.15
    """Share of those with a hypoplastic A1 in whom it is absent."""
    a1_size: Span = (0.3, 0.6)
    a1_compensation: float = 1.12
    basilar_hypoplasia: float = 0.056
    basilar_size: Span = (0.45, 0.65)
    vertebral_hypoplasia: float = 0.15
    vertebral_size: Span = (0.3, 0.6)
    vertebral_ends_in_pica: float = 0.2
    """Share of those with a hypoplastic vertebral artery."""
    vertebral_right_weak: float = 0.62
    vertebral_dominance: Span = (0.03, 0.07)
    azygos: float = 0.01
    fenestration_basilar: float = 0.01
    fenestration_m1: float = 0.004
    fenestration_a1: float = 0.004
    trigeminal: float = 0.0035
    bovine_arch: float = 0.15
    left_vertebral_from_arch: float = 0.05
    missing: dict[str, float] = {
        "PICA": 0.1, "lateral PICA": 0.3, "AICA": 0.08, "lateral SCA": 0.2, "temporopolar": 0.2,
        "anterior temporal": 0.1, "callosomarginal": 0.15, "frontopolar": 0.1, "orbitofrontal A2": 0.15,
        "middle internal frontal": 0.2, "posterior internal frontal": 0.15, "superior precuneal": 0.15,
        "inferior precuneal": 0.3, "splenial": 0.4, "anterior temporal P2": 0.2, "Heubner": 0.2,
        "superior thyroid": 0.1, "lingual": 0.1, "middle meningeal": 0.1, "pontine 1": 0.3, "pontine 2": 0.3,
        "lenticulostriate 1": 0.3, "lenticulostriate 4": 0.3,
    }  # fmt: skip
    """Probability by name that a vessel is absent or too small to be seen."""

    m1_length_mm: Span = (22.5, 8.3)
    m1_length_limits_mm: Span = (5.0, 40.0)
    m1_early_mm: float = 12.0
    """An M1 shorter than this is an early bifurcation."""
    m1_sag_mm: Span = (0.0, 1.8)
    trifurcation: float = 0.12
    trunk_exponent: float = 0.5
    """How much wider a trunk is with more branches."""
    cortical_sd: float = 0.0
    """Standard deviation of the logarithm of the cortical branches' calibre, each by itself; a side as a
    whole is thinner by half a normal deviate of seven tenths of it. A branch of less than half its calibre
    is absent; one in which a trunk ends keeps that half. A range of our own: no figure is known."""
    siphon_length: Span = (1.04, 0.4)
    siphon_height: Span = (1.0, 0.25)
    siphon_limits: Span = (0.55, 1.65)
    terminus_mm: float = 1.2
    basilar_length_mm: Span = (27.3, 5.8)
    basilar_length_limits_mm: Span = (14.0, 44.0)
    basilar_top_sd_mm: float = 4.0
    basilar_top_limits_mm: Span = (-16.0, 14.0)
    circle_follows_top: float = 1.0
    """How far `routes_posterior.CARRIED` goes along with a low or high top of the basilar artery."""
    basilar_bow_mm: Span = (0.0, 1.6)
    basilar_bow_per_year: float = 0.06
    basilar_bow_dominance_mm: float = 6.0
    v4_length_mm: Span = (43.0, 15.0)
    v4_length_limits_mm: Span = (16.0, 60.0)
    v4_dura_sd_mm: float = 2.5
    bulb_sd: float = 0.08
    """Standard deviation of the bulb's calibre beside that of the whole internal carotid artery."""
    kink: float = 0.08
    kink_per_year: float = 0.003
    kink_mm: Span = (6.0, 13.0)
    medial_carotid: float = 0.06

    twig_spacing_mm: Span = (8.0, 20.0)
    twig_length_mm: Span = (8.0, 30.0)
    twig_size: Span = (0.45, 0.8)
    twig_angle_deg: Span = (30.0, 75.0)
    twig_least_mm: float = 0.3
    """Twigs with a smaller diameter are left out."""
    sulcus_depth_mm: Span = (0.0, 6.0)
    surface_gap_mm: float = 0.5


@dataclass(slots=True)
class Variants:
    """One patient's draw.

    Attributes
    ----------
    size : factor of calibre by name and side; 0 leaves the vessel out.
    names : variants in words.
    """

    size: dict[tuple[str, Side], float] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    azygos: bool = False
    bovine: bool = False
    arch_vertebral: bool = False
    pica_ending: Side | None = None
    trigeminal: Side | None = None
    fenestrated: dict[str, Side] = field(default_factory=dict)

    def has(self, name: str, side: Side) -> bool:
        """Whether this patient has a vessel."""
        return self.size.get((name, side), 1.0) > 0


def draw_variants(rng: np.random.Generator, ranges: TreeRanges) -> Variants:
    """Draw which variants a patient has."""
    found = Variants()
    for name, rate in ranges.missing.items():
        for side, chance in zip(BOTH, rng.random(2).tolist(), strict=True):
            if chance < rate:
                found.size[name, side] = 0.0
    _front_of_circle(found, rng, ranges)
    _back_of_circle(found, rng, ranges)
    _vertebrobasilar(found, rng, ranges)
    _rarities(found, rng, ranges)
    return found


def _front_of_circle(v: Variants, rng: np.random.Generator, ranges: TreeRanges) -> None:
    v.size["AComA", Side.MIDLINE] = _lognormal(rng, ranges.acoma_mm)
    weak = _one_of(rng, BOTH)
    if rng.random() < ranges.a1_hypoplasia:
        v.size["A1", weak] = float(rng.uniform(*ranges.a1_size))
        v.size["A1", weak.mirrored] = ranges.a1_compensation
        v.size["AComA", Side.MIDLINE] *= ranges.a1_compensation
        if rng.random() < ranges.a1_absent:
            v.size["A1", weak] = v.size["Heubner", weak] = 0.0
            v.size["AComA", Side.MIDLINE] = max(v.size["AComA", Side.MIDLINE], 1.8)
            v.names.append(f"absent A1 {weak}")
        else:
            v.names.append(f"hypoplastic A1 {weak}")
    both = v.has("A1", Side.LEFT) and v.has("A1", Side.RIGHT)
    if rng.random() < ranges.azygos and both:
        v.azygos = True
        v.size["AComA", Side.MIDLINE] = 2.2
        v.names.append("azygos A2")
    if rng.random() < ranges.acoma_absent and both and not v.azygos:
        v.size["AComA", Side.MIDLINE] = 0.0
        v.names.append("absent AComA")


def _back_of_circle(v: Variants, rng: np.random.Generator, ranges: TreeRanges) -> None:
    draw, one = rng.random(), _one_of(rng, BOTH)
    both = draw < ranges.fetal_both_sides
    fetal = BOTH if both else (one,) if draw < ranges.fetal_both_sides + ranges.fetal_one_side else ()
    for side in BOTH:
        comm = 0.0 if rng.random() < ranges.pcoma_absent else _lognormal(rng, ranges.pcoma_mm)
        v.size["PComA", side] = min(comm, ranges.fetal_pcoma_mm[1])
        if side in fetal:
            v.size["PComA", side] = float(rng.uniform(*ranges.fetal_pcoma_mm))
            gone = rng.random() < ranges.fetal_p1_absent
            v.size["P1", side] = 0.0 if gone else float(rng.uniform(*ranges.fetal_p1_size))
            v.names.append(f"fetal PCA {side}")
            if gone:
                v.names.append(f"absent P1 {side}")
        elif rng.random() < ranges.p1_hypoplasia and comm > 1.0:
            v.size["P1", side] = float(rng.uniform(*ranges.fetal_p1_size))
            v.names.append(f"hypoplastic P1 {side}")


def _vertebrobasilar(v: Variants, rng: np.random.Generator, ranges: TreeRanges) -> None:
    dominance = float(rng.normal(*ranges.vertebral_dominance))
    for side, sign in zip(BOTH, (1, -1), strict=True):
        v.size["VA", side] = v.size["V4", side] = float(np.exp(sign * dominance))
    weak = Side.RIGHT if rng.random() < ranges.vertebral_right_weak else Side.LEFT
    if rng.random() < ranges.vertebral_hypoplasia:
        v.size["VA", weak] = v.size["V4", weak] = float(rng.uniform(*ranges.vertebral_size))
        if rng.random() < ranges.vertebral_ends_in_pica:
            v.pica_ending = weak
            v.size["PICA", weak] = 1.0
            v.names.append(f"vertebral artery ends in PICA {weak}")
        else:
            v.names.append(f"hypoplastic V4 {weak}")
    if rng.random() < ranges.basilar_hypoplasia:
        v.size["BA", Side.MIDLINE] = float(rng.uniform(*ranges.basilar_size))
        v.names.append("hypoplastic basilar")


def _rarities(v: Variants, rng: np.random.Generator, ranges: TreeRanges) -> None:
    side = _one_of(rng, BOTH)
    chance = rng.random(6).tolist()
    v.bovine, v.arch_vertebral = chance[0] < ranges.bovine_arch, chance[1] < ranges.left_vertebral_from_arch
    v.names.extend(["bovine arch"] if v.bovine else [])
    v.names.extend(["left vertebral artery from the arch"] if v.arch_vertebral else [])
    if chance[2] < ranges.trigeminal:
        v.trigeminal = side
        v.names.append(f"persistent trigeminal artery {side}")
    for name, rate, draw, where in (
        ("BA", ranges.fenestration_basilar, chance[3], Side.MIDLINE),
        ("M1", ranges.fenestration_m1, chance[4], side),
        ("A1", ranges.fenestration_a1, chance[5], side),
    ):
        if draw < rate and v.has(name, where):
            v.fenestrated[name] = where
            v.names.append("fenestrated basilar" if name == "BA" else f"fenestrated {name} {side}")


def _lognormal(rng: np.random.Generator, median_sigma: Span) -> float:
    return float(median_sigma[0] * np.exp(median_sigma[1] * rng.normal()))


def _one_of(rng: np.random.Generator, sides: tuple[Side, Side]) -> Side:
    return sides[int(rng.random() < 0.5)]
