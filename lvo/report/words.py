"""Causes and the bolus in the words a physician reads, the same on the terminal and in pictures."""

from __future__ import annotations

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


def cause_line(finding: Finding) -> str:
    """What a finding looks like and why; empty where nothing tells."""
    if finding.cause is None:
        return ""
    return f"Looks like: {CAUSE[finding.cause]}. {finding.cause_why or ''}".strip()


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
