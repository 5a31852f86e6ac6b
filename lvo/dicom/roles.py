"""What a group of images is, as far as its headers can say."""

from __future__ import annotations

import re

from lvo.dicom.pixels import MAX_SLICE_PIXELS
from lvo.dicom.stacks import Group, derived_types
from lvo.errors import BurnedInPixels, NotAnalysable, NotHounsfield, PassesMixed, SeriesTooLarge
from lvo.study import Role

DYNAMIC_PHASES = 6
"""A series of this many passes is dynamic (perfusion); phases of an angiogram are two to four."""
_DOSE_SR = "1.2.840.10008.5.1.4.1.1.88.67"
_DOSE_NAMES = re.compile(r"DOSE.?(REPORT|INFO|RECORD|SUMMARY)|PATIENT.?PROTOCOL", re.IGNORECASE)
_HU_TYPES = frozenset({"", "HU", "US", "HU_MOD"})
_SHORT_MM = 20.0
_CT_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
        "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
        "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image Storage
    }
)
_DERIVED_NAMES = re.compile(
    r"\bMIPS?\b|MIP$|\bMINIP|\bVRT?\b|\bSSD\b|\b3D\b|\bSUB(TRACT\w*)?\b|\bBONE.?(LESS|REMOV)|\bIODINE|\bVNC\b|"
    r"\bVIRTUAL|\bCBF\b|\bCBV\b|\bT?MTT\b|\bTMAX\b|\bTTP\b|\bTTD\b",
    re.IGNORECASE,
)
_CTA_NAMES = re.compile(r"\bCTA\b|ANGIO|\bCOW\b|WILLIS|CAROTI|ARTERI", re.IGNORECASE)
_LATE_NAMES = re.compile(r"VEN(OUS|OGR)|\bCTV\b|DELAY|\bLATE\b|SP[AÄ]T", re.IGNORECASE)
_SHARP_NAMES = re.compile(r"BONE|EDGE|LUNG|ULTRA|SHARP|DETAIL\+", re.IGNORECASE)
_SIEMENS = re.compile(r"^[A-Z][a-z]?(\d{2})[a-z]?")
_CANON = re.compile(r"^FC(\d{2})", re.IGNORECASE)
_PHILIPS_SHARP = re.compile(r"^(D|E|L|Y[A-D]|U[B-C])$", re.IGNORECASE)


def role_from_headers(group: Group) -> tuple[Role | None, str]:
    """Role and a sentence, where the headers suffice; (None, "") for a stack whose pixels must speak."""
    first = group.first
    if first.sop_class_uid == _DOSE_SR or _DOSE_NAMES.search(first.description):
        return Role.DOSE_REPORT, "It is a dose report."
    if first.modality != "CT":
        return Role.NOT_CT, f"The modality is {first.modality or 'not given'}, not CT."
    if first.sop_class_uid not in _CT_CLASSES:
        return Role.DERIVED, "It is not stored as CT images (a capture or a report)."
    if "LOCALIZER" in first.image_type:
        return Role.TOPOGRAM, "It is a localizer."
    if any(r.code == "conflicting-instances" for r in group.reasons):
        return Role.UNREADABLE, "Different images share one identifier."
    if _slice_too_large(group):
        return Role.UNREADABLE, "Its images are larger than any CT."
    if not group.has_geometry:
        return (
            Role.OTHER_CT,
            "The images lack a position, an orientation or a pixel spacing that makes sense.",
        )
    if first.samples != 1:
        return Role.DERIVED, "It is a colour image."
    if (derived := _derived(group)) is not None:
        return Role.DERIVED, derived
    return _by_extent(group)


def rejection_from_headers(group: Group) -> NotAnalysable | None:
    """Why a stack of CT images may not be used whatever it shows; None where nothing speaks against it."""
    if group.first.modality != "CT":
        return None
    if _slice_too_large(group):
        return SeriesTooLarge(f"({group.first.rows} x {group.first.columns} pixels)")
    if any(i.burned_in for i in group.instances):
        return BurnedInPixels()
    if any(i.rescale_type not in _HU_TYPES for i in group.instances):
        return NotHounsfield()
    if 1 < group.passes < DYNAMIC_PHASES and group.extent_mm >= _SHORT_MM:
        return PassesMixed(f"({group.passes} images at one place)")
    return None


def _slice_too_large(group: Group) -> bool:
    return (group.first.rows or 0) * (group.first.columns or 0) > MAX_SLICE_PIXELS


def _derived(group: Group) -> str | None:
    first = group.first
    if kinds := derived_types(first):
        return f"It is a derived series ({', '.join(kinds).lower()})."
    if any(i.burned_in for i in group.instances):
        return "It has text burned into the pixels."
    if any(i.rescale_type not in _HU_TYPES for i in group.instances):
        return "Its values are not Hounsfield units."
    if _DERIVED_NAMES.search(first.description):
        return "Its description says that it is derived."
    if abs(group.normal[2]) < 0.7071:
        return "It is a reformat that is not axial."
    return None


def _by_extent(group: Group) -> tuple[Role | None, str]:
    count, extent = len(group.instances), group.extent_mm
    places = count / group.passes
    if group.phases >= DYNAMIC_PHASES:
        return (
            Role.PERFUSION,
            f"It is pass {group.phase} of {group.phases}: perfusion or another dynamic series.",
        )
    if group.passes > 1 and (places <= 4 or extent < _SHORT_MM):
        return Role.BOLUS_TRACKING, f"It shows {count} images at {round(places)} place(s): bolus tracking."
    if group.passes > 1:
        what = f"It shows the same places {group.passes} times"
        if group.passes >= DYNAMIC_PHASES:
            return Role.PERFUSION, f"{what}: perfusion or another dynamic series."
        return Role.OTHER_CT, f"{what}, and nothing in the headers tells the passes apart."
    if count <= 4 or extent < _SHORT_MM:
        return Role.BOLUS_TRACKING, f"It has only {count} image(s): a monitoring or test scan."
    return None, ""


def is_sharp(kernel: str) -> bool:
    """Whether a convolution kernel is made for bone or lung rather than soft tissue and vessels."""
    name = kernel.split("\\")[0].strip()
    if match := _CANON.match(name):
        number = int(match[1])
        return 30 <= number < 40 or 50 <= number < 60 or number >= 80
    if match := _SIEMENS.match(name):
        return int(match[1]) >= 58
    return bool(_SHARP_NAMES.search(name) or _PHILIPS_SHARP.match(name))


def named_cta(group: Group) -> bool:
    """Whether the sender says that contrast was given or calls the series an angiogram."""
    agent = group.first.contrast_agent.upper()
    return bool(agent not in ("", "NO", "NONE") or _CTA_NAMES.search(group.first.description))


def named_late(group: Group) -> bool:
    """Whether the description says venous or delayed."""
    return bool(_LATE_NAMES.search(group.first.description))


def is_secondary(group: Group) -> bool:
    """Whether the pixels were computed from other images."""
    return bool({"DERIVED", "SECONDARY"} & set(group.first.image_type[:2]))
