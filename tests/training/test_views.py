"""Views of a patient: what a scan that ends inside the box leaves of image and labels."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("monai", reason="training needs monai: install the 'train' extra")

from lvo.anatomy import SITES
from lvo.detector.evidence import EVIDENCE_GRID
from lvo.imaging.resample import HEAD_BOX
from lvo.training.boxed import DataConfig
from lvo.training.views import cut_short, move, varied

UNSCANNED = -1024


def test_a_scan_that_ends_early_leaves_a_tilted_edge_and_the_rest_as_it_was() -> None:
    rng = np.random.default_rng(0)
    names = ("ncct", "vessel", "state")
    whole = {n: rng.integers(1, 20, EVIDENCE_GRID.shape).astype(np.int16) for n in names}
    whole["cta"] = rng.integers(0, 400, HEAD_BOX.shape).astype(np.int16)
    at_top = 0
    for seed in range(20):
        item = dict(whole)
        cut_short(item, np.random.default_rng(seed))
        gone = item["ncct"] == UNSCANNED
        assert 0 < gone.mean() < 0.4
        # Never a gap: what is missing lies beyond one edge.
        steps = np.diff(gone.astype(int), axis=0)
        assert (steps <= 0).all() or (steps >= 0).all()
        at_top += bool((steps >= 0).all())
        assert (item["cta"][::2, ::2, ::2] == UNSCANNED).tolist() == gone.tolist()
        for name in names[1:]:
            assert (item[name][gone] == 0).all() and (item[name][~gone] == whole[name][~gone]).all()
        assert (item["cta"] == UNSCANNED).sum() == 8 * gone.sum()
    assert 0 < at_top < 12


def test_a_moved_view_shows_the_same_elsewhere_and_no_vessel_beyond_the_box() -> None:
    rng = np.random.default_rng(0)
    vessel = rng.integers(1, 20, EVIDENCE_GRID.shape).astype(np.int16)
    fine = vessel.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    item = {"cta": fine, "ncct": vessel, "vessel": vessel, "state": vessel}
    move(item, np.array([2, -1, 0]))
    assert {name: a.shape for name, a in item.items()} == {
        "cta": HEAD_BOX.shape, **dict.fromkeys(("ncct", "vessel", "state"), EVIDENCE_GRID.shape),
    }  # fmt: skip
    np.testing.assert_array_equal(item["vessel"][2:, :-1], vessel[:-2, 1:])
    np.testing.assert_array_equal(item["cta"][4:, :-2], fine[:-4, 2:])
    assert not item["vessel"][:2].any() and not item["state"][:, -1:].any()
    assert (item["ncct"] > 0).all() and (item["cta"] > 0).all()


@pytest.mark.parametrize(("moved", "heights"), [(0, {20}), (2, {18, 19, 20, 21, 22})])
def test_views_are_moved_as_far_as_asked_for(moved: int, heights: set[int]) -> None:
    vessel = np.zeros(EVIDENCE_GRID.shape, np.uint8)
    vessel[20, 25, 30] = 1
    scan = {"cta": np.zeros(HEAD_BOX.shape, np.int16), "ncct": np.zeros(EVIDENCE_GRID.shape, np.int16)}
    seen = set()
    for seed in range(30):
        item = scan | {"vessel": vessel, "state": vessel, "sites": np.zeros(len(SITES), np.uint8)}
        view = varied(item, np.random.default_rng(seed), DataConfig(moved=moved))
        seen.add(int(np.argwhere(view["vessel"])[0, 0]))
    assert seen == heights
