"""Compressed frames to stored values: one fixed decoder for each transfer syntax.

imagecodecs carries the reference libraries (OpenJPEG, CharLS, libjpeg-turbo) and lets other threads run while
it decodes. Two decoders are avoided: Pillow alters 16-bit JPEG 2000, and HTJ2K of imagecodecs 2026.3.6 hands
out what it has when a frame is damaged; OpenJPEG reads HTJ2K too, and raises.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

Stored = npt.NDArray[np.integer[Any]]

RLE = "1.2.840.10008.1.2.5"
_DECODER = {
    "1.2.840.10008.1.2.4.50": "jpeg8_decode",  # baseline, 8 bit
    "1.2.840.10008.1.2.4.51": "jpeg8_decode",  # extended, 12 bit
    "1.2.840.10008.1.2.4.57": "jpeg8_decode",  # lossless, any predictor
    "1.2.840.10008.1.2.4.70": "jpeg8_decode",  # lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": "jpegls_decode",
    "1.2.840.10008.1.2.4.81": "jpegls_decode",  # near-lossless
    "1.2.840.10008.1.2.4.90": "jpeg2k_decode",
    "1.2.840.10008.1.2.4.91": "jpeg2k_decode",
    "1.2.840.10008.1.2.4.201": "jpeg2k_decode",
    "1.2.840.10008.1.2.4.202": "jpeg2k_decode",
    "1.2.840.10008.1.2.4.203": "jpeg2k_decode",
}
READABLE = frozenset({RLE, *_DECODER})
"""Compressed transfer syntaxes that can be decoded."""

LOSSY = frozenset(
    {
        "1.2.840.10008.1.2.4.50",  # JPEG baseline
        "1.2.840.10008.1.2.4.51",  # JPEG extended
        "1.2.840.10008.1.2.4.81",  # JPEG-LS near-lossless
    }
)
PERHAPS_LOSSY = frozenset({"1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203"})
"""JPEG 2000 and HTJ2K that may lose: they do unless the sender denies it."""

_END = b"\xff\xd9"
_TRAILER_BYTES = 64
"""Some senders pad frames with more than the one byte that makes them even."""
_SIZ = b"\xff\x4f\xff\x51"
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})
_FRAME_HEADERS = frozenset({0xF7, *range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})


def decode_frame(
    frame: bytes, syntax: str, rows: int, columns: int, bits_allocated: int
) -> tuple[Stored, int]:
    """Decode one compressed frame.

    Returns
    -------
    stored : integers, shape (rows, columns)
        In the sign of the codec, which need not be that of the pixels.
    bits : how many low bits of them are significant

    Raises
    ------
    ValueError
        The frame is not of one component of the size the header gives; told before anything is decoded, since
        a few bytes can ask for gigabytes.
    Exception
        Of the codec, for a damaged frame.
    """
    if syntax == RLE:
        return _rle(frame, rows, columns, bits_allocated), bits_allocated
    if syntax not in _DECODER:
        raise ValueError("the transfer syntax is not supported")
    # Codecs fill in what is cut off and say nothing. The end marker occurs nowhere else in any of them.
    if frame.rfind(_END, max(0, len(frame) - _TRAILER_BYTES)) < 0:
        raise ValueError("the compressed image ends early")
    bits, *size = coded_size(frame)
    if size != [rows, columns, 1]:
        raise ValueError("the compressed image does not have the size the header gives")
    stored = np.asarray(_function(_DECODER[syntax])(frame))
    if stored.shape != (rows, columns) or stored.dtype.kind not in "iu":
        raise ValueError("the codec gave another image than announced")
    return stored, bits


def coded_size(frame: bytes) -> tuple[int, int, int, int]:
    """Bits, rows, columns and components that a JPEG, JPEG-LS or JPEG 2000 frame announces.

    Read from the frame header (ISO/IEC 10918-1 B.2.2, 14495-1 C.2.2) or the SIZ marker (15444-1 A.5.1).

    Raises
    ------
    ValueError
        There is no such marker.
    """
    at = frame.find(_SIZ, 0, 4096)
    if at >= 0 and len(frame) > at + 43:
        x1, y1, x0, y0 = (_big(frame, at + k, 4) for k in (8, 12, 16, 20))
        return (frame[at + 42] & 0x7F) + 1, y1 - y0, x1 - x0, _big(frame, at + 40, 2)
    position = 2
    while frame[:2] == b"\xff\xd8" and position + 10 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker in _FRAME_HEADERS:
            rows, columns = _big(frame, position + 5, 2), _big(frame, position + 7, 2)
            return frame[position + 4], rows, columns, frame[position + 9]
        if marker == 0xFF:  # fill byte
            position += 1
        else:
            position += 2 if marker in _NO_LENGTH else 2 + _big(frame, position + 2, 2)
    raise ValueError("the compressed image has no header")


def _big(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _rle(frame: bytes, rows: int, columns: int, bits_allocated: int) -> Stored:
    dtype = np.dtype(f"<u{bits_allocated // 8}")
    data = np.frombuffer(_function("dicomrle_decode")(frame, dtype), dtype)
    if data.size < rows * columns:
        raise ValueError("the run-length code ends early")
    return data[: rows * columns].reshape(rows, columns)


def _function(name: str) -> Callable[..., Any]:
    import imagecodecs  # only where something is compressed: starting takes 20 ms

    function: Callable[..., Any] = getattr(imagecodecs, name)
    # One thread a frame: the frames of a stack are decoded side by side.
    return partial(function, numthreads=1) if name == "jpeg2k_decode" else function
