"""Every hard case against its truth. The oracle knows the formulas and DICOM's geometry, not the reader."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from lvo.dicom import read_study
from lvo.phantom.hard.cases import HARD_CASES, HardCase, Truth
from lvo.study import Study, Volume

Floats = npt.NDArray[np.float64]
AIR_HU = -1024
METAL_HU = 1800
CASES = [
    pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else []) for case in HARD_CASES
]


@pytest.mark.parametrize("case", CASES)
def test_hard_case(case: HardCase, tmp_path: Path) -> None:
    truth = case.write(tmp_path)
    study = read_study(tmp_path)
    given = {r.code for r in study.reasons} | {r.code for s in study.series for r in s.reasons}
    rejections = {r.code for r in study.reasons if r.kind == "rejection"}
    if truth.outcome in ("refused", "other"):
        assert study.cta is None and study.ncct is None
        assert rejections
        assert not truth.codes or truth.codes & given, given
        assert not truth.roles or truth.roles & {s.role.value for s in study.series}
        assert not any(s.chosen for s in study.series)
        return
    assert truth.codes <= given, given
    assert not rejections
    volume = meant(study, truth)
    if truth.quiet:
        heard = {r.code for r in study.reasons if r.kind != "information"}
        assert heard <= truth.codes, study.reasons
    marker_is_left(volume, truth)
    slices_are_named(volume, truth)
    (is_exact if truth.outcome == "exact" else is_resampled)(volume, truth)


def meant(study: Study, truth: Truth) -> Volume:
    """The volume that the truth speaks of; with only one in the study."""
    found = {"cta": study.cta, "ncct": study.ncct, "any": study.cta or study.ncct}[truth.volume]
    assert found is not None, study.reasons
    return found


# ------------------------------------------------------------------------------- independent geometry


def place(volume: Volume, index: Floats) -> Floats:
    return index @ volume.affine[:3, :3].T + volume.affine[:3, 3]


def index_of(volume: Volume, points: Floats) -> Floats:
    return np.linalg.solve(volume.affine[:3, :3], (points - volume.affine[:3, 3]).T).T


# ------------------------------------------------------------------------------- what is asked


def marker_is_left(volume: Volume, truth: Truth) -> None:
    """The metal is on the patient's left, where it was put."""
    middle = place(volume, np.argwhere(volume.array > METAL_HU)).mean(axis=0)
    assert middle[0] > 0
    np.testing.assert_allclose(middle, truth.marker_lps, atol=truth.marker_mm)


def slices_are_named(volume: Volume, truth: Truth) -> None:
    """The stack names slices where they were acquired, and the marker's slice is the nearest."""
    assert volume.stack is not None
    named = np.array([s.position for s in volume.stack.slices])
    distance = np.linalg.norm(named[:, None] - truth.positions[None], axis=2)
    assert distance.min(axis=1).max() <= truth.position_mm
    normal = np.cross(truth.orientation[:3], truth.orientation[3:])
    nearest = np.abs((truth.positions - truth.marker_lps) @ normal).min()
    found = volume.stack.slice_at(truth.marker_lps)
    assert abs((np.array(found.position) - truth.marker_lps) @ normal) <= nearest + truth.position_mm
    assert found.path is not None and found.path.is_file()


def is_exact(volume: Volume, truth: Truth) -> None:
    """Every acquired pixel is a voxel at its own place with its own value, and no voxel is anything else."""
    points = truth.points.reshape(-1, 3)
    index = np.rint(index_of(volume, points))
    assert np.linalg.norm(place(volume, index) - points, axis=1).max() <= truth.position_mm
    assert sorted(volume.array.shape) == sorted(truth.array.shape)
    assert (index >= 0).all() and (index < volume.array.shape).all()
    flat = np.ravel_multi_index(tuple(index.astype(int).T), volume.array.shape)
    assert len(np.unique(flat)) == volume.array.size
    found = volume.array.ravel()[flat].astype(np.float64)
    assert np.abs(found - truth.array.ravel().clip(AIR_HU)).max() <= truth.hu


def is_resampled(volume: Volume, truth: Truth) -> None:
    """Upright, even, and between what lies round each voxel's own centre; equal to it away from edges."""
    axes = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    index = np.random.default_rng(0).integers(0, volume.array.shape, (4000, 3))
    points, found = place(volume, index), volume.array[tuple(index.T)].astype(np.float64).clip(-1000)
    inside, in_gap = where(points, truth)
    assert inside.sum() > 1000
    low, high = surroundings(points[inside], truth)
    found, in_gap = found[inside], in_gap[inside]
    assert (found >= np.where(in_gap, -1000, low) - 1.5).all()
    assert (found <= high + 1.5).all()
    even = (high - low < 10) & ~in_gap
    assert even.mean() > 0.4
    assert np.abs(found - truth.hu_at(points[inside]))[even].max() <= 1.5
    # Interpolation smooths edges; a shift by a part of a voxel moves them, and shows in the mean.
    assert np.abs(found - interpolated(points[inside], truth))[~in_gap].mean() < 3
    if "cropped-to-head" not in truth.codes:
        covers(volume, truth)


def where(points: Floats, truth: Truth) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which points lie in what was scanned, a pixel or more from its border; and which of them in a gap."""
    x, y = truth.orientation[:3], truth.orientation[3:]
    normal = np.cross(x, y)
    order = np.argsort(truth.positions @ normal)
    positions = truth.positions[order]
    depths, depth = positions @ normal, points @ normal
    corner = np.stack([np.interp(depth, depths, positions[:, axis]) for axis in range(3)], axis=1)
    i = (points - corner) @ x / truth.pixel_spacing[1]
    j = (points - corner) @ y / truth.pixel_spacing[0]
    _, rows, columns = truth.array.shape
    within = (depth > depths[0]) & (depth < depths[-1])
    inside = within & (i > 1) & (i < columns - 2) & (j > 1) & (j < rows - 2)
    steps = np.diff(depths)
    step = steps[np.clip(np.searchsorted(depths, depth) - 1, 0, len(steps) - 1)]
    return inside, (step > 3.01) & (step > 3 * np.median(steps))


def interpolated(points: Floats, truth: Truth) -> Floats:
    """Acquired HU, linearly along the normal between slices and linearly within each of them."""
    x, y = truth.orientation[:3], truth.orientation[3:]
    order = np.argsort(truth.positions @ np.cross(x, y))
    positions, array = truth.positions[order], truth.array[order].clip(-1000)
    depths, depth = positions @ np.cross(x, y), points @ np.cross(x, y)
    below = np.clip(np.searchsorted(depths, depth) - 1, 0, len(depths) - 2)
    part = (depth - depths[below]) / (depths[below + 1] - depths[below])
    total = np.zeros(len(points))
    for k, weight in ((below, 1 - part), (below + 1, part)):
        away = points - positions[k]
        i, j = away @ x / truth.pixel_spacing[1], away @ y / truth.pixel_spacing[0]
        for b, a in ((0, 0), (0, 1), (1, 0), (1, 1)):
            row, column = np.floor(j).astype(int) + b, np.floor(i).astype(int) + a
            share = (1 - np.abs(j - row)) * (1 - np.abs(i - column)) * weight
            row, column = np.clip(row, 0, array.shape[1] - 1), np.clip(column, 0, array.shape[2] - 1)
            total += share * array[k, row, column]
    return total


def surroundings(points: Floats, truth: Truth) -> tuple[Floats, Floats]:
    """Least and greatest HU within a pixel and a slice of each point: linear interpolation stays between."""
    x, y = truth.orientation[:3], truth.orientation[3:]
    normal = np.cross(x, y)
    reach = np.diff(np.sort(truth.positions @ normal)).max()
    parts = np.linspace(-1, 1, 5)
    low, high = np.full(len(points), np.inf), np.full(len(points), -np.inf)
    for a in parts * truth.pixel_spacing[1]:
        for b in parts * truth.pixel_spacing[0]:
            for c in parts * reach:
                hu = truth.hu_at(points + a * x + b * y + c * normal)
                low, high = np.minimum(low, hu), np.maximum(high, hu)
    return low, high


def covers(volume: Volume, truth: Truth) -> None:
    """Nothing that was scanned is cut off: the outermost slices' middles lie within the volume."""
    middles = truth.points.mean(axis=(1, 2))
    index = index_of(volume, middles)
    limit = np.array(volume.array.shape) - 1
    assert (index > -0.51).all() and (index < limit + 0.51).all()


# ------------------------------------------------------------------------------- the generator itself


def test_names_are_unique_and_every_row_is_covered() -> None:
    names = [case.name for case in HARD_CASES]
    assert len(set(names)) == len(names)
    page = (Path(__file__).parents[2] / "docs" / "dicom-cases.md").read_text(encoding="utf-8")
    assert {case.row for case in HARD_CASES if f"| {case.row} |" not in page} == set()


@pytest.mark.parametrize("name", ["regular", "tilt-plus-15", "axes--x+z-y", "patient-hfp"])
def test_the_acquired_array_agrees_with_the_formula(name: str, tmp_path: Path) -> None:
    truth = next(case for case in HARD_CASES if case.name == name).write(tmp_path)
    points = truth.points
    assert np.abs(truth.hu_at(points.reshape(-1, 3)) - truth.array.ravel()).max() <= 0.51


def test_the_same_case_is_the_same_bytes(tmp_path: Path) -> None:
    case = next(case for case in HARD_CASES if case.name == "enhanced-jpeg-2000")
    for folder in ("a", "b"):
        case.write(tmp_path / folder)
    assert (tmp_path / "a/enhanced.dcm").read_bytes() == (tmp_path / "b/enhanced.dcm").read_bytes()
