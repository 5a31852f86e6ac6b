"""Segments, sides and alert tiers: pure data, in the field's own words."""

from __future__ import annotations

from enum import StrEnum


class Side(StrEnum):
    """The patient's own side."""

    LEFT = "left"
    RIGHT = "right"
    MIDLINE = "midline"

    @property
    def mirrored(self) -> Side:
        """The same place in a head reflected in the midsagittal plane."""
        return {Side.LEFT: Side.RIGHT, Side.RIGHT: Side.LEFT}.get(self, self)


class Segment(StrEnum):
    """Arterial segments, most proximal first (the order in which findings are reported)."""

    ICA_CERVICAL = "ICA-C"
    ICA_INTRACRANIAL = "ICA-I"
    ICA_TERMINUS = "ICA-T"
    M1 = "M1"
    M2 = "M2"
    M3 = "M3"
    A1 = "A1"
    A2 = "A2"
    V4 = "V4"
    BASILAR = "BA"
    P1 = "P1"
    P2 = "P2"

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides on which the segment exists."""
        return (Side.MIDLINE,) if self is Segment.BASILAR else (Side.LEFT, Side.RIGHT)

    @property
    def label(self) -> str:
        """The name a physician reads."""
        return _LABELS[self]


_LABELS = {
    Segment.ICA_CERVICAL: "cervical ICA",
    Segment.ICA_INTRACRANIAL: "intracranial ICA",
    Segment.ICA_TERMINUS: "ICA terminus",
    Segment.BASILAR: "basilar artery",
}
_LABELS |= {s: s.value for s in Segment if s not in _LABELS}

SITES: tuple[tuple[Segment, Side], ...] = tuple((seg, side) for seg in Segment for side in seg.sides)
"""Every place an occlusion can be reported, in reporting order."""


class Tier(StrEnum):
    """How urgently a result is told, most urgent first."""

    THROMBECTOMY = "thrombectomy"
    """An occlusion for which thrombectomy is established: page now."""
    MEDIUM_VESSEL = "medium-vessel"
    """Shown, not paged: DISTAL and ESCAPE-MeVO were neutral."""
    NOT_ANALYSED = "not-analysed"
    """No answer: as urgent as a positive, because silence reads as negative."""
    NONE = "none"
    """Nothing suspected: delivered, not paged."""


THROMBECTOMY_SEGMENTS = frozenset(
    {
        Segment.ICA_CERVICAL,
        Segment.ICA_INTRACRANIAL,
        Segment.ICA_TERMINUS,
        Segment.M1,
        Segment.M2,
        Segment.BASILAR,
    }
)
"""Segments whose occlusion is paged; V4, M3, A1, A2, P1 and P2 are shown."""

TANDEM_SEGMENTS = frozenset({Segment.ICA_TERMINUS, Segment.M1, Segment.M2})
"""Where the intracranial clot of a tandem occlusion lies: the other is in the cervical ICA of its side."""

SNOMED: dict[Segment, tuple[str, str]] = {
    Segment.ICA_CERVICAL: ("86117002", "Internal carotid artery structure"),
    Segment.ICA_INTRACRANIAL: ("86117002", "Internal carotid artery structure"),
    Segment.ICA_TERMINUS: ("415646005", "Terminal internal carotid artery"),
    Segment.M1: ("414722000", "M1 segment of middle cerebral artery"),
    Segment.M2: ("414723005", "M2 segment of middle cerebral artery"),
    Segment.A1: ("60176003", "Structure of anterior cerebral artery"),
    Segment.A2: ("60176003", "Structure of anterior cerebral artery"),
    Segment.V4: ("85234005", "Structure of vertebral artery"),
    Segment.BASILAR: ("59011009", "Structure of basilar artery"),
    Segment.P1: ("415144009", "P1 segment of posterior cerebral artery"),
    Segment.P2: ("415145005", "P2 segment of posterior cerebral artery"),
}
"""SNOMED CT codes of the segments that have one."""
