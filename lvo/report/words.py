"""Causes and the bolus in the words a physician reads, the same on the terminal and in pictures."""

from __future__ import annotations

from lvo.anatomy import Side
from lvo.study import BolusPhase, BolusReport, CauseName, Finding

CAUSE: dict[CauseName, str] = {
    "occlusion": "occlusion",
    "high-grade-stenosis": "high-grade stenosis",
    "hypoplastic-variant": "hypoplastic variant",
    "calcified": "calcified lesion",
    "late-bolus": "mistimed bolus",
}
PHASE: dict[BolusPhase, str] = {
    "early-arterial": "early arterial phase",
    "peak-arterial": "peak arterial phase",
    "late": "late phase",
    "venous": "venous phase",
}

_DEFICIT_TOLD = 0.1
"""Share of its contrast that the brain lacks more than the other side's, from which it is told."""


def place(finding: Finding) -> str:
    """Segment and side as a physician says them: ``left M1``, ``basilar artery``."""
    side = "" if finding.side is Side.MIDLINE else f"{finding.side.value} "
    return f"{side}{finding.segment.label}"


def cause_line(finding: Finding) -> str:
    """What a finding looks like and why; empty where nothing tells."""
    if finding.cause is None:
        return ""
    return f"Looks like: {CAUSE[finding.cause]}. {finding.cause_why or ''}".strip()


def brain_line(finding: Finding) -> str:
    """What the brain that a finding feeds lacks; empty where that is nothing to speak of."""
    own, other = finding.brain_deficit, finding.brain_deficit_other_side
    if own is None or own - (other or 0) < _DEFICIT_TOLD:
        return ""
    against = "" if other is None else f", that of the other side {other:.0%}"
    return f"The brain that it feeds lacks {own:.0%} of its contrast{against}."


def bolus_line(bolus: BolusReport) -> str:
    """Phase and levels in one line, HU; what could not be measured is named as such."""
    phase = "phase not known" if bolus.phase is None else PHASE[bolus.phase]
    levels = (
        ("left ICA", bolus.left_ica_hu),
        ("right ICA", bolus.right_ica_hu),
        ("basilar", bolus.basilar_hu),
        ("torcula", bolus.torcula_hu),
    )
    told = ", ".join(f"{name} {'not measurable' if hu is None else f'{hu:.0f}'}" for name, hu in levels)
    return f"Bolus: {phase}. HU: {told}."
