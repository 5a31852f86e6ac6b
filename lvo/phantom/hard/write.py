"""Stored values, CT images and files for the hard cases: legal but for what a case spoils on purpose."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element, write_file_meta_info
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, CTImageStorage
from pydicom.valuerep import DSfloat

from lvo.phantom.hard.encode import (
    BIG_ENDIAN,
    DEFLATED,
    ENCODERS,
    EXPLICIT,
    IMPLICIT,
    NATIVE_SYNTAXES,
    Encoder,
)
from lvo.phantom.hard.head import Floats, Scan
from lvo.phantom.write import uid_from

Tags = Mapping[str, Any]
Stored = npt.NDArray[np.int32]
AIR_HU = -1024

_IMPLEMENTATION = "2.25.202611220001"
_COMMON: Tags = {
    "SpecificCharacterSet": "ISO_IR 192",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "SOPClassUID": CTImageStorage,
    "StudyDate": "20260101", "SeriesDate": "20260101", "AcquisitionDate": "20260101",
    "ContentDate": "20260101", "StudyTime": "080000", "SeriesTime": "080500", "AcquisitionTime": "080500",
    "ContentTime": "080500", "AccessionNumber": "", "Modality": "CT", "Manufacturer": "SYNTHETIC",
    "ManufacturerModelName": "lvo hard cases", "ReferringPhysicianName": "",
    "StudyDescription": "SYNTHETIC CODE STROKE", "SeriesDescription": "Head CTA",
    "PatientName": "PHANTOM^HARD", "PatientID": "PHANTOM-HARD", "PatientBirthDate": "", "PatientSex": "O",
    "PatientAge": "067Y", "BodyPartExamined": "HEAD", "ContrastBolusAgent": "Iomeprol",
    "PatientPosition": "HFS", "StudyID": "1", "SeriesNumber": 2, "AcquisitionNumber": 1,
    "PositionReferenceIndicator": "", "ConvolutionKernel": "H30f", "KVP": "120", "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2", "BurnedInAnnotation": "NO", "RescaleType": "HU",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Storage:
    """How HU become stored values.

    Attributes
    ----------
    garbage : bits written above the stored ones, which readers must ignore.
    padding : stored value outside the circle of reconstruction; None for no padding.
    padding_limit : PixelPaddingRangeLimit; padding then takes values between the two.
    padding_vr : VR in which the padding is written, right or wrong.
    """

    bits: int = 16
    signed: bool = True
    slope: float = 1.0
    intercept: float = -1024.0
    allocated: int = 16
    garbage: int = 0
    padding: int | None = None
    padding_limit: int | None = None
    padding_vr: str = "SS"

    def stored(self, hu: Floats) -> Stored:
        """Stored values of slices of HU, padding in place."""
        low = -(1 << (self.bits - 1)) if self.signed else 0
        values = np.clip(np.rint((hu - self.intercept) / self.slope), low, low + (1 << self.bits) - 1)
        if self.padding is not None:
            span = 0 if self.padding_limit is None else self.padding_limit - self.padding
            fill = self.padding + np.sign(span) * (np.indices(hu.shape).sum(axis=0) % (abs(span) + 1))
            values = np.where(self.outside(hu.shape), fill, values)
        return values.astype(np.int32)

    def outside(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        """Pixels outside the circle of reconstruction, if there is padding."""
        if self.padding is None:
            return np.zeros(shape, dtype=bool)
        rows, columns = shape[-2:]
        y, x = np.ogrid[:rows, :columns]
        circle = np.hypot((y - (rows - 1) / 2) / rows, (x - (columns - 1) / 2) / columns)
        return np.broadcast_to(circle > 0.52, shape)

    def hu(self, stored: Stored) -> Floats:
        """HU that a right reader gets back: padding as air."""
        hu = stored * self.slope + self.intercept
        return np.where(self.outside(stored.shape), AIR_HU, hu)

    def tags(self) -> dict[str, Any]:
        """What the header says about it."""
        found: dict[str, Any] = {
            "BitsAllocated": self.allocated,
            "BitsStored": self.bits,
            "HighBit": self.bits - 1,
            "PixelRepresentation": int(self.signed),
            "RescaleIntercept": ds(self.intercept),
            "RescaleSlope": ds(self.slope),
        }
        return found


@dataclass(frozen=True, slots=True)
class Encoding:
    """A transfer syntax, an encoder other than the usual one, and into how many pieces a frame is cut."""

    syntax: str = EXPLICIT
    encoder: Encoder | None = None
    fragments: int = 1


RAW = Encoding()


@dataclass(slots=True)
class Image:
    """One image before it is encoded; ``encoding`` overrides that of the series."""

    header: Dataset
    stored: Stored
    storage: Storage
    encoding: Encoding | None = None


def images(
    scan: Scan, stored: Sequence[Stored], storages: Sequence[Storage], seed: str, tags: Tags
) -> list[Image]:
    """CT images of a stack; storages are used in turn. The seed determines every UID."""
    study = uid_from("hard", seed.split("/")[0])
    per_series: dict[str, Any] = {
        **_COMMON,
        "StudyInstanceUID": study,
        "FrameOfReferenceUID": uid_from(study, "frame"),
        "SeriesInstanceUID": uid_from(study, tags.get("SeriesNumber", 2)),
        "ImageOrientationPatient": [ds(v) for v in scan.orientation],
        "PixelSpacing": [ds(v) for v in scan.spacing],
        "Rows": scan.rows,
        "Columns": scan.columns,
    }
    shared: list[dict[BaseTag, DataElement | RawDataElement]] = []
    for storage in storages:
        header = Dataset()
        set_tags(header, per_series | storage.tags())
        shared.append({element.tag: element for element in header})
    made = []
    for k, position in enumerate(scan.positions):
        storage = storages[k % len(storages)]
        header = Dataset()
        header.update(shared[k % len(storages)])
        header.SOPInstanceUID = uid_from(study, seed, k)
        header.InstanceNumber = k + 1
        header.ImagePositionPatient = [ds(v) for v in position]
        header.SliceThickness = ds(scan.thickness[k])
        _pad(header, storage)
        set_tags(header, tags)
        made.append(Image(header, stored[k], storage))
    return made


def set_tags(header: Dataset, tags: Tags) -> None:
    """Set values by keyword; None removes the element.

    Elements are replaced, never changed: the images of a stack share those in which they agree.
    """
    for name, value in tags.items():
        if value is not None:
            tag = Tag(name)
            header[tag] = DataElement(tag, dictionary_VR(tag), value)
        elif name in header:
            delattr(header, name)


def _pad(header: Dataset, storage: Storage) -> None:
    for name, value in (
        ("PixelPaddingValue", storage.padding),
        ("PixelPaddingRangeLimit", storage.padding_limit),
    ):
        if value is not None:
            wrapped = value % 65536 if storage.padding_vr == "US" else value
            header.add_new(name, storage.padding_vr, wrapped)


def save(folder: Path, series: Sequence[Image], encoding: Encoding = RAW) -> None:
    """Write images as files named by their place in the list."""
    folder.mkdir(parents=True, exist_ok=True)
    # Bytes of elements are kept by transfer syntax, for as long as the series holds the elements.
    seen: dict[str, dict[int, bytes]] = defaultdict(dict)
    for number, image in enumerate(series, start=1):
        chosen = image.encoding or encoding
        fill_pixels(image.header, [image.stored], image.storage, chosen)
        finish(folder / f"{number:05d}.dcm", image.header, chosen.syntax, seen[chosen.syntax])


def fill_pixels(header: Dataset, frames: Sequence[Stored], storage: Storage, encoding: Encoding) -> None:
    """Pixel data in a transfer syntax: native, or every frame encapsulated."""
    raw = [_words(frame, storage) for frame in frames]
    if encoding.syntax in NATIVE_SYNTAXES:
        big = encoding.syntax == BIG_ENDIAN
        data = b"".join((frame.byteswap() if big else frame).tobytes() for frame in raw)
        header.PixelData = data + b"\0" * (len(data) % 2)
        header["PixelData"].VR = "OW" if storage.allocated > 8 else "OB"
        return
    encoder = encoding.encoder or ENCODERS[encoding.syntax]
    coded = [encoder(frame, storage.bits, storage.signed) for frame in raw]
    header.PixelData = encapsulate(coded, fragments_per_frame=encoding.fragments)
    header["PixelData"].VR = "OB"
    header["PixelData"].is_undefined_length = True


def _words(frame: Stored, storage: Storage) -> npt.NDArray[Any]:
    """Stored values as the words that hold them, with garbage above the stored bits if there is any."""
    kind = "i" if storage.signed else "u"
    if not storage.garbage:
        return frame.astype(f"{kind}{storage.allocated // 8}")
    mask = (1 << storage.bits) - 1
    dirty = (frame & mask) | (storage.garbage & ~mask)
    return np.asarray(dirty.astype(f"u{storage.allocated // 8}"))


def finish(path: Path, header: Dataset, syntax: str = EXPLICIT, seen: dict[int, bytes] | None = None) -> None:
    """Write a data set as a DICOM file.

    ``seen`` keeps the bytes of elements from file to file: the images of a stack share most of them, and
    encoding them anew would take most of the time of every test.
    """
    seen = {} if seen is None else seen
    data = DicomBytesIO()
    data.is_implicit_VR, data.is_little_endian = syntax == IMPLICIT, syntax != BIG_ENDIAN
    for tag in sorted(header.keys()):
        element = header[tag]
        if (known := seen.get(id(element))) is None:
            start = data.tell()
            write_data_element(data, element, header.get("SpecificCharacterSet"))
            seen[id(element)] = data.getvalue()[start:]
        else:
            data.write(known)
    body = data.getvalue()
    if syntax == DEFLATED:
        squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = squeeze.compress(body) + squeeze.flush()
        body += b"\0" * (len(body) % 2)
    path.write_bytes(b"\0" * 128 + b"DICM" + _meta(header, syntax) + body)


def _meta(header: Dataset, syntax: str) -> bytes:
    uid = str(header.SOPInstanceUID)
    stand_in = "1" * len(uid)
    return _meta_of(str(header.SOPClassUID), stand_in, syntax).replace(stand_in.encode(), uid.encode())


@cache
def _meta_of(sop_class: str, sop_instance: str, syntax: str) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance)
    meta.ImplementationClassUID = UID(_IMPLEMENTATION)
    meta.TransferSyntaxUID = UID(syntax)
    out = DicomBytesIO()
    write_file_meta_info(out, meta)
    return bytes(out.getvalue())


def ds(value: float) -> DSfloat:
    """A decimal string of at most 16 characters, never minus zero."""
    return DSfloat(float(value) + 0.0, auto_format=True)
