"""Top-level elements of a DICOM data set as raw bytes, up to the pixel data, which are left where they are.

pydicom builds an object for each element and takes 1.3 ms for the header of a CT slice; a study has a
thousand, and the clock runs. This walk takes a tenth of that. It accepts only what DICOM PS3.5 section 7
allows; whatever it refuses goes to pydicom, which has seen more of the world and is also the reference that
this module is tested against.
"""

from __future__ import annotations

import io
import logging
import warnings
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
IMPLICIT = "1.2.840.10008.1.2"

MAX_INFLATED_BYTES = 64 << 20
"""A deflated data set larger than this is refused: a few kilobytes can hold gigabytes of zeros."""
MAX_HEADER_BYTES = 64 << 20
_CHUNK = 16 << 10
_PIXEL_DATA = 0x7FE00010
_TRANSFER_SYNTAX = 0x00020010
_MEDIA_CLASS = 0x00020002
_CHARACTER_SET = 0x00080005
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_MAX_DEPTH = 16
_SHORT_VR = frozenset(
    b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split()
)  # lengths of two bytes, PS3.5 table 7.1-2
_LONG_VR = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())


class PixelSpan(NamedTuple):
    """Where the value of the pixel data element lies in its file (or in the inflated data set).

    ``length`` is None where it is undefined, as that of compressed pixel data always is.
    """

    offset: int
    length: int | None


@dataclass(frozen=True, slots=True)
class Elements:
    """Raw values of the wanted elements of one data set.

    Attributes
    ----------
    values : tag to bytes, padding included; absent elements have no entry
    transfer_syntax : UID, empty where the file does not say
    big_endian : whether numbers are stored high byte first
    pixels : where the pixel data are; None where there are none
    """

    values: dict[int, bytes]
    transfer_syntax: str
    big_endian: bool
    pixels: PixelSpan | None


class NotDicom(ValueError):
    """The file has no DICOM preamble (PS3.10 section 7.1)."""


class _Malformed(ValueError):
    """Not what the standard allows."""


def read_elements(stream: BinaryIO, wanted: Collection[int]) -> Elements:
    """Read the wanted top-level elements before the pixel data.

    Parameters
    ----------
    stream : binary, seekable, at its start
    wanted : tags, as ``group << 16 | element``; a wanted sequence gives an empty value if it is present

    Raises
    ------
    NotDicom
        The file has no DICOM preamble.
    Exception
        Of many kinds, where neither this module nor pydicom can read the header.
    """
    try:
        return _walk_file(stream, wanted)
    except _Malformed:
        stream.seek(0)
        return _by_pydicom(stream, wanted)


def inflated(stream: BinaryIO, start: int) -> bytes:
    """Inflate the deflated data set that starts at `start`, PS3.5 annex A.5.

    Raises
    ------
    ValueError
        The stream is damaged, or longer than `MAX_INFLATED_BYTES`.
    """
    stream.seek(start)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(stream.read(MAX_INFLATED_BYTES), MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise ValueError("the deflated data set is damaged") from error
    if inflater.unconsumed_tail:
        raise ValueError("the deflated data set is too large")
    return data


def data_set_start(stream: BinaryIO) -> int:
    """Offset of the first byte after the file meta information."""
    return _meta(_Buffer(stream), frozenset())[2]


def _walk_file(stream: BinaryIO, wanted: Collection[int]) -> Elements:
    buffer = _Buffer(stream)
    meta, syntax, position = _meta(buffer, frozenset(wanted))
    if syntax == DEFLATED:
        buffer, position = _Buffer(io.BytesIO(inflated(stream, position))), 0
    walker = _Walker(buffer, explicit=syntax != IMPLICIT, big_endian=syntax == BIG_ENDIAN)
    values, pixels = walker.top_level(position, frozenset(wanted))
    return Elements(meta | values, syntax, syntax == BIG_ENDIAN, pixels)


def _meta(buffer: _Buffer, wanted: frozenset[int]) -> tuple[dict[int, bytes], str, int]:
    """Wanted file meta elements, the transfer syntax, and where the data set starts."""
    if len(buffer.data) < 132 or buffer.data[128:132] != b"DICM":
        raise NotDicom("no DICOM preamble")
    walker = _Walker(buffer, explicit=True, big_endian=False)
    values, _ = walker.top_level(132, wanted | {_TRANSFER_SYNTAX}, only_group=2)
    syntax = values.pop(_TRANSFER_SYNTAX, b"").strip(b" \0").decode("latin-1")
    if not syntax:
        raise _Malformed("no transfer syntax")
    return values, syntax, walker.position


class _Buffer:
    """The beginning of a stream, read as far as it is needed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.data = stream.read(_CHUNK)

    def need(self, end: int) -> None:
        """Have bytes up to `end`."""
        missing = end - len(self.data)
        if missing <= 0:
            return
        if end > MAX_HEADER_BYTES:
            raise _Malformed("the header is too long")
        # In steps that double, so that a long header is not copied once for each element.
        self.data += self._stream.read(max(missing, len(self.data)))
        if end > len(self.data):
            raise _Malformed("the file ends within its header")


class _Walker:
    """Steps from element to element without looking into the values."""

    def __init__(self, buffer: _Buffer, *, explicit: bool, big_endian: bool) -> None:
        self._buffer = buffer
        self.explicit = explicit
        order = ">" if big_endian else "<"
        self._head = Struct(f"{order}HH2sH").unpack_from
        self._tag = Struct(f"{order}HH").unpack_from
        self._short = Struct(f"{order}H").unpack_from
        self._long = Struct(f"{order}L").unpack_from
        self.position = 0

    def top_level(
        self, position: int, wanted: frozenset[int], only_group: int | None = None
    ) -> tuple[dict[int, bytes], PixelSpan | None]:
        """Walk until the pixel data, the end of the file, or the end of a group.

        Written out in one loop: it runs sixty times for each image of a study of a thousand.
        """
        values: dict[int, bytes] = {}
        explicit, head = self.explicit, self._head
        data, last = self._buffer.data, -1
        while True:
            self.position = position
            if position + 12 > len(data):
                if self._at_end(position):
                    if only_group is None:
                        return values, None
                    raise _Malformed("the file ends after its meta information")
                data = self._buffer.data
            group, element, vr, length = head(data, position)
            if only_group is not None and group != only_group:
                return values, None
            tag = group << 16 | element
            if tag <= last:
                raise _Malformed("the elements are not in order")
            last, value = tag, position + 8
            if not explicit or vr in _LONG_VR:
                value, length = self.value(position, explicit)
                data = self._buffer.data
            elif vr not in _SHORT_VR:
                raise _Malformed("no such value representation")
            if tag == _PIXEL_DATA:
                return values, PixelSpan(value, None if length == _UNDEFINED else length)
            position = value + length if length != _UNDEFINED else self._skip(value)
            if tag in wanted:
                self._buffer.need(position)
                data = self._buffer.data
                values[tag] = b"" if length == _UNDEFINED else data[value:position]

    def _at_end(self, position: int) -> bool:
        """Whether the data end at `position`; else there are eight bytes of an element."""
        try:
            self._buffer.need(position + 8)
        except _Malformed:
            if len(self._buffer.data) == position:
                return True
            raise
        return False

    def value(self, position: int, explicit: bool) -> tuple[int, int]:
        """Where the value of the element at `position` begins, and its length."""
        data = self._buffer.data
        if not explicit:
            return position + 8, self._long(data, position + 4)[0]
        vr = data[position + 4 : position + 6]
        if vr in _SHORT_VR:
            return position + 8, self._short(data, position + 6)[0]
        if vr not in _LONG_VR:
            raise _Malformed("no such value representation")
        self._buffer.need(position + 12)
        return position + 12, self._long(self._buffer.data, position + 8)[0]

    def _skip(self, value: int) -> int:
        """Where the sequence of undefined length that begins at `value` ends."""
        explicit = self.explicit and self._buffer.data[value - 8 : value - 6] != b"UN"
        return self._sequence_end(value, explicit, 0)

    def _sequence_end(self, position: int, explicit: bool, depth: int) -> int:
        """Where a sequence of undefined length ends; UN ones are implicit inside, PS3.5 section 6.2.2."""
        if depth > _MAX_DEPTH:
            raise _Malformed("sequences are nested too deeply")
        while True:
            tag, length = self.item(position)
            position += 8
            if tag == _SEQUENCE_END:
                return position
            if tag != _ITEM:
                raise _Malformed("a sequence holds something that is no item")
            position = (
                position + length if length != _UNDEFINED else self._item_end(position, explicit, depth)
            )

    def _item_end(self, position: int, explicit: bool, depth: int) -> int:
        while True:
            tag, _ = self.item(position)
            if tag == _ITEM_END:
                return position + 8
            value, length = self.value(position, explicit)
            if length == _UNDEFINED:
                inner = explicit and self._buffer.data[value - 8 : value - 6] != b"UN"
                position = self._sequence_end(value, inner, depth + 1)
            else:
                position = value + length

    def item(self, position: int) -> tuple[int, int]:
        self._buffer.need(position + 8)
        group, element = self._tag(self._buffer.data, position)
        return group << 16 | element, self._long(self._buffer.data, position + 4)[0]


def _by_pydicom(stream: BinaryIO, wanted: Collection[int]) -> Elements:
    """What the walk refused, read by pydicom."""
    if DEFLATED.encode() in stream.read(_CHUNK):
        raise ValueError("the deflated data set is malformed")  # pydicom inflates without a limit
    stream.seek(0)
    with quiet():
        ds = read_with_pydicom(stream, wanted)
        syntax = str(ds.file_meta.get("TransferSyntaxUID", ""))
        media = str(ds.file_meta.get("MediaStorageSOPClassUID", "")).encode()
        values = {_MEDIA_CLASS: media} | raw_values(ds)
    big = syntax == BIG_ENDIAN
    return Elements(values, syntax, big, _pixel_span(stream, syntax, big))


def read_with_pydicom(stream: BinaryIO, wanted: Collection[int]) -> Dataset:
    """The wanted elements before the pixel data as a pydicom data set."""
    import pydicom  # only where it is needed: starting takes 0.2 s
    from pydicom import config

    # Headers of real scanners break value rules all the time; what we use is checked where it is used.
    with quiet(), config.disable_value_validation():
        return pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(wanted))


@contextmanager
def quiet() -> Iterator[None]:
    """No warning and no log line of pydicom's: they quote values, and these may be the patient's."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def raw_values(ds: Dataset) -> dict[int, bytes]:
    """The elements of a pydicom data set as they were stored; sequences as empty values."""
    values: dict[int, bytes] = {}
    for tag in ds.keys():  # noqa: SIM118 - iterating a Dataset itself would convert every value
        value = getattr(ds.get_item(tag), "value", None)
        values[int(tag)] = value if isinstance(value, bytes) else b""
    if names := ds.get("SpecificCharacterSet"):  # pydicom has converted this one already
        several = [names] if isinstance(names, str) else names
        values[_CHARACTER_SET] = "\\".join(several).encode("ascii", "replace")
    return values


def _pixel_span(stream: BinaryIO, syntax: str, big_endian: bool) -> PixelSpan | None:
    """The pixel data that pydicom stopped at."""
    start = stream.tell()
    head = stream.read(12)
    if len(head) < 12:
        return None
    walker = _Walker(_Buffer(io.BytesIO(head)), explicit=syntax != IMPLICIT, big_endian=big_endian)
    if walker.item(0)[0] != _PIXEL_DATA:
        return None
    value, length = walker.value(0, walker.explicit)
    return PixelSpan(start + value, None if length == _UNDEFINED else length)
