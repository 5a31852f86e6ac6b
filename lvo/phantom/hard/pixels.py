"""Hard cases of pixel data: stored values, padding, transfer syntaxes, damaged files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lvo.phantom.hard import encode as syntax
from lvo.phantom.hard.encode import ENCODERS, REVERSIBLE_JPEG_2000, UNSIGNED_JPEG_2000, by_gdcm
from lvo.phantom.hard.head import axial
from lvo.phantom.hard.recipe import AXIAL, HardCase, Outcome, case, each
from lvo.phantom.hard.write import Encoding, Image, Storage

_RESCALE = "rescale differs per slice"
_PADDING = "padding smeared by interpolation"
_VALUES = "stored values"
_SYNTAX = "compressed syntaxes decode wrong"
_DAMAGE = "truncated or corrupt files"
_NO_RESCALE = {"RescaleSlope": None, "RescaleIntercept": None, "RescaleType": None}

S16 = Storage()
U16 = Storage(signed=False)
S12 = Storage(bits=12, slope=2.0, intercept=1000.0)
U12 = Storage(bits=12, signed=False)
U8 = Storage(bits=8, allocated=8, signed=False, slope=16.0)


def _values(
    name: str, row: str, *storages: Storage, hu: float = 0.0, codes: tuple[str, ...] = (), **recipe: Any
) -> HardCase:
    return case(name, row, *codes, storages=storages, truth={"quiet": True, "hu": hu}, **recipe)


VALUES = (
    _values("rescale-per-slice", _RESCALE, S16, Storage(slope=0.5, intercept=-500.0), S12),
    _values("slope-not-whole", _RESCALE, Storage(slope=0.4567, intercept=-1000.25), hu=0.51),
    _values(
        "no-rescale-tags", _RESCALE, Storage(intercept=0.0), tags=_NO_RESCALE, codes=("rescale-missing",)
    ),
    # Stored values with the usual offset of 1024, and nothing that says so: air would read as 24 HU.
    case("no-rescale-tags-but-an-offset", _RESCALE, outcome="refused", tags=_NO_RESCALE),
    case("rescale-not-to-hu", _RESCALE, "not-hounsfield", outcome="refused", tags={"RescaleType": "MGML"}),
    case("slope-zero", _RESCALE, outcome="refused", tags={"RescaleSlope": "0"}),
    _values("padding-signed", _PADDING, Storage(padding=-2000)),
    _values("padding-written-as-us", _PADDING, Storage(padding=-2000, padding_vr="US")),
    _values(
        "padding-in-implicit-vr",
        _PADDING,
        Storage(padding=-2000, padding_vr="SS"),
        encoding=Encoding(syntax.IMPLICIT),
    ),
    _values("padding-unsigned", _PADDING, Storage(signed=False, padding=63536, padding_vr="US")),
    case(
        "padding-beyond-the-stored-bits",
        _PADDING,
        storages=(Storage(bits=12, signed=False, padding=63536, padding_vr="US"),),
    ),
    _values("padding-range", _PADDING, Storage(padding=-2000, padding_limit=-1900)),
    _values("padding-range-downwards", _PADDING, Storage(padding=-1900, padding_limit=-2000)),
    case("monochrome1", _VALUES, "monochrome1", tags={"PhotometricInterpretation": "MONOCHROME1"}),
    _values("unsigned", _VALUES, U16),
    _values("signed-12-bit", _VALUES, S12),
    _values("unsigned-12-bit", _VALUES, U12),
    _values(
        "signed-12-bit-with-garbage-above",
        _VALUES,
        Storage(bits=12, slope=2.0, intercept=1000.0, garbage=0xA000),
        codes=("high-bits-masked",),
    ),
    _values(
        "unsigned-12-bit-with-garbage-above",
        _VALUES,
        Storage(bits=12, signed=False, garbage=0x5000),
        codes=("high-bits-masked",),
    ),
    _values("8-bit", _VALUES, U8),
    _values("8-bit-of-odd-length", _VALUES, U8, scan=axial(44, 1.9, matrix=(47, 45))),
)


def _twin(
    name: str,
    uid: str,
    storage: Storage,
    *codes: str,
    hu: float = 0.0,
    outcome: Outcome = "exact",
    **encoding: Any,
) -> HardCase:
    tags: dict[str, Any] = {"LossyImageCompression": "00"}
    if codes:
        tags = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "4"}
        tags["LossyImageCompressionMethod"] = "ISO_15444_1" if "2k" in name else "ISO_10918_1"
    return case(
        f"syntax-{name}",
        _SYNTAX,
        *codes,
        outcome=outcome,
        grain=10.0,
        storages=(storage,),
        tags=tags,
        encoding=Encoding(uid, **encoding),
        truth={"quiet": True, "hu": hu},
    )


_LOSSY = "lossy-compression"
SYNTAXES = (
    _twin("implicit", syntax.IMPLICIT, S16),
    _twin("explicit", syntax.EXPLICIT, S16),
    _twin("big-endian", syntax.BIG_ENDIAN, S16),
    _twin("big-endian-8-bit", syntax.BIG_ENDIAN, U8),
    _twin("deflated", syntax.DEFLATED, S16),
    _twin("rle-signed", syntax.RLE, S16),
    _twin("rle-8-bit", syntax.RLE, U8),
    # Eight bits after loss are a picture of a CT, not a CT.
    _twin("jpeg-baseline-8-bit", syntax.JPEG_BASELINE, U8, "lossy-beyond-use", outcome="refused"),
    _twin("jpeg-extended-12-bit", syntax.JPEG_EXTENDED, U12, _LOSSY, hu=20),
    _twin("jpeg-extended-12-bit-signed", syntax.JPEG_EXTENDED, S12, _LOSSY, hu=40),
    _twin("jpeg-lossless-any-signed", syntax.JPEG_LOSSLESS_ANY, S16),
    _twin("jpeg-lossless-signed", syntax.JPEG_LOSSLESS_1, S16),
    _twin("jpeg-lossless-unsigned", syntax.JPEG_LOSSLESS_1, U16),
    _twin("jpeg-lossless-12-bit-signed", syntax.JPEG_LOSSLESS_1, S12),
    _twin("jpeg-ls-signed", syntax.JPEG_LS, S16),
    _twin("jpeg-ls-unsigned", syntax.JPEG_LS, U16),
    _twin("jpeg-ls-12-bit-signed", syntax.JPEG_LS, S12),
    _twin("jpeg-ls-fragments", syntax.JPEG_LS, S16, fragments=3),
    _twin("jpeg-ls-near-lossless", syntax.JPEG_LS_NEAR, S16, _LOSSY, hu=2),
    _twin("jpeg-2k-signed", syntax.JPEG_2000_LOSSLESS, S16),
    _twin("jpeg-2k-unsigned", syntax.JPEG_2000_LOSSLESS, U16),
    _twin("jpeg-2k-12-bit-signed", syntax.JPEG_2000_LOSSLESS, S12),
    _twin("jpeg-2k-12-bit-unsigned", syntax.JPEG_2000_LOSSLESS, U12),
    # The codestream says unsigned, the header signed: the header is right.
    _twin("jpeg-2k-sign-differs", syntax.JPEG_2000_LOSSLESS, S16, encoder=UNSIGNED_JPEG_2000),
    _twin("jpeg-2k-12-bit-sign-differs", syntax.JPEG_2000_LOSSLESS, S12, encoder=UNSIGNED_JPEG_2000),
    # The syntax allows loss, the sender says that there was none, and there was none.
    _twin("jpeg-2k-lossless-in-the-lossy-syntax", syntax.JPEG_2000, S16, encoder=REVERSIBLE_JPEG_2000),
    _twin("jpeg-2k-lossy", syntax.JPEG_2000, S16, _LOSSY, hu=45),
    _twin("htj-2k-lossless", syntax.HTJ2K_LOSSLESS, S16),
    _twin("htj-2k-lossless-unsigned", syntax.HTJ2K_LOSSLESS, U16),
    _twin("htj-2k-rpcl", syntax.HTJ2K_RPCL, S16),
    _twin("htj-2k-lossy", syntax.HTJ2K, S16, _LOSSY, hu=5),
    *(
        case(
            f"syntax-{name}-by-gdcm",
            _SYNTAX,
            grain=10.0,
            files=by_gdcm(uid),
            storages=(storage,),
            truth={"quiet": True},
        )
        for name, uid, storage in (
            ("jpeg-lossless", syntax.JPEG_LOSSLESS_1, S16),
            ("jpeg-ls", syntax.JPEG_LS, S12),
            ("jpeg-2k", syntax.JPEG_2000_LOSSLESS, S16),
            ("rle", syntax.RLE, U16),
        )
    ),
    case(
        "lossy-and-not-said",
        _SYNTAX,
        _LOSSY,
        encoding=Encoding(syntax.JPEG_2000),
        truth={"hu": 45},
    ),
    case(
        "lossy-ratio-20",
        _SYNTAX,
        "lossy-beyond-use",
        outcome="refused",
        tags={"LossyImageCompression": "01", "LossyImageCompressionRatio": "20"},
        encoding=Encoding(syntax.JPEG_2000),
    ),
    case(
        "lossy-ratio-20-decompressed",
        _SYNTAX,
        "lossy-beyond-use",
        outcome="refused",
        tags={"LossyImageCompression": "01", "LossyImageCompressionRatio": ["2", "20"]},
    ),
)


def _cut_file(name: str, keep: int) -> Callable[[Path], None]:
    """Cut a file to so many bytes, or by so many where negative."""

    def spoil(folder: Path) -> None:
        path = folder / name
        path.write_bytes(path.read_bytes()[:keep])

    return spoil


def _half(uid: str) -> Encoding:
    def encode(frame: npt.NDArray[Any], bits: int, signed: bool) -> bytes:
        coded = ENCODERS[uid](frame, bits, signed)
        return coded[: len(coded) // 2]

    return Encoding(uid, encode)


def _small(uid: str) -> Encoding:
    return Encoding(uid, lambda frame, bits, signed: ENCODERS[uid](frame[:20, :20].copy(), bits, signed))


def _noise(uid: str) -> Encoding:
    return Encoding(uid, lambda *_: np.random.default_rng(5).bytes(900))


def _bad_slice(name: str, encoding: Encoding) -> HardCase:
    """One slice whose coded frame is damaged inside a file that is whole."""

    def spoil(_: int, image: Image) -> None:
        image.encoding = encoding

    return case(
        name,
        _DAMAGE,
        "corrupt-slices",
        "uneven-spacing",
        outcome="resampled",
        scan=AXIAL,
        edit=each(spoil, (30,)),
        lost=(30,),
        encoding=Encoding(encoding.syntax),
    )


def _cut(name: str, code: str, keep: int, lost: int = 30, **recipe: Any) -> HardCase:
    inside = lost != len(AXIAL.positions) - 1
    codes = (code, "uneven-spacing") if inside else (code,)
    spoil = _cut_file(f"{lost + 1:05d}.dcm", keep)
    outcome: Any = "resampled" if inside else "exact"
    return case(name, _DAMAGE, *codes, outcome=outcome, scan=AXIAL, files=spoil, lost=(lost,), **recipe)


def _short_pixels(_: int, image: Image) -> None:
    image.stored = image.stored[:20]


def _long_pixels(_: int, image: Image) -> None:
    image.stored = np.concatenate([image.stored, image.stored[:2]])


DAMAGE = (
    _cut("header-cut", "unreadable-files", 500),
    _cut("pixel-data-cut", "corrupt-slices", -1000),
    _cut("pixel-data-of-the-top-slice-cut", "corrupt-slices", -1000, lost=55),
    _cut("deflated-file-cut", "unreadable-files", 900, encoding=Encoding(syntax.DEFLATED)),
    _cut("jpeg-ls-file-cut", "corrupt-slices", -400, encoding=Encoding(syntax.JPEG_LS)),
    case(
        "pixel-data-short",
        _DAMAGE,
        "corrupt-slices",
        "uneven-spacing",
        outcome="resampled",
        scan=AXIAL,
        edit=each(_short_pixels, (30,)),
        lost=(30,),
    ),
    # More rows than the header says: which ones are the image's cannot be known.
    case(
        "pixel-data-long",
        _DAMAGE,
        "corrupt-slices",
        "uneven-spacing",
        outcome="resampled",
        scan=AXIAL,
        edit=each(_long_pixels, (30,)),
        lost=(30,),
    ),
    case("all-pixel-data-short", _DAMAGE, "pixels-unreadable", outcome="refused", edit=each(_short_pixels)),
    case(
        "many-slices-cut",
        _DAMAGE,
        "slices-missing",
        outcome="refused",
        edit=each(_short_pixels, range(28, 34)),
    ),
    _bad_slice("jpeg-2000-codestream-cut", _half(syntax.JPEG_2000_LOSSLESS)),
    _bad_slice("htj2k-codestream-cut", _half(syntax.HTJ2K_LOSSLESS)),
    _bad_slice("jpeg-ls-codestream-cut", _half(syntax.JPEG_LS)),
    _bad_slice("jpeg-lossless-codestream-cut", _half(syntax.JPEG_LOSSLESS_1)),
    _bad_slice("rle-codestream-cut", _half(syntax.RLE)),
    _bad_slice("jpeg-2000-codestream-is-noise", _noise(syntax.JPEG_2000_LOSSLESS)),
    _bad_slice("jpeg-2000-codestream-of-another-size", _small(syntax.JPEG_2000_LOSSLESS)),
    _bad_slice("jpeg-lossless-codestream-of-another-size", _small(syntax.JPEG_LOSSLESS_1)),
)


CASES = (*VALUES, *SYNTAXES, *DAMAGE)
