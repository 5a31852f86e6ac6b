"""Hard cases of files: what lies among the images, which tags are missing, what stands before the pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from lvo.phantom.hard import encode as syntax
from lvo.phantom.hard.head import CTA
from lvo.phantom.hard.recipe import AXIAL, QUICK, HardCase, case, each
from lvo.phantom.hard.write import Encoding, Image, finish, save, set_tags
from lvo.phantom.write import uid_from

_MISSING = "missing or anonymised tags"
_PATHS = "non-ASCII paths"
_AMONG = "other files among the slices"
_REPORT = "derived, MIP, burned-in, dose report"
_BEFORE = "elements before the pixel data"
_DATES = (
    "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "StudyTime", "SeriesTime",
    "AcquisitionTime", "ContentTime",
)  # fmt: skip
_OPTIONAL = (
    "ConvolutionKernel", "KVP", "FrameOfReferenceUID", "ImageType", "PatientAge", "BodyPartExamined",
    "ContrastBolusAgent", "PatientPosition", "StudyID", "SeriesNumber", "AcquisitionNumber", "InstanceNumber",
    "SeriesDescription", "StudyDescription", "Manufacturer", "ManufacturerModelName", "BurnedInAnnotation",
    "RescaleType", "PatientID", "PatientName", "SpecificCharacterSet", "PositionReferenceIndicator",
)  # fmt: skip
_IDENTITY: dict[str, Any] = {
    "StudyDate": "20260101", "StudyTime": "080000", "AccessionNumber": "", "ReferringPhysicianName": "",
    "PatientName": "PHANTOM^HARD", "PatientID": "PHANTOM-HARD", "PatientBirthDate": "", "PatientSex": "O",
    "StudyID": "1", "InstanceNumber": 1, "Manufacturer": "SYNTHETIC",
}  # fmt: skip
_NO_RESCALE = {"RescaleSlope": None, "RescaleIntercept": None}
_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_DOSE_SR = "1.2.840.10008.5.1.4.1.1.88.67"
_DIRECTORY = "1.2.840.10008.1.3.10"


def _litter(folder: Path) -> None:
    """A zero-length file, a text, a picture's first bytes and a DICOMDIR beside the images."""
    (folder / "00000.dcm").write_bytes(b"")
    (folder / "00010-notes.txt").write_text("Not an image.\n", encoding="utf-8")
    (folder / "picture.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 60)
    (folder / "preamble-only.dcm").write_bytes(b"\0" * 128 + b"DICM")
    directory = Dataset()
    tags: dict[str, Any] = {
        "SOPClassUID": _DIRECTORY,
        "SOPInstanceUID": uid_from("hard", "directory"),
        "FileSetID": "HARD",
    }
    tags |= {
        "OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity": 0,
        "OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity": 0,
        "FileSetConsistencyFlag": 0,
    }
    set_tags(directory, tags)
    directory.DirectoryRecordSequence = Sequence([])
    finish(folder / "DICOMDIR", directory)


def _headless(folder: Path) -> None:
    """Data sets without the preamble and the prefix of Part 10, which only a guess could read."""
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[132:])


def _headless_top(folder: Path) -> None:
    """The two uppermost slices lost their preamble: no gap shows that they are missing."""
    for name in ("00055.dcm", "00056.dcm"):
        path = folder / name
        path.write_bytes(path.read_bytes()[132:])


def _dose(name: str) -> tuple[Dataset, Dataset]:
    """A dose report as a picture that calls itself CT, and as a structured report."""
    capture, report = Dataset(), Dataset()
    study = uid_from("hard", name)
    for header, number, tags in (
        (capture, 501, {"Modality": "CT", "SOPClassUID": _CAPTURE, "SeriesDescription": "Patient Protocol"}),
        (report, 502, {"Modality": "SR", "SOPClassUID": _DOSE_SR, "SeriesDescription": "Dose Report"}),
    ):
        set_tags(header, {**_IDENTITY, **tags, "SeriesNumber": number, "StudyInstanceUID": study})
        header.SeriesInstanceUID = uid_from(study, number)
        header.SOPInstanceUID = uid_from(study, number, "image")
    pixels = {
        "ImageType": ["DERIVED", "SECONDARY", "OTHER"], "ConversionType": "WSD", "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "Rows": 64, "Columns": 64, "BitsAllocated": 8,
        "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0, "BurnedInAnnotation": "YES",
    }  # fmt: skip
    set_tags(capture, pixels)
    capture.add_new("PixelData", "OB", (np.indices((64, 64)).sum(0) % 256).astype("u1").tobytes())
    content = {"ValueType": "CONTAINER", "ContinuityOfContent": "SEPARATE", "CompletionFlag": "COMPLETE"}
    set_tags(report, {**content, "VerificationFlag": "UNVERIFIED", "ContentSequence": Sequence([])})
    return capture, report


def _with_dose(name: str) -> Any:
    def files(folder: Path) -> None:
        for number, header in enumerate(_dose(name)):
            finish(folder / f"dose-{number}.dcm", header)

    return files


def _dose_only(folder: Path, _series: list[Image], _encoding: Encoding) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _with_dose("dose-report-only")(folder)


def _litter_only(folder: Path, _series: list[Image], _encoding: Encoding) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _litter(folder)


def _odd_names(folder: Path, series: list[Image], encoding: Encoding) -> None:
    """Names in several scripts, none ending in .dcm, in two folders."""
    save(folder, series, encoding)
    (folder / "ordner – ß").mkdir()
    for number, path in enumerate(sorted(folder.glob("*.dcm"), reverse=True)):
        here = folder if number % 2 else folder / "ordner – ß"
        path.rename(here / f"{('ümlaut', '頭', 'IM 0', 'снимок')[number % 4]}{number}")


def _crowd(k: int, image: Image) -> None:
    """Private and public sequences of undefined length before the pixels, one with pixels of its own."""
    header = image.header
    icon = Dataset()
    set_tags(
        icon, {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "Rows": 8, "Columns": 8}
    )
    set_tags(icon, {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0})
    icon.add_new("PixelData", "OB", bytes(range(64)))
    inner, source = Dataset(), Dataset()
    inner.add_new(0x00290010, "LO", "HARD CASES")
    inner.add_new(0x00291010, "OB", b"\xfe\xff\xdd\xe0\0\0\0\0" * 4)  # bytes that look like a delimiter
    source.ReferencedSOPClassUID = image.header.SOPClassUID
    source.ReferencedSOPInstanceUID = uid_from("hard", "source", k)
    # A position inside a sequence is not the image's.
    source.ImagePositionPatient = [0, 0, 0]
    source.PixelSpacing = [9, 9]
    header.IconImageSequence = Sequence([icon])
    header.SourceImageSequence = Sequence([source, source])
    block = header.private_block(0x0021, "HARD CASES", create=True)
    block.add_new(0x01, "SQ", Sequence([inner]))
    block.add_new(0x02, "OB", bytes(5000))
    block.add_new(0x03, "UN", b"\x01\x02\x03\x04")
    nested = block[0x01]
    for element in (header["IconImageSequence"], header["SourceImageSequence"], nested):
        element.is_undefined_length = True
        for item in element.value:
            item.is_undefined_length_sequence_item = True


def _missing(name: str, **tags: Any) -> HardCase:
    return case(name, _MISSING, tags=tags)


CASES = (
    _missing("empty-dates-and-times", **dict.fromkeys(_DATES, "")),
    _missing("no-dates-and-times", **dict.fromkeys(_DATES)),
    _missing("no-optional-tags", **dict.fromkeys(_OPTIONAL)),
    _missing("optional-tags-empty", **dict.fromkeys(_OPTIONAL, "")),
    _missing("no-kernel", ConvolutionKernel=None),
    _missing("no-kvp", KVP=None),
    _missing("no-frame-of-reference", FrameOfReferenceUID=None),
    _missing("no-image-type", ImageType=None),
    # Its neighbours have one: what its values mean cannot be known.
    case(
        "one-slice-without-a-rescale",
        _MISSING,
        "uneven-spacing",
        outcome="resampled",
        scan=AXIAL,
        edit=each(lambda _, image: set_tags(image.header, _NO_RESCALE), (30,)),
        lost=(30,),
    ),
    case(
        "utf-8-path-and-names",
        _PATHS,
        folder="étude – Kopf 頭/a",
        save=_odd_names,
        tags={"PatientName": "Phantôme^Köpf=頭^部", "SeriesDescription": "Kopf-Gefäße CTA"},
    ),
    case("other-files-among-the-slices", _AMONG, files=_litter),
    case("files-without-a-preamble", _AMONG, "no-dicom", outcome="refused", files=_headless),
    case(
        "top-slices-without-a-preamble",
        _AMONG,
        "unreadable-files",
        scan=AXIAL,
        files=_headless_top,
        lost=(54, 55),
    ),
    case("no-image-at-all", _AMONG, "no-dicom", outcome="refused", save=_litter_only, scan=QUICK.take([0])),
    case("dose-report-beside-the-cta", _REPORT, files=_with_dose("dose-report-beside-the-cta")),
    case(
        "dose-report-only",
        _REPORT,
        outcome="other",
        save=_dose_only,
        scan=QUICK.take([0]),
        truth={"roles": frozenset({"derived", "dose_report"})},
    ),
    case("sequences-before-the-pixels", _BEFORE, edit=each(_crowd), body=CTA, truth={"quiet": True}),
    case(
        "sequences-in-implicit-vr",
        _BEFORE,
        edit=each(_crowd),
        encoding=Encoding(syntax.IMPLICIT),
        truth={"quiet": True},
    ),
)
