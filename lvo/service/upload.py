"""Taking a study in: streamed to disk as it arrives, never whole in memory."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from lvo.service import archive
from lvo.service.problems import Problem

_BUFFER = 1 << 20


class _Sink:
    """Writes the files of an upload under names of our own: a sender's name may be the patient's."""

    def __init__(self, folder: Path, max_files: int) -> None:
        self.folder, self.max_files = folder, max_files
        self.files: list[Path] = []
        self._open: BinaryIO | None = None

    def begin(self) -> None:
        if len(self.files) >= self.max_files:
            raise archive.too_many(self.max_files)
        path = self.folder / f"u{len(self.files):06d}"
        self._open = path.open("xb")
        self.files.append(path)

    def write(self, data: bytes) -> None:
        if self._open is not None:
            self._open.write(data)

    def end(self) -> None:
        if self._open is not None:
            self._open.flush()
            # 202 promises that the study is ours now, so it has to outlive a power cut.
            os.fsync(self._open.fileno())
            self.close()

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


class _Raw:
    """A body that is one file."""

    def __init__(self, sink: _Sink) -> None:
        self._sink = sink
        sink.begin()

    def write(self, data: bytes) -> None:
        self._sink.write(data)

    def finish(self) -> None:
        self._sink.end()


class _Multipart:
    """A multipart/form-data body; every part has to be a file."""

    def __init__(self, sink: _Sink, boundary: bytes) -> None:
        self._sink = sink
        self._complete = False
        self._name, self._value = b"", b""
        self._disposition = b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": lambda data, start, end: sink.write(data[start:end]),
                "on_part_end": sink.end,
                "on_end": self._end,
            },
        )

    def write(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _malformed("The multipart body cannot be parsed.") from error

    def finish(self) -> None:
        if not self._complete:
            raise _malformed("The body ends before its closing boundary.")

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name, self._value = b"", b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._disposition = b""
        if b"filename" not in options:
            raise _malformed("Every part has to be a file; give the centre as ?psc=.")
        self._sink.begin()

    def _end(self) -> None:
        self._complete = True


async def receive(
    body: AsyncIterator[bytes],
    content_type: str,
    folder: Path,
    *,
    max_bytes: int,
    max_files: int,
    max_unpacked: int,
) -> int:
    """Write the files of an upload into a folder, unpacking archives.

    Parameters
    ----------
    content_type : str
        ``multipart/form-data`` with one part per file, ``application/zip`` or ``application/dicom``.
    folder : Path
        Exists and is empty; the caller removes it if this raises.

    Returns
    -------
    int
        Number of files, archives replaced by what was in them.

    Raises
    ------
    Problem
        400, 413, 415 or 422, with what to do.
    """
    sink = _Sink(folder, max_files)
    reader = _reader(content_type, sink)
    received, buffer = 0, bytearray()
    try:
        async for chunk in body:
            received += len(chunk)
            if received > max_bytes:
                raise too_large(max_bytes)
            buffer += chunk
            if len(buffer) >= _BUFFER:
                await run_in_threadpool(reader.write, bytes(buffer))
                buffer.clear()
        await run_in_threadpool(reader.write, bytes(buffer))
        await run_in_threadpool(reader.finish)
    finally:
        sink.close()
    if not received or not sink.files:
        raise Problem(400, "no-files", "Nothing was sent", "Attach the DICOM files, or one zip of them.")
    return await run_in_threadpool(_unpack_all, sink.files, max_files, max_unpacked)


def too_large(max_bytes: int) -> Problem:
    """Refuse an upload beyond the limit."""
    return Problem(
        413, "upload-too-large", "The upload is too large", f"At most {max_bytes} bytes; send one study."
    )


def _reader(content_type: str, sink: _Sink) -> _Raw | _Multipart:
    kind, options = parse_options_header(content_type)
    if kind == b"multipart/form-data":
        if not options.get(b"boundary"):
            raise _malformed("The multipart content type names no boundary.")
        return _Multipart(sink, options[b"boundary"])
    if kind in (b"application/zip", b"application/x-zip-compressed", b"application/dicom"):
        return _Raw(sink)
    raise Problem(
        415,
        "media-type",
        "Unknown kind of upload",
        "Send multipart/form-data, application/zip or application/dicom.",
    )


def _unpack_all(files: list[Path], max_files: int, max_unpacked: int) -> int:
    archives = [path for path in files if archive.is_zip(path)]
    count, size = len(files) - len(archives), 0
    for path in archives:
        inside = path.with_name(f"{path.name}-unpacked")
        inside.mkdir(mode=0o700)
        count += archive.unpack(path, inside, max_files=max_files - count, max_bytes=max_unpacked - size)
        size += sum(file.stat().st_size for file in inside.iterdir())
        path.unlink()
    if not count:
        raise Problem(400, "no-files", "The archive is empty", "Pack the study's DICOM files.")
    return count


def _malformed(detail: str) -> Problem:
    return Problem(400, "upload-malformed", "The upload is malformed", detail)
