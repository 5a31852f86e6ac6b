"""The header pass: every file looked at once, without its pixels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pydicom
from pydicom import config
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import MediaStorageDirectoryStorage

from lvo.errors import PathNotFound
from lvo.study import Point

_FRAME_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_TAGS = [
    "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "AcquisitionDate",
    "AcquisitionTime", "AcquisitionDateTime", "ContentTime", "Modality", "SeriesDescription", "PatientID",
    "ContrastBolusAgent", "BodyPartExamined", "SliceThickness", "KVP", "ConvolutionKernel",
    "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "AcquisitionNumber", "InstanceNumber",
    "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "TemporalPositionIdentifier",
    "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "PixelSpacing", "BitsAllocated",
    "BitsStored", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "BurnedInAnnotation", "RescaleIntercept", "RescaleSlope", "SamplesPerPixel",
    *_FRAME_GROUPS,
]  # fmt: skip

Orientation = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Instance:
    """One image (a file, or a frame of a multi-frame file) as its header describes it.

    Everything a sender may leave out is None or empty here. ``position`` and ``orientation`` are in
    LPS mm; ``pixel_spacing`` is (row, column) in mm. ``padding`` is a range of stored values.
    """

    path: Path
    frame: int
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax: str
    study_uid: str
    series_uid: str
    patient_id: str = ""
    modality: str = ""
    series_number: int | None = None
    instance_number: int | None = None
    description: str = ""
    image_type: tuple[str, ...] = ()
    position: Point | None = None
    orientation: Orientation | None = None
    pixel_spacing: tuple[float, float] | None = None
    rows: int | None = None
    columns: int | None = None
    samples: int = 1
    frame_of_reference_uid: str = ""
    acquisition_number: int | None = None
    temporal_position: int | None = None
    acquisition_time: str = ""
    content_time: str = ""
    kernel: str = ""
    kvp: float | None = None
    slice_thickness: float | None = None
    contrast_agent: str = ""
    burned_in: bool = False
    photometric: str = ""
    slope: float = 1.0
    intercept: float = 0.0
    padding: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Headers:
    """What the header pass found.

    Attributes
    ----------
    files : number of files looked at.
    not_dicom : files without the DICOM preamble (text, pictures; also DICOM stripped of its preamble).
    unreadable : DICOM files that are truncated or lack the identifiers of an image.
    """

    instances: tuple[Instance, ...]
    files: int
    not_dicom: int
    unreadable: int


@dataclass(slots=True)
class _Tally:
    instances: list[Instance] = field(default_factory=list)
    files: int = 0
    not_dicom: int = 0
    unreadable: int = 0


def scan(source: Path | Sequence[Path]) -> Headers:
    """Read the header of every file under a folder, or of the files given.

    Raises
    ------
    PathNotFound
        If a given path does not exist.
    """
    tally = _Tally()
    # Headers of real scanners break value rules all the time; what we use is checked where it is used.
    with config.disable_value_validation():
        for path in _files(source):
            tally.files += 1
            try:
                tally.instances.extend(_read(path))
            except InvalidDicomError:
                tally.not_dicom += 1
            except Exception:  # pydicom raises many kinds for a broken file; each is counted and told
                tally.unreadable += 1
    return Headers(tuple(tally.instances), tally.files, tally.not_dicom, tally.unreadable)


def _files(source: Path | Sequence[Path]) -> Iterator[Path]:
    roots = [Path(source)] if isinstance(source, str | Path) else [Path(p) for p in source]
    for root in roots:
        if not root.exists():
            raise PathNotFound(f"({root})")
        yield from (p for p in sorted(root.rglob("*")) if p.is_file()) if root.is_dir() else iter((root,))


def _read(path: Path) -> Iterable[Instance]:
    # Opened here and handed on as a stream, so that any path the system can name will do.
    with path.open("rb") as stream:
        ds = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(_TAGS))
    if ds.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        return ()
    if not (ds.get("SOPInstanceUID") and ds.get("StudyInstanceUID") and ds.get("SeriesInstanceUID")):
        raise ValueError("no identifiers")
    instance = _instance(ds, path)
    if all(group in ds for group in _FRAME_GROUPS):
        return _frames(ds, instance)
    return (instance,)


def _instance(ds: Dataset, path: Path) -> Instance:
    return Instance(
        path=path,
        frame=0,
        sop_instance_uid=str(ds.SOPInstanceUID),
        sop_class_uid=_text(ds, "SOPClassUID"),
        transfer_syntax=str(ds.file_meta.get("TransferSyntaxUID", "")),
        study_uid=str(ds.StudyInstanceUID),
        series_uid=str(ds.SeriesInstanceUID),
        patient_id=_text(ds, "PatientID"),
        modality=_text(ds, "Modality").upper(),
        series_number=_whole(ds, "SeriesNumber"),
        instance_number=_whole(ds, "InstanceNumber"),
        description=_text(ds, "SeriesDescription"),
        image_type=tuple(t.upper() for t in _texts(ds, "ImageType")),
        samples=_whole(ds, "SamplesPerPixel") or 1,
        rows=_whole(ds, "Rows"),
        columns=_whole(ds, "Columns"),
        frame_of_reference_uid=_text(ds, "FrameOfReferenceUID"),
        acquisition_number=_whole(ds, "AcquisitionNumber"),
        temporal_position=_whole(ds, "TemporalPositionIdentifier"),
        acquisition_time=_text(ds, "AcquisitionDateTime")
        or _text(ds, "AcquisitionDate") + _text(ds, "AcquisitionTime"),
        content_time=_text(ds, "ContentTime"),
        kernel="\\".join(_texts(ds, "ConvolutionKernel")),
        kvp=_number(ds, "KVP"),
        contrast_agent=_text(ds, "ContrastBolusAgent"),
        burned_in=_text(ds, "BurnedInAnnotation").upper() == "YES",
        photometric=_text(ds, "PhotometricInterpretation"),
        padding=_padding(ds),
        **_plane(ds),
    )


def _plane(ds: Dataset) -> dict[str, Any]:
    """What may differ from frame to frame, as keyword arguments of an Instance; only what is there."""
    found: dict[str, Any] = {}
    position = _numbers(ds, "ImagePositionPatient", 3)
    orientation = _numbers(ds, "ImageOrientationPatient", 6)
    spacing = _numbers(ds, "PixelSpacing", 2)
    values = {
        "position": position,
        "orientation": orientation,
        "pixel_spacing": spacing,
        "slice_thickness": _number(ds, "SliceThickness"),
        "slope": _number(ds, "RescaleSlope"),
        "intercept": _number(ds, "RescaleIntercept"),
    }
    found.update({name: value for name, value in values.items() if value is not None})
    return found


def _frames(ds: Dataset, instance: Instance) -> Iterator[Instance]:
    """The frames of an enhanced (multi-frame) image, each with its own plane."""
    shared = _flat(ds.SharedFunctionalGroupsSequence[0]) if ds.SharedFunctionalGroupsSequence else Dataset()
    for number, item in enumerate(ds.PerFrameFunctionalGroupsSequence):
        merged = Dataset()
        merged.update(shared)
        merged.update(_flat(item))
        changes = _plane(merged)
        image_type = tuple(t.upper() for t in _texts(merged, "FrameType"))
        if image_type:
            changes["image_type"] = image_type
        if kernel := "\\".join(_texts(merged, "ConvolutionKernel")):
            changes["kernel"] = kernel
        if time := _text(merged, "FrameAcquisitionDateTime"):
            changes["acquisition_time"] = time
        if (temporal := _whole(merged, "TemporalPositionIndex")) is not None:
            changes["temporal_position"] = temporal
        yield replace(instance, frame=number, **changes)


def _flat(group: Dataset) -> Dataset:
    """The attributes inside one item's functional groups, one level deep."""
    flat = Dataset()
    for element in group:
        if element.VR == "SQ" and element.value and not element.tag.is_private:
            flat.update(element.value[0])
    return flat


def _padding(ds: Dataset) -> tuple[int, int] | None:
    value = _whole(ds, "PixelPaddingValue")
    if value is None:
        return None
    limit = _whole(ds, "PixelPaddingRangeLimit")
    bits = _whole(ds, "BitsAllocated") or 16
    signed = _whole(ds, "PixelRepresentation") == 1

    def stored(number: int) -> int:
        # Senders write the padding with either sign; bring it to the sign of the pixels.
        number %= 1 << bits
        return number - (1 << bits) if signed and number >= 1 << (bits - 1) else number

    ends = stored(value), stored(value if limit is None else limit)
    return min(ends), max(ends)


def _texts(ds: Dataset, name: str) -> tuple[str, ...]:
    value = ds.get(name)
    if value is None:
        return ()
    parts = [value] if isinstance(value, str | bytes | int | float) else value
    with contextlib.suppress(TypeError):
        return tuple(str(part).strip() for part in parts)
    return (str(value).strip(),)


def _text(ds: Dataset, name: str) -> str:
    return "\\".join(_texts(ds, name))


def _number(ds: Dataset, name: str) -> float | None:
    parts = _texts(ds, name)
    with contextlib.suppress(ValueError, IndexError):
        return float(parts[0])
    return None


def _numbers(ds: Dataset, name: str, count: int) -> tuple[float, ...] | None:
    with contextlib.suppress(ValueError):
        numbers = tuple(float(part) for part in _texts(ds, name))
        # A value that is not finite is no geometry.
        return numbers if len(numbers) == count and all(abs(n) < 1e7 for n in numbers) else None
    return None


def _whole(ds: Dataset, name: str) -> int | None:
    value = ds.get(name)
    if isinstance(value, bytes) and len(value) == 2:
        # Implicit VR of "US or SS" that pydicom could not tell apart.
        return int.from_bytes(value, "little")
    number = _number(ds, name)
    return None if number is None else int(number)
