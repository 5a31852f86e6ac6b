"""Hard cases of series: phases and passes, duplicates, several stacks in one."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np

from lvo.phantom.hard.head import NATIVE, VENOUS, Head, at_heights, axial
from lvo.phantom.hard.recipe import QUICK, HardCase, Other, case, each
from lvo.phantom.hard.write import Image, set_tags
from lvo.phantom.write import uid_from

_PHASES = "several passes or phases in one series"
_TWICE = "duplicate positions"
_MIXED = "localizer or another stack in the series"
_SPLIT = "over-splitting on exposure"


def _phases(name: str, tag: str, mine: Any, *others: tuple[Any, Head], **more: Any) -> HardCase:
    """The arterial phase and others in one series; only one tag tells them apart."""
    found = tuple(Other({tag: value}, body) for value, body in others)
    return case(f"two-phases-by-{name}", _PHASES, tags={tag: mine, **more}, others=found)


def _own_times(series: list[Image]) -> list[Image]:
    """Every slice a little later than the one below it, as scanners that stamp each image do."""
    for image in series:
        start = int(image.header.AcquisitionTime)
        number = int(image.header.InstanceNumber)
        moment = f"{start + number // 60 * 100 + number % 60:06d}"
        set_tags(image.header, {"AcquisitionTime": moment, "ContentTime": moment})
    return series


def _passes(count: int, arterial: int) -> tuple[Other, ...]:
    """All passes of a perfusion scan but the arterial one: contrast comes and goes."""
    found = []
    for number in range(count):
        if number != arterial:
            lit = 320.0 * float(np.exp(-(((number - arterial) / 1.6) ** 2)))
            body = Head(artery_hu=40 + lit * 0.8, vein_hu=45 + (120 if number > arterial else 0))
            found.append(Other(_pass_tags(number), body))
    return tuple(found)


def _pass_tags(number: int) -> dict[str, Any]:
    return {
        "TemporalPositionIdentifier": number + 1,
        "AcquisitionNumber": number + 1,
        "AcquisitionTime": f"0805{2 * number:02d}",
        "ContentTime": f"0805{2 * number:02d}",
    }


def _by_two_computers(k: int, image: Image) -> None:
    """Every other slice was reconstructed by another computer, half a minute later."""
    set_tags(image.header, {"ContentTime": f"0805{k // 2 + k % 2 * 30:02d}"})


_numbered_on = each(lambda k, image: set_tags(image.header, {"InstanceNumber": k + 1}))
_of_two_seconds = each(lambda k, image: set_tags(image.header, {"ContentTime": f"08050{k % 2}"}))
_muddled = each(lambda k, image: set_tags(image.header, {"InstanceNumber": k * 37 % 88 + 1}))


_CTP: dict[str, Any] = {"SeriesDescription": "CTP head", "KVP": "80"}
_FEW = QUICK.take(range(20, 35))

PHASES = (
    _phases("acquisition-number", "AcquisitionNumber", 2, (1, NATIVE)),
    _phases("temporal-position", "TemporalPositionIdentifier", 1, (2, VENOUS)),
    _phases("acquisition-time", "AcquisitionTime", "080545", ("080500", NATIVE)),
    _phases("content-time", "ContentTime", "080545", ("080500", Head(150, 60))),
    case(
        "three-phases",
        _PHASES,
        tags={"AcquisitionNumber": 2, "AcquisitionTime": "080520"},
        others=(
            Other({"AcquisitionNumber": 1, "AcquisitionTime": "080500"}, NATIVE),
            Other({"AcquisitionNumber": 3, "AcquisitionTime": "080550"}, VENOUS),
        ),
    ),
    case(
        "two-phases-in-two-series-late-first",
        _PHASES,
        tags={"SeriesNumber": 3, "AcquisitionTime": "080520"},
        others=(Other({"SeriesNumber": 2, "AcquisitionTime": "080500"}, VENOUS),),
    ),
    case(
        "two-energies",
        _PHASES,
        body=Head(artery_hu=420.0),
        tags={"KVP": "80"},
        others=(Other({"KVP": "140"}, Head(artery_hu=230.0)),),
    ),
    case(
        "perfusion-of-a-whole-head",
        _PHASES,
        "cta-from-perfusion",
        tags=_CTP | _pass_tags(3),
        others=_passes(8, 3),
        scan=QUICK,
    ),
    case(
        "perfusion-of-a-slab",
        _PHASES,
        outcome="other",
        tags=_CTP | _pass_tags(3),
        others=_passes(8, 3),
        scan=_FEW,
        truth={"roles": frozenset({"perfusion"})},
    ),
    case(
        "perfusion-beside-a-cta",
        _PHASES,
        tags={"SeriesNumber": 5},
        others=tuple(Other(_CTP | dict(o.tags) | {"SeriesNumber": 4}, o.body, _FEW) for o in _passes(5, 2)),
    ),
    case(
        "bolus-tracking-in-the-series",
        _PHASES,
        others=tuple(
            Other({"AcquisitionNumber": 5 + n, "AcquisitionTime": f"0804{n:02d}"}, NATIVE, QUICK.take([20]))
            for n in range(6)
        ),
    ),
)


def _again(places: range, **changes: Any) -> Any:
    """An edit that adds a second copy of some images, changed or not."""

    def edit(series: list[Image]) -> list[Image]:
        copies = []
        for k in places:
            copy = replace(series[k], header=deepcopy(series[k].header))
            if "uid" in changes:
                copy.header.SOPInstanceUID = uid_from(changes["uid"], k)
            if "hu" in changes:
                copy.stored = copy.stored + changes["hu"]
            copies.append(copy)
        return series + copies

    return edit


def _uid_of_another(series: list[Image]) -> list[Image]:
    series[40].header.SOPInstanceUID = series[10].header.SOPInstanceUID
    return series


def _untold(series: list[Image]) -> list[Image]:
    """A second phase under the same tags and instance numbers: nothing says which image is whose."""
    late = _again(range(len(series)), uid="late", hu=40)(series)
    return [late[n * 31 % len(late)] for n in range(len(late))]


DUPLICATES = (
    # Two sweeps whose slices do not lie at the same places look like one with uneven spacing.
    *(
        case(
            f"two-phases-{apart}-mm-apart",
            _PHASES,
            "passes-mixed",
            outcome="refused",
            others=(Other({}, VENOUS, axial(44, 1.9, middle_z=apart)),),
            edit_all=_muddled,
        )
        for apart in (0.05, 0.3)
    ),
    case(
        "two-phases-half-a-step-apart-by-number",
        _PHASES,
        "phases-by-number",
        others=(Other({}, NATIVE, axial(44, 1.9, middle_z=0.95)),),
        edit_all=_numbered_on,
    ),
    case(
        "two-phases-half-a-step-apart",
        _PHASES,
        tags={"ContentTime": "080545"},
        others=(Other({"ContentTime": "080500"}, NATIVE, axial(44, 1.9, middle_z=0.95)),),
    ),
    case("the-same-files-twice", _TWICE, "duplicate-instances", edit=_again(range(10, 13))),
    case("all-files-twice", _TWICE, "duplicate-instances", edit=_again(range(44))),
    case(
        "one-uid-with-other-pixels",
        _TWICE,
        "conflicting-instances",
        outcome="refused",
        edit=_again(range(30, 31), hu=40),
    ),
    case("one-uid-at-two-places", _TWICE, "conflicting-instances", outcome="refused", edit=_uid_of_another),
    case(
        "two-images-at-one-place",
        _TWICE,
        "conflicting-instances",
        "passes-mixed",
        outcome="refused",
        edit=_again(range(30, 31), uid="other", hu=40),
    ),
    case("two-phases-that-nothing-tells-apart", _PHASES, "passes-mixed", outcome="refused", edit=_untold),
)


def _exposure(k: int, image: Image) -> None:
    tags = {"Exposure": 100 + k, "XRayTubeCurrent": 200 + 3 * k, "ExposureTime": 500 + k % 3}
    set_tags(image.header, {**tags, "AcquisitionNumber": k // 2, "ContentTime": f"0805{k:02d}"})


def _localizer(series: list[Image]) -> list[Image]:
    """A lateral localizer in front of the series, under its UID."""
    header = deepcopy(series[0].header)
    set_tags(
        header,
        {
            "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"],
            "SOPInstanceUID": uid_from(header.SOPInstanceUID, "localizer"),
            "ImageOrientationPatient": [0, 1, 0, 0, 0, -1],
            "ImagePositionPatient": [0, -105, 100],
            "InstanceNumber": 1,
            "SliceThickness": "1",
        },
    )
    return [replace(series[0], header=header), *series]


SPLITS = (
    case("exposure-varies", _SPLIT, edit=each(_exposure), truth={"quiet": True}),
    case("slices-from-two-computers", _SPLIT, edit=each(_by_two_computers), truth={"quiet": True}),
    case("slices-of-two-seconds", _SPLIT, edit=_of_two_seconds, truth={"quiet": True}),
    case("localizer-in-the-series", _MIXED, edit=_localizer, truth={"quiet": True}),
    case("two-kernels-in-the-series", _MIXED, others=(Other({"ConvolutionKernel": "H70h"}),)),
    case(
        "two-fields-of-view-in-the-series",
        _MIXED,
        others=(Other({}, scan=axial(12, 1.5, pixel=(3.0, 3.0))),),
    ),
    case(
        "two-matrices-in-the-series",
        _MIXED,
        others=(Other({}, scan=axial(10, 1.5, matrix=(32, 32))),),
    ),
    case(
        "two-frames-of-reference-in-the-series",
        _MIXED,
        others=(Other({"FrameOfReferenceUID": "2.25.99"}, NATIVE),),
    ),
    case(
        "thick-and-thin-slices-in-the-series",
        _MIXED,
        others=(Other({}, scan=at_heights(np.arange(-40.3, 42, 5.0), 5.0)),),
    ),
    case(
        "thick-and-thin-slices-at-the-same-places",
        _MIXED,
        others=(Other({}, scan=QUICK.take(range(0, 44, 3)).thick(5.7)),),
    ),
    case(
        "three-mips-between-the-slices",
        _MIXED,
        others=(
            Other(
                {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIP"]},
                Head(artery_hu=900.0),
                at_heights([-20.5, 0.3, 20.4], 20),
            ),
        ),
    ),
    case(
        "mip-in-the-series",
        _MIXED,
        others=(Other({"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, scan=axial(12, 6.0)),),
    ),
    case(
        "two-phases-each-slice-its-own-time",
        _PHASES,
        tags={"AcquisitionTime": "081000"},
        others=(Other({"AcquisitionTime": "080500"}, NATIVE),),
        edit_all=_own_times,
    ),
    case(
        "two-phases-by-image-number",
        _PHASES,
        "phases-by-number",
        others=(Other({}, NATIVE),),
        edit_all=_numbered_on,
    ),
)


CASES = (*PHASES, *DUPLICATES, *SPLITS)
