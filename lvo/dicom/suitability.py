"""Whether a stack that is a CTA (or an NCCT) is good enough, judged from its headers."""

from __future__ import annotations

import contextlib
from typing import Literal

from lvo.dicom import roles
from lvo.dicom.instance import Instance
from lvo.dicom.stacks import Group
from lvo.errors import LossyBeyondUse, NoSuitableSeries, NotAnalysable, SlicesTooThick
from lvo.study import Reason, Role

THIN_MM = 1.6
THICKEST_CTA_MM = 3.0
TESTED_KVP = (80.0, 120.0)
"""What the model's training and its figures cover."""
MAX_LOSSY_RATIO = 10.0
"""At 5:1 readers cannot tell a CT from the original, at 10:1 nearly always (Eur Radiol 2007;17:1529); the
Canadian standard of 2008 allows 12:1 for the head."""
_MIN_EXTENT_MM = 80.0
_NCCT_MM = (0.3, 10.0)
_LEAST_BITS = 9
_NATIVE_BYTES = {8: 1, 16: 2, 32: 4}


def rejection(group: Group, role: Role) -> NotAnalysable | None:
    """Why a stack may not be used as the CTA or the NCCT; None where nothing speaks against it."""
    spacing = group.spacing_mm or 0.0
    if role is Role.CTA and thickness_mm(group) > THICKEST_CTA_MM + 0.1:
        return SlicesTooThick(f"({thickness_mm(group):.1f} mm)")
    if role is Role.NCCT and not _NCCT_MM[0] <= spacing <= _NCCT_MM[1]:
        return NoSuitableSeries(f"(its slices lie {spacing:.1f} mm apart)")
    if group.extent_mm + spacing < _MIN_EXTENT_MM:
        return NoSuitableSeries(f"(it covers only {group.extent_mm:.0f} mm)")
    if (ratio := lossy_ratio(group)) is not None:
        if ratio > MAX_LOSSY_RATIO:
            return LossyBeyondUse(f"({ratio:.0f}:1)")
        if group.first.bits_stored < _LEAST_BITS:
            return LossyBeyondUse(f"({group.first.bits_stored} bits a pixel)")
    return None


def cautions(group: Group, role: Role) -> tuple[Reason, ...]:
    """What is worth knowing about a stack that is used."""
    found = []
    if (ratio := lossy_ratio(group)) is not None:
        text = f"The images were compressed with loss ({ratio:.1f}:1)."
        found.append(_note("lossy-compression", text, group))
    if role is not Role.CTA:
        return tuple(found)
    kvp = group.first.kvp
    if kvp is not None and not TESTED_KVP[0] <= kvp <= TESTED_KVP[1]:
        tested = f"{TESTED_KVP[0]:.0f} to {TESTED_KVP[1]:.0f} kV"
        text = f"The tube voltage ({kvp:.0f} kV) is outside what was tested ({tested})."
        found.append(_note("kvp-untested", text, group))
    if is_thick(group):
        text = f"No thin CTA series was sent; slices of {thickness_mm(group):.1f} mm were used."
        found.append(_note("thick-slices", text, group))
    if roles.is_sharp(group.first.kernel):
        found.append(_note("sharp-kernel", f"Only a sharp kernel was sent ({group.first.kernel}).", group))
    if roles.is_secondary(group):
        found.append(_note("secondary-series", "Only a derived axial series was sent.", group))
    return tuple(found)


def thickness_mm(group: Group) -> float:
    """The larger of slice distance and nominal thickness, for choosing only; never used as geometry."""
    return max(group.spacing_mm or 0.0, group.first.slice_thickness or 0.0)


def is_thick(group: Group) -> bool:
    """Whether distal occlusions may hide between the slices."""
    return thickness_mm(group) > THIN_MM + 0.4


def lossy_ratio(group: Group) -> float | None:
    """The highest ratio of compression with loss; None where there was none."""
    return max((r for i in group.instances if (r := _ratio(i)) is not None), default=None)


def _ratio(instance: Instance) -> float | None:
    """What the sender says, or more where the stored size says more."""
    if instance.lossy_ratio is None:
        return None
    stored = instance.pixels.length if instance.pixels is not None else None
    if stored is None and instance.pixels is not None:
        with contextlib.suppress(OSError):  # a file that is gone by now falls under the slices that fail
            stored = instance.path.stat().st_size - instance.pixels.offset
    if not stored or instance.frames > 1:
        return instance.lossy_ratio
    size = (instance.rows or 0) * (instance.columns or 0) * _NATIVE_BYTES.get(instance.bits_allocated, 2)
    return max(instance.lossy_ratio, size / stored)


def _note(code: str, text: str, group: Group, kind: Literal["caution"] = "caution") -> Reason:
    return Reason(code=code, message=text, kind=kind, series_instance_uid=group.first.series_uid)
