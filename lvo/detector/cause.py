"""What a suspected occlusion looks like: clot, narrowing, a thin variant, calcium, or a bolus missed.

Rules on the network's evidence, each with its reason in a sentence; where none applies, nothing is said.
A cause explains a finding to its reader. It takes none away: what is paged does not depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lvo.anatomy import SITES, Segment, Side
from lvo.detector.evidence import EVIDENCE_GRID, MIRROR, STEP, Evidence
from lvo.imaging.bolus import plateau
from lvo.study import BolusReport, CauseName, FloatArray

Mask = npt.NDArray[np.bool_]

CLOT = 0.7
"""Mean clot probability of a site's four likeliest voxels (32 mm3) from which a clot is called clear."""
NO_CLOT = 0.3
"""And below which there is none to speak of."""
SHORT_MM = 6.0
"""Three voxels of the evidence. Ours: a quarter of clots is shorter than 7.6 mm (median 16.1, quartiles 7.6
and 25.2), so that it cannot tell a short clot for certain."""
CALCIUM_HU = 130.0
"""Agatston's threshold, on plain CT (J Am Coll Cardiol 1990;15:827); hyperdense clot has 48 to 54 HU."""
CALCIUM_MM3 = (3.0, 500.0)
"""Of it in the gap, or it is noise; and of the whole piece, or it is bone, with which plaque then merges."""
CALCIUM_ABOVE = 200.0
"""HU above this patient's arteries on CTA, where there is no plain CT: no contrast makes blood so bright."""
DENSE_HU, DENSE_RATIO = 48.0, 1.2
"""Hyperdense clot on plain CT: 48 to 54 HU, and 1.2 of the other side (patent vessels: 1.02)."""
THIN = 0.35
"""Extent of a hypoplastic segment against the other side's. Ours."""
# Ours: shares of a segment from which it is called lit or unlit; how alike both ends of a gap are filled.
_LIT = 0.8
_MISSING = 0.5
_EVEN = 0.75
_LEAST = 5.0  # voxels of a vessel, or nothing is said of it
_TOUCH = np.ones((3, 3, 3), bool)
_BEYOND: dict[Segment, Segment] = {
    Segment.ICA_CERVICAL: Segment.ICA_INTRACRANIAL,
    Segment.ICA_INTRACRANIAL: Segment.ICA_TERMINUS,
    Segment.ICA_TERMINUS: Segment.M1,
    Segment.M1: Segment.M2,
    Segment.M2: Segment.M3,
    Segment.A1: Segment.A2,
    Segment.V4: Segment.BASILAR,
    Segment.BASILAR: Segment.P1,
    Segment.P1: Segment.P2,
}
_OFTEN_THIN = (Segment.A1, Segment.P1, Segment.V4)


@dataclass(frozen=True, slots=True)
class Cause:
    """What a finding looks like, and what speaks for it in a sentence."""

    name: CauseName
    why: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of artery without lit lumen.

    Attributes
    ----------
    where : bool, shape of EVIDENCE_GRID
    length_mm : its extent from one lit end to the other; along its longest axis where there are not both
    ends : brightness (HU) of the lit lumen at the two ends; None unless there is lit lumen at both
    """

    where: Mask
    length_mm: float
    ends: tuple[float, float] | None


def cause_of(evidence: Evidence, cta: FloatArray, ncct: FloatArray | None, site: int) -> Cause | None:
    """What a suspected occlusion of a site looks like; None where nothing tells.

    Parameters
    ----------
    evidence : on EVIDENCE_GRID
    cta, ncct : float32 (128, 112, 144), HU on HEAD_BOX; the NCCT may be missing
    site : index in SITES
    """
    gap = find_gap(evidence, site)
    if gap is not None and (calcium := _calcium(evidence, cta, ncct, gap)) is not None:
        return calcium
    if (variant := _variant(evidence, site)) is not None:
        return variant
    if gap is not None and (stenosis := _stenosis(evidence, ncct, gap, site)) is not None:
        return stenosis
    return _occlusion(evidence, gap, site)


def late_bolus(evidence: Evidence, site: int, bolus: BolusReport) -> Cause | None:
    """Whether a finding without a clear clot may be contrast that has not come, or has gone."""
    if clot_strength(evidence, site) >= CLOT:
        return None
    if bolus.phase == "venous":
        return Cause(
            "late-bolus", f"No clear clot is seen and the contrast has left the arteries. {bolus.why}"
        )
    if bolus.phase == "early-arterial" and "weak-arterial-contrast" in bolus.cautions:
        return Cause("late-bolus", f"No clear clot is seen and the contrast has hardly come. {bolus.why}")
    return None


def clot_strength(evidence: Evidence, site: int) -> float:
    """Mean clot probability of the four likeliest voxels on or beside a site."""
    near = ndimage.maximum_filter(evidence.vessel[1 + site], 3)
    return float(np.partition((near * evidence.clot).ravel(), -4)[-4:].mean())


def find_gap(evidence: Evidence, site: int) -> Gap | None:
    """The unlit stretch on a site, with what follows it unlit; None if all of the site is lit."""
    artery = evidence.arteries >= 0.5
    blocked = artery & (evidence.lit < 0.5)
    labels, count = ndimage.label(blocked, _TOUCH)
    here = np.bincount(labels[evidence.vessel[1 + site] >= 0.3], minlength=count + 1)
    here[0] = 0
    if not here.any():
        return None
    where = labels == int(here.argmax())
    points = np.argwhere(where) * EVIDENCE_GRID.spacing
    ends = _ends(where, artery & (evidence.lit >= 0.5))
    if ends is None:
        away = points - points.mean(0)
        along = np.linalg.svd(away, full_matrices=False)[2][0] if len(points) > 1 else np.eye(3)[0]
    else:
        apart = np.argwhere(ends[1]).mean(0) - np.argwhere(ends[0]).mean(0)
        along = apart / np.linalg.norm(apart)
    length = float(np.ptp(points @ along) + EVIDENCE_GRID.spacing)
    if ends is None:
        return Gap(where, length, None)
    one, other = (float(np.percentile(evidence.bright[end], 75)) for end in ends)
    return Gap(where, length, (one, other))


def _ends(gap: Mask, lit: Mask) -> tuple[Mask, Mask] | None:
    """Lit lumen that touches a gap on two opposite sides."""
    shell = ndimage.binary_dilation(gap, _TOUCH, iterations=2) & lit
    labels, count = ndimage.label(shell, _TOUCH)
    centre = np.argwhere(gap).mean(0)
    pieces = sorted((labels == n for n in range(1, count + 1)), key=np.count_nonzero, reverse=True)
    pieces = [piece for piece in pieces if np.count_nonzero(piece) >= 2]
    towards = [np.argwhere(piece).mean(0) - centre for piece in pieces]
    for n, a in enumerate(towards):
        for m, b in enumerate(towards[n + 1 :], start=n + 1):
            if a @ b < 0:
                return pieces[n], pieces[m]
    return None


def _calcium(evidence: Evidence, cta: FloatArray, ncct: FloatArray | None, gap: Gap) -> Cause | None:
    inside = ndimage.binary_dilation(_fine(gap.where))
    if ncct is not None:
        volume = _small_pieces(ncct, CALCIUM_HU, inside)
        if volume >= CALCIUM_MM3[0]:
            why = f"{volume:.0f} mm3 of the gap exceed {CALCIUM_HU:.0f} HU on the plain CT."
            return Cause("calcified", why)
    # Bone beside the carotid and vertebral arteries is no measure of contrast: their plateau is.
    well_lit = evidence.lit * evidence.arteries >= 0.8
    level = plateau(evidence.bright[well_lit], 20)
    if level is None:
        return None
    volume = _small_pieces(cta, level + CALCIUM_ABOVE, inside)
    if volume < CALCIUM_MM3[0]:
        return None
    why = f"{volume:.0f} mm3 of the gap exceed {level + CALCIUM_ABOVE:.0f} HU, far above the arteries'"
    return Cause("calcified", f"{why} {level:.0f} HU.")


def _small_pieces(hu: FloatArray, above: float, inside: Mask) -> float:
    """How much of what is brighter lies inside, mm3 (voxels of 1 mm), without pieces as large as bone."""
    labels, _ = ndimage.label(hu > above, _TOUCH)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    small = (sizes > 0) & (sizes <= CALCIUM_MM3[1])
    return float(np.count_nonzero(small[labels] & inside))


def _variant(evidence: Evidence, site: int) -> Cause | None:
    segment, _ = SITES[site]
    if segment not in _OFTEN_THIN or clot_strength(evidence, site) >= NO_CLOT:
        return None
    extent, other = (float(evidence.vessel[1 + n].sum()) for n in (site, int(MIRROR[site])))
    if other < _LEAST or extent > THIN * other or not _is_lit(evidence, [int(MIRROR[site])]):
        return None
    if not _is_lit(evidence, beyond(site)):
        return None
    following = _BEYOND[segment].label
    why = f"The whole segment is thin or absent ({extent / other:.0%} of the other side), without clot; the"
    return Cause("hypoplastic-variant", f"{why} {following} beyond is lit.")


def _stenosis(evidence: Evidence, ncct: FloatArray | None, gap: Gap, site: int) -> Cause | None:
    if gap.ends is None or gap.length_mm > SHORT_MM or (ncct is not None and _dense(ncct, gap)):
        return None
    low, high = sorted(gap.ends)
    after = beyond(site)
    dark = after and not _is_lit(evidence, after) and _extent(evidence, after) >= _LEAST
    if dark or low < _EVEN * high:
        return None
    why = f"The lumen is interrupted for only {gap.length_mm:.0f} mm and as well filled beyond as before"
    return Cause("high-grade-stenosis", f"{why} ({low:.0f} and {high:.0f} HU); a short clot looks alike.")


def _dense(ncct: FloatArray, gap: Gap) -> bool:
    """Whether the gap holds what looks like clot on the plain CT."""
    inside = _fine(gap.where)
    here, there = (float(np.median(a[inside])) for a in (ncct, ncct[..., ::-1]))
    return here >= DENSE_HU and here > DENSE_RATIO * there


def _occlusion(evidence: Evidence, gap: Gap | None, site: int) -> Cause | None:
    if gap is None:
        return None
    if clot_strength(evidence, site) >= CLOT and np.count_nonzero(gap.where) >= 4:
        why = f"Clot is seen in the lumen; it and what follows are unlit over {gap.length_mm:.0f} mm."
        return Cause("occlusion", why)
    after = beyond(site)
    share = _share(evidence, after, evidence.missing + evidence.clot)
    if after and _extent(evidence, after) >= _LEAST and share >= _MISSING:
        following = SITES[after[0]][0].label
        why = f"The lumen is unlit, and so is {share:.0%} of the {following} beyond."
        return Cause("occlusion", why)
    return None


def beyond(site: int) -> list[int]:
    """Indices of the sites that follow a site downstream; empty for the last."""
    segment, side = SITES[site]
    following = _BEYOND.get(segment)
    if following is None:
        return []
    if following is Segment.BASILAR:
        return [SITES.index((following, Side.MIDLINE))]
    sides = following.sides if side is Side.MIDLINE else (side,)
    return [SITES.index((following, s)) for s in sides]


def _extent(evidence: Evidence, sites: list[int]) -> float:
    """How many voxels of these sites there are."""
    return float(sum(evidence.vessel[1 + n].sum() for n in sites))


def _share(evidence: Evidence, sites: list[int], state: FloatArray) -> float:
    """Share of these sites that is in a state; 0 where there are none."""
    held = sum(float((evidence.vessel[1 + n] * state).sum()) for n in sites)
    return held / max(_extent(evidence, sites), 1e-6)


def _is_lit(evidence: Evidence, sites: list[int]) -> bool:
    """Whether there is a vessel and nearly all of it is lit."""
    return _extent(evidence, sites) >= _LEAST and _share(evidence, sites, evidence.lit) >= _LIT


def _fine(where: Mask) -> Mask:
    """The same places in the voxels of HEAD_BOX."""
    return np.asarray(where.repeat(STEP, 0).repeat(STEP, 1).repeat(STEP, 2))
