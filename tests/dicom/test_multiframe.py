"""Enhanced CT: every frame has its own plane, and none is invented."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from lvo.dicom import read_study
from tests.dicom.cases import head


def group(**items: Dataset) -> Dataset:
    out = Dataset()
    for name, item in items.items():
        setattr(out, name, Sequence([item]))
    return out


def item(**values: object) -> Dataset:
    out = Dataset()
    for name, value in values.items():
        setattr(out, name, value)
    return out


def enhanced(files: list[Path], path: Path) -> None:
    """One multi-frame file of the same images, frames in another order than their places."""
    images = [pydicom.dcmread(p) for p in files]
    images = images[1::2] + images[::2]
    ds = pydicom.dcmread(files[0])
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    ds.NumberOfFrames = len(images)
    ds.PixelData = b"".join(i.PixelData for i in images)
    shared = group(
        PixelMeasuresSequence=item(PixelSpacing=ds.PixelSpacing, SliceThickness=1.5),
        PlaneOrientationSequence=item(ImageOrientationPatient=ds.ImageOrientationPatient),
        PixelValueTransformationSequence=item(RescaleSlope="1", RescaleIntercept="-1024"),
    )
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    ds.PerFrameFunctionalGroupsSequence = Sequence(
        [group(PlanePositionSequence=item(ImagePositionPatient=i.ImagePositionPatient)) for i in images]
    )
    for name in ("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "RescaleSlope"):
        delattr(ds, name)
    del ds.RescaleIntercept, ds.SliceThickness
    ds.save_as(path)


def test_frames_are_placed_by_their_own_positions(write, study: Path) -> None:
    files = write()
    enhanced(files, study / "enhanced")
    for path in files:
        path.unlink()
    result = read_study(study)
    np.testing.assert_array_equal(result.cta.array, head().array.clip(-1024))
    np.testing.assert_allclose(result.cta.affine, head().affine, atol=1e-6)
    assert [s.frame for s in result.cta.stack.slices[:3]] == [28, 0, 29]
