from dataclasses import replace

import numpy as np
import pytest
import torch

from lvo.anatomy import Segment, Side
from lvo.phantom.disease.infarct import sample_infarct
from lvo.phantom.disease.lesion_ranges import (
    LesionRanges,
    sample_craniotomy,
    sample_haematoma,
    sample_lesions,
    sample_subarachnoid,
    sample_subdural,
    sample_tumour,
)
from lvo.phantom.disease.lesions import draw_lesions
from lvo.phantom.disease.plaque import Odds
from lvo.phantom.disease.territory import lattice_axes, supply
from lvo.phantom.flow.occlude import OcclusionRanges, occlude
from lvo.phantom.head import atlas
from lvo.phantom.head.canvas import Canvas, Where
from lvo.phantom.vessels.arteries import sample_arteries
from lvo.phantom.vessels.routes import MNI_SCALE

pytestmark = pytest.mark.skipif(atlas.atlas_path() is None, reason="the head atlas is not installed")
RANGES = LesionRanges()


@pytest.fixture(scope="module")
def tree():
    return sample_arteries(np.random.default_rng(5))


@pytest.fixture(scope="module")
def fed(tree):
    return supply(tree)


@pytest.fixture(scope="module")
def where():
    axes = (torch.arange(low, high, 2.0) for low, high in ((-36, 118), (-80, 108), (-76, 78)))
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return Where(x.contiguous(), y.contiguous(), z.contiguous())


@pytest.fixture
def canvas(where):
    grey, white, csf, bone, soft, air = where.atlas()
    hu = 37 * grey + 29 * white + 8 * csf + 900 * bone + 30 * soft - 1000 * air
    uptake = 0.045 * grey + 0.02 * white
    return Canvas(hu, uptake, *(t.clone() for t in (bone, grey, white, csf)))


def copy(canvas):
    return Canvas(
        *(t.clone() for t in (canvas.hu, canvas.uptake, canvas.bone, canvas.grey, canvas.white, canvas.csf))
    )


def changed_ml(before, after, hu=3.0):
    return float(((after.hu - before.hu).abs() > hu).sum()) * (2 / MNI_SCALE) ** 3 / 1000


def shares(tree, fed):
    territory, side = {}, {}
    names = fed.territory()
    for name in np.unique(names):
        territory[str(name)] = float(fed.brain[names == name].sum())
    for b, ml in zip(tree.branches, fed.volumes(), strict=True):
        side[b.side] = side.get(b.side, 0.0) + ml
    return territory, side


def test_territories_have_the_published_sizes(tree, fed):
    territory, side = shares(tree, fed)
    mca = territory["MCA"] + territory["lenticulostriate"]
    whole = mca + territory["ACA"] + territory["PCA"] + territory["anterior choroidal"]
    assert 0.45 < mca / whole < 0.58
    assert 0.18 < territory["ACA"] / whole < 0.28
    assert 0.17 < territory["PCA"] / whole < 0.28
    assert abs(side[Side.LEFT] / side[Side.RIGHT] - 1) < 0.08


def test_arteries_feed_their_own_side(tree, fed):
    x = np.broadcast_to(np.linspace(-87.5, 87.5, 36), fed.branch.shape)
    sign = np.array([{Side.LEFT: 1, Side.RIGHT: -1}.get(b.side, 0) for b in tree.branches])[fed.branch]
    assert not ((sign * x < 0) & (fed.brain > 0)).any()


def test_a_field_has_each_branch_s_value_in_its_territory(tree, fed, where):
    left = [float(b.side is Side.LEFT) for b in tree.branches]
    field = fed.field(left, where)
    assert field[(where.x > 15) & (where.y.abs() < 50) & (where.z > 55) & (where.z < 80)].min() > 0.9
    assert field[(where.x < -15) & (where.y.abs() < 50) & (where.z > 55) & (where.z < 80)].max() < 0.1


def beyond_m1(tree, rest=0.1):
    """Flow at the tissue when the left M1 is shut."""
    lost = {tree.find("M1", Side.LEFT)}
    for i, b in enumerate(tree.branches):
        if b.parent in lost:
            lost.add(i)
    return np.array([rest if i in lost else 1.0 for i in range(len(tree.branches))])


def test_an_infarct_grows_and_darkens_and_stays_in_its_territory(tree, fed, where, canvas):
    flow, volumes, depths = beyond_m1(tree), [], []
    for hours in (1.0, 4.0, 12.0):
        infarct = sample_infarct(fed, flow, hours, np.random.default_rng(1))
        assert infarct is not None and infarct.side is Side.LEFT
        after = copy(canvas)
        (truth,) = draw_lesions([infarct], where, after)
        fall = canvas.hu - after.hu
        lentiform = ((where.x - 25).abs() < 4) & ((where.y + 2).abs() < 8) & ((where.z - 34).abs() < 5)
        volumes.append(truth.volume_ml)
        depths.append(float(fall[lentiform].mean()))
        assert float(fall[where.x < -8].abs().max()) < 0.2
        assert float((after.hu - canvas.hu)[canvas.csf < 0.02].max()) < 1.0
    assert volumes[0] < volumes[1] < volumes[2]
    assert depths[0] < 1.8 and 2.0 < depths[1] < 5.0 and 5.0 < depths[2] < 10.0


def test_better_collaterals_leave_a_smaller_infarct(tree, fed):
    sizes = []
    for rest in (0.05, 0.2, 0.6):
        infarct = sample_infarct(fed, beyond_m1(tree, rest), 6.0, np.random.default_rng(1))
        sizes.append(infarct.volume_ml)
    assert sizes[0] > 1.2 * sizes[1] > 1.2 * sizes[2]
    assert sizes[2] < 3.0


def test_no_lack_of_flow_no_infarct(tree, fed):
    assert sample_infarct(fed, np.ones(len(tree.branches)), 6.0, np.random.default_rng(1)) is None


def test_a_clot_that_leaves_less_flow_makes_a_larger_infarct(tree, fed):
    sizes = []
    for grade in range(4):
        rng, site = np.random.default_rng(4), (Segment.M1, Side.LEFT)
        flow = occlude(tree, [site], rng, OcclusionRanges(), collateral=grade)
        infarct = sample_infarct(fed, flow.perfused, 4.0, np.random.default_rng(1))
        sizes.append(infarct.volume_ml)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 60 and sizes[3] < 25


def test_labels_are_of_the_nearest_lattice_point(fed, where):
    by_branch = np.arange(len(fed.structures))
    found = fed.nearest(by_branch, where)
    assert torch.equal(found, fed.nearest(fed.branch, where))
    assert torch.equal(found, found.round()) and found.shape == where.x.shape
    k, j, i = np.unravel_index(int((fed.brain[10] > 0.9).argmax()), fed.brain.shape)
    z, y, x = (torch.full((1, 1, 1), float(a[n])) for a, n in zip(lattice_axes(), (k, j, i), strict=True))
    assert fed.nearest(by_branch, Where(x + 2.0, y - 2.0, z + 2.0)).item() == fed.branch[k, j, i]


def test_an_infarct_enhances_less(tree, fed, where, canvas):
    after = copy(canvas)
    draw_lesions([sample_infarct(fed, beyond_m1(tree), 2.0, np.random.default_rng(1))], where, after)
    cortex = (where.x > 30) & (where.y.abs() < 20) & (where.z > 50) & (where.z < 65) & (canvas.grey > 0.5)
    assert float((after.uptake / canvas.uptake)[cortex].mean()) < 0.65


def one_of_each():
    rng = np.random.default_rng(3)
    yield replace(sample_haematoma(rng, RANGES), ventricular=0.0)
    yield sample_subarachnoid(rng, RANGES, (0.0, -2.0, 12.0))
    yield replace(sample_subdural(rng, RANGES), hu=70.0, thickness_mm=12.0)
    for kind in ("glioma", "metastasis", "meningioma"):
        yield replace(sample_tumour(rng, RANGES, kind), oedema_mm=0.0, rim_hu=50.0)


@pytest.mark.parametrize("lesion", one_of_each(), ids=lambda lesion: lesion.kind)
def test_a_lesion_is_where_it_says_and_about_as_large(lesion, where, canvas):
    after = copy(canvas)
    (truth,) = draw_lesions([lesion], where, after)
    hit = (after.hu - canvas.hu) > 8.0
    assert hit.any()
    middle = torch.stack([c[hit].mean() for c in (where.x, where.y, where.z)])
    assert float((middle - torch.tensor(truth.centre)).abs().max()) < 22.0
    assert 0.2 * truth.volume_ml < changed_ml(canvas, after, 8.0) < 2.5 * truth.volume_ml + 3.0
    assert torch.isfinite(after.hu).all()
    total = after.bone + after.grey + after.white + after.csf
    assert float(total.max()) < 1.01 and float(after.csf.min()) > -1e-4


def test_tumours_enhance(where, canvas):
    after = copy(canvas)
    tumour = sample_tumour(np.random.default_rng(3), RANGES, "meningioma")
    draw_lesions([tumour], where, after)
    assert float(after.uptake.max()) > float(canvas.uptake.max()) + 0.04


def test_a_craniotomy_opens_the_vault_only(where, canvas):
    after = copy(canvas)
    cut = replace(sample_craniotomy(np.random.default_rng(1), RANGES, (62.0, -20.0, 60.0)), missing=True)
    draw_lesions([cut], where, after)
    assert float(canvas.bone.sum() - after.bone.sum()) * 8 / 1000 > 2.0
    assert torch.equal(after.hu[canvas.bone == 0], canvas.hu[canvas.bone == 0])


def test_lesions_of_a_patient_follow_the_seed_and_the_odds(tree, fed):
    flow = beyond_m1(tree)
    a, b = (sample_lesions(np.random.default_rng(2), 80.0, supply=fed, perfusion=flow) for _ in range(2))
    assert [x.kind for x in a] == [x.kind for x in b] and "acute infarct" in [x.kind for x in a]
    never = {k: Odds(at_70=0.0) for k, v in RANGES if isinstance(v, Odds)}
    quiet = RANGES.model_copy(update=never)
    assert sample_lesions(np.random.default_rng(2), 80.0, quiet, supply=fed) == ()


def test_what_lies_outside_the_grid_is_left_out(canvas, where):
    small = Where(*(c[:8, :8, :8] for c in (where.x, where.y, where.z)))
    part = Canvas(
        *(
            t[:8, :8, :8].clone()
            for t in (canvas.hu, canvas.uptake, canvas.bone, canvas.grey, canvas.white, canvas.csf)
        )
    )
    before = part.hu.clone()
    draw_lesions([replace(sample_haematoma(np.random.default_rng(3), RANGES), ventricular=0.0)], small, part)
    assert torch.equal(part.hu, before)
