"""Values of the elements the header pass reads: bytes to text and numbers, and None for what is not there."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Literal

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import tag_for_keyword

_NAMES = """
    MediaStorageSOPClassUID SpecificCharacterSet ImageType SOPClassUID SOPInstanceUID StudyDate
    AcquisitionDate ContentDate AcquisitionDateTime AcquisitionTime ContentTime Modality SeriesDescription
    PatientID PatientBirthDate PatientAge ContrastBolusAgent BodyPartExamined SliceThickness KVP
    ConvolutionKernel StudyInstanceUID SeriesInstanceUID SeriesNumber AcquisitionNumber InstanceNumber
    ImagePositionPatient ImageOrientationPatient FrameOfReferenceUID TemporalPositionIdentifier
    SamplesPerPixel PhotometricInterpretation NumberOfFrames Rows Columns PixelSpacing BitsAllocated
    BitsStored PixelRepresentation BurnedInAnnotation PixelPaddingValue PixelPaddingRangeLimit
    RescaleIntercept RescaleSlope RescaleType LossyImageCompression LossyImageCompressionRatio
    ModalityLUTSequence SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence
    FrameType FrameAcquisitionDateTime TemporalPositionIndex
"""
TAGS: Mapping[str, int] = {name: tag for name in _NAMES.split() if (tag := tag_for_keyword(name)) is not None}
"""Keyword to tag of every element that is read."""

_NO_NUMBER = 1e7


class Values:
    """Raw element values, read by keyword.

    Parameters
    ----------
    raw : tag to bytes
    big_endian : whether binary numbers are stored high byte first
    """

    def __init__(self, raw: Mapping[int, bytes], *, big_endian: bool = False) -> None:
        self._raw = raw
        self._order: Literal["big", "little"] = "big" if big_endian else "little"

    def has(self, name: str) -> bool:
        """Whether the element is present, empty or not."""
        return TAGS[name] in self._raw

    def bytes(self, name: str) -> bytes:
        """The value as it is stored; empty where the element is absent."""
        return self._raw.get(TAGS[name], b"")

    def texts(self, name: str) -> tuple[str, ...]:
        """The values of a text element without padding; () where it is absent or empty."""
        raw = self._raw.get(TAGS[name], b"")
        if not raw:
            return ()
        # Null bytes pad UIDs, and some senders pad everything with them.
        text = raw.decode("ascii") if raw.isascii() else self._decoded(raw)
        stripped = text.replace("\0", " ").strip()
        return tuple(part.strip() for part in stripped.split("\\")) if stripped else ()

    def text(self, name: str) -> str:
        """All values of a text element as one string."""
        return "\\".join(self.texts(name))

    def number(self, name: str) -> float | None:
        """The first value of a decimal or integer string."""
        with contextlib.suppress(ValueError, IndexError):
            number = float(self.texts(name)[0])
            return number if math.isfinite(number) else None
        return None

    def numbers(self, name: str, count: int) -> tuple[float, ...] | None:
        """Exactly `count` decimal strings; None where there are others or they make no geometry."""
        with contextlib.suppress(ValueError):
            found = tuple(float(part) for part in self.texts(name))
            return found if len(found) == count and all(abs(n) < _NO_NUMBER for n in found) else None
        return None

    def whole(self, name: str) -> int | None:
        """The first value of an integer string."""
        number = self.number(name)
        return None if number is None else int(number)

    def binary(self, name: str, *, signed: bool = False) -> int | None:
        """The first value of a two-byte (US or SS) element."""
        raw = self._raw.get(TAGS[name], b"")
        return int.from_bytes(raw[:2], self._order, signed=signed) if len(raw) >= 2 else None

    def unsigned_long(self, name: str) -> int | None:
        """The first value of a four-byte (UL) element."""
        raw = self._raw.get(TAGS[name], b"")
        return int.from_bytes(raw[:4], self._order) if len(raw) >= 4 else None

    def _decoded(self, raw: bytes) -> str:
        names = self._raw.get(TAGS["SpecificCharacterSet"], b"").decode("ascii", "replace")
        try:
            encodings = convert_encodings([part.strip(" \0") for part in names.split("\\")])
            return decode_bytes(raw, encodings, {"\\", "\r", "\n", "\f"})
        except (LookupError, UnicodeError, ValueError):
            return raw.decode("latin-1")
