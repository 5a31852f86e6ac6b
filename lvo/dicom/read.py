"""Read a study: headers, roles, choice, decoding. Every series gets a record that says what became of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lvo.dicom import roles
from lvo.dicom.headers import Headers, scan
from lvo.dicom.probe import Probe, probe
from lvo.dicom.stacks import Group, group_instances
from lvo.dicom.volumes import decode_group
from lvo.errors import (
    LvoError,
    MixedPatients,
    NoCt,
    NoDicom,
    NoSuitableSeries,
    NotAnalysable,
    PixelsUnreadable,
    SlicesMissing,
)
from lvo.study import Reason, Role, SeriesRecord, Study, Volume

_MIN_EXTENT_MM = 80.0
_CONTRAST_CM2 = {True: 0.08, False: 0.2}
"""Area of contrast per slice that makes a CTA: less is needed where the sender says contrast was given."""
_NCCT_MM = (0.3, 10.0)


@dataclass(slots=True)
class _Candidate:
    """A group on its way to a record."""

    group: Group
    role: Role | None
    why: str
    chosen: bool = False
    probe: Probe | None = None
    reasons: tuple[Reason, ...] = ()

    def record(self) -> SeriesRecord:
        first = self.group.first
        return SeriesRecord(
            series_instance_uid=first.series_uid,
            series_number=first.series_number,
            description=first.description,
            modality=first.modality,
            role=self.role or Role.OTHER_CT,
            chosen=self.chosen,
            why=self.why,
            instances=len(self.group.instances),
            rows=first.rows,
            columns=first.columns,
            slice_spacing_mm=self.group.spacing_mm,
            kernel=first.kernel,
            kvp=first.kvp,
            reasons=self.reasons,
        )


def read_study(source: Path | Sequence[Path]) -> Study:
    """Find the CT angiogram and the non-contrast CT among DICOM files, and decode them.

    Parameters
    ----------
    source : Path or sequence of Path
        A folder (searched to any depth, any file naming), a file, or a list of these.

    Returns
    -------
    Study
        With a record of every series. Where neither a CTA nor an NCCT can be used, both are None and
        ``reasons`` holds the rejection; nothing is raised for that. ``timings_s`` has ``headers``,
        ``choice`` and ``decode``.

    Raises
    ------
    PathNotFound
        If a given path does not exist.
    """
    started = time.perf_counter()
    headers = scan(source)
    candidates = [
        _Candidate(group, *roles.role_from_headers(group), reasons=group.reasons)
        for group in group_instances(headers.instances)
    ]
    timings = {"headers": time.perf_counter() - started}
    reasons = _file_reasons(headers)
    studies = {i.study_uid for i in headers.instances}
    uid = next(iter(studies)) if len(studies) == 1 else None
    if (refusal := _refuse(headers, studies)) is not None:
        for candidate in candidates:
            candidate.why = candidate.why or "The study was refused as a whole."
        return Study(uid, _records(candidates), None, None, (_rejection(refusal), *reasons), timings)

    started = time.perf_counter()
    _look_at_pixels(candidates)
    timings["choice"] = time.perf_counter() - started

    started = time.perf_counter()
    cta, cta_reasons = _decode_first(candidates, Role.CTA)
    ncct, ncct_reasons = _decode_first(candidates, Role.NCCT)
    timings["decode"] = time.perf_counter() - started
    reasons = (*cta_reasons, *ncct_reasons, *reasons)
    if cta is None:
        reasons = (*_why_no_cta(candidates, ncct is not None), *reasons)
    return Study(uid, _records(candidates), cta, ncct, reasons, timings)


def _records(candidates: Iterable[_Candidate]) -> tuple[SeriesRecord, ...]:
    return tuple(c.record() for c in candidates)


def _refuse(headers: Headers, studies: set[str]) -> NotAnalysable | None:
    """A refusal of the whole study, if the headers call for one."""
    if not headers.instances:
        if headers.files == 0:
            return NoDicom("(the folder is empty)")
        detail = f"({headers.files} file(s) looked at, {headers.not_dicom} not DICOM Part 10"
        return NoDicom(f"{detail}, {headers.unreadable} unreadable or truncated)")
    patients = {i.patient_id for i in headers.instances if i.patient_id}
    if len(studies) > 1 or len(patients) > 1:
        # Counts only: identifiers do not belong in messages.
        return MixedPatients(f"({len(studies)} studies, {len(patients)} patient identifiers)")
    if not any(i.modality == "CT" for i in headers.instances):
        found = ", ".join(sorted({i.modality or "unknown" for i in headers.instances}))
        return NoCt(f"(found: {found})")
    return None


def _file_reasons(headers: Headers) -> tuple[Reason, ...]:
    if not headers.unreadable:
        return ()
    text = f"{headers.unreadable} of {headers.files} files are truncated or damaged and were left out."
    return (Reason(code="unreadable-files", message=text, kind="repair"),)


def _look_at_pixels(candidates: Sequence[_Candidate]) -> None:
    """Give a role to every stack whose headers do not settle it."""
    for candidate in candidates:
        if candidate.role is not None:
            continue
        group = candidate.group
        candidate.probe = seen = probe(group)
        area = f"{seen.contrast_cm2:.2f} cm² of contrast per slice"
        if not seen.decoded:
            candidate.role, candidate.why = Role.UNREADABLE, "Its pixel data cannot be decoded."
            candidate.reasons += (_rejection(PixelsUnreadable(), group.first.series_uid),)
        elif not seen.head:
            candidate.role, candidate.why = Role.OTHER_CT, "Its pixels do not show a head."
        elif seen.contrast_cm2 >= _CONTRAST_CM2[roles.named_cta(group)]:
            candidate.role, candidate.why = Role.CTA, f"Its pixels show {area} in the head."
        else:
            named = " although it is named or tagged as one" if roles.named_cta(group) else ""
            candidate.role = Role.NCCT
            candidate.why = f"Its pixels show no vessels with contrast ({area}), so it is no CTA{named}."
    _second_chance(candidates)


def _second_chance(candidates: Sequence[_Candidate]) -> None:
    """Where no series shows contrast for sure, one that is named or tagged as a CTA is taken as it says.

    A weak bolus in much noise looks like none on a few slices. Whether there is contrast is then for the
    head frame to say, which looks where the arteries run; a plain scan under a wrong name ends there.
    """
    if any(c.role is Role.CTA for c in candidates):
        return
    for candidate in candidates:
        if candidate.role is Role.NCCT and roles.named_cta(candidate.group):
            candidate.role = Role.CTA
            area = candidate.probe.contrast_cm2 if candidate.probe else 0.0
            candidate.why = (
                f"It is named or tagged as a CTA, though its pixels show little contrast ({area:.2f} cm²)."
            )


def _decode_first(candidates: list[_Candidate], role: Role) -> tuple[Volume | None, tuple[Reason, ...]]:
    """Decode the best candidate of a role; fall to the next where one turns out unusable.

    Returns the volume with what was repaired in it, or (None, ()); why not stands in each candidate.
    """
    rule = _cta_objection if role is Role.CTA else _ncct_objection
    volume: Volume | None = None
    reasons: tuple[Reason, ...] = ()
    for candidate in sorted((c for c in candidates if c.role is role), key=_preference):
        if volume is not None:
            candidate.why += " Another series suits better."
            continue
        if (objection := rule(candidate.group)) is not None:
            candidate.why += f" {objection}"
            continue
        try:
            decoded = decode_group(candidate.group)
        except (SlicesMissing, PixelsUnreadable) as error:
            candidate.reasons += (_rejection(error, candidate.group.first.series_uid),)
            candidate.why += f" Not used: {error.message}"
            continue
        volume, candidate.chosen = decoded.volume, True
        candidate.reasons += (*decoded.reasons, *_cautions(candidate.group, role))
        candidate.why += " The best series of its kind."
        reasons = candidate.reasons
    return volume, reasons


def _why_no_cta(candidates: Iterable[_Candidate], has_ncct: bool) -> tuple[Reason, ...]:
    """Rejections of the series that could have been the CTA; never empty where there is no NCCT either."""
    found: dict[tuple[str, str | None], Reason] = {}
    for candidate in candidates:
        if candidate.role is Role.NCCT and has_ncct:
            continue
        for reason in candidate.reasons:
            if reason.kind == "rejection":
                found[reason.code, reason.series_instance_uid] = reason
    if not found and not has_ncct:
        return (_rejection(NoSuitableSeries()),)
    return tuple(found.values())


def _preference(candidate: _Candidate) -> tuple[object, ...]:
    """Sort key, best first: thin, soft, original, arterial, early, long, named as such."""
    group = candidate.group
    thickness = roles.thickness_mm(group)
    is_cta = candidate.role is Role.CTA
    return (
        thickness > roles.THIN_MM + 0.4,
        roles.is_sharp(group.first.kernel),
        roles.is_secondary(group),
        is_cta and roles.named_late(group),
        roles.named_cta(group) is not is_cta,
        group.first.acquisition_time if is_cta else "",
        -round(min(group.extent_mm, 250.0) / 50),
        abs(thickness - 0.8),
        -len(group.instances),
    )


def _cta_objection(group: Group) -> str | None:
    spacing = group.spacing_mm or 0.0
    if roles.thickness_mm(group) > roles.THICKEST_CTA_MM + 0.1:
        return f"Its slices are too thick ({roles.thickness_mm(group):.1f} mm)."
    return _short(group, spacing)


def _ncct_objection(group: Group) -> str | None:
    spacing = group.spacing_mm or 0.0
    if not _NCCT_MM[0] <= spacing <= _NCCT_MM[1]:
        return f"Its slices lie {spacing:.1f} mm apart."
    return _short(group, spacing)


def _short(group: Group, spacing: float) -> str | None:
    if group.extent_mm + spacing < _MIN_EXTENT_MM:
        return f"It covers only {group.extent_mm:.0f} mm."
    return None


def _cautions(group: Group, role: Role) -> tuple[Reason, ...]:
    uid = group.first.series_uid
    found = []
    if role is Role.CTA and roles.thickness_mm(group) > roles.THIN_MM + 0.4:
        text = f"No thin CTA series was sent; slices of {roles.thickness_mm(group):.1f} mm were used."
        found.append(_note("thick-slices", text, uid))
    if role is Role.CTA and roles.is_sharp(group.first.kernel):
        found.append(_note("sharp-kernel", f"Only a sharp kernel was sent ({group.first.kernel}).", uid))
    if role is Role.CTA and roles.is_secondary(group):
        found.append(_note("secondary-series", "Only a derived axial series was sent.", uid))
    return tuple(found)


def _note(code: str, text: str, uid: str, kind: Literal["caution", "repair"] = "caution") -> Reason:
    return Reason(code=code, message=text, kind=kind, series_instance_uid=uid)


def _rejection(error: LvoError, uid: str | None = None) -> Reason:
    return Reason(code=error.code, message=error.message, kind="rejection", series_instance_uid=uid)
