"""What is written agrees with its truth, read back by the room that reads a scanner's files."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from lvo.anatomy import Segment, Side
from lvo.dicom import read_study
from lvo.phantom import atlas
from lvo.phantom.flow import patent
from lvo.phantom.study import TRUTH_COLUMNS, sample_study, truth_rows, write_studies
from lvo.study import Role

pytestmark = pytest.mark.skipif(
    atlas.atlas_path() is None, reason="spm-runtime, which holds the head atlas, is not installed"
)
SEED, SIZE = 21, {"matrix": 128, "slices": 90}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folder, rows of truth.csv, patient and scan of one study with a left M1 occlusion."""
    out = tmp_path_factory.mktemp("phantoms")
    sites = [(Side.LEFT, Segment.M1)]
    write_studies(out, count=1, seed=SEED, occlusions=sites, **SIZE)
    with (out / "truth.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    patient, scan, _ = sample_study(SEED, occlusions=sites, **SIZE)
    return out / f"study-{SEED:06d}", rows, patient, scan


@pytest.fixture(scope="module")
def study(written):
    return read_study(written[0])


def index_of(volume, points):
    inverse = np.linalg.inv(volume.affine)
    return np.rint(np.asarray(points) @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)


def test_a_study_has_the_series_of_a_code_stroke(study):
    found = {s.description: (s.role, s.chosen) for s in study.series}
    assert len(found) == len(study.series) == 4
    assert found["CTA HEAD THIN H20f"] == (Role.CTA, True)
    assert sorted(r for r, chosen in found.values() if not chosen) == [Role.DERIVED, Role.TOPOGRAM]
    assert sorted(r for r, chosen in found.values() if chosen) == [Role.CTA, Role.NCCT]
    thick = next(s for s in study.series if s.role is Role.DERIVED)
    thin = next(s for s in study.series if s.role is Role.CTA)
    assert thick.slice_spacing_mm > 1.5 * thin.slice_spacing_mm
    assert not [r for r in study.reasons if r.kind == "rejection"]
    assert study.cta.array.shape == (90, 128, 128)


def test_the_written_volume_is_the_one_that_was_scanned(written, study):
    scan = written[3]
    affine, shape = scan.lattice(scan.slice_mm)
    assert study.cta.array.shape == shape
    np.testing.assert_allclose(study.cta.affine, affine, atol=1e-3)


def test_truth_says_where_the_clot_is(written, study):
    _, (row,), patient, scan = written
    assert tuple(row) == TRUTH_COLUMNS
    assert (row["study"], row["status"]) == (f"study-{SEED:06d}", "occluded")
    assert (row["segment"], row["side"]) == ("M1", "left")
    place = np.array([float(row[f"position_{a}"]) for a in "xyz"])
    index = index_of(study.cta, place)
    assert (index >= 0).all() and (index < study.cta.array.shape).all()
    head = np.linalg.inv(scan.pose) @ [*place, 1]
    assert 5 < head[0] < 45  # on the patient's left, where an M1 runs
    assert np.linalg.norm(patient.occlusions[0].points - head[:3], axis=1).min() < 0.1


def test_the_clot_is_darker_than_the_other_side(written, study):
    patient, scan = written[2:]

    def hu_along(points):
        lps = points @ scan.pose[:3, :3].T + scan.pose[:3, 3]
        return float(np.median(study.cta.array[tuple(index_of(study.cta, lps).T)]))

    clot = hu_along(patient.occlusions[0].points)
    other = hu_along(patient.arteries.branches[patient.arteries.find("M1", Side.RIGHT)].points)
    assert clot < other - 60
    assert other > 120


def test_the_ncct_shows_the_same_head_without_contrast(written, study):
    patient, scan = written[2:]
    m1 = patient.arteries.branches[patient.arteries.find("M1", Side.RIGHT)].points
    lps = m1 @ scan.pose[:3, :3].T + scan.pose[:3, 3]
    assert study.ncct.array[tuple(index_of(study.ncct, lps).T)].mean() < 90
    brain = index_of(study.ncct, [(scan.pose @ [30, 20, 60, 1])[:3]])[0]
    assert 10 < np.median(study.ncct.array[tuple(slice(i - 1, i + 2) for i in brain)]) < 60


def test_a_patent_study_has_one_row_that_says_so(written):
    patient, scan = written[2:]
    (row,) = truth_rows("study-x", replace(patient, flow=patent(patient.arteries)), scan)
    assert row["status"] == "patent" and "segment" not in row
