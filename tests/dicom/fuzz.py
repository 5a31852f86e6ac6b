"""Mutations of DICOM files as hypothesis strategies, and what has to hold whatever they do."""

from __future__ import annotations

import resource
import shutil
import signal
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
from hypothesis import strategies as st
from pydicom.encaps import encapsulate

from lvo.dicom import choice
from lvo.dicom.headers import scan
from lvo.dicom.volumes import decode_group
from lvo.errors import LvoError
from lvo.phantom.hard import encode as encode
from lvo.phantom.write import StudyIdentity, write_series
from lvo.study import Volume
from tests.dicom.cases import edit
from tests.dicom.test_multiframe import enhanced

SLICES, SIDE = 10, 32
SECONDS = 5
EXTRA_BYTES = 1 << 30
SYNTAXES = {
    "explicit": "1.2.840.10008.1.2.1",
    "implicit": "1.2.840.10008.1.2",
    "big": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
}
COMPRESSED = {
    "rle": encode.RLE,
    "jpeg-extended": encode.JPEG_EXTENDED,
    "jpeg-lossless": encode.JPEG_LOSSLESS_1,
    "jpeg-ls": encode.JPEG_LS,
    "jpeg2000": encode.JPEG_2000_LOSSLESS,
    "htj2k": encode.HTJ2K_LOSSLESS,
}
SEEDS = (*SYNTAXES, *COMPRESSED, "enhanced")
_INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
_NESTED = bytes.fromhex("08004011") + b"SQ\0\0" + bytes.fromhex("ffffffff")  # ReferencedImageSequence
_ITEM = bytes.fromhex("feff00e0ffffffff")

Mutation = tuple[str, int, int]


def mutations() -> st.SearchStrategy[list[Mutation]]:
    """One to three changes: kind, where (scaled to the file), and a number."""
    kinds = st.sampled_from(sorted(_KINDS))
    where = st.one_of(st.integers(0, 1 << 20), st.integers(0, 2000), st.integers(128, 400))
    return st.lists(st.tuples(kinds, where, st.integers(0, 1 << 16)), min_size=1, max_size=3)


def _bit(data: bytearray, at: int, n: int) -> None:
    data[at] ^= 1 << (n % 8)


def _byte(data: bytearray, at: int, n: int) -> None:
    data[at] = n % 256


def _digit(data: bytearray, at: int, n: int) -> None:
    """Change the next digit of a text value: another number that parses."""
    for place in range(at, len(data)):
        if 0x30 <= data[place] <= 0x39:
            data[place] = 0x30 + n % 10
            return


def _number(data: bytearray, at: int, n: int) -> None:
    value = _INTERESTING[n % len(_INTERESTING)]
    size = 4 if value > 0xFFFF or n % 2 else 2
    data[at : at + size] = struct.pack("<I", value)[:size]


def _cut(data: bytearray, at: int, n: int) -> None:
    del data[at:]


def _remove(data: bytearray, at: int, n: int) -> None:
    del data[at : at + 1 + n % 64]


def _insert(data: bytearray, at: int, n: int) -> None:
    data[at:at] = bytes([n % 256]) * (1 + n % 40)


def _repeat(data: bytearray, at: int, n: int) -> None:
    data[at:at] = data[at : at + n % 512]


def _swap(data: bytearray, at: int, n: int) -> None:
    size = 2 + n % 30
    data[at : at + size], data[at + size : at + 2 * size] = (
        data[at + size : at + 2 * size],
        data[at : at + size],
    )


def _nest(data: bytearray, at: int, n: int) -> None:
    """A deep sequence before an element that is really there, so that it is reached."""
    place = data.find(b"\x08\x00\x60\x00", 132)
    data[place if place > 0 else at : place if place > 0 else at] = (_NESTED + _ITEM) * (1 + n % 3000)


def _junk_tail(data: bytearray, at: int, n: int) -> None:
    data += bytes(range(256)) * (1 + n % 8)


_KINDS: dict[str, Callable[[bytearray, int, int], None]] = {
    "bit": _bit, "byte": _byte, "digit": _digit, "number": _number, "cut": _cut, "remove": _remove,
    "insert": _insert, "repeat": _repeat, "swap": _swap, "nest": _nest, "tail": _junk_tail,
}  # fmt: skip


def mutate(data: bytes, changes: list[Mutation]) -> bytes:
    """Apply changes one after the other."""
    out = bytearray(data)
    for kind, where, number in changes:
        if out:
            _KINDS[kind](out, where % len(out), number)
    return bytes(out)


def compress(ds: pydicom.Dataset, syntax: str) -> None:
    """Re-encode one image, in 12 bits."""
    frame = encode.ENCODERS[syntax](ds.pixel_array - 1024, 12, True)
    ds.BitsStored, ds.HighBit, ds.RescaleIntercept = 12, 11, "0"
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].is_undefined_length = True


@cache
def seed(name: str) -> tuple[Path, tuple[str, ...]]:
    """A small series in one encoding, and the names of its files."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    affine = np.array([[0, 0, 2.0, -20], [0, 2.0, 0, -30], [1.5, 0, 0, 7], [0, 0, 0, 1]])
    array = np.random.default_rng(5).integers(-1000, 1000, (SLICES, SIDE, SIDE)).astype(np.int16)
    syntax = SYNTAXES.get(name, SYNTAXES["explicit"])
    write_series(
        folder,
        Volume(array, affine),
        identity=StudyIdentity.from_seed("fuzz"),
        series_number=2,
        description="Head CTA",
        transfer_syntax=syntax,
    )
    for path in folder.iterdir() if name in COMPRESSED else ():
        edit(path, lambda ds: compress(ds, COMPRESSED[name]))
    if name == "enhanced":
        files = sorted(folder.iterdir())
        enhanced(files, folder / "enhanced.dcm")
        for path in files:
            path.unlink()
    return folder, tuple(sorted(p.name for p in folder.iterdir()))


@dataclass(frozen=True)
class Outcome:
    """What a reader made of a folder: volumes by geometry, and everything that was said."""

    volumes: tuple[tuple[tuple[int, ...], tuple[float, ...]], ...]
    said: frozenset[str]
    stacks: int

    def admits(self, other: Outcome) -> bool:
        """Whether a difference in geometry to another outcome is said."""
        return self.volumes == other.volumes or self.said != other.said or self.stacks != other.stacks


def read(folder: Path) -> Outcome:
    """Headers, stacks and volumes, as every door to the software reads them."""
    headers = scan(folder)
    said = {r.code for r in choice.file_reasons(headers)}
    if headers.not_dicom:
        said.add("not-dicom")
    if (refused := choice.refusal(headers)) is not None:
        return Outcome((), frozenset({*said, refused.code}), 0)
    volumes = []
    candidates = choice.candidates_of(headers)
    for candidate in candidates:
        group = candidate.group
        said |= {r.code for r in candidate.reasons}
        said.add(str(candidate.role))
        if not group.has_geometry or group.passes > 1 or group.first.samples != 1:
            continue
        try:
            decoded = decode_group(group, whole=True)
        except LvoError as error:
            said.add(error.code)
            continue
        said |= {r.code for r in decoded.reasons}
        volumes.append(
            (decoded.volume.array.shape, tuple(np.round(decoded.volume.affine.ravel(), 1).tolist()))
        )
    return Outcome(tuple(sorted(volumes)), frozenset(said), len(candidates))


@cache
def unharmed(name: str) -> Outcome:
    """What the seed itself reads as."""
    return read(seed(name)[0])


@contextmanager
def mutated(name: str, which: int, changes: list[Mutation]) -> Iterator[Path]:
    """A copy of a seed with one file changed."""
    source, names = seed(name)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        path = Path(folder) / names[which % len(names)]
        path.write_bytes(mutate(path.read_bytes(), changes))
        yield Path(folder)


class TooLong(BaseException):
    """No Exception, or a reader that counts every exception as a broken file would hide it."""


@contextmanager
def bounded(seconds: int = SECONDS) -> Iterator[None]:
    """Five seconds and one gigabyte more than now; beyond that, an exception."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)

    def too_long(*_: object) -> None:
        raise TooLong

    previous = signal.signal(signal.SIGALRM, too_long)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + EXTRA_BYTES, limits[1]))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGALRM, previous)
