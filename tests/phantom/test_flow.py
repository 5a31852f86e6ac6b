from dataclasses import replace

import numpy as np
import pytest

from lvo.anatomy import SITES, Segment, Side
from lvo.phantom.flow.bolus import usual_curve
from lvo.phantom.flow.circulation import CirculationRanges
from lvo.phantom.flow.clot import ClotRanges, place
from lvo.phantom.flow.collaterals import CollateralRanges
from lvo.phantom.flow.network import POISEUILLE, build, lay_out
from lvo.phantom.flow.occlude import OcclusionRanges, occlude
from lvo.phantom.flow.pressures import solve, solve_regulated
from lvo.phantom.vessels.arteries import sample_arteries
from lvo.phantom.vessels.routes import MNI_SCALE
from lvo.phantom.vessels.tree import STEP_MM, Branch, Tree

LEFT, RIGHT, MIDLINE = Side.LEFT, Side.RIGHT, Side.MIDLINE
IDS = [f"{side} {segment}" for segment, side in SITES]
# name, structure, origin, end (left side, mm), radius; parents first
CAROTID = (
    ("CCA", "CCA", None, (25, 15, -150), 3.3),
    ("ECA", "ECA", "CCA", (40, 0, -60), 2.0),
    ("ICA-C", "ICA-C", "CCA", (25, 12, -40), 2.6),
    ("ICA-I", "ICA-I", "ICA-C", (12, 0, 0), 2.3),
    ("ophthalmic", "ophthalmic", "ICA-I@0.9", (20, -30, 5), 0.7),
    ("ICA-T", "ICA-T", "ICA-I", (13, 0, 12), 2.0),
    ("M1", "M1", "ICA-T", (35, 0, 14), 1.6),
    ("lenticulostriate", "lenticulostriate", "M1@0.4", (26, 0, 40), 0.35),
    ("M2s", "M2", "M1", (42, -10, 45), 1.2),
    ("M2i", "M2", "M1", (42, 20, 40), 1.2),
    ("M3s", "M3", "M2s", (48, -12, 60), 0.9),
    ("M3i", "M3", "M2i", (48, 25, 50), 0.9),
    ("M4sa", "M4", "M3s", (30, -30, 85), 0.65),
    ("M4sb", "M4", "M3s", (40, 0, 85), 0.65),
    ("M4ia", "M4", "M3i", (40, 50, 60), 0.65),
    ("M4ib", "M4", "M3i", (45, 40, 30), 0.65),
    ("A1", "A1", "ICA-T", (3, -12, 14), 1.15),
    ("A2", "A2", "A1", (3, -40, 45), 1.0),
    ("A3a", "A3", "A2", (15, -30, 90), 0.75),
    ("A3b", "A3", "A2", (15, 20, 90), 0.75),
    ("VA", "VA", None, (15, 46, -44), 1.9),
    ("V4", "V4", "VA", None, 1.7),
    ("PICA", "PICA", "V4@0.4", (8, 60, -20), 0.7),
)
BASILAR = (
    ("AICA", "AICA", "BA@0.3", (34, 44, -13), 0.6),
    ("SCA", "SCA", "BA@0.9", (22, 46, 10), 0.75),
    ("P1", "P1", "BA", (12, 14, 14), 1.15),
    ("P2", "P2", "P1", (18, 42, 25), 1.05),
    ("P3a", "P3", "P2", (15, 75, 45), 0.75),
    ("P3b", "P3", "P2", (35, 60, 20), 0.75),
)
STARTS = {"CCA": (22, 20, -330), "VA": (15, 12, -200)}


def make_tree(*, circle=True, fetal=(), small_a1=()):
    """A whole arterial tree of straight vessels; with a circle of Willis or without."""
    branches, at = [], {}

    def add(name, structure, side, start, end, radius, parent=-1, parent_point=0, joins=-1, join_point=0):
        n = max(int(np.linalg.norm(np.subtract(end, start)) / STEP_MM), 4) + 1
        at[name, side] = len(branches)
        branches.append(
            Branch(
                name,
                structure,
                side,
                np.linspace(start, end, n),
                np.full(n, radius * MNI_SCALE),
                parent,
                parent_point,
                joins,
                join_point,
            )
        )

    def place(rows, side):
        for name, structure, origin, end, radius in rows:
            turn = np.array([1 if side is LEFT else -1, 1, 1])
            radius *= 0.45 if name == "A1" and side in small_a1 else 1
            radius *= 0.4 if name == "P1" and side in fetal else 1
            parent, k, start = -1, 0, turn * STARTS.get(name, (0, 0, 0))
            if origin is not None:
                mother, _, share = origin.partition("@")
                parent = at.get((mother, side), at.get((mother, MIDLINE)))
                k = int(float(share or 1) * (len(branches[parent].points) - 1))
                start = branches[parent].points[k]
            into = at["BA", MIDLINE] if end is None else -1
            stop = branches[into].points[0] if end is None else turn * end
            add(name, structure, side, start, stop, radius, parent, k, into, 0)

    add("BA", "BA", MIDLINE, (0, 27, -24), (0, 10, 8), 1.6)
    for side in (LEFT, RIGHT):
        place(CAROTID, side)
    for side in (LEFT, RIGHT):
        place(BASILAR, side)
        if circle or side in fetal:
            mother, child = branches[at["ICA-T", side]], branches[at["P1", side]]
            ends = mother.points[1], child.points[-1]
            radius = 1.2 if side in fetal else 0.75
            rank = at["ICA-T", side], 1, at["P1", side], len(child.points) - 1
            add("PComA", "PComA", side, *ends, radius, *rank)
    if circle:
        one, two = (branches[at["A1", side]] for side in (LEFT, RIGHT))
        rank = at["A1", LEFT], len(one.points) - 1, at["A1", RIGHT], len(two.points) - 1
        add("AComA", "AComA", MIDLINE, one.points[-1], two.points[-1], 0.7, *rank)
    return Tree(tuple(branches))


TREES = {
    "circle": make_tree(),
    "no circle": make_tree(circle=False),
    "fetal left": make_tree(circle=False, fetal=(LEFT,)),
    "small right A1": make_tree(small_a1=(RIGHT,)),
}
STILL = OcclusionRanges(
    circulation=CirculationRanges(flow_scale=(1.0, 0.0)), collaterals=CollateralRanges(orbital_ml_min=(0, 0))
)
"""Normal flows, and no collateral through the orbit."""


def of_length(mm, start=(0.3, 0.3), **more):
    return STILL.model_copy(
        update={"clots": ClotRanges(length_mm=(mm, mm), start=start, partial=0, side_branch=0, **more)}
    )


def block(tree, *sites, seed=0, grade=0, ranges=STILL):
    return occlude(tree, sites, np.random.default_rng(seed), ranges, collateral=grade)


def part(tree, flow, name, side=LEFT):
    return flow.delay_s[tree.find(name, side)]


def test_a_tube_resists_as_poiseuille_says():
    tube = Branch("M1", "M1", LEFT, np.linspace((0, 0, 0), (0, 0, 40), 81), np.full(81, 1.5))
    network = build(lay_out(Tree((tube,))))
    sinks = np.zeros(network.nodes)
    sinks[network.node[80]] = 100.0
    pressure = solve(network, {int(network.node[0]): 90.0}, sinks=sinks).pressure
    fall = POISEUILLE * 100 * 40 / MNI_SCALE / (1.5 / MNI_SCALE) ** 4
    assert pressure[network.node[80]] == pytest.approx(90 - fall, rel=1e-6)
    # 8 μ L Q / (π r⁴) in SI units: 3.5 mPa s, 37.7 mm, 100 ml/min, 1.415 mm
    pascal = 8 * 3.5e-3 * 0.0377 * (1e-4 / 60) / (np.pi * 1.415e-3**4)
    assert fall == pytest.approx(pascal / 133.322, rel=0.01)


def test_normal_flows_are_those_measured_in_people():
    tree = TREES["no circle"]
    flow = block(tree)
    expected = {"ICA-C": (210, 270), "M1": (130, 155), "A1": (70, 90), "P1": (50, 65), "VA": (75, 105)}
    for name, (low, high) in expected.items():
        for side in (LEFT, RIGHT):
            assert low < flow.ml_min[tree.find(name, side)] < high, name
    late = {name: part(tree, flow, name)[-1] for name in ("ICA-C", "ICA-T", "M1", "M2s", "M4sa")}
    assert list(late.values()) == sorted(late.values())
    assert 0.3 < late["M4sa"] - late["ICA-T"] < 2.5
    assert all(np.isfinite(d).all() for d in flow.delay_s) and not flow.occlusions


def test_a_communicating_artery_without_flow_is_not_dark():
    tree = TREES["circle"]
    flow = block(tree)
    at = tree.find("AComA", LEFT)
    assert abs(flow.ml_min[at]) < 5
    assert flow.delay_s[at].max() < part(tree, flow, "A1")[-1] + 1.5


@pytest.mark.parametrize(("segment", "side"), SITES, ids=IDS)
@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_only_what_is_fed_through_the_clot_changes(tree, segment, side):
    for seed in range(2):
        rng = np.random.default_rng(seed)
        patent = occlude(tree, [], np.random.default_rng(seed), OcclusionRanges())
        flow = occlude(tree, [(segment, side)], rng, OcclusionRanges())
        (clot,) = flow.occlusions
        reached = downstream(tree, patent, flow.clot)
        for i, b in enumerate(tree.branches):
            np.testing.assert_array_equal(flow.patent_s[i], patent.delay_s[i])
            same = ~clot.beyond[i]
            np.testing.assert_array_equal(flow.delay_s[i][same], patent.delay_s[i][same])
            assert not flow.clot[i][same].any()
            assert not (clot.beyond[i] & ~reached[i]).any(), b.name
        assert flow.clot[clot.branch].any()


@pytest.mark.parametrize("seed", range(3))
def test_the_same_holds_in_sampled_arteries(seed):
    tree = sample_arteries(np.random.default_rng(seed), twigs=False)
    patent = block(tree)
    assert all(np.isfinite(d).all() for d in patent.delay_s)
    for segment, side in SITES:
        if not any((b.segment, b.side) == (segment, side) for b in tree.branches):
            continue
        flow = block(tree, (segment, side), grade=None)
        (clot,) = flow.occlusions
        for now, usual, beyond in zip(flow.delay_s, patent.delay_s, clot.beyond, strict=True):
            np.testing.assert_array_equal(now[~beyond], usual[~beyond])
        assert sum(b.sum() for b in clot.beyond) > len(clot.points)


def downstream(tree, patent, clot):
    """Points that patent blood can reach from the clot, by following the direction of flow."""
    found = [c.copy() for c in clot]
    touch = [
        [(i, 0, b.parent, b.parent_point)] * (b.parent >= 0)
        + [(i, len(b.points) - 1, b.joins, b.join_point)] * (b.joins >= 0)
        for i, b in enumerate(tree.branches)
    ]
    links = [link for row in touch for link in row]
    for _ in range(30):
        for i, reach in enumerate(found):
            if reach.any():
                ahead = np.sign(np.gradient(patent.delay_s[i]))
                k = np.flatnonzero(reach)
                if (ahead > 0).any():
                    reach[k.min() :] = True
                if (ahead < 0).any():
                    reach[: k.max() + 1] = True
        for i, a, j, b in links:
            if found[i][a] or found[j][b]:
                found[i][a] = found[j][b] = True
    return found


@pytest.mark.parametrize(("segment", "side"), SITES, ids=IDS)
def test_the_clot_starts_where_it_says_and_is_as_long_as_it_says(segment, side):
    tree = TREES["circle"]
    for seed in range(6):
        flow = block(tree, (segment, side), seed=seed, ranges=of_length(4.0, (0.0, 0.7)))
        (clot,) = flow.occlusions
        b = tree.branches[clot.branch]
        assert (b.segment, b.side) == (segment, side)
        on = np.flatnonzero(flow.clot[clot.branch])
        assert b.arc[on[0]] == pytest.approx(clot.start_mm)
        length = np.linalg.norm(np.diff(clot.points[: len(on)], axis=0), axis=1).sum()
        np.testing.assert_array_equal(b.points[on], clot.points[: len(on)])
        assert length == pytest.approx(min(clot.length_mm, b.length - clot.start_mm), abs=1e-6)
        if segment is not Segment.ICA_CERVICAL:  # whose clot is always long
            assert clot.length_mm == pytest.approx(4.0 * MNI_SCALE, abs=2 * STEP_MM)
        assert np.isinf(flow.delay_s[clot.branch][on]).all()


def test_clot_length_has_the_published_distribution():
    tree, site = TREES["circle"], (Segment.ICA_TERMINUS, LEFT)
    flows = [block(tree, site, seed=s, ranges=OcclusionRanges()) for s in range(250)]
    found = np.array([f.occlusions[0].length_mm for f in flows]) / MNI_SCALE
    assert np.median(found) == pytest.approx(16.1, abs=2.5)
    assert np.percentile(found, 25) == pytest.approx(7.6, abs=2.0)


def test_the_lumen_is_open_up_to_the_clot():
    tree = TREES["circle"]
    flow = block(tree, (Segment.M1, LEFT), ranges=of_length(5.0))
    m1, clot = part(tree, flow, "M1"), flow.clot[tree.find("M1", LEFT)]
    first, last = np.flatnonzero(clot)[[0, -1]]
    patent = flow.patent_s[tree.find("M1", LEFT)]
    np.testing.assert_array_equal(m1[:first], patent[:first])
    assert first > 5 and np.isinf(m1[first:]).all() and last < len(m1) - 5


def test_good_collaterals_fill_backwards_up_to_the_clot():
    tree = TREES["circle"]
    flow = block(tree, (Segment.M1, LEFT), ranges=of_length(4.0), grade=3)
    m1, patent = part(tree, flow, "M1"), flow.patent_s[tree.find("M1", LEFT)]
    beyond = m1[np.flatnonzero(flow.clot[tree.find("M1", LEFT)])[-1] + 1 :]
    assert np.isfinite(beyond).all() and (np.diff(beyond) < 0).all() and beyond.min() > patent.max() + 0.5
    assert flow.ml_min[tree.find("M2s", LEFT)] * flow.ml_min[tree.find("M2i", LEFT)] <= 1e-6
    assert part(tree, flow, "M4sa")[-1] < beyond.min()


def test_fill_beyond_the_clot_rises_with_the_grade_and_with_time():
    tree, curve = TREES["circle"], usual_curve()
    peak, later = [], []
    for grade in range(4):
        flows = [
            block(tree, (Segment.M1, LEFT), seed=s, ranges=of_length(6.0), grade=grade) for s in range(8)
        ]
        clots = [f.occlusions[0] for f in flows]
        assert {c.collateral for c in clots} == {grade}
        peak.append(np.mean([c.fill for c in clots]))
        later.append(
            np.mean([f.fill_beyond(c, curve, curve.peak_s + 9.5) for f, c in zip(flows, clots, strict=True)])
        )
    assert peak == sorted(peak) and peak[0] == 0 and peak[3] > 0.6 > 0.45 > peak[1]
    assert later[0] == 0 and all(late > now for late, now in zip(later[1:], peak[1:], strict=True))


def test_the_circle_of_willis_refills_the_terminus_of_a_blocked_carotid():
    ranges = of_length(4.0)
    for name, open_again in (("circle", True), ("no circle", False)):
        tree = TREES[name]
        flow = block(tree, (Segment.ICA_CERVICAL, LEFT), ranges=ranges)
        assert flow.occlusions[0].kind == "thrombus"
        m1 = part(tree, flow, "M1")
        assert np.isfinite(m1).all() == open_again
        if open_again:
            assert m1.max() < flow.patent_s[tree.find("M1", LEFT)].max() + 2
            neck = part(tree, flow, "ICA-C")  # stands still and fills slowly from above
            last = np.flatnonzero(flow.clot[tree.find("ICA-C", LEFT)])[-1]
            assert neck[last + 1] > neck[-1] + 3


def test_the_eye_can_feed_the_carotid():
    tree = TREES["no circle"]
    ranges = of_length(4.0).model_copy(
        update={"collaterals": CollateralRanges(orbital_ml_min=(45.0, 45.0))},
    )
    flow = block(tree, (Segment.ICA_CERVICAL, LEFT), ranges=ranges)
    assert np.isfinite(part(tree, flow, "M1")).all()
    assert flow.ml_min[tree.find("ophthalmic", LEFT)] < 0


def test_a_basilar_tip_fills_from_the_front_where_it_can():
    ranges = of_length(4.0, basilar_tip=0.0)
    for name, open_again in (("circle", True), ("no circle", False)):
        tree = TREES[name]
        flow = block(tree, (Segment.BASILAR, MIDLINE), ranges=ranges)
        assert np.isfinite(part(tree, flow, "P1")).all() == open_again
        assert np.isfinite(part(tree, flow, "BA", MIDLINE)[-3:]).all() == open_again
        if open_again:
            assert flow.ml_min[tree.find("P1", LEFT)] < 0 < flow.ml_min[tree.find("PComA", LEFT)]


def test_a_fetal_posterior_artery_does_not_miss_the_basilar():
    tree = TREES["fetal left"]
    flow = block(tree, (Segment.BASILAR, MIDLINE), ranges=of_length(4.0, basilar_tip=0.0))
    at = tree.find("P2", LEFT)
    np.testing.assert_allclose(flow.delay_s[at], flow.patent_s[at], atol=0.5)
    assert flow.ml_min[at] > 45 and flow.ml_min[tree.find("P1", LEFT)] < 0


def test_a_long_clot_runs_on_into_m1_and_a1():
    ranges = of_length(30.0, carotid_t=1.0, other_branch=0.0)
    tree = TREES["circle"]
    flow = block(tree, (Segment.ICA_TERMINUS, LEFT), ranges=ranges)
    m1, a1 = (flow.clot[tree.find(name, LEFT)] for name in ("M1", "A1"))
    assert m1[0] and a1[0] and m1.sum() * STEP_MM > 15
    assert not flow.clot[tree.find("M1", RIGHT)].any()


def test_two_clots_are_solved_together_and_the_carotid_pair_is_tandem():
    tree = TREES["circle"]
    sites = ((Segment.ICA_CERVICAL, LEFT), (Segment.M1, LEFT), (Segment.P2, RIGHT))
    flow = block(tree, *sites, ranges=of_length(4.0))
    assert [(o.segment, o.side) for o in flow.occlusions] == list(sites)
    assert [o.kind for o in flow.occlusions[:2]] == ["tandem", "tandem"]
    assert flow.occlusions[2].kind == "embolus"
    assert np.isinf(part(tree, flow, "M2s")).all() and np.isinf(part(tree, flow, "P3a", RIGHT)).all()
    assert np.isfinite(part(tree, flow, "M2s", RIGHT)).all()


def test_a_partial_clot_lets_blood_through():
    tree = TREES["circle"]
    ranges = STILL.model_copy(
        update={"clots": ClotRanges(partial=1.0, length_mm=(4, 4), partial_lumen=(0.3, 0.3))}
    )
    flow = block(tree, (Segment.M1, LEFT), ranges=ranges)
    (clot,) = flow.occlusions
    assert clot.lumen == 0.3 and flow.clot[clot.branch].any()
    assert np.isfinite(flow.delay_s[clot.branch]).all() and clot.fill > 0.7


def narrow(tree, name, grade, side=LEFT, along=0.5, length_mm=5.0):
    """The tree with a stenosis of so much of a branch's diameter."""
    at = tree.find(name, side)
    b = tree.branches[at]
    near = np.exp(-((2 * (b.arc - along * b.length) / length_mm) ** 4))
    branches = list(tree.branches)
    branches[at] = replace(b, radius=b.radius * (1 - grade * near))
    return Tree(tuple(branches))


def narrowed(tree, name, grade, *sites, collateral=1, **more):
    rng = np.random.default_rng(0)
    ill = narrow(tree, name, grade, **more)
    return occlude(ill, sites, rng, STILL, healthy=tree, collateral=collateral)


def test_a_tight_stenosis_delays_its_bed_and_a_mild_one_does_not():
    tree = TREES["circle"]
    at, usual = tree.find("M1", LEFT), block(tree)
    flows = {grade: narrowed(tree, "M1", grade) for grade in (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.99)}
    late = [part(tree, f, "M4sa")[-1] - part(tree, usual, "M4sa")[-1] for f in flows.values()]
    assert max(late[:3]) < 0.1 and late[3] < 1.0 and late[4] > 0.8 and min(late[5:]) > 3.0
    ml = [f.ml_min[at] for f in flows.values()]
    assert ml == sorted(ml, reverse=True) and ml[0] > 130 and ml[2] > 0.97 * ml[0] and ml[-1] < 1
    curve, early = usual_curve(), usual_curve().peak_s - 4
    dim = [f.fill(curve, early)[tree.find("M4sa", LEFT)][-1] for f in flows.values()]
    assert dim[-1] < 0.4 * dim[0] and dim[3] > 0.8 * dim[0]
    for f in flows.values():
        np.testing.assert_allclose(part(tree, f, "M4sa", RIGHT), part(tree, usual, "M4sa", RIGHT), atol=0.1)


def test_the_circle_and_collaterals_make_up_for_a_stenosis():
    share = {}
    for name in ("circle", "no circle"):
        tree = TREES[name]
        flow = narrowed(tree, "ICA-C", 0.95)
        share[name] = flow.perfused[tree.find("M4sa", LEFT)]
    assert share["circle"] > 0.9 and share["no circle"] < 0.6
    tree = TREES["circle"]
    poor, good = (narrowed(tree, "M1", 0.95, collateral=g) for g in (0, 3))
    m4 = tree.find("M4sa", LEFT)
    assert good.perfused[m4] > 0.7 > 0.3 > poor.perfused[m4]
    assert good.delay_s[m4][-1] < poor.delay_s[m4][-1] - 2


@pytest.mark.parametrize(("name", "side"), [("ICA-C", LEFT), ("M1", LEFT), ("BA", MIDLINE)])
def test_with_a_stenosis_too_only_what_is_fed_through_the_clot_changes(name, side):
    tree = TREES["circle"]
    patent = narrowed(tree, name, 0.9, side=side, collateral=2)
    for site in ((Segment.M1, LEFT), (Segment.A2, LEFT), (Segment.ICA_TERMINUS, RIGHT), (Segment.P1, LEFT)):
        flow = narrowed(tree, name, 0.9, site, side=side, collateral=2)
        (clot,) = flow.occlusions
        for i, beyond in enumerate(clot.beyond):
            np.testing.assert_array_equal(flow.patent_s[i], patent.delay_s[i])
            np.testing.assert_array_equal(flow.delay_s[i][~beyond], patent.delay_s[i][~beyond])
            assert beyond.any() or flow.perfused[i] == patent.perfused[i]
        assert not np.concatenate(clot.beyond).all()


def test_flow_to_the_tissue_is_conserved():
    tree = TREES["no circle"]
    assert (block(tree).perfused == 1).all()
    for grade in (0, 2, 3):
        flow = block(tree, (Segment.M1, LEFT), grade=grade, ranges=of_length(4.0))
        beyond = [tree.find(name, LEFT) for name in ("M2s", "M3i", "M4sa", "M4ib")]
        least, most = {0: (0, 0.01), 2: (0.1, 0.9), 3: (0.6, 1.0)}[grade]
        assert (flow.perfused[beyond] >= least).all() and (flow.perfused[beyond] <= most).all()
        assert flow.perfused[tree.find("M4sa", RIGHT)] == 1
    # A bed behind a resistance as large as its own, that can halve its own, keeps 2/3 of its flow.
    tube = Branch("M1", "M1", LEFT, np.linspace((0, 0, 0), (0, 0, 40), 81), np.full(81, 1.5))
    network = build(lay_out(Tree((tube,))))
    root, end = (int(network.node[k]) for k in (0, 80))
    beds, drop = np.zeros(network.nodes), np.full(network.nodes, 80.0)
    beds[end] = 1 / network.resistance[0]
    solution, share = solve_regulated(network, {root: 85.0}, beds, drop, 2.0, venous=5.0)
    assert share[end] == pytest.approx(2 / 3, abs=1e-4)
    assert solution.flow[0] == pytest.approx(beds[end] * 80 * 2 / 3, rel=1e-4)


def test_seven_in_ten_clots_are_denser_than_blood():
    tree, ranges = TREES["circle"], ClotRanges(calcified=0)
    clots = [place(tree, Segment.M1, LEFT, np.random.default_rng(s), ranges) for s in range(400)]
    hu = np.array([c.hu for c in clots])
    dense = hu >= 50
    assert dense.mean() == pytest.approx(0.69, abs=0.06)
    assert hu.max() <= 65 and hu.min() >= 38 and hu[~dense].max() <= 48
    assert all(
        place(
            tree, Segment.M1, LEFT, np.random.default_rng(s), ClotRanges(calcified=0, hyperdense_vessel=1)
        ).hu
        >= 50
        for s in range(40)
    )


def test_stasis_below_a_clot_is_asked_for():
    tree, site = TREES["no circle"], (Segment.ICA_TERMINUS, LEFT)
    quiet = of_length(6.0)
    flow = block(tree, site, ranges=quiet)
    slow = block(tree, site, ranges=quiet.model_copy(update={"upstream_stasis": 1.0}))
    at = tree.find("ICA-C", LEFT)
    np.testing.assert_array_equal(flow.delay_s[at], flow.patent_s[at])
    assert slow.delay_s[at][-1] > flow.delay_s[at][-1] + 2


def test_fill_is_a_share_of_the_peak_and_nothing_in_the_clot():
    tree, curve = TREES["circle"], usual_curve()
    flow = block(tree, (Segment.M1, LEFT), grade=2, ranges=of_length(8.0))
    fill = flow.fill(curve, curve.peak_s + 1.5)
    assert [f.shape for f in fill] == [b.radius.shape for b in tree.branches]
    for share, clot in zip(fill, flow.clot, strict=True):
        assert (share[clot] == 0).all() and share.min() >= 0 and share.max() <= 1
    assert fill[tree.find("M1", RIGHT)].min() > 0.9


def test_an_absent_segment_is_refused():
    tree = TREES["circle"]
    gone = Tree(tuple(replace(b, structure="P2") if b.structure == "P1" else b for b in tree.branches))
    with pytest.raises(ValueError, match="this patient has no left P1"):
        block(gone, (Segment.P1, LEFT))
