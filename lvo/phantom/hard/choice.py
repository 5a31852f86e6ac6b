"""Hard cases of choice: which series is the CTA, and what is not admitted."""

from __future__ import annotations

from typing import Any

from lvo.phantom.hard.head import NATIVE, Chest, axial
from lvo.phantom.hard.recipe import QUICK, Other, case

_LIES = "body part and description lie"
_DERIVED = "derived, MIP, burned-in, dose report"
_ADMISSION = "outside what was tested"
_NO_AGENT: dict[str, Any] = {"ContrastBolusAgent": None}

CASES = (
    case(
        "names-swapped",
        _LIES,
        tags={"SeriesDescription": "NATIVE", "SeriesNumber": 3, **_NO_AGENT},
        others=(
            Other({"SeriesDescription": "CTA COW", "SeriesNumber": 2, "ContrastBolusAgent": "X"}, NATIVE),
        ),
    ),
    case("ncct-named-cta", _LIES, body=NATIVE, tags={"SeriesDescription": "CTA"}, truth={"volume": "any"}),
    case(
        "ncct-only",
        _LIES,
        body=NATIVE,
        tags={"SeriesDescription": "Head", **_NO_AGENT},
        truth={"volume": "ncct"},
    ),
    case("body-part-foot", _LIES, tags={"BodyPartExamined": "FOOT", "SeriesDescription": "Foot"}),
    case(
        "chest-named-cta-head",
        _LIES,
        "no-suitable-series",
        outcome="refused",
        body=Chest(),
        scan=axial(56, 1.5, pixel=(8.0, 8.0)),
        tags={"SeriesDescription": "CTA HEAD"},
    ),
    case(
        "chest-beside-the-head",
        _LIES,
        tags={"SeriesNumber": 4, "SeriesDescription": "Thorax"},
        others=(
            Other({"SeriesNumber": 3, "SeriesDescription": "CTA HEAD"}, Chest(), axial(56, pixel=(8.0, 8.0))),
        ),
    ),
    case(
        "derived-mip-only",
        _DERIVED,
        outcome="other",
        tags={"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIP"]},
        truth={"roles": frozenset({"derived"})},
    ),
    case(
        "mip-beside-the-cta",
        _DERIVED,
        tags={"SeriesNumber": 4},
        others=(Other({"SeriesNumber": 3, "ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIP"]}),),
    ),
    case(
        "derived-axial-only",
        _DERIVED,
        "secondary-series",
        tags={"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]},
    ),
    case("sharp-kernel-only", _ADMISSION, "sharp-kernel", tags={"ConvolutionKernel": "H70h"}),
    case("burned-in", _DERIVED, "burned-in-pixels", outcome="refused", tags={"BurnedInAnnotation": "YES"}),
    case(
        "burned-in-beside-the-cta",
        _DERIVED,
        tags={"SeriesNumber": 4},
        others=(Other({"SeriesNumber": 3, "BurnedInAnnotation": "YES"}),),
    ),
    case("under-18", _ADMISSION, "under-18", outcome="refused", tags={"PatientAge": "012Y"}),
    case("under-18-by-months", _ADMISSION, "under-18", outcome="refused", tags={"PatientAge": "018M"}),
    case(
        "under-18-by-birth-date",
        _ADMISSION,
        "under-18",
        outcome="refused",
        tags={"PatientAge": None, "PatientBirthDate": "20150601"},
    ),
    case("kvp-60", _ADMISSION, "kvp-untested", tags={"KVP": "60"}),
    case("kvp-150", _ADMISSION, "kvp-untested", tags={"KVP": "150"}),
    case(
        "two-patients",
        "other files among the slices",
        "mixed-studies",
        outcome="refused",
        others=(Other({"SeriesNumber": 3, "PatientID": "OTHER", "StudyInstanceUID": "2.25.77"}),),
    ),
    case(
        "mr-study",
        _LIES,
        "no-ct",
        outcome="refused",
        tags={"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"},
        scan=QUICK.take(range(14, 28)),
    ),
)
