import numpy as np
import pytest

from lvo.anatomy import Side
from lvo.phantom.head import atlas
from lvo.phantom.vessels.inner_table import depth_and_outward
from lvo.phantom.vessels.labels import LABELS
from lvo.phantom.vessels.veins import CORNER, VeinRanges, sample_granulations, sample_veins

pytestmark = pytest.mark.skipif(atlas.atlas_path() is None, reason="the head atlas is not installed")
SEEDS = range(20)


@pytest.fixture(scope="module")
def trees():
    return [sample_veins(np.random.default_rng(seed)) for seed in SEEDS]


def branch(tree, name, side):
    at = tree.find(name, side)
    return tree.branches[at] if at >= 0 else None


def test_the_same_seed_gives_the_same_veins_and_another_another(trees):
    again = sample_veins(np.random.default_rng(SEEDS[0]))
    assert len(again.branches) == len(trees[0].branches)
    for one, two in zip(again.branches, trees[0].branches, strict=True):
        np.testing.assert_array_equal(one.points, two.points)
        np.testing.assert_array_equal(one.radius, two.radius)
    bridging = [sum(b.structure == "cortical vein" for b in t.branches) for t in trees]
    assert len(set(bridging)) > 3


def test_every_vein_has_a_label_and_hangs_together(trees):
    for tree in trees:
        assert len({(b.name, b.side) for b in tree.branches}) == len(tree.branches)
        for n, b in enumerate(tree.branches):
            assert LABELS[b.label - 1].vein
            assert b.parent < n
            assert b.radius.min() > 0.15
            assert np.linalg.norm(np.diff(b.points, axis=0), axis=1).max() < 1.0
            if b.parent >= 0 and CORNER not in b.name:
                gap = np.linalg.norm(b.points[0] - tree.branches[b.parent].points[b.parent_point])
                assert gap < 0.1, b.name
            if b.joins >= 0 and CORNER not in b.name:
                assert np.linalg.norm(b.points[-1] - tree.branches[b.joins].points[b.join_point]) < 0.1, (
                    b.name
                )


def test_left_is_left(trees):
    for tree in trees:
        for b in tree.branches:
            if b.side is not Side.MIDLINE and b.structure in (
                "sigmoid sinus",
                "cortical vein",
                "Sylvian vein",
            ):
                sign = 1 if b.side is Side.LEFT else -1
                assert np.median(b.points[:, 0] * sign) > 0, (b.name, b.side)


def test_sinuses_touch_the_bone_and_surface_veins_the_brain(trees):
    for tree in trees:
        for b in tree.branches:
            depth, _ = depth_and_outward(b.points)
            if b.name in ("superior sagittal sinus", "transverse sinus"):
                gap = (depth - b.radius)[8:-8]
                assert np.abs(gap).max() < 1.8, (b.name, np.abs(gap).max())
            elif b.structure == "cortical vein":
                assert depth[len(depth) // 2 :].min() > -0.5, b.name
                assert np.median(depth) > 1.0, b.name
                assert depth[len(depth) // 2 :].max() < 8, b.name


def test_calibres_are_those_of_people(trees):
    def mean(name, place):
        found = [branch(t, name, s) for t in trees for s in (Side.LEFT, Side.RIGHT)]
        return np.mean(
            [2 * b.radius[int(place * (len(b.radius) - 1))] / 1.06 for b in found if b is not None]
        )

    assert 5.5 < mean("superior sagittal sinus", 0.6) < 9
    assert 1.4 < mean("internal cerebral vein", 0.6) < 2.4
    assert 3.0 < mean("vein of Galen", 0.5) < 5.5
    assert 3.0 < mean("straight sinus", 0.5) < 5.5
    assert 6.0 < mean("sigmoid sinus", 0.5) < 9
    assert 8.0 < mean("internal jugular vein", 0.7) < 14


def test_transverse_sinuses_are_unequal_as_often_as_in_people():
    draws = [sample_veins(np.random.default_rng(1000 + n)) for n in range(60)]
    absent = VeinRanges(transverse_absent=1.0, transverse_hypoplastic=0.0)
    assert 6 <= sum("transverse" in " ".join(t.variants) for t in draws) <= 28
    gone = sample_veins(np.random.default_rng(3), absent)
    there = [gone.find("transverse sinus", side) >= 0 for side in (Side.LEFT, Side.RIGHT)]
    assert sorted(there) == [False, True]
    for side in (Side.LEFT, Side.RIGHT):
        assert gone.find("sigmoid sinus", side) >= 0
        assert gone.find("internal jugular vein", side) >= 0


def test_granulations_lie_in_sinuses(trees):
    for seed, tree in enumerate(trees):
        centres, radii = sample_granulations(np.random.default_rng(seed), tree)
        points = np.concatenate([b.points for b in tree.branches])
        radius = np.concatenate([b.radius for b in tree.branches])
        for centre, r in zip(centres, radii, strict=True):
            inside = np.linalg.norm(points - centre, axis=1) + r - radius
            assert inside.min() < 0.3
