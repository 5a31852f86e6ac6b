import numpy as np
import pytest

from lvo.anatomy import Side
from lvo.phantom.disease.mimic_ranges import MimicRanges
from lvo.phantom.disease.mimics import VesselDisease, add_stenosis, sample_disease
from lvo.phantom.disease.narrowing import bent
from lvo.phantom.disease.plaque import Odds, no_plaque
from lvo.phantom.vessels.tree import Branch, Tree

NEVER, ALWAYS = Odds(at_70=0.0), Odds(at_70=1 - 1e-9)
KINDS = (
    "near_occlusion",
    "dissection",
    "aneurysm",
    "ectasia",
    "fusiform",
    "carotid_stent",
    "intracranial_stent",
    "vasospasm",
    "beading",
    "moyamoya",
    "malformation",
    "fistula",
)
WORD = {
    "near_occlusion": "near-occlusion",
    "ectasia": "dolichoectasia",
    "carotid_stent": "stent",
    "intracranial_stent": "stent",
    "beading": "multifocal narrowing",
    "malformation": "arteriovenous malformation",
    "fistula": "dural fistula",
}
STRUCTURES = ("CCA", "ICA-C", "ICA-I", "ICA-T", "M1", "M2", "M3", "lenticulostriate")
NO_CALCIUM = MimicRanges().calcium.model_copy(update={"sites": {}})
QUIET = MimicRanges().model_copy(
    update={**dict.fromkeys(KINDS, NEVER), "stenoses": {}, "calcium": NO_CALCIUM, "calcified": 0.0}
)


def line(structure, side, start, way, length, radius, **links):
    s = np.arange(0, length + 0.1, 0.5)[:, None]
    return Branch(structure, structure, side, start + s * way, np.full(len(s), radius), **links)


@pytest.fixture(scope="module")
def tree():
    """Straight arteries end to end on both sides, and a basilar artery that both vertebrals join."""
    branches = []
    for side, sign in ((Side.LEFT, 1.0), (Side.RIGHT, -1.0)):
        at, parent = np.array([sign * 15.0, 0.0, -150.0]), -1
        for structure in STRUCTURES:
            radius = 3.0 if "C" in structure else 1.4
            last = 0 if parent < 0 else len(branches[parent].points) - 1
            links = {"parent": parent, "parent_point": last}
            branches.append(line(structure, side, at, np.array([0.0, 0.0, 1.0]), 40.0, radius, **links))
            at, parent = branches[-1].points[-1], len(branches) - 1
    basilar = len(branches)
    branches.append(
        line("BA", Side.MIDLINE, np.array([0.0, 15.0, -20.0]), np.array([0.0, 0.0, 1.0]), 28.0, 1.7)
    )
    for side, sign in ((Side.LEFT, 1.0), (Side.RIGHT, -1.0)):
        way = np.array([-sign * 0.6, 0.0, 0.8])
        start = branches[basilar].points[0] - 40.0 * way
        branches.append(line("V4", side, start, way, 40.0, 1.6, joins=basilar, join_point=0))
    branches.append(
        line(
            "SCA",
            Side.LEFT,
            branches[basilar].points[30],
            np.array([1.0, 0, 0]),
            30.0,
            0.8,
            parent=basilar,
            parent_point=30,
        )
    )
    return Tree(tuple(branches))


def anchored(tree):
    """Distance between every branch's end and the point that it leaves or opens into."""
    gaps = []
    for b in tree.branches:
        if b.parent >= 0:
            gaps.append(np.linalg.norm(b.points[0] - tree.branches[b.parent].points[b.parent_point]))
        if b.joins >= 0:
            gaps.append(np.linalg.norm(b.points[-1] - tree.branches[b.joins].points[b.join_point]))
    return np.array(gaps)


@pytest.mark.parametrize("grade", [0.1, 0.5, 0.8, 0.99])
def test_a_stenosis_has_the_grade_and_the_place_that_it_says(tree, grade):
    at = tree.find("M1", Side.LEFT)
    found = add_stenosis(
        VesselDisease(tree, no_plaque()), at, 20.0, 6.0, grade, np.random.default_rng(1), QUIET
    )
    before, after = tree.branches[at], found.tree.branches[at]
    left = after.radius / before.radius
    assert left.min() == pytest.approx(1 - grade, abs=0.02)
    assert abs(after.arc[left.argmin()] - 20.0) < 2.0
    assert (left[np.abs(before.arc - 20.0) > 9.0] > 0.99).all()
    assert found.mimics == (f"stenosis left M1 {grade:.0%}",)


def test_a_stenosis_leaves_lumen_inside_the_old_wall_and_vessels_joined(tree):
    for seed in range(20):
        at = tree.find("M1", Side.LEFT)
        rng = np.random.default_rng(seed)
        found = add_stenosis(
            VesselDisease(tree, no_plaque()), at, rng.uniform(0, 40), 6.0, 0.8, rng, QUIET
        ).tree
        before, after = tree.branches[at], found.branches[at]
        off = np.linalg.norm(after.points - before.points, axis=1)
        assert (off + after.radius <= before.radius + 1e-6).all()
        assert anchored(found).max() < 0.01


def test_a_bulb_is_graded_by_the_normal_artery_beyond(tree):
    at = tree.find("ICA-C", Side.LEFT)
    bulb = tree.branches[at]
    wide = np.where(bulb.arc < 12, 4.5, 2.5)
    branches = list(tree.branches)
    branches[at] = Branch(
        bulb.name, bulb.structure, bulb.side, bulb.points, wide, bulb.parent, bulb.parent_point
    )
    start = VesselDisease(Tree(tuple(branches)), no_plaque())
    found = add_stenosis(start, at, 6.0, 8.0, 0.7, np.random.default_rng(0), QUIET)
    assert found.tree.branches[at].radius.min() == pytest.approx(0.3 * 2.5, abs=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_drawn_told_and_leaves_the_tree_whole(tree, kind):
    for seed in range(5):
        wanted = QUIET.model_copy(update={kind: ALWAYS, "treated": NEVER})
        found = sample_disease(tree, 70.0, np.random.default_rng(seed), wanted)
        assert found.mimics and all(WORD.get(kind, kind.replace("_", " ")) in w for w in found.mimics)
        assert [(b.name, b.side, len(b.points)) for b in found.tree.branches] == [
            (b.name, b.side, len(b.points)) for b in tree.branches
        ]
        assert all(np.isfinite(b.points).all() and (b.radius > 0).all() for b in found.tree.branches)
        assert anchored(found.tree).max() < 0.6
        changed = (
            found.sacs
            or found.metal
            or found.shunts
            or any(
                not np.array_equal(a.radius, b.radius)
                for a, b in zip(found.tree.branches, tree.branches, strict=True)
            )
        )
        assert changed


def test_nothing_is_drawn_where_nothing_is_wanted(tree):
    found = sample_disease(tree, 90.0, np.random.default_rng(0), QUIET)
    assert found.mimics == () and len(found.calcium.hu) == 0
    assert all(a is b for a, b in zip(found.tree.branches, tree.branches, strict=True))


def test_calcium_lies_in_walls_and_grows_with_age(tree):
    def balls(age):
        return [sample_disease(tree, age, np.random.default_rng(s)).calcium for s in range(60)]

    young, old = balls(40.0), balls(85.0)
    assert sum(len(p.hu) for p in old) > 4 * sum(len(p.hu) for p in young)
    only = QUIET.model_copy(update={"calcium": MimicRanges().calcium})
    for seed in range(10):
        calcium = sample_disease(tree, 80.0, np.random.default_rng(seed), only).calcium
        for point in calcium.points:
            away = [(np.linalg.norm(b.points - point, axis=1) / b.radius).min() for b in tree.branches]
            assert 0.8 < min(away) < 1.6


def test_an_aneurysm_stands_on_its_parent_and_is_as_wide_as_it_says(tree):
    wanted = QUIET.model_copy(update={"aneurysm": ALWAYS, "treated": NEVER, "dome_mm": (7.0, 0.0, 7.0, 7.0)})
    for sac in sample_disease(tree, 60.0, np.random.default_rng(3), wanted).sacs:
        parent = tree.branches[sac.parent]
        assert np.allclose(sac.points[0], parent.points[sac.parent_point])
        assert 2 * sac.radius.max() / 1.06 == pytest.approx(7.0, abs=0.5)
        assert sac.radius[0] < sac.radius.max()


def test_treated_aneurysms_are_metal_and_no_sac(tree):
    wanted = QUIET.model_copy(update={"aneurysm": ALWAYS, "treated": ALWAYS})
    found = sample_disease(tree, 60.0, np.random.default_rng(3), wanted)
    assert found.sacs == () and found.metal
    assert {m.name for m in found.metal} <= {"clip", "coil"}


def test_what_leaves_a_bent_artery_comes_along(tree):
    at = tree.find("BA", Side.MIDLINE)
    basilar = tree.branches[at]
    arch = np.sin(np.pi * basilar.arc / basilar.arc[-1])[:, None] * np.array([6.0, 0.0, 0.0])
    found = bent(tree, at, arch, 12.0)
    assert anchored(found).max() < 0.01
    cerebellar = tree.find("SCA", Side.LEFT)
    moved = found.branches[cerebellar].points - tree.branches[cerebellar].points
    assert abs(moved[0, 0]) > 5.0 and abs(moved[-1, 0]) < 1.0


def test_the_same_seed_gives_the_same_disease(tree):
    a, b = (sample_disease(tree, 75.0, np.random.default_rng(4)) for _ in range(2))
    assert a.mimics == b.mimics and np.array_equal(a.calcium.points, b.calcium.points)
