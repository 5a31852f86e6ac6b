"""The numbers of a site: its strongest voxels, wherever they lie."""

from __future__ import annotations

import numpy as np
import pytest

from lvo.anatomy import SITES
from lvo.detector.evidence import DEFICIT_GRID, EVIDENCE_GRID, VESSEL_CLASSES, Evidence, Tissue
from lvo.detector.features import WEIGHED, site_features

SITE = 4


@pytest.fixture
def quiet() -> Evidence:
    """One site that surely runs everywhere; nothing is said of its lumen."""
    vessel = np.zeros((VESSEL_CLASSES, *EVIDENCE_GRID.shape), np.float32)
    vessel[1 + SITE] = 1
    state = [np.zeros(EVIDENCE_GRID.shape, np.float32) for _ in range(5)]
    return Evidence(
        vessel, *state, Tissue(np.zeros(len(SITES), np.float32), np.zeros(DEFICIT_GRID.shape, np.float32))
    )


def test_the_strongest_voxels_are_found_side_by_side_and_apart(quiet: Evidence) -> None:
    rng = np.random.default_rng(0)
    quiet.clot[:] = rng.uniform(0, 0.5, EVIDENCE_GRID.shape)
    quiet.clot[10, 20, 30:45] = rng.uniform(0.6, 1, 15)
    for k, j, i in rng.integers(0, EVIDENCE_GRID.shape, (9, 3)):
        quiet.clot[k, j, i] = rng.uniform(0.6, 1)
    found = site_features(quiet)[SITE, WEIGHED]
    largest = np.sort(quiet.clot.ravel())[::-1]
    np.testing.assert_allclose(found[:2], [largest[:4].mean(), largest[:20].mean()], rtol=1e-6)


def test_what_is_said_beside_a_site_counts_for_its_neighbouring_voxels_only(quiet: Evidence) -> None:
    quiet.vessel[:] = 0
    quiet.vessel[1 + SITE, 10, 20, 30] = 1
    for away, seen in ((0, True), (1, True), (2, False)):
        quiet.cutoff[:] = 0
        quiet.cutoff[10 - away, 20 + away, 30 - away] = 0.8
        features = site_features(quiet)
        assert features[SITE, WEIGHED][3] == pytest.approx(0.8 if seen else 0)
        assert not np.delete(features[:, WEIGHED], SITE, axis=0).any()


@pytest.mark.parametrize(
    ("map_name", "columns"),
    [("clot", [0, 1]), ("missing", [2]), ("cutoff", [3, 4]), ("vessel", [0, 1, 2, 3, 4])],
)
def test_a_voxel_that_is_no_number_is_not_lost(quiet: Evidence, map_name: str, columns: list[int]) -> None:
    getattr(quiet, map_name)[..., 3, 4, 5] = np.nan
    assert np.isnan(site_features(quiet)[SITE, WEIGHED][columns]).all()


def test_what_the_brain_lacks_is_weighed_for_the_site_that_feeds_it(quiet: Evidence) -> None:
    quiet.tissue.starved[SITE] = 0.3
    last = site_features(quiet)[:, WEIGHED][:, -1]
    assert last[SITE] == pytest.approx(0.3) and not np.delete(last, SITE).any()
