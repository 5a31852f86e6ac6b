"""What is written agrees with its truth, read back by the room that reads a scanner's files."""

import csv
import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch

from lvo.anatomy import Segment, Side
from lvo.dicom import read_study
from lvo.phantom.config import load_config
from lvo.phantom.head import atlas
from lvo.phantom.patient import Order, sample_case
from lvo.phantom.study import later_phase, scan_cta, write_studies
from lvo.phantom.truth import TRUTH_COLUMNS, clot_scanned, truth_rows
from lvo.phantom.vessels.labels import SITE_INDEX
from lvo.study import Role

pytestmark = pytest.mark.skipif(
    atlas.atlas_path() is None, reason="spm-runtime, which holds the head atlas, is not installed"
)
SEED, NAME = 21, "study-000021"
ORDER = Order(
    sites=((Side.LEFT, Segment.M1),), collateral=0, phase="peak", noise="low", matrix=128, slices=110
)


@pytest.fixture(scope="module")
def config():
    sent = {"bone": 1.0, "thick": 1.0, "mip": 1.0, "coronal": 1.0, "sagittal": 1.0, "two-spacings": 0.0}
    still = {
        "motion": {"probability": 0.0},
        "sent": sent,
        "coverage": (1.0, 0.0, 0.0),
        "tilt": 1.0,
        "tilt_deg": (-20.0, -10.0),
        "cut": 0.0,
    }
    return load_config("realistic").changed({"scan": still})


@pytest.fixture(scope="module")
def written(tmp_path_factory, config):
    """Folder, rows of truth.csv and case of one study with a left M1 occlusion."""
    out = tmp_path_factory.mktemp("phantoms")
    write_studies(out, [(NAME, SEED, ORDER)], config, truth=True)
    with (out / "truth.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return out / NAME, rows, sample_case(SEED, config, ORDER)


@pytest.fixture(scope="module")
def study(written):
    return read_study(written[0])


def index_of(volume, points):
    inverse = np.linalg.inv(volume.affine)
    return np.rint(np.asarray(points) @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)


def to_lps(pose, points):
    return np.asarray(points) @ pose[:3, :3].T + pose[:3, 3]


def test_a_study_has_the_series_of_a_code_stroke(study):
    found = {s.description: s for s in study.series}
    assert len(found) == len(study.series) == 8
    assert found["CTA HEAD THIN H20f"].role is Role.CTA and found["CTA HEAD THIN H20f"].chosen
    assert sorted(s.role for s in found.values() if s.chosen) == [Role.CTA, Role.NCCT]
    assert {found[name].role for name in found if "MPR" in name or "MIP" in name} == {Role.DERIVED}
    assert not [r for r in study.reasons if r.kind == "rejection"]
    assert study.cta.array.shape == (110, 128, 128)


def test_the_written_volume_is_the_one_that_was_scanned(written, study):
    affine, shape = written[2].scan.cta_lattice()
    assert study.cta.array.shape == shape
    np.testing.assert_allclose(study.cta.affine, affine, atol=1e-3)


def test_truth_says_where_the_clot_is(written, study):
    _, (row,), case = written
    assert tuple(row) == TRUTH_COLUMNS
    assert (row["study"], row["status"], row["segment"], row["side"]) == (NAME, "occluded", "M1", "left")
    place = np.array([float(row[f"position_{a}"]) for a in "xyz"])
    index = index_of(study.cta, place)
    assert (index >= 0).all() and (index < study.cta.array.shape).all()
    head = np.linalg.inv(case.scan.pose) @ [*place, 1]
    assert 1.5 < float(row["lumen_mm"]) < 4.5  # of an M1
    assert float(row["clot_scanned"]) == 1.0
    assert 5 < head[0] < 50  # on the patient's left, where an M1 runs
    assert np.linalg.norm(case.patient.occlusions[0].points - head[:3], axis=1).min() < 0.1


def test_truth_says_how_much_of_a_clot_was_scanned(written):
    case = written[2]
    (clot,) = case.patient.occlusions
    heights = (clot.points @ case.scan.pose[:3, :3].T + case.scan.pose[:3, 3])[:, 2]
    for first, share in ((heights.max() + 1, 0.0), (float(np.median(heights)), 0.5)):
        cut = replace(case, scan=replace(case.scan, coverage=(first, case.scan.coverage[1])))
        assert clot_scanned(cut, clot) == pytest.approx(share, abs=0.1)


def test_the_clot_is_darker_than_the_other_side(written, study):
    case = written[2]

    def hu_along(points):
        return float(np.median(study.cta.array[tuple(index_of(study.cta, to_lps(case.scan.pose, points)).T)]))

    other = case.patient.arteries.branches[case.patient.arteries.find("M1", Side.RIGHT)].points
    assert hu_along(case.patient.occlusions[0].points) < hu_along(other) - 60
    assert hu_along(other) > 120


def test_the_tilted_ncct_shows_the_same_head_without_contrast(written, study):
    case = written[2]
    assert case.scan.tilt_deg <= -10
    m1 = case.patient.arteries.branches[case.patient.arteries.find("M1", Side.RIGHT)].points
    lps = to_lps(case.scan.ncct_pose, m1)
    assert np.median(study.ncct.array[tuple(index_of(study.ncct, lps).T)]) < 90
    # Where the CTA has bone, so has the NCCT: both show one head, moved by a millimetre or two.
    bone = np.argwhere(study.cta.array[40:90] > 1100)[::37] + (40, 0, 0)
    there = bone @ study.cta.affine[:3, :3].T + study.cta.affine[:3, 3]
    index = index_of(study.ncct, there)
    inner = ((index >= 1) & (index < np.array(study.ncct.array.shape) - 1)).all(1)
    around = np.max([study.ncct.array[tuple((index[inner] + d).T)] for d in np.ndindex(2, 2, 2)], axis=0)
    assert inner.sum() > 100 and (around > 300).mean() > 0.9


def test_truth_volumes_lie_on_the_cta(written, study):
    folder, _, case = written
    maps = {}
    for name in ("vessels", "clot", "centrelines", "territories"):
        image = nibabel.load(folder / "truth" / f"{name}.nii.gz")
        to_ras = np.diag([-1, -1, 1, 1]) @ study.cta.affine[:, [2, 1, 0, 3]]
        np.testing.assert_allclose(image.affine, to_ras, atol=1e-2)
        maps[name] = np.asarray(image.dataobj).transpose(2, 1, 0)
    clot = index_of(study.cta, to_lps(case.scan.pose, case.patient.occlusions[0].points))
    assert maps["clot"][tuple(clot.T)].mean() > 0.6
    assert (maps["clot"] > 0).sum() < 400
    m1 = SITE_INDEX[Segment.M1, Side.RIGHT]
    assert study.cta.array[maps["vessels"] == m1].mean() > 120
    assert (maps["centrelines"] == m1).sum() < (maps["vessels"] == m1).sum()
    assert set(np.unique(maps["territories"])) <= set(range(8)) and (maps["territories"] == 2).sum() > 1000
    about = json.loads((folder / "truth" / "truth.json").read_text())
    np.testing.assert_allclose(about["head_to_lps"], case.scan.pose)
    with (folder / "truth" / "centrelines.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["branch"] == "M1" and r["side"] == "left"]
    assert any(r["clot"] == "1" for r in rows) and float(rows[0]["radius_mm"]) > 0.8


def test_a_later_phase_shows_more_beyond_the_clot_and_brighter_veins(config):
    """With collaterals, contrast arrives late where it has to go round."""
    case = sample_case(SEED, config, replace(ORDER, collateral=2))
    phases = [next(scan_cta(case, torch.device("cpu"))), later_phase(case, 2, torch.device("cpu"))]
    sinus = case.patient.veins.branches[case.patient.veins.find("superior sagittal sinus", Side.MIDLINE)]
    place = to_lps(case.scan.pose, sinus.points[len(sinus.points) // 2 :][:60])
    early, late = (float(np.median(s.volume.array[tuple(index_of(s.volume, place).T)])) for s in phases)
    assert late > early + 40
    assert phases[1].name == "phase-2" and (phases[0].volume.affine == phases[1].volume.affine).all()


def test_a_patent_study_has_one_row_that_says_so(config):
    case = sample_case(SEED, config, Order(sites=()))
    (row,) = truth_rows("study-x", case)
    assert row["status"] == "patent" and "segment" not in row
