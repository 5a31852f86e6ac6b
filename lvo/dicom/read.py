"""Read a study: headers, roles, choice, decoding. Every series gets a record that says what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from lvo.clock import Clock
from lvo.dicom import choice, suitability
from lvo.dicom.choice import Candidate, rejection
from lvo.dicom.headers import scan
from lvo.dicom.volumes import decode_group
from lvo.errors import NoSuitableSeries, NotAnalysable
from lvo.study import Reason, Role, Study, Volume


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
    clock = Clock()
    with clock.stage("headers"):
        headers = scan(source)
        candidates = choice.candidates_of(headers)
    reasons = choice.file_reasons(headers)
    studies = {i.study_uid for i in headers.instances}
    uid = next(iter(studies)) if len(studies) == 1 else None
    if (refused := choice.refusal(headers) or choice.under_age(headers)) is not None:
        for candidate in candidates:
            candidate.why = candidate.why or "The study was refused as a whole."
        return Study(uid, choice.records(candidates), None, None, (rejection(refused), *reasons), clock.spent)

    with clock.stage("choice"):
        choice.look_at_pixels(candidates)
    with clock.stage("decode"):
        cta, cta_reasons = _decode_first(candidates, Role.CTA)
        ncct, ncct_reasons = _decode_first(candidates, Role.NCCT)
    reasons = (*cta_reasons, *ncct_reasons, *reasons)
    if cta is None:
        reasons = (*_why_no_cta(candidates, ncct is not None), *reasons)
    return Study(uid, choice.records(candidates), cta, ncct, reasons, clock.spent)


def _decode_first(candidates: list[Candidate], role: Role) -> tuple[Volume | None, tuple[Reason, ...]]:
    """Decode the best candidate of a role; fall to the next where one turns out unusable.

    Returns the volume with what was repaired in it, or (None, ()); why not stands in each candidate.
    """
    volume: Volume | None = None
    reasons: tuple[Reason, ...] = ()
    for candidate in choice.ranked(candidates, role):
        if volume is not None:
            candidate.why += " Another series suits better."
            continue
        try:
            decoded = decode_group(candidate.group)
        except NotAnalysable as error:
            candidate.refuse(error)
            continue
        volume, candidate.chosen = decoded.volume, True
        candidate.reasons += (*decoded.reasons, *suitability.cautions(candidate.group, role))
        candidate.why += " The best series of its kind."
        reasons = candidate.reasons
    return volume, reasons


def _why_no_cta(candidates: Iterable[Candidate], has_ncct: bool) -> tuple[Reason, ...]:
    """Rejections of the series that could have been the CTA; never empty where there is no NCCT either."""
    found: dict[tuple[str, str | None], Reason] = {}
    for candidate in candidates:
        if candidate.role is Role.NCCT and has_ncct:
            continue
        for reason in candidate.reasons:
            if reason.kind == "rejection":
                found[reason.code, reason.series_instance_uid] = reason
    if not found and not has_ncct:
        return (rejection(NoSuitableSeries()),)
    return tuple(found.values())
