"""Hounsfield units must not depend on how a sender stored them."""

from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate

from lvo.dicom import read_study
from lvo.dicom.headers import scan
from lvo.dicom.instance import read_instances
from lvo.dicom.pixels import decode_hu
from lvo.phantom.hard.encode import ENCODERS, JPEG_BASELINE, JPEG_LOSSLESS_1, by_gdcm
from lvo.study import Volume
from tests.dicom.cases import SHAPE, affine, edit, head, marker_lps

SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "big endian": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "RLE": "1.2.840.10008.1.2.5",
}
# pydicom says that big endian is retired; old archives still hold it.
pytestmark = pytest.mark.filterwarnings("ignore:.*[Bb]ig [Ee]ndian.*")


def noisy(slices: int = 6):
    volume = head(shape=(slices, 48, 48))
    noise = np.random.default_rng(3).normal(0, 30, volume.array.shape)
    return type(volume)((volume.array + noise).astype(np.int16), volume.affine)


def decoded(folder: Path) -> np.ndarray:
    instances = sorted(scan(folder).instances, key=lambda i: i.instance_number)
    return np.stack([decode_hu(i) for i in instances])


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES)
def test_every_syntax_equals_its_uncompressed_twin(write, study: Path, syntax: str) -> None:
    write(noisy(), transfer_syntax=syntax)
    np.testing.assert_array_equal(decoded(study), noisy().array)


def test_jpeg_lossless_equals_its_uncompressed_twin(write, study: Path) -> None:
    path = write(noisy())[0]
    by_gdcm(JPEG_LOSSLESS_1)(path.parent)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == JPEG_LOSSLESS_1
    np.testing.assert_array_equal(decoded(study), noisy().array)


def test_rescale_is_applied_slice_by_slice(write, study: Path) -> None:
    files = write(noisy())

    def other_scale(ds: pydicom.Dataset) -> None:
        stored = ds.pixel_array.astype(np.int32) - 1024
        ds.RescaleSlope, ds.RescaleIntercept = "0.5", "-500"
        ds.PixelData = ((stored + 500) * 2).astype("<i2").tobytes()

    for path in files[::2]:
        edit(path, other_scale)
    np.testing.assert_array_equal(decoded(study), noisy().array)


@pytest.mark.parametrize("written_as", ["signed", "unsigned bits of the same number"])
def test_padding_becomes_air(write, study: Path, written_as: str) -> None:
    (path,) = write(noisy(1))

    def pad(ds: pydicom.Dataset) -> None:
        stored = ds.pixel_array.copy()
        stored[:, :5] = -2000
        ds.PixelData = stored.astype("<i2").tobytes()
        ds.RescaleIntercept = "0"
        if written_as == "signed":
            ds.add_new("PixelPaddingValue", "SS", -2000)
        else:
            ds.add_new("PixelPaddingValue", "US", 65536 - 2000)

    edit(path, pad)
    hu = decoded(study)[0]
    assert (hu[:, :5] == -1024).all()
    np.testing.assert_array_equal(hu[:, 5:], noisy(1).array[0, :, 5:] + 1024)


def test_padding_with_a_tissue_value_is_air_only_outside_the_patient(write, study: Path) -> None:
    volume = noisy(1)
    volume.array[:] = 100
    volume.array[0, :8] = 0
    volume.array[0, 20:24, 20:24] = 0
    (path,) = write(volume)
    edit(path, lambda ds: ds.add_new("PixelPaddingValue", "SS", 1024))
    hu = decoded(study)[0]
    assert (hu[:8] == -1024).all()
    assert (hu[20:24, 20:24] == 0).all()


def test_monochrome1_is_not_inverted_but_said(write, study: Path) -> None:
    for path in write():
        edit(path, lambda ds: setattr(ds, "PhotometricInterpretation", "MONOCHROME1"))
    result = read_study(study)
    np.testing.assert_array_equal(result.cta.array, head().array.clip(-1024))
    assert [r.code for r in result.reasons] == ["monochrome1"]


def test_one_truncated_slice_falls_under_the_gap_rule(write, study: Path) -> None:
    files = write()
    files[30].write_bytes(files[30].read_bytes()[:-1000])
    result = read_study(study)
    assert {"corrupt-slices", "uneven-spacing"} <= {r.code for r in result.reasons}
    assert result.cta.array.shape == SHAPE
    np.testing.assert_allclose(marker_lps(result.cta), marker_lps(head()), atol=0.01)


def test_many_truncated_slices_are_refused(write, study: Path) -> None:
    for path in write()[30:36]:
        path.write_bytes(path.read_bytes()[:-1000])
    result = read_study(study)
    assert result.cta is None
    assert [r.code for r in result.reasons if r.kind == "rejection"] == ["slices-missing"]


def test_pixels_that_nobody_can_decode_are_refused(write, study: Path) -> None:
    for path in write():
        edit(path, lambda ds: setattr(ds, "PixelData", ds.PixelData[:100]))
    result = read_study(study)
    assert [r.code for r in result.reasons if r.kind == "rejection"] == ["pixels-unreadable"]
    assert result.series[0].role == "unreadable"


@pytest.mark.parametrize(("highest", "readable"), [(2047, True), (2048, False)])
def test_a_codestream_of_fewer_bits_leaves_the_sign_open(
    write, study: Path, highest: int, readable: bool
) -> None:
    """The header says 16 bits with a sign, the codestream 12 without: 2048 may be 2048 or -2048."""
    stored = np.minimum(np.arange(48 * 48).reshape(48, 48), highest).astype(np.uint16)
    (path,) = write(Volume(stored[None].astype(np.int16), affine(1.5, (1, 48, 48))))
    frame = imagecodecs.jpeg8_encode(stored, bitspersample=12, lossless=True, predictor=1)

    def compress(ds: pydicom.Dataset) -> None:
        ds.file_meta.TransferSyntaxUID = JPEG_LOSSLESS_1
        ds.PixelData = encapsulate([frame])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True

    edit(path, compress)
    (instance,) = read_instances(path)
    assert (instance.signed, instance.bits_stored) == (True, 16)
    if readable:
        np.testing.assert_array_equal(decode_hu(instance), stored.astype(int) + int(instance.intercept))
    else:
        with pytest.raises(ValueError, match="cannot be decoded"):
            decode_hu(instance)


def test_jpeg_baseline_of_8_bits_is_near_its_uncompressed_twin(write, study: Path) -> None:
    ramp = np.add.outer(np.arange(48), np.arange(48)).astype(np.uint8)
    (path,) = write(noisy(1))

    def encode(ds: pydicom.Dataset) -> None:
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
        ds.RescaleSlope, ds.RescaleIntercept = "2", "-50"
        ds.file_meta.TransferSyntaxUID = JPEG_BASELINE
        ds.PixelData = pydicom.encaps.encapsulate([ENCODERS[JPEG_BASELINE](ramp, 8, False)])
        ds["PixelData"].is_undefined_length = True

    edit(path, encode)
    np.testing.assert_allclose(decoded(study)[0], 2.0 * ramp - 50, atol=4)
