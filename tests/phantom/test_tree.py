import numpy as np
import pytest

from lvo.anatomy import SITES, Side
from lvo.phantom.tree import sample_arteries, sample_veins

SEEDS = range(25)


@pytest.fixture(scope="module")
def trees():
    return [sample_arteries(np.random.default_rng(seed)) for seed in SEEDS]


def branch(tree, name, side):
    at = tree.find(name, side)
    return tree.branches[at] if at >= 0 else None


def test_the_same_seed_gives_the_same_arteries_and_another_another(trees):
    again = sample_arteries(np.random.default_rng(SEEDS[0]))
    assert [(b.name, b.side) for b in again.branches] == [(b.name, b.side) for b in trees[0].branches]
    for one, two in zip(again.branches, trees[0].branches, strict=True):
        np.testing.assert_array_equal(one.points, two.points)
        np.testing.assert_array_equal(one.radius, two.radius)
    one, two = branch(trees[1], "M1", Side.LEFT), branch(trees[2], "M1", Side.LEFT)
    assert np.linalg.norm(one.points[-1] - two.points[-1]) > 0.2


def test_every_segment_is_there_on_its_sides(trees):
    for tree in trees:
        there = {(b.segment, b.side) for b in tree.branches if b.segment is not None}
        assert there == set(SITES)


def test_left_is_left(trees):
    for tree in trees:
        for b in tree.branches:
            if b.segment is not None and b.side is not Side.MIDLINE and b.segment.value in ("M1", "M2", "M3"):
                assert (b.points[:, 0] > 0).all() == (b.side is Side.LEFT), (b.name, b.side)


def test_sides_are_drawn_independently_from_mirrored_routes(trees):
    for name in ("M1", "A1", "P1", "ICA-I", "M2i"):
        middles = {Side.LEFT: [], Side.RIGHT: []}
        for tree in trees:
            for side, found in middles.items():
                points = branch(tree, name, side).points
                found.append(points[len(points) // 2] * ((1, 1, 1) if side is Side.LEFT else (-1, 1, 1)))
        left, right = (np.array(middles[s]) for s in (Side.LEFT, Side.RIGHT))
        assert np.linalg.norm(left - right, axis=1).min() > 0.05, name  # no patient is symmetrical
        assert np.linalg.norm(np.median(left, 0) - np.median(right, 0)) < 2.0, name  # on the whole they are
        scatter = [np.corrcoef(left[:, k], right[:, k])[0, 1] for k in range(3)]
        assert np.median(np.abs(scatter)) < 0.5, name


def test_junctions_are_closed(trees):
    for tree in [*trees, *(sample_veins(np.random.default_rng(seed)) for seed in SEEDS)]:
        for number, b in enumerate(tree.branches):
            if b.parent >= 0:
                assert b.parent < number
                parent = tree.branches[b.parent]
                gap = np.linalg.norm(b.points[0] - parent.points[b.parent_point])
                assert gap < 1.0, (b.name, b.side, gap)
            if b.joins >= 0:
                gap = np.linalg.norm(tree.branches[b.joins].points - b.points[-1], axis=1).min()
                assert gap < 1.0, (b.name, b.side, gap)


def test_centrelines_are_dense_and_calibres_those_of_arteries(trees):
    for tree in trees:
        for b in tree.branches:
            assert np.linalg.norm(np.diff(b.points, axis=0), axis=1).max() < 1.0, b.name
            assert b.radius.min() > 0.05 and b.radius.max() < 6, b.name
        m1 = [2 * branch(tree, "M1", side).radius.mean() for side in (Side.LEFT, Side.RIGHT)]
        assert min(m1) > 1.8 and max(m1) < 4.8


def test_variants_are_named_and_drawn_as_named(trees):
    named = {name for tree in trees for name in tree.variants}
    assert any("fetal PCA" in name for name in named)
    for tree in trees:
        for name in tree.variants:
            if name.startswith("hypoplastic A1"):
                side = Side(name.split()[-1])
                weak, other = branch(tree, "A1", side), branch(tree, "A1", side.mirrored)
                assert weak.radius.mean() < 0.75 * other.radius.mean()
            if name.startswith("early M1 bifurcation"):
                side = Side(name.split()[-1])
                assert branch(tree, "M1", side).length < 18


def test_moving_a_tree_keeps_its_junctions(trees):
    moved = trees[0].mapped(lambda p: p * 1.1 + (3, 0, -2))
    for before, after in zip(trees[0].branches, moved.branches, strict=True):
        np.testing.assert_allclose(after.points, before.points * 1.1 + (3, 0, -2))
        assert (after.parent, after.parent_point, after.joins) == (
            before.parent,
            before.parent_point,
            before.joins,
        )
