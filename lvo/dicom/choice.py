"""What each stack is, and which is the CTA and which the NCCT: by headers, then by pixels, with reasons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lvo.dicom import roles, suitability
from lvo.dicom.geometry import gaps
from lvo.dicom.headers import Headers
from lvo.dicom.probe import Probe, probe
from lvo.dicom.stacks import Group, group_instances
from lvo.errors import (
    LvoError,
    MixedPatients,
    NoCt,
    NoDicom,
    NotAnalysable,
    PixelsUnreadable,
    TooManyFiles,
    UnderAge,
)
from lvo.study import Reason, Role, SeriesRecord

ADULT_YEARS = 18.0
_CONTRAST_CM2 = {True: 0.08, False: 0.2}
"""Area of contrast per slice that makes a CTA: less is needed where the sender says contrast was given."""
_ARTERIAL_SHARE = 0.85
"""A phase whose vessels are less bright than this share of the brightest phase's is past the arterial peak or
before it. Phases lie eight seconds apart, in which the peak falls by a third and more."""


@dataclass(slots=True)
class Candidate:
    """A group on its way to a record."""

    group: Group
    role: Role | None
    why: str
    chosen: bool = False
    probe: Probe | None = None
    reasons: tuple[Reason, ...] = ()

    def record(self) -> SeriesRecord:
        """What is published about it."""
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
            phase=self.group.phase,
            phases=self.group.phases,
            rows=first.rows,
            columns=first.columns,
            slice_spacing_mm=self.group.spacing_mm,
            kernel=first.kernel,
            kvp=first.kvp,
            reasons=self.reasons,
        )

    def refuse(self, error: LvoError) -> None:
        """Note why it cannot be used."""
        self.reasons += (rejection(error, self.group.first.series_uid),)
        self.why += f" Not used: {error.message}"


def candidates_of(headers: Headers) -> list[Candidate]:
    """Every stack, with the role its headers give it."""
    found = []
    for group in group_instances(headers.instances):
        candidate = Candidate(group, *roles.role_from_headers(group), reasons=group.reasons)
        if (error := roles.rejection_from_headers(group)) is not None:
            candidate.reasons += (rejection(error, group.first.series_uid),)
        found.append(candidate)
    return found


def records(candidates: Iterable[Candidate]) -> tuple[SeriesRecord, ...]:
    """The published records."""
    return tuple(c.record() for c in candidates)


def refusal(headers: Headers) -> NotAnalysable | None:
    """A refusal of the whole study, if the headers call for one."""
    if headers.too_many:
        return TooManyFiles(f"(more than {headers.files})")
    if not headers.instances:
        if headers.files == headers.links == 0:
            return NoDicom("(the folder is empty)")
        detail = f"({headers.files} file(s) looked at, {headers.not_dicom} not DICOM Part 10"
        links = f", {headers.links} links not followed" if headers.links else ""
        return NoDicom(f"{detail}, {headers.unreadable} unreadable or truncated{links})")
    studies = {i.study_uid for i in headers.instances}
    patients = {i.patient_id for i in headers.instances if i.patient_id}
    births = {i.birth_date for i in headers.instances if i.birth_date}
    if len(studies) > 1 or len(patients) > 1 or len(births) > 1:
        # Counts only: identifiers do not belong in messages.
        counts = f"{len(studies)} studies, {len(patients)} patient identifiers, {len(births)} dates of birth"
        return MixedPatients(f"({counts})")
    if not any(i.modality == "CT" for i in headers.instances):
        found = ", ".join(sorted({i.modality or "unknown" for i in headers.instances}))
        return NoCt(f"(found: {found})")
    return None


def under_age(headers: Headers) -> NotAnalysable | None:
    """A refusal where the headers say that the patient is a child."""
    ages = [i.age_years for i in headers.instances if i.age_years is not None]
    return UnderAge() if ages and min(ages) < ADULT_YEARS else None


def file_reasons(headers: Headers) -> tuple[Reason, ...]:
    """What was left out before any image was looked at."""
    found = []
    if headers.unreadable:
        text = f"{headers.unreadable} of {headers.files} files are truncated, damaged or without the preamble"
        text += " of DICOM, and were left out."
        found.append(Reason(code="unreadable-files", message=text, kind="repair"))
    if headers.links:
        text = f"{headers.links} symbolic link(s) or special file(s) were not followed."
        found.append(Reason(code="links-not-followed", message=text, kind="caution"))
    return tuple(found)


def look_at_pixels(candidates: Sequence[Candidate]) -> None:
    """Give a role to every stack whose headers do not settle it."""
    for candidate in candidates:
        look(candidate)
    settle(candidates)


def settle(candidates: Sequence[Candidate]) -> None:
    """What only the stacks together can say, once each has been looked at."""
    _second_chance(candidates)
    _calcium(candidates)
    if not any(c.role is Role.CTA for c in candidates):
        _cta_from_perfusion(candidates)
    _mark_phases([c for c in candidates if c.role is Role.CTA])


def look(candidate: Candidate) -> None:
    """Look at a few slices of a stack whose headers do not settle its role."""
    if candidate.role is not None:
        return
    group = candidate.group
    candidate.probe = seen = probe(group)
    area = f"{seen.contrast_cm2:.2f} cm² of contrast per slice"
    if not seen.decoded:
        candidate.role, candidate.why = Role.UNREADABLE, "Its pixel data cannot be decoded."
        candidate.reasons += (rejection(PixelsUnreadable(), group.first.series_uid),)
    elif not seen.head:
        candidate.role, candidate.why = Role.OTHER_BODY_PART, "Its pixels do not show a head."
    elif seen.contrast_cm2 >= _CONTRAST_CM2[roles.named_cta(group)]:
        candidate.role, candidate.why = Role.CTA, f"Its pixels show {area} in the head."
    else:
        named = " although it is named or tagged as one" if roles.named_cta(group) else ""
        candidate.role = Role.NCCT
        candidate.why = f"Its pixels show no vessels with contrast ({area}), so it is no CTA{named}."


def _second_chance(candidates: Sequence[Candidate]) -> None:
    """Where no series shows contrast for sure, one that is named or tagged as a CTA is taken as it says.

    A weak bolus in much noise looks like none on a few slices. Whether there is contrast is then for the
    head frame to say, which looks where the arteries run; a plain scan under a wrong name ends there.
    """
    if any(c.role is Role.CTA for c in candidates):
        return
    for candidate in candidates:
        if candidate.role is Role.NCCT and candidate.group.phases == 1 and roles.named_cta(candidate.group):
            candidate.role = Role.CTA
            area = candidate.probe.contrast_cm2 if candidate.probe else 0.0
            candidate.why = (
                f"It is named or tagged as a CTA, though its pixels show little contrast ({area:.2f} cm²)."
            )


def _calcium(candidates: Sequence[Candidate]) -> None:
    """A scan before the CTA that nobody calls one, and that shows far less, is plain: it shows calcium.

    Calcium of the falx and the rims of bony islands can be as large as vessels. A later phase shows less than
    the arterial one too, but comes after it.
    """
    ctas = [c for c in candidates if c.role is Role.CTA and c.probe]
    told = [c for c in ctas if roles.named_cta(c.group) and not roles.is_secondary(c.group)]
    for candidate in ctas:
        when, seen = candidate.group.first.acquisition_time, candidate.probe
        if candidate in told or not seen or not when:
            continue
        after = [c for c in told if when < c.group.first.acquisition_time and c.probe]
        if any(c.probe and seen.contrast_cm2 < 0.5 * c.probe.contrast_cm2 for c in after):
            candidate.role = Role.NCCT
            area = f"{seen.contrast_cm2:.2f} cm² of 150 to 500 HU per slice"
            candidate.why = f"It was taken before the CTA and shows {area}, less than half of its: calcium."


def _cta_from_perfusion(candidates: Sequence[Candidate]) -> None:
    """Without a CTA, a dynamic series that covers the head holds one: the pass at the arterial peak."""
    passes = [
        c
        for c in candidates
        if c.role is Role.PERFUSION
        and c.group.phases > 1
        and suitability.rejection(c.group, Role.CTA) is None
    ]
    for candidate in passes:
        candidate.probe = probe(candidate.group)
    lit = [c for c in passes if c.probe and c.probe.contrast_cm2 >= _CONTRAST_CM2[True]]
    if not lit:
        return
    peak = max(lit, key=lambda c: c.probe.lumen_hu if c.probe else 0.0)
    peak.role = Role.CTA
    peak.why = f"It is pass {peak.group.phase} of {peak.group.phases} of a dynamic series, the arterial peak."
    text = "No CTA was sent; the arterial pass of a dynamic series was used."
    uid = peak.group.first.series_uid
    peak.reasons += (
        Reason(code="cta-from-perfusion", message=text, kind="caution", series_instance_uid=uid),
    )


def _mark_phases(ctas: Sequence[Candidate]) -> None:
    """Say which of several phases is the arterial one; the brightness of vessels decides, not names."""
    for candidate in ctas:
        if is_late(candidate, ctas) and candidate.probe:
            candidate.why += (
                f" Its vessels ({candidate.probe.lumen_hu:.0f} HU) are not at their arterial peak."
            )


def is_late(candidate: Candidate, among: Sequence[Candidate]) -> bool:
    """Whether another CTA of the same kernel and thickness has clearly brighter vessels."""
    own = candidate.probe.lumen_hu if candidate.probe else 0.0

    def twin(other: Candidate) -> bool:
        a, b = candidate.group, other.group
        alike = abs(suitability.thickness_mm(a) - suitability.thickness_mm(b)) < 0.3
        return alike and a.first.kernel == b.first.kernel

    return any(c.probe and own < _ARTERIAL_SHARE * c.probe.lumen_hu for c in among if twin(c))


def ranked(candidates: Sequence[Candidate], role: Role) -> list[Candidate]:
    """The stacks of one role that may be used, best first; why not is noted on the others.

    Without gaps, thin, soft, original, at the arterial peak, long, named as such.
    """
    alike = [c for c in candidates if c.role is role]
    fit = []
    for candidate in alike:
        error = suitability.rejection(candidate.group, role)
        if error is None:
            fit.append(candidate)
        else:
            candidate.refuse(error)

    def order(candidate: Candidate) -> tuple[object, ...]:
        group, is_cta = candidate.group, role is Role.CTA
        return (
            bool(gaps(group)),
            suitability.is_thick(group),
            roles.is_sharp(group.first.kernel),
            roles.is_secondary(group),
            is_cta and is_late(candidate, alike),
            is_cta and roles.named_late(group),
            roles.named_cta(group) is not is_cta,
            group.first.acquisition_time if is_cta else "",
            -round(min(group.extent_mm, 250.0) / 50),
            abs(suitability.thickness_mm(group) - 0.8),
            -len(group.instances),
        )

    return sorted(fit, key=order)


def rejection(error: LvoError, uid: str | None = None) -> Reason:
    """The reason that an error stands for."""
    return Reason(code=error.code, message=error.message, kind="rejection", series_instance_uid=uid)
