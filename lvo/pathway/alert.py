"""From a result to an alert: a pure decision, in sentences a clinician reads."""

from __future__ import annotations

import inspect
from datetime import datetime

from lvo import errors
from lvo.anatomy import THROMBECTOMY_SEGMENTS, Side, Tier
from lvo.pathway.config import Centre, Csc, Network, Psc
from lvo.study import INTENDED_USE, Alert, Finding, Status, StudyResult


class UnknownCentre(errors.UsageError):
    """No primary stroke centre of the network has this identifier; check the pathway configuration."""

    code = "unknown-centre"


def decide_alert(result: StudyResult, network: Network, *, psc: str, at: datetime) -> Alert:
    """Decide who is told what about a result.

    The text holds no patient data: it is built from segments, sides, probabilities, names of
    centres and the fixed sentence of each reason code, never from a reason's free text.

    Parameters
    ----------
    psc : str
        Identifier of the referring primary stroke centre.
    at : datetime
        The moment of the decision, with its time zone; opening hours are judged at it.

    Returns
    -------
    Alert
        ``csc`` is set only for the thrombectomy tier, and only when a centre is open to be told.

    Raises
    ------
    UnknownCentre
        If the network has no such primary stroke centre.
    ValueError
        If ``at`` has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("the moment of an alert needs a time zone")
    sender = network.find_psc(psc)
    if sender is None:
        raise UnknownCentre(repr(psc))
    tier = _tier(result)
    csc = _csc_to_tell(network, sender, at) if tier is Tier.THROMBECTOMY else None
    sentences = {
        Tier.THROMBECTOMY: _thrombectomy,
        Tier.MEDIUM_VESSEL: _medium_vessel,
        Tier.NOT_ANALYSED: _not_analysed,
        Tier.NONE: _none,
    }[tier](result, network, sender, csc)
    if any(reason.kind == "caution" for reason in result.reasons):
        sentences.append("The analysis carries cautions: see the result.")
    return Alert(
        tier=tier,
        text=" ".join([*sentences, INTENDED_USE]),
        psc=sender.id,
        csc=csc.id if csc else None,
    )


def recipients(alert: Alert, network: Network) -> tuple[Centre, ...]:
    """The centres an alert goes to, the referring one first."""
    found = (network.find_psc(alert.psc), network.find_csc(alert.csc) if alert.csc else None)
    return tuple(centre for centre in found if centre is not None)


def _tier(result: StudyResult) -> Tier:
    match result.status:
        case Status.NOT_ANALYSED:
            return Tier.NOT_ANALYSED
        case Status.NOT_SUSPECTED:
            return Tier.NONE
        case Status.SUSPECTED:
            paged = any(f.segment in THROMBECTOMY_SEGMENTS for f in result.findings)
            return Tier.THROMBECTOMY if paged else Tier.MEDIUM_VESSEL


def _csc_to_tell(network: Network, sender: Psc, at: datetime) -> Csc | None:
    """The first centre of the route that is open, or whoever covers it while it is closed."""
    for csc_id in sender.route:
        cover = (c for c in network.csc if csc_id in c.covers)
        preferred = (c for c in network.csc if c.id == csc_id)
        for candidate in (*preferred, *cover):
            if candidate.is_open(at):
                return candidate
    return None


def _thrombectomy(result: StudyResult, network: Network, sender: Psc, csc: Csc | None) -> list[str]:
    paged = [f for f in result.findings if f.segment in THROMBECTOMY_SEGMENTS]
    shown = [f for f in result.findings if f.segment not in THROMBECTOMY_SEGMENTS]
    sentences = [f"Large artery occlusion suspected: {_sites(paged)}."]
    if shown:
        sentences.append(f"Also suspected: {_sites(shown)}.")
    sentences.append(f"Referring centre: {sender.name}; review the images now.")
    preferred = network.find_csc(sender.route[0])
    if csc is None:
        first = preferred.name if preferred else sender.route[0]
        sentences.append(
            f"No thrombectomy centre on the route is open now, so none has been told: telephone {first}."
        )
    elif csc is preferred or preferred is None:
        sentences.append(f"Thrombectomy centre to tell: {csc.name}.")
    else:
        sentences.append(f"Thrombectomy centre to tell: {csc.name}, as {preferred.name} is closed now.")
    return sentences


def _medium_vessel(result: StudyResult, network: Network, sender: Psc, csc: Csc | None) -> list[str]:
    return [
        f"Medium vessel occlusion suspected: {_sites(list(result.findings))}.",
        f"Referring centre: {sender.name}; review the images.",
        "No thrombectomy centre has been told.",
    ]


def _not_analysed(result: StudyResult, network: Network, sender: Psc, csc: Csc | None) -> list[str]:
    codes = dict.fromkeys(r.code for r in result.reasons if r.kind == "rejection")
    return [
        "Study NOT analysed: this is not a negative result.",
        f"{sender.name}: read the CT angiogram by eye now.",
        *(f"Reason: {_SENTENCES.get(code, 'see the result.')} [{code}]" for code in codes),
    ]


def _none(result: StudyResult, network: Network, sender: Psc, csc: Csc | None) -> list[str]:
    p = result.probability
    likelihood = "" if p is None else f" (probability {_percent(p)})"
    return [
        f"No large artery occlusion suspected{likelihood}.",
        f"This does not exclude one; {sender.name}: read the study as usual.",
    ]


def _sites(findings: list[Finding]) -> str:
    ranked = sorted(findings, key=lambda f: -f.probability)
    return "; ".join(f"{_site(f)}, probability {_percent(f.probability)}" for f in ranked)


def _site(finding: Finding) -> str:
    side = "" if finding.side is Side.MIDLINE else f"{finding.side.value} "
    return f"{side}{finding.segment.label}"


def _percent(p: float) -> str:
    # A rounded 100 % or 0 % would claim a certainty that no model has.
    if p > 0.99:
        return "over 99 %"
    return "under 1 %" if p < 0.01 else f"{100 * p:.0f} %"


def _fixed_sentences(root: type[errors.LvoError]) -> dict[str, str]:
    """The docstring of every error class by its code: known text, so it cannot hold patient data."""
    found = {root.code: " ".join(inspect.cleandoc(root.__doc__ or "").split())}
    for child in root.__subclasses__():
        found |= _fixed_sentences(child)
    return found


_SENTENCES = _fixed_sentences(errors.LvoError)
