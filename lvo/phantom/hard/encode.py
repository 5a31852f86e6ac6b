"""Encoders of every transfer syntax, one frame at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gdcm
import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.pixels.encoders.base import get_encoder

Frame = npt.NDArray[Any]
Encoder = Callable[[Frame, int, bool], bytes]

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
JPEG_BASELINE, JPEG_EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS_ANY, JPEG_LOSSLESS_1 = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
JPEG_LS, JPEG_LS_NEAR = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS, JPEG_2000 = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS, HTJ2K_RPCL, HTJ2K = (f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203))
NATIVE_SYNTAXES = frozenset({IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN})


def _bits_of(frame: Frame, bits: int) -> Frame:
    """The stored bits as unsigned words: what codecs without a sign are given."""
    words = frame.view(f"u{frame.itemsize}")
    return np.ascontiguousarray(words & words.dtype.type((1 << bits) - 1))


def _by_pydicom(syntax: str, **options: Any) -> Encoder:
    def encode(frame: Frame, bits: int, signed: bool) -> bytes:
        return bytes(
            get_encoder(syntax).encode(
                frame,
                rows=frame.shape[0],
                columns=frame.shape[1],
                number_of_frames=1,
                samples_per_pixel=1,
                photometric_interpretation="MONOCHROME2",
                bits_allocated=frame.itemsize * 8,
                bits_stored=bits,
                pixel_representation=int(signed),
                **options,
            )
        )

    return encode


def _jpeg(**options: Any) -> Encoder:
    def encode(frame: Frame, bits: int, _signed: bool) -> bytes:
        return bytes(imagecodecs.jpeg8_encode(_bits_of(frame, bits), bitspersample=bits, **options))

    return encode


def _jpeg_2000(*, reversible: bool = True, level: int | None = None, sign: bool = True) -> Encoder:
    def encode(frame: Frame, bits: int, _signed: bool) -> bytes:
        # Without a sign the codestream says unsigned while the header says signed, as some senders do.
        return bytes(
            imagecodecs.jpeg2k_encode(
                frame if sign else _bits_of(frame, bits),
                level=level,
                codecformat="j2k",
                reversible=reversible,
                bitspersample=bits,
            )
        )

    return encode


def _htj2k(*, reversible: bool = True, level: float | None = None, tlm: bool = False) -> Encoder:
    def encode(frame: Frame, _bits: int, _signed: bool) -> bytes:
        return bytes(imagecodecs.htj2k_encode(frame, level, reversible=reversible, tlm=tlm))

    return encode


def by_gdcm(syntax: str) -> Callable[[Path], None]:
    """Compress every file of a folder with GDCM, whose codecs are others than those used above."""

    def files(folder: Path) -> None:
        for path in folder.iterdir():
            reader, writer = gdcm.ImageReader(), gdcm.ImageWriter()
            change = gdcm.ImageChangeTransferSyntax()
            reader.SetFileName(str(path))
            change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
            if not reader.Read():
                raise ValueError("GDCM cannot read the file")
            change.SetInput(reader.GetImage())
            if not change.Change():
                raise ValueError("GDCM cannot compress the image")
            writer.SetFileName(str(path))
            writer.SetFile(reader.GetFile())
            writer.SetImage(change.GetOutput())
            if not writer.Write():
                raise ValueError("GDCM cannot write the file")

    return files


ENCODERS: dict[str, Encoder] = {
    RLE: _by_pydicom(RLE),
    JPEG_BASELINE: _jpeg(level=98),
    JPEG_EXTENDED: _jpeg(level=98),
    JPEG_LOSSLESS_ANY: _jpeg(lossless=True, predictor=4),
    JPEG_LOSSLESS_1: _jpeg(lossless=True, predictor=1),
    JPEG_LS: _by_pydicom(JPEG_LS),
    JPEG_LS_NEAR: _by_pydicom(JPEG_LS_NEAR, jls_error=2),
    JPEG_2000_LOSSLESS: _jpeg_2000(),
    JPEG_2000: _jpeg_2000(reversible=False, level=80),
    HTJ2K_LOSSLESS: _htj2k(),
    HTJ2K_RPCL: _htj2k(tlm=True),
    HTJ2K: _htj2k(reversible=False, level=1e-5),
}
REVERSIBLE_JPEG_2000 = _jpeg_2000()
UNSIGNED_JPEG_2000 = _jpeg_2000(sign=False)
