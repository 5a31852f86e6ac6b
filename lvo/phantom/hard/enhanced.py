"""Hard cases of enhanced (multi-frame) CT: one file for a stack, its frames in any order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from lvo.phantom.hard import encode as syntax
from lvo.phantom.hard.head import NATIVE
from lvo.phantom.hard.recipe import AXIAL, HardCase, Other, case
from lvo.phantom.hard.write import Encoding, Image, fill_pixels, finish, set_tags
from lvo.phantom.write import uid_from

_MULTI = "enhanced multi-frame CT"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
_PER_FRAME = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleSlope",
    "RescaleIntercept", "RescaleType", "ConvolutionKernel", "KVP", "InstanceNumber", "AcquisitionNumber",
    "TemporalPositionIdentifier", "AcquisitionDate", "AcquisitionTime", "PatientPosition",
)  # fmt: skip


def save_enhanced(folder: Path, series: Sequence[Image], encoding: Encoding) -> None:
    """Write all images as the frames of one Enhanced CT file."""
    folder.mkdir(parents=True, exist_ok=True)
    stride = next(n for n in (17, 19, 23) if len(series) % n)
    shuffled = [series[n * stride % len(series)] for n in range(len(series))]
    first = shuffled[0]
    header = _top(first.header, len(series))
    header.SharedFunctionalGroupsSequence = [_shared(first.header)]
    header.PerFrameFunctionalGroupsSequence = [
        _frame(image.header, number) for number, image in enumerate(shuffled, start=1)
    ]
    fill_pixels(header, [image.stored for image in shuffled], first.storage, encoding)
    finish(folder / "enhanced.dcm", header, encoding.syntax)


def _item(**values: Any) -> Dataset:
    item = Dataset()
    set_tags(item, values)
    return item


def _moment(source: Dataset) -> str:
    return f"{source.AcquisitionDate}{source.AcquisitionTime}"


def _top(source: Dataset, frames: int) -> Dataset:
    header = Dataset()
    header.update({element.tag: element for element in source if element.keyword not in _PER_FRAME})
    organization = uid_from(source.SeriesInstanceUID, "dimensions")
    values = {
        "SOPClassUID": ENHANCED_CT,
        "SOPInstanceUID": uid_from(source.SeriesInstanceUID, "enhanced"),
        "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        "InstanceNumber": 1,
        "NumberOfFrames": frames,
        "AcquisitionDateTime": _moment(source),
        "ContentQualification": "RESEARCH",
        "LossyImageCompression": "00",
        "PixelPresentation": "MONOCHROME",
        "VolumetricProperties": "VOLUME",
        "VolumeBasedCalculationTechnique": "NONE",
        "PresentationLUTShape": "IDENTITY",
        "DimensionOrganizationSequence": [_item(DimensionOrganizationUID=organization)],
        "DimensionIndexSequence": [
            _item(
                DimensionOrganizationUID=organization,
                DimensionIndexPointer=0x00209057,  # In-Stack Position Number
                FunctionalGroupPointer=0x00209111,  # Frame Content Sequence
            )
        ],
    }
    set_tags(header, values)
    return header


def _shared(source: Dataset) -> Dataset:
    frame_type = {
        "FrameType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        "PixelPresentation": "MONOCHROME",
        "VolumetricProperties": "VOLUME",
        "VolumeBasedCalculationTechnique": "NONE",
    }
    return _item(
        CTImageFrameTypeSequence=[_item(**frame_type)],
        PixelMeasuresSequence=[_item(PixelSpacing=source.PixelSpacing, SliceThickness=source.SliceThickness)],
        PlaneOrientationSequence=[_item(ImageOrientationPatient=source.ImageOrientationPatient)],
        PixelValueTransformationSequence=[
            _item(
                RescaleSlope=source.RescaleSlope,
                RescaleIntercept=source.RescaleIntercept,
                RescaleType="HU",
            )
        ],
        CTReconstructionSequence=[_item(ConvolutionKernel=source.ConvolutionKernel)],
        CTXRayDetailsSequence=[_item(KVP=source.KVP)],
    )


def _frame(source: Dataset, number: int) -> Dataset:
    content = _item(
        FrameAcquisitionNumber=source.AcquisitionNumber,
        FrameAcquisitionDateTime=_moment(source),
        FrameReferenceDateTime=_moment(source),
        StackID="1",
        InStackPositionNumber=int(source.InstanceNumber),
        DimensionIndexValues=[int(source.InstanceNumber)],
        TemporalPositionIndex=source.get("TemporalPositionIdentifier"),
    )
    return _item(
        FrameContentSequence=[content],
        PlanePositionSequence=[_item(ImagePositionPatient=source.ImagePositionPatient)],
    )


def _everything_in_every_frame(folder: Path) -> None:
    """No shared functional groups: some writers repeat them in every frame."""
    path = folder / "enhanced.dcm"
    header = pydicom.dcmread(path)
    for frame in header.PerFrameFunctionalGroupsSequence:
        frame.update({element.tag: element for element in header.SharedFunctionalGroupsSequence[0]})
    del header.SharedFunctionalGroupsSequence
    header.save_as(path)


def _offsets_swapped(folder: Path) -> None:
    """The table of offsets names two frames in each other's place."""
    path = folder / "enhanced.dcm"
    header = pydicom.dcmread(path)
    data = bytearray(header.PixelData)
    data[20:24], data[24:28] = data[24:28], data[20:24]  # the fourth and fifth entry, behind tag and length
    header.PixelData = bytes(data)
    header.save_as(path)


def _enhanced(name: str, uid: str = syntax.EXPLICIT, *codes: str, **recipe: Any) -> HardCase:
    return case(name, _MULTI, *codes, save=save_enhanced, encoding=Encoding(uid), **recipe)


CASES = (
    _enhanced("enhanced"),
    _enhanced("enhanced-jpeg-2000", syntax.JPEG_2000_LOSSLESS),
    _enhanced("enhanced-rle", syntax.RLE),
    _enhanced("enhanced-jpeg-ls", syntax.JPEG_LS),
    _enhanced(
        "enhanced-two-temporal-positions",
        tags={"TemporalPositionIdentifier": 2},
        others=(Other({"TemporalPositionIdentifier": 1}, NATIVE),),
    ),
    _enhanced(
        "enhanced-two-acquisitions",
        tags={"AcquisitionNumber": 2},
        others=(Other({"AcquisitionNumber": 1}, NATIVE),),
    ),
    _enhanced(
        "enhanced-one-missing-frame",
        syntax.EXPLICIT,
        "uneven-spacing",
        outcome="resampled",
        scan=AXIAL.without(30),
    ),
    _enhanced("enhanced-without-shared-groups", files=_everything_in_every_frame),
    _enhanced(
        "enhanced-offsets-swapped",
        syntax.JPEG_LS,
        "pixels-unreadable",
        outcome="refused",
        files=_offsets_swapped,
    ),
)
