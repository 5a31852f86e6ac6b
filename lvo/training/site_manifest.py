"""A site's own labelled studies: the table that names them, and what it says of each."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from lvo.anatomy import SITES, Segment, Side
from lvo.errors import PathNotFound, TruthInvalid
from lvo.study import Point

COLUMNS = ("study", "segment", "side")
OPTIONAL = ("patient", "clot_mask", "x", "y", "z")
ANYWHERE = "any"


@dataclass(frozen=True, slots=True)
class SiteOcclusion:
    """One occlusion of a study.

    Attributes
    ----------
    site : index into `lvo.anatomy.SITES`.
    mask : NIfTI of the clot, voxels above zero, in the CTA's patient coordinates; None where there is none.
    point : in the clot, LPS mm; None where there is none.
    """

    site: int
    mask: Path | None = None
    point: Point | None = None

    @property
    def located(self) -> bool:
        """Whether it is known where the clot lies."""
        return self.mask is not None or self.point is not None


@dataclass(frozen=True, slots=True)
class SiteStudy:
    """What the manifest says of a study.

    Attributes
    ----------
    folder : of its DICOM files.
    patient : whose it is; studies of one patient are never split. The study's own name if not given.
    occluded : whether any artery is.
    occlusions : which; empty for a patent study, and where it is only known that some artery is occluded.
    """

    name: str
    folder: Path
    patient: str
    occluded: bool
    occlusions: tuple[SiteOcclusion, ...] = ()

    @property
    def labels(self) -> tuple[int, ...]:
        """For every site 1 occluded, 0 patent, -1 not known."""
        if self.occluded and not self.occlusions:
            return (-1,) * len(SITES)
        sites = {occlusion.site for occlusion in self.occlusions}
        return tuple(int(n in sites) for n in range(len(SITES)))

    @property
    def located(self) -> bool:
        """Whether every clot's place is known: of a patent study, it is."""
        return not self.occluded or (
            bool(self.occlusions) and all(occlusion.located for occlusion in self.occlusions)
        )


def read_manifest(path: Path) -> tuple[SiteStudy, ...]:
    """Read a manifest: one row per occlusion, one row with empty segment and side for a patent study.

    Parameters
    ----------
    path : CSV with the columns ``study`` (folder, relative to the manifest), ``segment``, ``side``, and
        where wanted ``patient``, ``clot_mask`` (file, relative to the manifest), ``x``, ``y``, ``z`` (LPS
        mm). A row with segment ``any`` and no side says only that some artery is occluded.

    Raises
    ------
    PathNotFound
        There is no such file.
    TruthInvalid
        A row cannot be used; the line is named, and what to do.
    """
    if not path.is_file():
        raise PathNotFound(str(path))
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        names = tuple(table.fieldnames or ())
        if missing := [column for column in COLUMNS if column not in names]:
            raise TruthInvalid(f"{path}, line 1: add the column {', '.join(missing)}.")
        if unknown := [name for name in names if name not in (*COLUMNS, *OPTIONAL)]:
            raise TruthInvalid(
                f"{path}, line 1: remove the column {', '.join(unknown)}, or correct its name."
            )
        rows = [(f"{path}, line {table.line_num}", _plain(row)) for row in table]
    studies: dict[str, SiteStudy] = {}
    for where, row in rows:
        added = _study(row, path.parent, where)
        known = studies.get(added.name)
        studies[added.name] = added if known is None else _joined(known, added, where)
    return tuple(studies.values())


def _plain(row: dict[str, str | None]) -> dict[str, str]:
    return {name: (value or "").strip() for name, value in row.items() if isinstance(name, str)}


def _study(row: dict[str, str], beside: Path, where: str) -> SiteStudy:
    """One row as a study with one occlusion at most."""
    name = row["study"]
    if not name:
        raise TruthInvalid(f"{where}: name the study's folder.")
    folder = beside / name
    if not folder.is_dir():
        raise TruthInvalid(f"{where}: there is no folder {folder}; correct the name or remove the row.")
    patient = row.get("patient") or name
    mask, point = _mask(row, beside, where), _point(row, where)
    segment, side = row["segment"], row["side"]
    if segment in ("", ANYWHERE):
        if side:
            raise TruthInvalid(f"{where}: a side without a segment; name the segment or empty the side.")
        if mask is not None or point is not None:
            raise TruthInvalid(f"{where}: a clot's place without its segment; name segment and side.")
        return SiteStudy(name, folder, patient, segment == ANYWHERE)
    return SiteStudy(name, folder, patient, True, (SiteOcclusion(_site(segment, side, where), mask, point),))


def _site(segment: str, side: str, where: str) -> int:
    known = ", ".join(s.value for s in Segment)
    if segment not in {s.value for s in Segment}:
        raise TruthInvalid(f"{where}: no segment {segment!r}; write one of {known}, or any.")
    sides = [s.value for s in Segment(segment).sides]
    if side not in sides:
        raise TruthInvalid(f"{where}: {segment} has no side {side!r}; write {' or '.join(sides)}.")
    return SITES.index((Segment(segment), Side(side)))


def _mask(row: dict[str, str], beside: Path, where: str) -> Path | None:
    if not row.get("clot_mask"):
        return None
    path = beside / row["clot_mask"]
    if not path.is_file():
        raise TruthInvalid(f"{where}: there is no mask {path}; correct the name or leave the field empty.")
    return path


def _point(row: dict[str, str], where: str) -> Point | None:
    given = [row.get(axis, "") for axis in "xyz"]
    if not any(given):
        return None
    try:
        x, y, z = (float(value) for value in given)
    except ValueError:
        raise TruthInvalid(f"{where}: write x, y and z as numbers in mm, or leave all three empty.") from None
    if not all(math.isfinite(value) for value in (x, y, z)):
        raise TruthInvalid(f"{where}: x, y and z must be finite numbers in mm.")
    return x, y, z


def _joined(known: SiteStudy, added: SiteStudy, where: str) -> SiteStudy:
    """A study with one more occlusion."""
    if not (known.occlusions and added.occlusions):
        raise TruthInvalid(
            f"{where}: {known.name} has another row; only several named occlusions may share a study."
        )
    if known.patient != added.patient:
        raise TruthInvalid(f"{where}: {known.name} has two patients; correct one of them.")
    if {o.site for o in known.occlusions} & {o.site for o in added.occlusions}:
        raise TruthInvalid(f"{where}: the same occlusion stands twice; remove one row.")
    return SiteStudy(known.name, known.folder, known.patient, True, (*known.occlusions, *added.occlusions))
