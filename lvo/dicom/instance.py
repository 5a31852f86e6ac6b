"""One image as its header describes it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from lvo.dicom.codecs import LOSSY, PERHAPS_LOSSY
from lvo.dicom.elements import Elements, NotDicom, quiet, raw_values, read_elements, read_with_pydicom
from lvo.dicom.values import TAGS, Values
from lvo.dicom.walk import PixelSpan
from lvo.study import Point

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_DICOMDIR = "1.2.840.10008.1.3.10"
_FRAME_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_THICKNESS_MM = (0.01, 1000.0)
_AGE = re.compile(r"(\d{1,3})([YMWD])")
"""Three digits, says the standard; some senders leave out the zeros."""
_AGE_UNITS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
MAX_SKEW = 1e-3
"""Cosine of the angle between rows and columns; more is no rounding of a right angle."""

Orientation = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Instance:
    """One image (a file, or a frame of a multi-frame file) as its header describes it.

    Everything a sender may leave out is None or empty here. ``position`` and ``orientation`` are in
    LPS mm; ``pixel_spacing`` is (row, column) in mm. ``padding`` is a range of stored values.
    ``lossy_ratio`` is the sender's own; 0 where pixels were compressed with loss by an unknown ratio.
    """

    path: Path
    frame: int
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax: str
    study_uid: str
    series_uid: str
    patient_id: str = ""
    birth_date: str = ""
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
    frames: int = 1
    pixels: PixelSpan | None = None
    bits_allocated: int = 16
    bits_stored: int = 16
    signed: bool = False
    frame_of_reference_uid: str = ""
    acquisition_number: int | None = None
    temporal_position: int | None = None
    acquisition_time: str = ""
    content_time: str = ""
    kernel: str = ""
    kvp: float | None = None
    slice_thickness: float | None = None
    contrast_agent: str = ""
    age_years: float | None = None
    burned_in: bool = False
    lossy_ratio: float | None = None
    photometric: str = ""
    slope: float | None = None
    intercept: float | None = None
    rescale_type: str = ""
    padding: tuple[int, int] | None = None


def read_instances(path: Path) -> tuple[Instance, ...]:
    """Read the header of one file: its image, the frames of a multi-frame image, or () for a DICOMDIR.

    Raises
    ------
    NotDicom
        The file is not DICOM Part 10, or no file.
    Exception
        Of many kinds, where the header is broken or lacks the identifiers of an image.
    """
    if not path.is_file():  # opening a pipe would wait for someone to write into it
        raise NotDicom("not a file")
    # Opened here and handed on as a stream, so that any path the system can name will do. Not through a
    # memory map: a file cut short while it is read would end the process.
    with path.open("rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise NotDicom("not a file")
        found = read_elements(stream, TAGS.values())
        values = Values(found.values, big_endian=found.big_endian)
        if values.text("MediaStorageSOPClassUID") == _DICOMDIR:
            return ()
        identifiers = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
        if not all(values.text(name) for name in identifiers):
            raise ValueError("no identifiers")
        instance = _instance(values, found, path)
        if values.has("PerFrameFunctionalGroupsSequence"):
            return tuple(_frames(stream, instance))
    return (instance,)


def _instance(values: Values, found: Elements, path: Path) -> Instance:
    signed = values.binary("PixelRepresentation") == 1
    text, whole = values.text, values.whole
    return Instance(
        path=path,
        frame=0,
        sop_instance_uid=text("SOPInstanceUID"),
        sop_class_uid=text("SOPClassUID"),
        transfer_syntax=found.transfer_syntax,
        study_uid=text("StudyInstanceUID"),
        series_uid=text("SeriesInstanceUID"),
        patient_id=text("PatientID"),
        birth_date=text("PatientBirthDate"),
        modality=text("Modality").upper(),
        series_number=whole("SeriesNumber"),
        instance_number=whole("InstanceNumber"),
        description=text("SeriesDescription"),
        image_type=tuple(t.upper() for t in values.texts("ImageType")),
        samples=values.binary("SamplesPerPixel") or 1,
        frames=max(1, whole("NumberOfFrames") or 1),
        rows=values.binary("Rows"),
        columns=values.binary("Columns"),
        pixels=found.pixels,
        bits_allocated=values.binary("BitsAllocated") or 16,
        bits_stored=values.binary("BitsStored") or values.binary("BitsAllocated") or 16,
        signed=signed,
        frame_of_reference_uid=text("FrameOfReferenceUID"),
        acquisition_number=whole("AcquisitionNumber"),
        temporal_position=whole("TemporalPositionIdentifier"),
        acquisition_time=text("AcquisitionDateTime") or text("AcquisitionDate") + text("AcquisitionTime"),
        content_time=text("ContentTime"),
        kernel=text("ConvolutionKernel"),
        kvp=values.number("KVP"),
        contrast_agent=text("ContrastBolusAgent"),
        age_years=_age(values),
        burned_in=text("BurnedInAnnotation").upper() == "YES",
        lossy_ratio=_lossy_ratio(values, found.transfer_syntax),
        photometric=text("PhotometricInterpretation"),
        rescale_type="LUT" if values.has("ModalityLUTSequence") else text("RescaleType").upper(),
        padding=_padding(values, signed=signed),
        **_plane(values),
    )


def _plane(values: Values) -> dict[str, Any]:
    """What may differ from frame to frame, as keyword arguments of an Instance; only what is there."""
    found = {
        "position": values.numbers("ImagePositionPatient", 3),
        "orientation": _orientation(values),
        "pixel_spacing": values.numbers("PixelSpacing", 2),
        "slice_thickness": _thickness(values),
        "slope": values.number("RescaleSlope"),
        "intercept": values.number("RescaleIntercept"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _thickness(values: Values) -> float | None:
    """Nominal slice thickness, mm; None where it is none that a scanner can have."""
    found = values.number("SliceThickness")
    return found if found is not None and _THICKNESS_MM[0] <= found <= _THICKNESS_MM[1] else None


def _orientation(values: Values) -> tuple[float, ...] | None:
    """Direction cosines, of unit length and perpendicular where they are nearly so; else as they are."""
    found = values.numbers("ImageOrientationPatient", 6)
    if found is None:
        return None
    row, column = np.array(found[:3]), np.array(found[3:])
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if max(abs(length - 1) for length in lengths) > 0.01:
        return found
    row, column = row / lengths[0], column / lengths[1]
    skew = float(row @ column)
    if abs(skew) > MAX_SKEW:
        return found
    column = column - skew * row
    return (*map(float, row), *map(float, column / np.linalg.norm(column)))


def _frames(stream: BinaryIO, instance: Instance) -> Iterator[Instance]:
    """The frames of an enhanced (multi-frame) image, each with its own plane.

    Raises
    ------
    ValueError
        If not every frame has its functional groups: none may be given another's place.
    """
    stream.seek(0)
    ds = read_with_pydicom(stream, [TAGS[name] for name in _FRAME_GROUPS])
    shared = ds.get("SharedFunctionalGroupsSequence")  # some writers repeat everything in every frame
    common = _flat(shared[0]) if shared else {}
    items = ds.PerFrameFunctionalGroupsSequence
    if len(items) != instance.frames:
        raise ValueError("the functional groups are not as many as the frames")
    for number, item in enumerate(items):
        values = Values(common | _flat(item), big_endian=not ds.original_encoding[1])
        changes = _plane(values)
        if image_type := values.texts("FrameType"):
            changes["image_type"] = tuple(t.upper() for t in image_type)
        if kernel := values.text("ConvolutionKernel"):
            changes["kernel"] = kernel
        if (kvp := values.number("KVP")) is not None:
            changes["kvp"] = kvp
        if rescale_type := values.text("RescaleType"):
            changes["rescale_type"] = rescale_type.upper()
        if time := values.text("FrameAcquisitionDateTime"):
            changes["acquisition_time"] = time
        if (acquisition := values.binary("FrameAcquisitionNumber")) is not None:
            changes["acquisition_number"] = acquisition
        if (temporal := values.unsigned_long("TemporalPositionIndex")) is not None:
            changes["temporal_position"] = temporal
        yield replace(instance, frame=number, **changes)


def _flat(group: Dataset) -> dict[int, bytes]:
    """The attributes inside one item's functional groups, one level deep."""
    flat: dict[int, bytes] = {}
    with quiet():
        for element in group:
            if element.VR == "SQ" and element.value and not element.tag.is_private:
                flat.update(raw_values(element.value[0]))
    return flat


def _padding(values: Values, *, signed: bool) -> tuple[int, int] | None:
    """The range of padding as stored values; its two bytes are read with the sign of the pixels."""
    value = values.binary("PixelPaddingValue", signed=signed)
    if value is None:
        return None
    limit = values.binary("PixelPaddingRangeLimit", signed=signed)
    ends = value, value if limit is None else limit
    return min(ends), max(ends)


def _lossy_ratio(values: Values, syntax: str) -> float | None:
    """How far the pixels were ever compressed with loss, PS3.3 C.7.6.1.1.5; None where never."""
    said = values.text("LossyImageCompression")
    lossy = syntax in LOSSY or (syntax in PERHAPS_LOSSY and said != "00")
    if said != "01" and not lossy:
        return None
    ratios = [float(r) for r in values.texts("LossyImageCompressionRatio") if _is_number(r)]
    return max(ratios, default=0.0)


def _is_number(text: str) -> bool:
    try:
        return 0 < float(text) < 1e6
    except ValueError:
        return False


def _age(values: Values) -> float | None:
    """Age at the scan in years, from the age itself or from the dates; None where neither is known."""
    if age := _AGE.fullmatch(values.text("PatientAge").upper()):
        return int(age[1]) * _AGE_UNITS[age[2]]
    born, scanned = values.text("PatientBirthDate"), values.text("StudyDate")
    if len(born) == len(scanned) == 8 and born.isdigit() and scanned.isdigit():
        years = (int(scanned) - int(born)) / 10_000
        return years if 0 <= years < 130 else None
    return None
