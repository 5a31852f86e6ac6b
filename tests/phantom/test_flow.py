import numpy as np
import pytest

from lvo.anatomy import SITES, Segment, Side
from lvo.phantom.flow import COLLATERAL_FILL, occlude, patent
from lvo.phantom.tree import STEP_MM, sample_arteries

IDS = [f"{side} {segment}" for segment, side in SITES]


@pytest.fixture(scope="module")
def tree():
    return sample_arteries(np.random.default_rng(8))


def arc(points):
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])


def downstream(tree, at, start_mm):
    """Mask per branch of what blood can only reach past a point, following parents and confluences."""
    masks = [np.zeros(len(b.points), bool) for b in tree.branches]
    masks[at] = arc(tree.branches[at].points) >= start_mm
    changed = True
    while changed:
        changed = False
        for i, b in enumerate(tree.branches):
            if b.name in ("AComA", "PComA"):  # filled from either end
                continue
            fed = b.parent >= 0 and masks[b.parent][b.parent_point]
            fed |= any(v.joins == i and v.name == "V4" and masks[j][-1] for j, v in enumerate(tree.branches))
            if fed and not masks[i].all():
                masks[i][:] = changed = True
    return masks


@pytest.mark.parametrize(("segment", "side"), SITES, ids=IDS)
def test_only_what_lies_beyond_a_clot_changes(tree, segment, side):
    for seed in range(6):
        before = patent(tree)
        after = occlude(tree, before, segment, side, np.random.default_rng(seed), collateral=0)
        (clot,) = after.occlusions
        assert (clot.segment, clot.side) == (segment, side)
        assert (tree.branches[clot.branch].segment, tree.branches[clot.branch].side) == (segment, side)
        beyond = downstream(tree, clot.branch, clot.start_mm)
        for mask, fill, blocked in zip(beyond, after.fill, after.clot, strict=True):
            assert (fill[~mask] == 1).all() and not blocked[~mask].any()
            assert (fill[blocked] == 0).all()
        assert after.clot[clot.branch].any()
        assert all(f.min() == 1 and not c.any() for f, c in zip(before.fill, before.clot, strict=True))


@pytest.mark.parametrize(("segment", "side"), SITES, ids=IDS)
def test_the_clot_starts_where_it_says_and_is_as_long_as_it_says(tree, segment, side):
    for seed in range(6):
        flow = occlude(tree, patent(tree), segment, side, np.random.default_rng(seed), length_mm=4.0)
        (clot,) = flow.occlusions
        b = tree.branches[clot.branch]
        on = arc(b.points)[flow.clot[clot.branch]]
        assert on[0] == pytest.approx(clot.start_mm, abs=2 * STEP_MM)
        room = b.length - clot.start_mm
        assert on[-1] - on[0] == pytest.approx(min(clot.length_mm, room), abs=2 * STEP_MM + 0.1)
        np.testing.assert_array_equal(b.points[flow.clot[clot.branch]], clot.points[: len(on)])
        if segment is not Segment.ICA_CERVICAL:  # whose clot always grows further
            assert clot.length_mm == 4.0


def test_a_long_clot_runs_on_into_the_branches():
    tree = sample_arteries(np.random.default_rng(8))
    flow = occlude(
        tree, patent(tree), Segment.ICA_TERMINUS, Side.LEFT, np.random.default_rng(1), length_mm=25.0
    )
    m1 = flow.clot[tree.find("M1", Side.LEFT)]
    assert 10 < m1.sum() * STEP_MM < 25 and m1[0]
    assert not flow.clot[tree.find("M1", Side.RIGHT)].any()


def test_collateral_grade_sets_the_contrast_beyond(tree):
    far = tree.find("M3s", Side.LEFT)
    for grade, (low, high) in enumerate(COLLATERAL_FILL):
        flow = occlude(
            tree,
            patent(tree),
            Segment.M1,
            Side.LEFT,
            np.random.default_rng(4),
            collateral=grade,
            length_mm=5.0,
        )
        assert low <= flow.occlusions[0].fill <= high
        assert flow.fill[far].max() == pytest.approx(flow.occlusions[0].fill, abs=1e-6)


def test_a_second_clot_leaves_the_first(tree):
    rng = np.random.default_rng(3)
    one = occlude(tree, patent(tree), Segment.M1, Side.LEFT, rng)
    two = occlude(tree, one, Segment.P2, Side.RIGHT, rng)
    assert [o.segment for o in two.occlusions] == [Segment.M1, Segment.P2]
    for first, both in zip(one.clot, two.clot, strict=True):
        assert (both >= first).all()
    for first, both in zip(one.fill, two.fill, strict=True):
        assert (both <= first).all()


def test_an_absent_segment_is_refused(tree):
    with pytest.raises(ValueError, match="no left BA"):
        occlude(tree, patent(tree), Segment.BASILAR, Side.LEFT, np.random.default_rng(0))
