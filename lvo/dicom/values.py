"""Values of the elements the header pass reads: bytes to text and numbers, and None for what is not there."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Literal

from lvo.dicom.elements import quiet

TAGS: Mapping[str, int] = {
    "MediaStorageSOPClassUID": 0x00020002,
    "SpecificCharacterSet": 0x00080005,
    "ImageType": 0x00080008,
    "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018,
    "StudyDate": 0x00080020,
    "AcquisitionDate": 0x00080022,
    "ContentDate": 0x00080023,
    "AcquisitionDateTime": 0x0008002A,
    "AcquisitionTime": 0x00080032,
    "ContentTime": 0x00080033,
    "Modality": 0x00080060,
    "SeriesDescription": 0x0008103E,
    "FrameType": 0x00089007,
    "PatientID": 0x00100020,
    "PatientBirthDate": 0x00100030,
    "PatientAge": 0x00101010,
    "ContrastBolusAgent": 0x00180010,
    "BodyPartExamined": 0x00180015,
    "SliceThickness": 0x00180050,
    "KVP": 0x00180060,
    "ConvolutionKernel": 0x00181210,
    "FrameAcquisitionDateTime": 0x00189074,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
    "SeriesNumber": 0x00200011,
    "AcquisitionNumber": 0x00200012,
    "InstanceNumber": 0x00200013,
    "ImagePositionPatient": 0x00200032,
    "ImageOrientationPatient": 0x00200037,
    "FrameOfReferenceUID": 0x00200052,
    "TemporalPositionIdentifier": 0x00200100,
    "TemporalPositionIndex": 0x00209128,
    "FrameAcquisitionNumber": 0x00209156,
    "SamplesPerPixel": 0x00280002,
    "PhotometricInterpretation": 0x00280004,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "PixelSpacing": 0x00280030,
    "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101,
    "PixelRepresentation": 0x00280103,
    "PixelPaddingValue": 0x00280120,
    "PixelPaddingRangeLimit": 0x00280121,
    "BurnedInAnnotation": 0x00280301,
    "RescaleIntercept": 0x00281052,
    "RescaleSlope": 0x00281053,
    "RescaleType": 0x00281054,
    "LossyImageCompression": 0x00282110,
    "LossyImageCompressionRatio": 0x00282112,
    "ModalityLUTSequence": 0x00283000,
    "SharedFunctionalGroupsSequence": 0x52009229,
    "PerFrameFunctionalGroupsSequence": 0x52009230,
}
"""Keyword to tag of every element that is read (PS3.6). A table, because pydicom's takes 0.2 s to import."""

_NO_NUMBER = 1e7
_NO_COUNT = 1e15


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
        """The first value of an integer string; None for more digits than any counter has."""
        number = self.number(name)
        return None if number is None or abs(number) > _NO_COUNT else int(number)

    def binary(self, name: str, *, signed: bool = False) -> int | None:
        """The first value of a two-byte (US or SS) element."""
        raw = self._raw.get(TAGS[name], b"")
        return int.from_bytes(raw[:2], self._order, signed=signed) if len(raw) >= 2 else None

    def unsigned_long(self, name: str) -> int | None:
        """The first value of a four-byte (UL) element."""
        raw = self._raw.get(TAGS[name], b"")
        return int.from_bytes(raw[:4], self._order) if len(raw) >= 4 else None

    def _decoded(self, raw: bytes) -> str:
        from pydicom.charset import convert_encodings, decode_bytes

        names = self._raw.get(TAGS["SpecificCharacterSet"], b"").decode("ascii", "replace")
        try:
            with quiet():
                encodings = convert_encodings([part.strip(" \0") for part in names.split("\\")])
                return decode_bytes(raw, encodings, set(b"\\\r\n\f"))
        except (LookupError, UnicodeError, ValueError):
            return raw.decode("latin-1")
