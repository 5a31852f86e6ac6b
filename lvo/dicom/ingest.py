"""DICOM to NIfTI: every readable CT stack as a volume, and an inventory of everything that was found."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field

from lvo._version import __version__
from lvo.clock import Clock
from lvo.dicom import choice, suitability
from lvo.dicom.choice import Candidate, rejection
from lvo.dicom.geometry import Layout, lay_out
from lvo.dicom.headers import scan
from lvo.dicom.nifti import nifti_slices, write_nifti
from lvo.dicom.pixels import Report, decode_each, hu_type
from lvo.dicom.stacks import Group
from lvo.dicom.volumes import check_size, decode_group, pixel_reasons
from lvo.errors import NotAnalysable, OutputUnwritable
from lvo.study import Affine, Reason, Record, Role, SeriesRecord, Stack

INVENTORY = "inventory.json"
_NO_VOLUME = frozenset({Role.NOT_CT, Role.TOPOGRAM, Role.DOSE_REPORT, Role.UNREADABLE})


class InventoryStack(Record):
    """One stack of images, and the file it was written to."""

    series: SeriesRecord
    file: str | None = Field(default=None, description="Beside the inventory; null where none was written.")
    shape: tuple[int, int, int] | None = Field(default=None, description="Voxels along (z, y, x).")
    dtype: str | None = None
    affine_lps: tuple[tuple[float, float, float, float], ...] | None = Field(
        default=None, description="Array index (k, j, i, 1) to DICOM patient LPS in mm."
    )
    gaps_mm: tuple[tuple[float, float], ...] = Field(
        default=(), description="Depths along the slice normal between which slices are missing."
    )
    sop_instance_uids: tuple[str, ...] = Field(
        default=(), description="The images as acquired, feet to head."
    )


class Inventory(Record):
    """Everything that was found among the files of a study."""

    schema_version: str = "1.0.0"
    software_version: str = __version__
    study_instance_uid: str | None
    files: int
    not_dicom: int
    unreadable: int
    links: int
    reasons: tuple[Reason, ...] = Field(default=(), description="Of the study as a whole.")
    stacks: tuple[InventoryStack, ...] = ()
    timings_s: dict[str, float] = Field(default_factory=dict)

    @property
    def refused(self) -> bool:
        """Whether the study as a whole was refused."""
        return any(reason.kind == "rejection" for reason in self.reasons)


def ingest(source: Path | Sequence[Path], out: Path | None = None) -> Inventory:
    """Index a study, say what every series is, and write its CT volumes as NIfTI.

    Parameters
    ----------
    source : a folder (searched to any depth), a file, or a list of these
    out : folder for ``inventory.json`` and one ``.nii`` for each readable CT stack; what an earlier run wrote
        there is removed first. None writes nothing: then only headers and a few slices are read.

    Raises
    ------
    PathNotFound
        A given path does not exist.
    OutputUnwritable
        ``out`` cannot be made or written.
    """
    clock = Clock()
    with clock.stage("headers"):
        headers = scan(source)
        candidates = choice.candidates_of(headers)
    if out is not None:
        _prepare(out)
    reasons = choice.file_reasons(headers)
    if (refused := choice.refusal(headers)) is not None:
        reasons = (rejection(refused), *reasons)
        stacks = [InventoryStack(series=record) for record in choice.records(candidates)]
    else:
        if (child := choice.under_age(headers)) is not None:
            reasons = (*reasons, Reason(code=child.code, message=child.message, kind="caution"))
        with clock.stage("volumes"):
            stacks = _convert(candidates, out)
    studies = {i.study_uid for i in headers.instances}
    inventory = Inventory(
        study_instance_uid=next(iter(studies)) if len(studies) == 1 else None,
        files=headers.files,
        not_dicom=headers.not_dicom,
        unreadable=headers.unreadable,
        links=headers.links,
        reasons=reasons,
        stacks=tuple(stacks),
        timings_s=clock.rounded(),
    )
    if out is not None:
        try:
            (out / INVENTORY).write_text(inventory.model_dump_json(indent=1), encoding="utf-8")
        except OSError as error:
            raise OutputUnwritable(f"({error.strerror})") from error
    return inventory


@dataclass(frozen=True, slots=True, eq=False)
class _File:
    """A volume that was written before its name was known."""

    part: Path
    shape: tuple[int, ...]
    dtype: str
    affine: Affine
    gaps: tuple[tuple[float, float], ...]
    stack: Stack


def _convert(candidates: list[Candidate], out: Path | None) -> list[InventoryStack]:
    """Write every volume, find every role, choose, and give the files their names."""
    files: dict[int, _File] = {}
    readable: set[int] = set()
    for number, candidate in enumerate(candidates):
        choice.look(candidate)
        if out is None:
            if _foresee(candidate):
                readable.add(number)
        elif (file := _write(candidate, out / f"{number:04d}.part")) is not None:
            files[number] = file
            readable.add(number)
    choice.settle(candidates)
    _choose(candidates, readable)
    stacks, names = [], set[str]()
    for number, candidate in enumerate(candidates):
        if (file := files.get(number)) is None or out is None:
            stacks.append(InventoryStack(series=candidate.record()))
            continue
        name = _name(candidate, names)
        file.part.replace(out / name)
        stacks.append(_written(candidate, file, name))
    return stacks


def _is_volume(candidate: Candidate) -> bool:
    """Whether the headers of a stack promise a volume."""
    group = candidate.group
    return (
        group.has_geometry
        and group.passes == 1
        and group.first.samples == 1
        and candidate.role not in _NO_VOLUME
    )


def _foresee(candidate: Candidate) -> bool:
    """Note the repairs that the headers alone call for; whether they promise a volume."""
    if not _is_volume(candidate):
        return False
    try:
        check_size(candidate.group)
        candidate.reasons += lay_out(candidate.group).reasons
    except NotAnalysable as error:
        candidate.refuse(error)
        return False
    return True


def _write(candidate: Candidate, part: Path) -> _File | None:
    """Write the whole volume of a CT stack; None where there is none to be had, with the reason noted."""
    group = candidate.group
    if not _is_volume(candidate):
        return None
    try:
        check_size(group)
        layout = lay_out(group)
        if layout.untouched and not layout.gaps and (report := _stream(group, layout, part)) is not None:
            candidate.reasons += tuple(pixel_reasons(report, group))
            dtype = hu_type(group.instances).name
            return _File(part, layout.shape, dtype, layout.affine, (), group.stack())
        decoded = decode_group(group, whole=True)
    except NotAnalysable as error:
        part.unlink(missing_ok=True)  # streaming may have begun it
        candidate.refuse(error)
        return None
    candidate.reasons += decoded.reasons
    volume = decoded.volume
    write_nifti(part, volume)
    stack = volume.stack or group.stack()
    return _File(part, volume.array.shape, volume.array.dtype.name, volume.affine, volume.gaps, stack)


def _stream(group: Group, layout: Layout, part: Path) -> Report | None:
    """Write slices that already lie on their grid as they are decoded; None where one cannot be decoded."""
    dtype = hu_type(group.instances)
    with nifti_slices(part, layout.shape, dtype, layout.affine) as put:
        report = decode_each(group.instances, lambda _: np.empty(layout.shape[1:], dtype), put)
    return None if report.failed else report


def _choose(candidates: list[Candidate], readable: Container[int]) -> None:
    """Mark the CTA and the NCCT that an analysis would use: the best of those that can be decoded."""
    places = {id(candidate): place for place, candidate in enumerate(candidates)}
    for role in (Role.CTA, Role.NCCT):
        taken = False
        for candidate in choice.ranked(candidates, role):
            if places[id(candidate)] not in readable:
                continue
            if not taken:
                candidate.chosen = taken = True
                candidate.reasons += suitability.cautions(candidate.group, role)
            candidate.why += " The best series of its kind." if candidate.chosen else " Another suits better."


def _written(candidate: Candidate, file: _File, name: str) -> InventoryStack:
    z, y, x = file.shape
    a, b, c, d = ((float(r[0]), float(r[1]), float(r[2]), float(r[3])) for r in file.affine)
    return InventoryStack(
        series=candidate.record(),
        file=name,
        shape=(z, y, x),
        dtype=file.dtype,
        affine_lps=(a, b, c, d),
        gaps_mm=file.gaps,
        sop_instance_uids=tuple(s.sop_instance_uid for s in file.stack.slices),
    )


def _name(candidate: Candidate, names: set[str]) -> str:
    """Series number, role and pass: no text of the sender's, which may name the patient."""
    group = candidate.group
    parts = [
        f"{group.first.series_number or 0:03d}",
        (candidate.role or Role.OTHER_CT).value.replace("_", "-"),
    ]
    if group.phases > 1:
        parts.append(f"pass{group.phase:02d}")
    stem = name = "-".join(parts)
    count = 1
    while name in names:
        count += 1
        name = f"{stem}-{count}"
    names.add(name)
    return f"{name}.nii"


def _prepare(out: Path) -> None:
    """Make the folder; remove what an earlier run wrote into it, and nothing else."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        old = out / INVENTORY
        if old.is_file():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                for stack in json.loads(old.read_text(encoding="utf-8"))["stacks"]:
                    if re.fullmatch(r"[0-9a-z-]+\.nii", stack["file"] or ""):
                        (out / stack["file"]).unlink(missing_ok=True)
            old.unlink()
        for part in out.glob("[0-9][0-9][0-9][0-9].part"):
            part.unlink()
        (out / f".{INVENTORY}").touch()
        (out / f".{INVENTORY}").unlink()
    except OSError as error:
        raise OutputUnwritable(f"({error.strerror})") from error
