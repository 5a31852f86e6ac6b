"""Steps over the elements of a DICOM data set without looking into their values (PS3.5 section 7)."""

from __future__ import annotations

from struct import Struct
from typing import BinaryIO, NamedTuple

MAX_HEADER_BYTES = 64 << 20
PIXEL_DATA = 0x7FE00010
_CHUNK = 16 << 10
UNDEFINED = 0xFFFFFFFF
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


class Malformed(ValueError):
    """Not what the standard allows."""


class Buffer:
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
            raise Malformed("the header is too long")
        # In steps that double, so that a long header is not copied once for each element.
        self.data += self._stream.read(max(missing, len(self.data)))
        if end > len(self.data):
            raise Malformed("the file ends within its header")


class Walker:
    """Steps from element to element without looking into the values."""

    def __init__(self, buffer: Buffer, *, explicit: bool, big_endian: bool) -> None:
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
                    raise Malformed("the file ends after its meta information")
                data = self._buffer.data
            group, element, vr, length = head(data, position)
            if only_group is not None and group != only_group:
                return values, None
            tag = group << 16 | element
            if tag <= last:
                raise Malformed("the elements are not in order")
            last, value = tag, position + 8
            if not explicit or vr in _LONG_VR:
                value, length = self.value(position, explicit)
                data = self._buffer.data
            elif vr not in _SHORT_VR:
                raise Malformed("no such value representation")
            if tag == PIXEL_DATA:
                return values, PixelSpan(value, None if length == UNDEFINED else length)
            position = value + length if length != UNDEFINED else self._skip(value)
            if tag in wanted:
                self._buffer.need(position)
                data = self._buffer.data
                values[tag] = b"" if length == UNDEFINED else data[value:position]

    def _at_end(self, position: int) -> bool:
        """Whether the data end at `position`; else there are eight bytes of an element."""
        try:
            self._buffer.need(position + 8)
        except Malformed:
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
            raise Malformed("no such value representation")
        self._buffer.need(position + 12)
        return position + 12, self._long(self._buffer.data, position + 8)[0]

    def _skip(self, value: int) -> int:
        """Where the sequence of undefined length that begins at `value` ends."""
        explicit = self.explicit and self._buffer.data[value - 8 : value - 6] != b"UN"
        return self._sequence_end(value, explicit, 0)

    def _sequence_end(self, position: int, explicit: bool, depth: int) -> int:
        """Where a sequence of undefined length ends; UN ones are implicit inside, PS3.5 section 6.2.2."""
        if depth > _MAX_DEPTH:
            raise Malformed("sequences are nested too deeply")
        while True:
            tag, length = self.item(position)
            position += 8
            if tag == _SEQUENCE_END:
                return position
            if tag != _ITEM:
                raise Malformed("a sequence holds something that is no item")
            position = position + length if length != UNDEFINED else self._item_end(position, explicit, depth)

    def _item_end(self, position: int, explicit: bool, depth: int) -> int:
        while True:
            tag, _ = self.item(position)
            if tag == _ITEM_END:
                return position + 8
            value, length = self.value(position, explicit)
            if length == UNDEFINED:
                inner = explicit and self._buffer.data[value - 8 : value - 6] != b"UN"
                position = self._sequence_end(value, inner, depth + 1)
            else:
                position = value + length

    def item(self, position: int) -> tuple[int, int]:
        """Tag and length of an item or of an implicit element."""
        self._buffer.need(position + 8)
        group, element = self._tag(self._buffer.data, position)
        return group << 16 | element, self._long(self._buffer.data, position + 4)[0]
