"""Hard cases of geometry: where slices lie, which are missing, how they are turned."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np

from lvo.phantom.hard.head import NATIVE, Scan, at_heights, axial, axial_affine, oblique, tilted, turned
from lvo.phantom.hard.recipe import AXIAL, QUICK, HardCase, case, each
from lvo.phantom.hard.write import Image, Storage, ds, set_tags

_TABLE = "missing slices, variable spacing"
_TILT = "gantry tilt on head CT"
_FLIP = "flips and mirrors"
_ADMISSION = "outside what was tested"
_LIES = "spacing from the wrong tag"
_PLAIN: dict[str, Any] = {"ContrastBolusAgent": None, "SeriesDescription": "Head"}

VERTEX = axial(70, 2.5, middle_z=25.0)
"""From below the skull base to above the vertex."""
_THIN_THICK = at_heights(
    [*np.arange(-42, 0.1, 1.5), *np.arange(4.5, 45.1, 4.5)], np.array([1.5] * 29 + [4.5] * 10)
)
_VARIABLE = at_heights(
    [*np.arange(-42, 0.1, 1.0), *np.arange(2, 42.1, 2.0)], np.array([1.0] * 43 + [2.0] * 21)
)
_BOX, _SMALL_BOX = (44, 44, 36), (28, 24, 20)


def _jittered(millimetres: float, seed: int = 1) -> Scan:
    shake = np.random.default_rng(seed).uniform(-millimetres, millimetres, len(AXIAL.positions))
    return replace(AXIAL, positions=AXIAL.positions + np.outer(shake, [0, 0, 1]))


def _rounded(k: int, image: Image) -> None:
    """Direction cosines with four decimals on every other slice, as some senders round."""
    digits = 4 if k % 2 else 6
    cosines = [ds(round(float(v), digits)) for v in image.header.ImageOrientationPatient]
    set_tags(image.header, {"ImageOrientationPatient": cosines})


def _lying_spacing(k: int, image: Image) -> None:
    lies = {
        "SliceThickness": ds(0.75 if k % 2 else 1.0),
        "SpacingBetweenSlices": ds(-9),
        "SliceLocation": ds(7.0 - 3 * (k % 5)),
        "GantryDetectorTilt": ds(12),
        "TableHeight": ds(150),
    }
    set_tags(image.header, lies)


def _lying_numbers(k: int, image: Image) -> None:
    set_tags(image.header, {"InstanceNumber": [9, 3, 3, 7][k % 4] if k % 8 else None})


def _spacing_rounded(k: int, image: Image) -> None:
    """Pixel spacing that differs in the fifth decimal, on both sides of a half in the fourth."""
    set_tags(image.header, {"PixelSpacing": [ds(4.500051 if k % 2 else 4.500049)] * 2})


def _beside(_: int, image: Image) -> None:
    x, y, z = image.header.ImagePositionPatient
    set_tags(image.header, {"ImagePositionPatient": [ds(x + 20), y, z]})


def _tilt(name: str, degrees: float, tag: float, scan: Scan = QUICK, *codes: str, **recipe: Any) -> HardCase:
    return case(
        name,
        _TILT,
        "gantry-tilt",
        *codes,
        outcome="resampled",
        scan=tilted(scan, degrees),
        tags={"GantryDetectorTilt": ds(tag)},
        **recipe,
    )


GAPS = (
    case("regular", "regular", truth={"quiet": True}),
    case(
        "jitter-0.005-mm",
        "position jitter",
        scan=_jittered(0.005),
        truth={"quiet": True, "position_mm": 0.012},
    ),
    case(
        "jitter-0.05-mm", "position jitter", scan=_jittered(0.05), truth={"quiet": True, "position_mm": 0.11}
    ),
    case("one-missing", _TABLE, "uneven-spacing", outcome="resampled", scan=AXIAL.without(30)),
    case(
        "one-missing-of-2.5-mm",
        _TABLE,
        "slices-missing",
        outcome="refused",
        scan=axial(34, 2.5).without(18),
    ),
    case(
        "five-missing-in-the-middle",
        _TABLE,
        "slices-missing",
        outcome="refused",
        scan=AXIAL.without(*range(28, 33)),
    ),
    case(
        "five-missing-at-the-vessels-of-a-tall-scan",
        _TABLE,
        "slices-missing",
        outcome="refused",
        scan=VERTEX.without(*range(25, 30)),
    ),
    case(
        "gap-only-at-the-vertex",
        _TABLE,
        "gap-outside-vessels",
        outcome="resampled",
        scan=VERTEX.without(64, 65, 66),
    ),
    case(
        "thin-base-and-thick-vertex",
        _TABLE,
        "uneven-spacing",
        outcome="resampled",
        scan=_THIN_THICK,
        body=NATIVE,
        tags=_PLAIN,
        truth={"volume": "ncct", "marker_mm": 4.0},
    ),
    case("variable-spacing-without-a-gap", _TABLE, "uneven-spacing", outcome="resampled", scan=_VARIABLE),
    case(
        "thick-slices-of-2.5-mm",
        _ADMISSION,
        "thick-slices",
        scan=axial(34, 2.5),
    ),
    case("slices-of-5-mm", _ADMISSION, "slices-too-thick", outcome="refused", scan=axial(18, 5.0)),
    case("slices-apart", _TABLE, "slices-apart", scan=AXIAL.thick(0.75)),
)

TILTS = (
    _tilt("tilt-plus-15", 15, -15),  # the sign of the tag differs between makers; it must not matter
    _tilt("tilt-minus-15", -15, -15),
    _tilt("tilt-0.2", 0.2, 0),
    _tilt("tilt-variable-spacing", 12, 0, _VARIABLE, "uneven-spacing"),
    _tilt("tilt-padding", 15, 15, storages=(Storage(padding=-2000),)),
    _tilt(
        "tilt-padding-unsigned",
        -15,
        15,
        storages=(Storage(signed=False, padding=63536, padding_vr="US"),),
    ),
    case(
        "tilted-as-no-gantry-can",
        _TILT,
        "geometry-inconsistent",
        outcome="refused",
        scan=tilted(axial(60, 1.9), 40),
    ),
    case(
        "tilt-tag-without-tilt",
        _TILT,
        tags={"GantryDetectorTilt": ds(15)},
        truth={"quiet": True},
    ),
)

TAGS = (
    case("anisotropic-pixels", "anisotropic pixels", scan=axial(44, 1.9, matrix=(40, 48), pixel=(5.4, 4.5))),
    case("spacing-tags-lie", _LIES, edit=each(_lying_spacing)),
    case("instance-numbers-lie", _LIES, edit=each(_lying_numbers), truth={"quiet": True}),
    case(
        "pixel-spacing-rounded", "position jitter", edit=each(_spacing_rounded), truth={"position_mm": 0.01}
    ),
    case("no-slice-thickness", _LIES, tags={"SliceThickness": None}, truth={"quiet": True}),
    case(
        "oblique-without-shear",
        _TILT,
        scan=oblique(QUICK, 20, 6),
        truth={"quiet": True},
    ),
    case(
        "orientation-rounded",
        _TILT,
        scan=oblique(QUICK, 17, 4),
        edit=each(_rounded),
        truth={"position_mm": 0.05},
    ),
    case(
        "one-slice-without-a-position",
        "missing or anonymised tags",
        "uneven-spacing",
        outcome="resampled",
        scan=AXIAL,
        edit=each(lambda _, image: set_tags(image.header, {"ImagePositionPatient": None}), (30,)),
        lost=(30,),
    ),
    case(
        "no-positions",
        "missing or anonymised tags",
        outcome="refused",
        tags={"ImagePositionPatient": None},
    ),
    case(
        "no-orientation",
        "missing or anonymised tags",
        outcome="refused",
        tags={"ImageOrientationPatient": None},
    ),
    case(
        "one-slice-beside-the-others",
        "flips and mirrors",
        "geometry-inconsistent",
        outcome="refused",
        edit=each(_beside, (20,)),
    ),
    case("no-pixel-spacing", "spacing from the wrong tag", outcome="refused", tags={"PixelSpacing": None}),
    case(
        "chest-to-vertex",
        "huge series",
        "cropped-to-head",
        outcome="resampled",
        scan=axial(150, 3.0, middle_z=-113.5),
    ),
    case(
        "two-thousand-slices",
        "huge series",
        outcome="resampled",
        slow=True,
        scan=axial(2000, 0.2, matrix=(32, 32), pixel=(6.75, 6.75), middle_z=-88.0),
        truth={"marker_mm": 4.0},
    ),
)


def orientation_cases() -> tuple[HardCase, ...]:
    """The same box of the patient cut along every permutation of its axes, in every direction.

    A stack whose slices are not axial is a reformat and is not analysed, whatever its ImageType says; its
    truth still holds every position.
    """
    found = []
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            name = "axes-" + "".join(
                f"{'-' if sign < 0 else '+'}{'zyx'[axis]}" for axis, sign in zip(axes, signs, strict=True)
            )
            is_axial = axes[0] == 0
            box = _BOX if is_axial else _SMALL_BOX
            affine = axial_affine(box, *((1.9, (4.9, 6.0)) if is_axial else (3.0, (9.0, 11.0))))
            truth = {"quiet": True} if is_axial else {"roles": frozenset({"derived"})}
            outcome: Any = "exact" if is_axial else "other"
            scan = turned(affine, box, axes, signs)
            found.append(case(name, _FLIP, outcome=outcome, scan=scan, truth=truth))
    return tuple(found)


def _position(name: str, signs: tuple[int, int, int]) -> HardCase:
    scan = turned(axial_affine(_BOX, 1.9, (4.9, 6.0)), _BOX, (0, 1, 2), signs)
    return case(
        f"patient-{name.lower()}", _FLIP, scan=scan, tags={"PatientPosition": name}, truth={"quiet": True}
    )


POSITIONS = (
    _position("HFP", (1, -1, -1)),
    _position("FFS", (1, 1, -1)),
    _position("FFP", (-1, -1, 1)),
    _position("HFS", (-1, 1, 1)),
)
"""Patient positions: ImageOrientationPatient says where the patient is, PatientPosition only agrees."""

CASES = (*GAPS, *TILTS, *TAGS, *POSITIONS)
