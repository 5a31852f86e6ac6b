"""The header pass: every file looked at once, without its pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lvo.dicom.elements import NotDicom
from lvo.dicom.instance import Instance, read_instances
from lvo.errors import PathNotFound

MAX_FILES = 100_000
"""Files looked at in one study. The largest multi-phase studies with perfusion hold some ten thousand."""


@dataclass(frozen=True, slots=True)
class Headers:
    """What the header pass found.

    Attributes
    ----------
    files : number of files looked at.
    not_dicom : files that are no DICOM (text, pictures).
    unreadable : DICOM files that are truncated, or lack their preamble or the identifiers of an image.
    links : symbolic links and other things that are no files, none of which is opened.
    too_many : whether there are more than `MAX_FILES`; the rest was not looked at.
    """

    instances: tuple[Instance, ...]
    files: int
    not_dicom: int
    unreadable: int
    links: int = 0
    too_many: bool = False


@dataclass(slots=True)
class HeaderIndex:
    """An index of headers that grows file by file, as a listener or a folder yields them."""

    instances: list[Instance] = field(default_factory=list)
    files: int = 0
    not_dicom: int = 0
    unreadable: int = 0
    links: int = 0
    too_many: bool = False

    def add(self, path: Path) -> None:
        """Read the header of one file; whatever it is, it is counted and nothing is raised."""
        if self.files >= MAX_FILES:
            self.too_many = True
            return
        self.files += 1
        try:
            self.instances.extend(read_instances(path))
        except NotDicom:
            self.not_dicom += 1
        except Exception:  # pydicom raises many kinds for a broken file; each is counted and told
            self.unreadable += 1

    def headers(self) -> Headers:
        """What was found so far."""
        return Headers(
            tuple(self.instances), self.files, self.not_dicom, self.unreadable, self.links, self.too_many
        )


def scan(source: Path | Iterable[Path]) -> Headers:
    """Read the header of every file under a folder, or of the files given.

    Symbolic links inside a folder are counted, not followed: what they point at may belong to another
    patient, or to nobody. Files come in no order that matters.

    Raises
    ------
    PathNotFound
        If a given path does not exist.
    """
    index = HeaderIndex()
    for root in [Path(source)] if isinstance(source, str | Path) else source:
        if not Path(root).exists():
            raise PathNotFound(f"({root})")
        if not Path(root).is_dir():
            index.add(Path(root))
            continue
        for path in _files(Path(root), index):
            index.add(path)
            if index.too_many:
                return index.headers()
    return index.headers()


def _files(folder: Path, index: HeaderIndex) -> Iterator[Path]:
    """Regular files at any depth, without sorting: a folder may hold a million."""
    todo = [os.fspath(folder)]
    while todo:
        here = todo.pop()
        try:
            entries = os.scandir(here)
        except OSError:
            index.unreadable += 1
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield Path(entry.path)
                else:
                    index.links += 1
