"""Bent views: image and labels go together, and stay what they were where nothing is bent."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("monai", reason="training needs monai: install the 'train' extra")

from scipy.ndimage import center_of_mass

from lvo.anatomy import SITES
from lvo.detector.evidence import EVIDENCE_GRID
from lvo.imaging.resample import HEAD_BOX
from lvo.training.boxed import LIT, DataConfig
from lvo.training.views import Arrays, varied
from lvo.training.warp import WarpRanges, warp

HALF_A_LABEL_MM = 1.0
CENTRES_MM = {3: (40, 30, 40), 7: (90, 80, 100)}


def balls() -> Arrays:
    """Two lit vessels, balls of 10 mm, in image and labels alike."""
    item: Arrays = {
        "cta": np.full(HEAD_BOX.shape, 30, np.int16),
        "ncct": np.full(EVIDENCE_GRID.shape, 30, np.int16),
        "vessel": np.zeros(EVIDENCE_GRID.shape, np.uint8),
        "state": np.zeros(EVIDENCE_GRID.shape, np.uint8),
        "sites": np.zeros(len(SITES), np.uint8),
    }
    for label, centre in CENTRES_MM.items():
        for name, inside in (("cta", 330), ("ncct", 90), ("vessel", label), ("state", LIT)):
            size = 1 if name == "cta" else 2
            axes = np.ogrid[tuple(slice(n) for n in item[name].shape)]
            square = sum(((a + 0.5) * size - c) ** 2 for a, c in zip(axes, centre, strict=True))
            item[name][square <= 25] = inside
    return item


def test_image_and_labels_are_bent_together() -> None:
    far = 0.0
    for seed in range(3):
        item = balls()
        warp(item, np.random.default_rng(seed), WarpRanges())
        assert set(np.unique(item["vessel"])) == {0, *CENTRES_MM}
        np.testing.assert_array_equal(item["state"] > 0, item["vessel"] > 0)
        for label, centre in CENTRES_MM.items():
            labelled = 2 * np.add(center_of_mass(item["vessel"] == label), 0.5)
            low = np.array(labelled).astype(int) - 9
            near = tuple(slice(a, a + 18) for a in low)
            seen = low + np.add(center_of_mass(item["cta"][near] - 30), 0.5)
            assert np.linalg.norm(labelled - seen) < HALF_A_LABEL_MM
            coarse = tuple(slice(a // 2, a // 2 + 9) for a in low)
            plain = 2 * (low // 2 + np.add(center_of_mass(item["ncct"][coarse] - 30), 0.5))
            assert np.linalg.norm(labelled - plain) < HALF_A_LABEL_MM
            far = max(far, float(np.linalg.norm(labelled - centre)))
    assert 2 < far < 20


def test_a_view_that_is_not_bent_is_as_it_was() -> None:
    item = balls()
    warp(item, np.random.default_rng(0), WarpRanges(turn_deg=0, scale=0, bend_mm=0))
    for name, was in balls().items():
        np.testing.assert_allclose(item[name], was, atol=0.1)


@pytest.mark.parametrize(("chance", "bent"), [(0.0, 0), (1.0, 6)])
def test_views_are_bent_as_often_as_asked_for(chance: float, bent: int) -> None:
    config = DataConfig(warped=WarpRanges(chance=chance))
    whole = balls()["vessel"]
    upright = (whole, whole[..., ::-1])
    found = 0
    for seed in range(6):
        vessel = varied(balls(), np.random.default_rng(seed), config)["vessel"]
        found += not any(np.array_equal(vessel > 0, w > 0) for w in upright)
    assert found == bent
