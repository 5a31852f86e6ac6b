"""What vessels are called and which number their lumen has in a label map: pure data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lvo.anatomy import SITES, Segment, Side

_BOTH = (Side.LEFT, Side.RIGHT)
_MIDLINE = (Side.MIDLINE,)

OTHER_ARTERIES: dict[str, tuple[Side, ...]] = {
    "M4": _BOTH,
    "A2": _MIDLINE,  # an azygos A2 serves both sides and is no reportable site
    "A3": (*_BOTH, Side.MIDLINE),
    "P3": _BOTH,
    "SCA": _BOTH,
    "AICA": _BOTH,
    "PICA": _BOTH,
    "ophthalmic": _BOTH,
    "anterior choroidal": _BOTH,
    "PComA": _BOTH,
    "AComA": _MIDLINE,
    "lenticulostriate": _BOTH,
    "persistent trigeminal": _BOTH,
    "VA": _BOTH,  # V1 to V3
    "ECA": _BOTH,
    "CCA": _BOTH,
    "subclavian": _BOTH,  # with the brachiocephalic trunk on the right
    "aorta": _MIDLINE,
}
"""Arteries that are drawn and labelled, but are not sites at which an occlusion is reported."""

VEIN_STRUCTURES: dict[str, tuple[Side, ...]] = {
    "superior sagittal sinus": _MIDLINE,
    "inferior sagittal sinus": _MIDLINE,
    "straight sinus": _MIDLINE,
    "transverse sinus": _BOTH,
    "sigmoid sinus": _BOTH,
    "internal jugular vein": _BOTH,
    "cavernous sinus": _BOTH,
    "petrosal sinus": _BOTH,
    "vein of Galen": _MIDLINE,
    "internal cerebral vein": _BOTH,
    "basal vein": _BOTH,
    "Sylvian vein": _BOTH,
    "cortical vein": _BOTH,
    "ophthalmic vein": _BOTH,
}
"""Veins and dural sinuses."""


@dataclass(frozen=True, slots=True)
class Label:
    """One number of the vessel label map.

    Attributes
    ----------
    structure : the vessel, as `lvo.anatomy.Segment` or the tables above spell it.
    site : the reportable site it is, or None.
    """

    number: int
    structure: str
    side: Side
    vein: bool
    site: tuple[Segment, Side] | None


def _labels() -> tuple[Label, ...]:
    sites = [(segment.value, side, False, (segment, side)) for segment, side in SITES]
    others = [(name, side, False, None) for name, sides in OTHER_ARTERIES.items() for side in sides]
    veins = [(name, side, True, None) for name, sides in VEIN_STRUCTURES.items() for side in sides]
    rows = enumerate([*sites, *others, *veins], start=1)
    return tuple(Label(n, name, side, vein, site) for n, (name, side, vein, site) in rows)


LABELS: tuple[Label, ...] = _labels()
"""All labels, number 1 first; 0 is no vessel. The first `len(SITES)` are `lvo.anatomy.SITES` in order."""
LABEL_OF: dict[tuple[str, Side], int] = {(label.structure, label.side): label.number for label in LABELS}
"""Number of a structure on a side."""
SITE_INDEX: dict[tuple[Segment, Side], int] = {site: n for n, site in enumerate(SITES, start=1)}
"""Number of every reportable site."""
OTHER_ARTERY, VEIN = len(SITES) + 1, len(SITES) + 2
"""Numbers that `COARSE` gives to arteries without a site, and to veins."""
COARSE = np.array(
    [0, *(VEIN if b.vein else b.number if b.site else OTHER_ARTERY for b in LABELS)], dtype=np.uint8
)
"""Label number to what a detector tells apart: site, other artery, vein; shape (labels + 1,)."""
MIRRORED = np.array([0, *(LABEL_OF[b.structure, b.side.mirrored] for b in LABELS)], dtype=np.uint8)
"""Label number of the same vessel in a mirrored head; shape (labels + 1,)."""
SEGMENT_OF: dict[str, Segment] = {segment.value: segment for segment in Segment}
"""Segment of a structure that has one."""
