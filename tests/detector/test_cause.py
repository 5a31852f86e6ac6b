"""What a finding looks like, on evidence drawn by hand: tubes of 3 by 3 voxels of 2 mm along x."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from lvo.anatomy import SITES, Segment, Side
from lvo.detector.cause import SHORT_MM, beyond, cause_of, find_gap, late_bolus
from lvo.detector.evidence import DEFICIT_GRID, EVIDENCE_GRID, VESSEL_CLASSES, Evidence, Tissue
from lvo.imaging.resample import HEAD_BOX
from lvo.study import BolusReport

Array = npt.NDArray[np.float32]
LUMEN_HU = 320.0
# Where each vessel lies along x, in voxels of EVIDENCE_GRID; the midline is between 35 and 36.
M1, M2 = (38, 50), (50, 62)
LEFT = SITES.index((Segment.M1, Side.LEFT))


def site(segment: Segment, side: Side = Side.LEFT) -> int:
    return SITES.index((segment, side))


def tubes(*vessels: tuple[Segment, Side, tuple[int, int], int]) -> Evidence:
    """Lit vessels: segment, side, first and behind-last voxel along x, and row along y."""
    vessel = np.zeros((VESSEL_CLASSES, *EVIDENCE_GRID.shape), np.float32)
    for segment, side, (first, last), row in vessels:
        vessel[1 + site(segment, side), 20:23, row : row + 3, first:last] = 1
    vessel[0] = 1 - vessel.sum(axis=0)
    none = np.zeros(EVIDENCE_GRID.shape, np.float32)
    bright = np.where(vessel[0] < 0.5, LUMEN_HU, 40).astype(np.float32)
    return Evidence(
        vessel,
        none + 1,
        none,
        none,
        none,
        bright,
        Tissue(np.zeros(len(SITES), np.float32), np.zeros(DEFICIT_GRID.shape, np.float32)),
    )


def middle_cerebral() -> Evidence:
    mirrored = ((22, 34), (10, 22))
    return tubes(
        (Segment.M1, Side.LEFT, M1, 20), (Segment.M2, Side.LEFT, M2, 20),
        (Segment.M1, Side.RIGHT, mirrored[0], 20), (Segment.M2, Side.RIGHT, mirrored[1], 20),
    )  # fmt: skip


def with_state(evidence: Evidence, state: str, first: int, last: int, p: float = 0.9) -> Evidence:
    """The same with a state between two voxels along x, and no contrast there."""
    fields = {name: getattr(evidence, name).copy() for name in ("lit", "missing", "clot", "bright")}
    part = np.s_[:, :, first:last]
    fields[state][part], fields["lit"][part], fields["bright"][part] = p, 1 - p, 45
    return replace(evidence, **fields)


def scan(evidence: Evidence) -> Array:
    """A CTA as bright as the evidence says."""
    return evidence.bright.repeat(2, 0).repeat(2, 1).repeat(2, 2)


def told(
    evidence: Evidence, at: int = LEFT, ncct: Array | None = None, cta: Array | None = None
) -> str | None:
    cause = cause_of(evidence, scan(evidence) if cta is None else cta, ncct, at)
    if cause is not None:
        assert cause.why.endswith(".")
    return cause.name if cause else None


def test_a_lit_artery_has_no_gap_and_no_cause() -> None:
    assert find_gap(middle_cerebral(), LEFT) is None
    assert told(middle_cerebral()) is None


def test_clot_with_nothing_lit_beyond_is_an_occlusion() -> None:
    evidence = with_state(with_state(middle_cerebral(), "clot", 44, 50), "missing", 50, 62)
    gap = find_gap(evidence, LEFT)
    assert gap is not None and gap.ends is None and gap.length_mm == pytest.approx(36, abs=3)
    assert told(evidence) == "occlusion"


def test_missing_lumen_without_a_clot_to_be_seen_is_an_occlusion_too() -> None:
    assert told(with_state(middle_cerebral(), "missing", 46, 62)) == "occlusion"


def test_a_short_gap_with_good_filling_beyond_is_a_stenosis() -> None:
    evidence = with_state(middle_cerebral(), "clot", 43, 45)
    assert told(evidence) == "high-grade-stenosis"
    gap = find_gap(evidence, LEFT)
    assert gap is not None and gap.length_mm <= SHORT_MM and gap.ends == (LUMEN_HU, LUMEN_HU)


@pytest.mark.parametrize("change", ["longer", "fainter beyond", "dark beyond", "dense on plain CT"])
def test_what_speaks_against_a_stenosis(change: str) -> None:
    evidence, ncct = with_state(middle_cerebral(), "clot", 43, 45), None
    if change == "longer":
        evidence = with_state(middle_cerebral(), "clot", 42, 48)
    elif change == "fainter beyond":
        evidence.bright[:, :, 45:] *= 0.5
    elif change == "dark beyond":
        evidence = with_state(evidence, "missing", 54, 62)
    else:
        ncct = np.full(HEAD_BOX.shape, 38, np.float32)
        ncct[:, :, 86:90] = 56
    assert told(evidence, ncct=ncct) == "occlusion"


def test_calcium_in_the_gap_is_told_before_all_else() -> None:
    evidence = with_state(middle_cerebral(), "clot", 43, 48)
    ncct = np.full(HEAD_BOX.shape, 38, np.float32)
    ncct[42:45, 42:45, 88:91] = 400
    assert told(evidence, ncct=ncct) == "calcified"
    cta = scan(evidence)
    cta[42:45, 42:45, 88:91] = LUMEN_HU + 300
    assert told(evidence, cta=cta) == "calcified"


def test_bone_beside_the_gap_and_plaque_elsewhere_are_not_its_calcium() -> None:
    evidence = with_state(middle_cerebral(), "clot", 43, 48)
    ncct = np.full(HEAD_BOX.shape, 38, np.float32)
    ncct[:, 42:60, 86:96] = 900  # as large as bone
    assert told(evidence, ncct=ncct) == "occlusion"
    ncct = np.full(HEAD_BOX.shape, 38, np.float32)
    ncct[42:45, 42:45, 116:119] = 400
    assert told(evidence, ncct=ncct) == "occlusion"


def anterior(left: tuple[int, int] | None) -> Evidence:
    """Both A1 and A2; the left A1 as given, or absent."""
    found = [(Segment.A1, Side.RIGHT, (22, 34), 20), (Segment.A2, Side.LEFT, (36, 48), 8)]
    return tubes(*found, *([(Segment.A1, Side.LEFT, left, 20)] if left else []))


@pytest.mark.parametrize("left", [None, (36, 39)])
def test_a_thin_or_absent_segment_before_a_lit_one_is_a_variant(left: tuple[int, int] | None) -> None:
    assert told(anterior(left), site(Segment.A1)) == "hypoplastic-variant"


def test_what_speaks_against_a_variant() -> None:
    assert told(anterior((36, 48)), site(Segment.A1)) is None  # as long as the other
    clot = with_state(anterior((36, 39)), "clot", 36, 39)
    assert told(clot, site(Segment.A1)) != "hypoplastic-variant"
    dark = with_state(anterior((36, 39)), "missing", 42, 48)
    assert told(dark, site(Segment.A1)) != "hypoplastic-variant"
    thin = tubes((Segment.M1, Side.RIGHT, (22, 34), 20), (Segment.M2, Side.LEFT, M2, 20))
    assert told(thin) is None  # M1 is never so thin


def bolus(phase: str | None, *cautions: str) -> BolusReport:
    return BolusReport.model_validate(
        {"left_ica_hu": 150, "right_ica_hu": None, "basilar_hu": None, "torcula_hu": 60, "phase": phase,
         "why": "As measured.", "cautions": cautions}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("report", "late"),
    [
        (bolus("venous", "late-phase"), True),
        (bolus("early-arterial", "weak-arterial-contrast", "early-phase"), True),
        (bolus("early-arterial", "early-phase"), False),
        (bolus("peak-arterial"), False),
        (bolus(None), False),
    ],
)
def test_missing_lumen_is_put_down_to_the_bolus_only_when_that_says_so(
    report: BolusReport, late: bool
) -> None:
    missing = with_state(middle_cerebral(), "missing", 46, 62)
    assert (late_bolus(missing, LEFT, report) is not None) is late
    assert late_bolus(with_state(missing, "clot", 42, 48), LEFT, report) is None


def test_what_lies_beyond_is_on_the_same_side() -> None:
    assert beyond(LEFT) == [site(Segment.M2)]
    assert beyond(site(Segment.V4, Side.RIGHT)) == [site(Segment.BASILAR, Side.MIDLINE)]
    assert beyond(site(Segment.BASILAR, Side.MIDLINE)) == [site(Segment.P1), site(Segment.P1, Side.RIGHT)]
    assert beyond(site(Segment.M3)) == []
