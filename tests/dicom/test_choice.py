"""Which series is the CTA, with a reason for every other; and refusals in plain words."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lvo.dicom import read_study
from lvo.errors import PathNotFound
from lvo.phantom.write import StudyIdentity, write_series, write_topogram
from lvo.study import Role, Study, Volume
from tests.dicom.cases import SHAPE, STEP, edit, head, marker_lps


def roles(study: Study) -> dict[str, tuple[str, bool]]:
    return {s.description: (s.role.value, s.chosen) for s in study.series}


def rejections(study: Study) -> list[str]:
    return [r.code for r in study.reasons if r.kind == "rejection"]


def thick(volume: Volume, every: int = 3) -> Volume:
    affine = volume.affine.copy()
    affine[:3, 0] *= every
    return Volume(volume.array[::every], affine)


def test_thin_cta_and_ncct_are_chosen_among_a_whole_study(
    write, study: Path, identity: StudyIdentity
) -> None:
    write_topogram(study, head(), identity=identity)
    write(head(contrast=False), 2, description="Head thin")
    write(head(), 3, description="Head CTA", contrast_agent="Iomeprol")
    write(head(), 4, description="Head CTA bone", kernel="H70h", contrast_agent="Iomeprol")
    write(thick(head(), 2), 5, description="Head CTA 3 mm", contrast_agent="Iomeprol")
    write(head(), 6, description="CTA slabs", image_type=("DERIVED", "SECONDARY", "MIP"))
    turned = Volume(np.transpose(head().array, (1, 0, 2)), head().affine[:, [1, 0, 2, 3]])
    write(turned, 7, description="CTA COR")
    write(Volume(head().array[30:32], head().affine), 8, description="Premonitoring")
    result = read_study(study)
    assert roles(result) == {
        "Topogram": ("topogram", False),
        "Head thin": ("ncct", True),
        "Head CTA": ("cta", True),
        "Head CTA bone": ("cta", False),
        "Head CTA 3 mm": ("cta", False),
        "CTA slabs": ("derived", False),
        "CTA COR": ("derived", False),
        "Premonitoring": ("bolus_tracking", False),
    }
    assert all(s.why for s in result.series)
    np.testing.assert_array_equal(result.cta.array, head().array.clip(-1024))
    np.testing.assert_array_equal(result.ncct.array, head(contrast=False).array.clip(-1024))
    assert not result.reasons


def test_pixels_outrank_a_lying_description(write, study: Path) -> None:
    write(head(), 2, description="NATIVE")
    write(head(contrast=False), 3, description="CTA COW", contrast_agent="Iomeprol")
    result = read_study(study)
    assert roles(result) == {"NATIVE": ("cta", True), "CTA COW": ("ncct", True)}


def test_a_series_tagged_as_a_cta_is_left_to_the_head_frame_when_nothing_shows_more(
    write, study: Path
) -> None:
    write(head(contrast=False), 2, description="NATIVE")
    write(head(contrast=False), 3, description="CTA COW", contrast_agent="Iomeprol")
    result = read_study(study)
    assert roles(result) == {"NATIVE": ("ncct", True), "CTA COW": ("cta", True)}
    assert "little contrast" in result.series[1].why


def test_calcium_before_the_cta_is_no_contrast_and_a_later_phase_is(write, study: Path, identity) -> None:
    """A few bright spots that lie on several slices, in a scan that nobody calls a CTA."""
    dim = head(contrast=False)
    lit = np.argwhere(head().array - dim.array > 100)
    some = lit[lit[:, 2] < np.quantile(lit[:, 2], 0.4)]
    array = dim.array.copy()
    array[tuple(some.T)] = 300
    calcified = Volume(array, dim.affine)
    for time, number, role in (("080100", 2, "ncct"), ("081000", 4, "cta")):
        write(calcified, number, description="HEAD", identity=replace(identity, acquisition_time=time))
        write(head(), 3, description="CTA", contrast_agent="Iomeprol")
        found = {s.series_number: s for s in read_study(study).series}
        assert (found[number].role, found[3].role) == (role, "cta")
        assert found[3].chosen
        shutil.rmtree(study / str(number))


def test_a_head_is_a_head_in_much_noise(write, study: Path) -> None:
    noisy = head()
    grain = np.random.default_rng(0).normal(0, 28, noisy.array.shape)
    write(replace(noisy, array=(noisy.array + grain).astype(np.int16)), description="HEAD")
    result = read_study(study)
    assert roles(result) == {"HEAD": ("cta", True)}


def test_a_study_without_contrast_has_an_ncct_and_no_rejection_of_its_own(write, study: Path) -> None:
    write(head(contrast=False), description="Head")
    result = read_study(study)
    assert result.cta is None and result.ncct is not None and not rejections(result)


def test_a_thick_cta_is_taken_with_a_caution_only_when_alone(write, study: Path) -> None:
    write(thick(head(), 2))
    result = read_study(study)
    assert result.cta is not None
    assert [(r.code, r.kind) for r in result.reasons] == [("thick-slices", "caution")]


def test_a_cta_of_5_mm_is_not_taken(write, study: Path) -> None:
    write(thick(head(), 4))
    result = read_study(study)
    assert result.cta is None and rejections(result) == ["slices-too-thick"]
    assert "too thick" in result.series[0].why


def test_a_localizer_inside_the_series_does_not_touch_the_geometry(write, study: Path, identity) -> None:
    files = write()
    uid = pydicom.dcmread(files[0]).SeriesInstanceUID
    write_topogram(study, head(), identity=identity, series_number=2, series_instance_uid=uid)
    result = read_study(study)
    assert {s.role for s in result.series} == {Role.CTA, Role.TOPOGRAM}
    np.testing.assert_allclose(result.cta.affine, head().affine, atol=1e-6)


def test_the_same_image_twice_is_one_slice(write, study: Path) -> None:
    for path in write()[10:13]:
        (study / f"copy of {path.name}").write_bytes(path.read_bytes())
    result = read_study(study)
    assert [(r.code, r.kind) for r in result.reasons] == [("duplicate-instances", "repair")]
    assert result.cta.array.shape == SHAPE


def test_one_identifier_at_two_places_is_refused(write, study: Path) -> None:
    files = write()
    uid = pydicom.dcmread(files[10]).SOPInstanceUID

    def take(ds: pydicom.Dataset) -> None:
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid

    edit(files[40], take)
    result = read_study(study)
    assert result.cta is None and "conflicting-instances" in rejections(result)


def test_two_phases_in_one_series_are_two_stacks_and_the_first_is_chosen(write, study: Path) -> None:
    write(head(), 2, seed="a")
    late = head().array.copy()
    late[0, 0, 0] = 77
    files = write(Volume(late, head().affine), 3, seed="b")
    uid = pydicom.dcmread(study / "2" / "002-00001.dcm").SeriesInstanceUID
    for path in files:

        def same_series(ds: pydicom.Dataset) -> None:
            ds.SeriesInstanceUID, ds.AcquisitionNumber, ds.AcquisitionTime = uid, 2, "080545"

        edit(path, same_series)
    result = read_study(study)
    assert sorted(s.chosen for s in result.series) == [False, True]
    assert result.cta.array.shape == SHAPE and result.cta.array[0, 0, 0] == -1000


def test_many_passes_over_the_same_places_are_perfusion(write, study: Path, identity: StudyIdentity) -> None:
    few = Volume(head().array[20:35], head().affine)
    for number in range(8):
        for path in write(few, 10 + number, description="VPCT", seed=number):
            edit(path, lambda ds: setattr(ds, "SeriesInstanceUID", "1.2.3"))
    result = read_study(study)
    assert roles(result) == {"VPCT": ("perfusion", False)}
    assert rejections(result) == ["no-suitable-series"]


def test_exposure_and_acquisition_number_do_not_split_an_axial_scan(write, study: Path) -> None:
    for number, path in enumerate(write()):

        def vary(ds: pydicom.Dataset, number: int = number) -> None:
            ds.Exposure, ds.XRayTubeCurrent, ds.AcquisitionNumber = 100 + number, 200 + number, number // 2

        edit(path, vary)
    assert len(read_study(study).series) == 1


def test_a_body_without_a_head_is_said_so(write, study: Path) -> None:
    chest = head()
    array = np.where(chest.array > 900, 50, chest.array)
    write(Volume(array.astype(np.int16), chest.affine), description="CTA head")
    result = read_study(study)
    assert rejections(result) == ["no-suitable-series"]
    assert result.series[0].role is Role.OTHER_BODY_PART and "head" in result.series[0].why


def test_an_mr_study(write, study: Path) -> None:
    def to_mr(ds: pydicom.Dataset) -> None:
        ds.Modality, ds.SOPClassUID = "MR", "1.2.840.10008.5.1.4.1.1.4"

    for path in write(thick(head(), 10)):
        edit(path, to_mr)
    result = read_study(study)
    assert rejections(result) == ["no-ct"] and "MR" in result.reasons[0].message
    assert [s.role for s in result.series] == [Role.NOT_CT]


def test_two_patients_are_refused_without_naming_them(write, study: Path) -> None:
    write(thick(head(), 10), 2)
    write(thick(head(), 10), 3, identity=StudyIdentity.from_seed("other"))
    result = read_study(study)
    assert rejections(result) == ["mixed-studies"] and result.study_instance_uid is None
    assert result.cta is None and len(result.series) == 2
    assert "PHANTOM" not in result.reasons[0].message


def test_nothing_to_read(study: Path) -> None:
    result = read_study(study)
    assert rejections(result) == ["no-dicom"] and "empty" in result.reasons[0].message
    (study / "notes.txt").write_text("not an image")
    (study / "zero.dcm").write_bytes(b"")
    result = read_study(study)
    assert rejections(result) == ["no-dicom"] and "2 file(s)" in result.reasons[0].message


def test_truncated_headers_are_counted(write, study: Path) -> None:
    files = write(thick(head(), 20))
    for path in files:
        path.write_bytes(path.read_bytes()[:500])
    result = read_study(study)
    assert rejections(result) == ["no-dicom"]
    assert f"{len(files)} unreadable" in result.reasons[0].message


def test_a_wrong_path(tmp_path: Path) -> None:
    with pytest.raises(PathNotFound):
        read_study(tmp_path / "nowhere")


def test_any_file_naming_depth_and_letters(write, tmp_path: Path, identity: StudyIdentity) -> None:
    odd = tmp_path / "étude – Kopf 头" / "a" / "b"
    write_series(odd, head(), identity=identity, series_number=1, description="Kopf-Gefäße")
    for number, path in enumerate(sorted(odd.iterdir(), reverse=True)):
        path.rename(odd / f"{'ümlaut' if number % 2 else 'IM'}{number}")
    (odd / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    result = read_study(tmp_path / "étude – Kopf 头")
    np.testing.assert_allclose(marker_lps(result.cta), marker_lps(head()), atol=0.01)
    assert read_study(sorted(odd.iterdir())).cta is not None


def test_findings_can_be_named_by_their_slice(write, study: Path) -> None:
    files = write()
    cta = read_study(study).cta
    index = 37
    point = tuple(cta.affine[:3, :3] @ (index, 20, 20) + cta.affine[:3, 3])
    assert cta.stack.slice_at(point).sop_instance_uid == pydicom.dcmread(files[index]).SOPInstanceUID
    assert abs(cta.stack.slices[1].position[2] - cta.stack.slices[0].position[2]) == pytest.approx(STEP)


def test_one_study_with_two_dates_of_birth_is_two_patients(write, study: Path) -> None:
    for number, date in ((2, "19500101"), (3, "19600101")):
        for path in write(thick(head(), 10), number):
            edit(
                path,
                lambda ds, date=date: (setattr(ds, "PatientBirthDate", date), setattr(ds, "PatientID", "")),
            )
    result = read_study(study)
    assert rejections(result) == ["mixed-studies"]
    assert "1950" not in result.reasons[0].message


def test_a_frame_of_reference_for_each_image_is_taken_as_one(write, study: Path) -> None:
    for number, path in enumerate(write(head(), 3)):
        edit(path, lambda ds, number=number: setattr(ds, "FrameOfReferenceUID", f"2.25.{number}"))
    result = read_study(study)
    assert [(r.code, r.kind) for r in result.reasons] == [("frames-of-reference-differ", "caution")]
    np.testing.assert_allclose(result.cta.affine, head().affine, atol=1e-6)
