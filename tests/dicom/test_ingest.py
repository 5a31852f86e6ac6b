"""DICOM to NIfTI: what other software reads from the files is what the patient is."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from lvo.dicom import ingest, volumes
from lvo.dicom.nifti import ras_affine, write_nifti
from lvo.errors import OutputUnwritable, PathNotFound
from lvo.phantom.write import StudyIdentity, write_topogram
from lvo.study import Volume
from tests.dicom.cases import SHAPE, edit, head
from tests.dicom.test_geometry import ORIENTATIONS, block, turned


def rows(folder: Path) -> dict[str, str | None]:
    inventory = json.loads((folder / "inventory.json").read_text(encoding="utf-8"))
    return {s["series"]["description"]: s["file"] for s in inventory["stacks"]}


def test_every_readable_stack_becomes_a_volume_and_everything_is_listed(
    write, study: Path, tmp_path: Path, identity: StudyIdentity
) -> None:
    write_topogram(study, head(), identity=identity)
    write(head(contrast=False), 2, description="Head thin")
    write(head(), 3, description="Head CTA")
    write(head(), 4, description="Head CTA MIP", image_type=("DERIVED", "SECONDARY", "MIP"))
    (study / "notes.txt").write_text("hello")
    out = tmp_path / "out"
    inventory = ingest(study, out)
    assert rows(out) == {
        "Topogram": None,
        "Head thin": "002-ncct.nii",
        "Head CTA": "003-cta.nii",
        "Head CTA MIP": "004-derived.nii",
    }
    assert inventory.not_dicom == 1 and not inventory.refused
    assert {p.name for p in out.iterdir()} == {"inventory.json", *(f for f in rows(out).values() if f)}
    assert [s.series.description for s in inventory.stacks if s.series.chosen] == ["Head thin", "Head CTA"]
    image = nibabel.load(out / "003-cta.nii")
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, head().array)
    np.testing.assert_allclose(image.affine, ras_affine(head().affine), atol=1e-4)
    assert len(inventory.stacks[2].sop_instance_uids) == SHAPE[0]


def test_a_second_run_leaves_nothing_of_the_first(write, study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(head(), 3)
    ingest(study, out)
    (out / "mine.nii").write_bytes(b"kept")
    for path in (study / "3").iterdir():
        path.unlink()
    inventory = ingest(study, out)
    assert inventory.refused
    assert {p.name for p in out.iterdir()} == {"inventory.json", "mine.nii"}


def test_listing_writes_nothing(write, study: Path, tmp_path: Path) -> None:
    write(head(), 3)
    inventory = ingest(study)
    assert [(s.series.role, s.file) for s in inventory.stacks] == [("cta", None)]
    assert inventory.stacks[0].series.chosen
    assert [p.name for p in tmp_path.iterdir()] == ["study"]


def test_values_below_air_are_kept_where_nothing_is_interpolated(write, study: Path, tmp_path: Path) -> None:
    volume = head()
    low = volume.array.copy()
    low[:, :3] = -3024
    write(Volume(low, volume.affine), 3)
    ingest(study, tmp_path / "out")
    image = nibabel.load(tmp_path / "out" / "003-cta.nii")
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, low)


def test_a_rescale_that_is_not_whole_gives_floats(write, study: Path, tmp_path: Path) -> None:
    for path in write(head(), 3):
        edit(path, lambda ds: setattr(ds, "RescaleSlope", "0.5"))
    ingest(study, tmp_path / "out")
    image = nibabel.load(next((tmp_path / "out").glob("*.nii")))
    assert image.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, (head().array + 1024) * 0.5 - 1024)


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS[::5])
def test_nifti_readers_place_every_voxel_where_it_is(tmp_path: Path, axes, signs) -> None:
    volume = turned(block(), axes, signs)
    path = tmp_path / "a.nii"
    write_nifti(path, volume)
    index = np.array([[0, 0, 0], [3, 2, 1], [5, 4, 6]])
    lps = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    ijk = index[:, ::-1]
    image = nibabel.load(path)
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, volume.array)
    for affine in (image.affine, image.header.get_qform()):
        ras = nibabel.affines.apply_affine(affine, ijk)
        np.testing.assert_allclose(ras * [-1, -1, 1], lps, atol=1e-4)
    other = sitk.ReadImage(str(path))
    for point, place in zip(lps, ijk, strict=True):
        np.testing.assert_allclose(other.TransformIndexToPhysicalPoint(place.tolist()), point, atol=1e-4)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(other), volume.array)


def test_a_leaning_stack_has_no_quaternion_but_an_affine(tmp_path: Path) -> None:
    volume = block()
    affine = volume.affine.copy()
    affine[1, 0] = 0.1
    write_nifti(tmp_path / "a.nii", Volume(volume.array, affine))
    header = nibabel.load(tmp_path / "a.nii").header
    assert (header["qform_code"], header["sform_code"]) == (0, 1)
    np.testing.assert_allclose(header.get_best_affine(), ras_affine(affine), atol=1e-5)


def test_paths_that_cannot_be_used(write, study: Path, tmp_path: Path) -> None:
    with pytest.raises(PathNotFound):
        ingest(tmp_path / "nowhere")
    write(head(), 3)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputUnwritable):
        ingest(study, tmp_path / "file")


def test_positions_that_are_rounded_keep_no_reader_out(tmp_path: Path) -> None:
    volume = block()
    affine = volume.affine.copy()
    affine[0, 0] += 1e-3 * np.linalg.norm(affine[:3, 0])
    write_nifti(tmp_path / "a.nii", Volume(volume.array, affine))
    image = nibabel.load(tmp_path / "a.nii")
    np.testing.assert_allclose(image.affine, ras_affine(affine), atol=1e-5)
    np.testing.assert_allclose(image.get_qform(), ras_affine(affine), atol=0.01)
    assert sitk.ReadImage(str(tmp_path / "a.nii")).GetSize() == image.shape


@pytest.mark.parametrize(
    ("name", "value"),
    [("SliceThickness", b"1e300 "), ("SliceThickness", b"1e-300"), ("SeriesNumber", b"1e300 ")],
)
def test_numbers_no_scanner_writes(write, study: Path, tmp_path: Path, name: str, value: bytes) -> None:
    path, *rest = write(head(), 3)
    for other in rest:
        other.unlink()

    def spoil(ds: pydicom.Dataset) -> None:
        tag = pydicom.tag.Tag(name)
        ds[tag] = pydicom.dataelem.RawDataElement(tag, "LO", len(value), value, 0, False, True)

    edit(path, spoil)
    assert [stack.shape for stack in ingest(study, tmp_path / "out").stacks] == [(1, *SHAPE[1:])]


def test_a_volume_longer_than_nifti_can_say(write, study: Path, tmp_path: Path, monkeypatch) -> None:
    write(head(), 3)
    monkeypatch.setattr(volumes, "MAX_SIDE", SHAPE[0] - 1)
    (stack,) = ingest(study, tmp_path / "out").stacks
    assert stack.file is None
    assert "series-too-large" in {reason.code for reason in stack.series.reasons}


def test_a_series_that_is_refused_leaves_no_file(write, study: Path, tmp_path: Path) -> None:
    for path in write(head(), 3)[30:36]:
        path.write_bytes(path.read_bytes()[:-1000])
    inventory = ingest(study, tmp_path / "out")
    (stack,) = inventory.stacks
    assert stack.file is None and not stack.series.chosen
    assert "slices-missing" in {r.code for r in stack.series.reasons} and "Not used" in stack.series.why
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["inventory.json"]


def test_the_list_chooses_nothing_that_its_headers_refuse(write, study: Path) -> None:
    def aside(ds) -> None:
        ds.ImagePositionPatient[0] += 5

    edit(write(head(), 3)[30], aside)
    (stack,) = ingest(study).stacks
    assert "geometry-inconsistent" in {r.code for r in stack.series.reasons}
    assert not stack.series.chosen
