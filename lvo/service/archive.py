"""Unpacking an archive that a stranger packed, within bounds."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from lvo.service.problems import Problem

_CHUNK = 1 << 20
_END = b"PK\x05\x06"
_END64 = b"PK\x06\x06"
_MOST_PER_ENTRY = 1024
"""Bytes of central directory granted per entry allowed; the format's fixed part is 46."""


def is_zip(path: Path) -> bool:
    """Whether a file is a zip archive and not a DICOM file whose preamble looks like one."""
    with path.open("rb") as file:
        head = file.read(132)
    return head[:4] in (b"PK\x03\x04", _END) and head[128:132] != b"DICM"


def unpack(archive: Path, folder: Path, *, max_files: int, max_bytes: int) -> int:
    """Unpack every file of an archive into a folder, under names of our own.

    Names in the archive are never used on disk (they often hold the patient's name), but an archive
    whose names or types point outside it was made to do harm, or by broken software: it is refused.

    Parameters
    ----------
    folder
        Exists; gets files named by number.
    max_files, max_bytes
        Bounds; bytes are counted as they are unpacked, whatever the archive declares.

    Returns
    -------
    int
        How many files were written.

    Raises
    ------
    Problem
        413 beyond a bound, 422 for an unsafe, encrypted or damaged archive.
    """
    try:
        _bound_directory(archive, max_files)
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
            if len(entries) > max_files:
                raise too_many(max_files)
            for entry in entries:
                _refuse_unsafe(entry)
            files = [entry for entry in entries if not entry.is_dir()]
            left = max_bytes
            for number, entry in enumerate(files):
                left -= _copy(opened, entry, folder / f"z{number:06d}", left)
            return len(files)
    except (zipfile.BadZipFile, NotImplementedError, zlib.error, EOFError, struct.error) as error:
        raise Problem(
            422, "archive-damaged", "The archive cannot be unpacked", "Pack the study again as a plain zip."
        ) from error


def _copy(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, most: int) -> int:
    size = 0
    with opened.open(entry) as source, target.open("xb") as sink:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > most:
                raise Problem(
                    413, "archive-too-large", "The archive unpacks to too much", "Send one study at a time."
                )
            sink.write(chunk)
        sink.flush()
        os.fsync(sink.fileno())
    return size


def _refuse_unsafe(entry: zipfile.ZipInfo) -> None:
    path = PurePosixPath(entry.orig_filename.replace("\\", "/"))
    outside = path.is_absolute() or ".." in path.parts or ":" in (path.parts or ("",))[0]
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if outside or "\0" in entry.orig_filename or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise Problem(
            422,
            "archive-unsafe",
            "The archive holds a link, or a name that points outside it",
            "Pack the study's files themselves, with plain relative names.",
        )
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise NotImplementedError("compression other than deflate")
    if entry.flag_bits & 0x1:
        raise Problem(422, "archive-encrypted", "The archive is encrypted", "Send it without a password.")


def _bound_directory(archive: Path, max_files: int) -> None:
    """Refuse a huge central directory before `zipfile` reads all of it into memory."""
    with archive.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 66_000))
        tail = file.read()
    end = tail.rfind(_END)
    if end < 0:
        raise zipfile.BadZipFile
    (directory,) = struct.unpack_from("<I", tail, end + 12)
    end64 = tail.rfind(_END64, 0, end)
    if end64 >= 0:
        (directory,) = struct.unpack_from("<Q", tail, end64 + 40)
    if directory > max_files * _MOST_PER_ENTRY:
        raise too_many(max_files)


def too_many(max_files: int) -> Problem:
    """Refuse more files than the limit."""
    return Problem(
        413, "too-many-files", "Too many files", f"At most {max_files} are taken; send one study at a time."
    )
