"""Left and right, and which slice: every geometry must come back as it was written."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from lvo.dicom import read_study
from lvo.dicom.headers import scan
from lvo.dicom.stacks import group_instances
from lvo.dicom.volumes import decode_group
from lvo.study import Volume
from tests.dicom.cases import SHAPE, STEP, edit, head, marker_lps

MARKER = (40, -20, 10)
ORIENTATIONS = [
    (p, s) for p in itertools.permutations(range(3)) for s in itertools.product((1, -1), repeat=3)
]


def codes(study) -> set[str]:
    return {r.code for r in study.reasons}


def turned(volume: Volume, axes, signs) -> Volume:
    """The same patient stored along other array axes."""
    array, affine = np.transpose(volume.array, axes), volume.affine[:, [*axes, 3]].copy()
    for axis, sign in enumerate(signs):
        if sign < 0:
            array = np.flip(array, axis)
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
    return Volume(np.ascontiguousarray(array), affine)


def values_at(volume: Volume, points: np.ndarray) -> np.ndarray:
    """Nearest voxel values at LPS points."""
    inverse = np.linalg.inv(volume.affine)
    index = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    return volume.array[tuple(np.clip(index, 0, np.array(volume.array.shape) - 1).T)]


def some_points(count: int = 4000) -> np.ndarray:
    """Voxel centres of the regular head, well inside the field."""
    volume = head()
    index = np.random.default_rng(0).integers(4, np.array(SHAPE) - 4, (count, 3))
    return index @ volume.affine[:3, :3].T + volume.affine[:3, 3]


def test_a_regular_series_comes_back_voxel_for_voxel(write, study: Path) -> None:
    write()
    result = read_study(study)
    assert result.cta is not None
    assert result.cta.array.dtype == np.int16
    np.testing.assert_array_equal(result.cta.array, head().array.clip(-1024))
    np.testing.assert_allclose(result.cta.affine, head().affine, atol=1e-6)
    assert not result.reasons


def block() -> Volume:
    """Something small without any symmetry, its marker on the patient's left."""
    array = np.random.default_rng(2).integers(-50, 50, (16, 12, 14)).astype(np.int16)
    array[10:12, 3:5, 9:12] = 2500
    affine = np.array([[0, 0, 3.0, -12], [0, 4.0, 0, -30], [2.0, 0, 0, 7], [0, 0, 0, 1]])
    return Volume(array, affine)


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_marker_stays_left_in_all_48_orientations(write, study: Path, axes, signs) -> None:
    source = turned(block(), axes, signs)
    write(source)
    (group,) = group_instances(scan(study).instances)
    volume = decode_group(group).volume
    marker = marker_lps(volume)
    np.testing.assert_allclose(marker, (18, -16, 28), atol=0.01)
    index = np.argwhere(np.ones(block().array.shape))
    points = index @ block().affine[:3, :3].T + block().affine[:3, 3]
    np.testing.assert_array_equal(values_at(volume, points), block().array.ravel())
    # The slice named for the marker is one on which the marker really lies.
    named = volume.stack.slice_at(tuple(marker))
    step = np.linalg.norm(source.affine[:3, 0])
    assert abs((np.array(named.position) - marker) @ source.affine[:3, 0]) / step <= step / 2 + 0.01


def test_slices_run_from_feet_to_head_however_they_are_stored(write, study: Path) -> None:
    write(turned(head(), (0, 1, 2), (-1, 1, -1)))
    cta = read_study(study).cta
    heights = [s.position[2] for s in cta.stack.slices]
    assert heights == sorted(heights)
    assert cta.affine[2, 0] > 0


@pytest.mark.parametrize("degrees", [15.0, -15.0, 0.2])
def test_gantry_tilt_is_resampled_upright(write, study: Path, degrees: float) -> None:
    straight = head()
    shear = np.tan(np.radians(degrees)) * STEP
    affine = straight.affine.copy()
    affine[1, 0] = shear
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    points = index @ affine[:3, :3].T + affine[:3, 3]
    inside = values_at(straight, points.reshape(-1, 3)).reshape(SHAPE)
    back = np.linalg.inv(straight.affine)
    row = (points @ back[:3, :3].T + back[:3, 3])[..., 1]
    inside[(row < 0) | (row > SHAPE[1] - 1)] = -1000
    write(Volume(inside, affine))
    result = read_study(study)
    tilt = next(r for r in result.reasons if r.code == "gantry-tilt")
    assert tilt.kind == "repair" and f"{abs(degrees):.1f}" in tilt.message
    axes = result.cta.affine[:3, :3] / np.linalg.norm(result.cta.affine[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(marker_lps(result.cta), MARKER, atol=2.5)
    found, wanted = values_at(result.cta, some_points()) > 250, values_at(straight, some_points()) > 250
    assert 2 * (found & wanted).sum() / (found.sum() + wanted.sum()) > 0.85


@pytest.mark.parametrize("jitter", [0.005, 0.05])
def test_jitter_of_positions_is_no_irregularity(write, study: Path, jitter: float) -> None:
    files = write()
    rng = np.random.default_rng(1)

    def shake(ds) -> None:
        ds.ImagePositionPatient[2] += rng.uniform(-jitter, jitter)

    for path in files:
        edit(path, shake)
    result = read_study(study)
    assert not result.reasons
    assert result.cta.array.shape == SHAPE
    np.testing.assert_allclose(marker_lps(result.cta), MARKER, atol=2.5)


def test_one_missing_thin_slice_is_interpolated_at_its_true_place(write, study: Path) -> None:
    files = write()
    files[30].unlink()
    result = read_study(study)
    assert "uneven-spacing" in codes(result)
    assert result.cta.array.shape == SHAPE
    np.testing.assert_allclose(marker_lps(result.cta), marker_lps(head()), atol=0.01)
    assert len(result.cta.stack.slices) == SHAPE[0] - 1


def test_five_missing_slices_where_the_vessels_are_are_refused(write, study: Path) -> None:
    for path in write()[30:35]:
        path.unlink()
    result = read_study(study)
    assert result.cta is None and result.ncct is None
    assert [r.code for r in result.reasons if r.kind == "rejection"] == ["slices-missing"]
    assert not result.series[0].chosen and result.series[0].reasons


def test_five_missing_slices_at_the_vertex_are_air_and_said(write, study: Path) -> None:
    for path in write()[48:53]:
        path.unlink()
    result = read_study(study)
    assert [(r.code, r.kind) for r in result.reasons] == [
        ("gap-outside-vessels", "caution"),
        ("uneven-spacing", "repair"),
    ]
    assert (result.cta.array[48:53] == -1024).all() and result.cta.array.shape == SHAPE
    low, high = head().affine[2, 3] + STEP * np.array([47, 53])
    assert result.cta.gaps == ((pytest.approx(low), pytest.approx(high)),)


def test_thin_base_and_thick_vertex_is_resampled_by_true_positions(write, study: Path) -> None:
    files = write(head(contrast=False), description="Head")
    # The upper half as slices three times as thick: two of three files are gone.
    for number, path in enumerate(files[28:]):
        if number % 3:
            path.unlink()
        else:
            edit(path, lambda ds: setattr(ds, "SliceThickness", 4.5))
    result = read_study(study)
    assert result.ncct is not None and "uneven-spacing" in codes(result)
    points = some_points()
    difference = np.abs(
        values_at(result.ncct, points).astype(float) - values_at(head(contrast=False), points)
    )
    assert np.median(difference) == 0
    np.testing.assert_allclose(marker_lps(result.ncct), MARKER, atol=3)


def test_anisotropic_pixels(write, study: Path) -> None:
    source = head()
    affine = source.affine.copy()
    affine[:3, 2] *= 2
    affine[0, 3] += source.affine[0, 2] / 2
    mean = source.array.reshape(*SHAPE[:2], SHAPE[2] // 2, 2).mean(-1)
    write(Volume(mean.astype(np.int16), affine))
    cta = read_study(study).cta
    np.testing.assert_allclose(cta.spacing, (STEP, 4.5, 9.0))
    np.testing.assert_allclose(cta.affine, affine, atol=1e-6)


def test_a_scan_from_chest_to_vertex_is_read_from_the_top(write, study: Path) -> None:
    top, tall = head(shape=(22, 48, 48), step=3.0), (150, 48, 48)
    affine = top.affine.copy()
    affine[2, 3] -= (tall[0] - len(top.array)) * 3.0
    array = np.full(tall, -1000, dtype=np.int16)
    array[-len(top.array) :] = top.array
    write(Volume(array, affine))
    result = read_study(study)
    assert "cropped-to-head" in codes(result)
    assert 345 <= result.cta.array.shape[0] * 3.0 <= 355
    np.testing.assert_allclose(marker_lps(result.cta), marker_lps(top), atol=0.01)


def test_what_the_header_says_about_spacing_is_not_believed(write, study: Path) -> None:
    for path in write():
        edit(path, lambda ds: (setattr(ds, "SpacingBetweenSlices", 9.0), setattr(ds, "SliceLocation", 7.0)))
    np.testing.assert_allclose(read_study(study).cta.affine, head().affine, atol=1e-6)
