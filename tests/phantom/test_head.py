import dataclasses

import numpy as np
import pytest
import torch

from lvo.phantom.head import atlas
from lvo.phantom.head.deformation import DeformationRanges, sample_deformation
from lvo.phantom.head.individual import draw_head, sample_head
from lvo.phantom.head.lattice import Thinned

needs_atlas = pytest.mark.skipif(
    atlas.atlas_path() is None, reason="spm-runtime, which holds the head atlas, is not installed"
)


def lattice(origin, spacing):
    affine = np.zeros((4, 4))
    affine[0, 2] = affine[1, 1] = affine[2, 0] = spacing
    affine[:, 3] = (*origin, 1.0)
    return affine


WHOLE, WHOLE_SHAPE = lattice((-100, -110, -40), 2.5), (80, 100, 81)
ML = 2.5**3 / 1000 / 1.06**3  # anatomical ml of a voxel


@pytest.fixture(scope="module")
def head():
    return sample_head(np.random.default_rng(4), age=60)


@pytest.fixture(scope="module")
def tissue(head):
    return draw_head(head, WHOLE, WHOLE_SHAPE)


def near(head, canvas, x, y, z, radius=6):
    """HU in a ball round a canonical point, wherever it lies in this head."""
    (place,) = head.warp([(x, y, z)])
    index = np.indices(WHOLE_SHAPE).reshape(3, -1)
    points = WHOLE[:3, :3] @ index + WHOLE[:3, 3:]
    return canvas.hu.numpy().reshape(-1)[np.linalg.norm(points - place[:, None], axis=0) < radius]


def test_a_missing_atlas_says_how_to_get_it(monkeypatch):
    atlas.load_atlas.cache_clear()
    monkeypatch.setattr(atlas.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(atlas.AtlasMissing, match=r"pip install --no-deps spm-runtime=="):
        atlas.load_atlas()
    atlas.load_atlas.cache_clear()


def test_deformation_is_inverted():
    deformation = sample_deformation(np.random.default_rng(1))
    points = np.random.default_rng(2).uniform((-80, -80, -320), (80, 110, 120), (500, 3))
    there = deformation.from_canonical(points)
    assert np.abs(there - points).max() > 2
    np.testing.assert_allclose(deformation.to_canonical(there), points, atol=0.02)


@pytest.mark.parametrize("turned", [False, True])
def test_tissue_and_vessels_are_moved_alike(turned):
    deformation = sample_deformation(np.random.default_rng(1))
    affine, shape = lattice((-60, -50, -200), 1.3), (150, 70, 80)
    if turned:  # a tilted gantry
        affine[1, 0], affine[2, 1] = -0.4, 0.4
    found = torch.stack(deformation.field(affine, shape).at(tuple(np.arange(n, dtype=float) for n in shape)))
    index = np.random.default_rng(3).integers(0, shape, (400, 3))
    points = index @ affine[:3, :3].T + affine[:3, 3]
    canonical = found[:, index[:, 0], index[:, 1], index[:, 2]].numpy().T.astype(float)
    np.testing.assert_allclose(deformation.from_canonical(canonical), points, atol=0.1)


def test_a_neck_bends_and_the_head_above_it_does_not():
    ranges = DeformationRanges(neck_slope=(0.3, 0.3))
    straight = sample_deformation(np.random.default_rng(1), ranges)
    straight = dataclasses.replace(straight, knots=0 * straight.knots, stretch=np.ones(3))
    points = np.array([(0.0, 40, 20), (0, 40, -40), (0, 40, -160)])
    moved = straight.from_canonical(points)
    np.testing.assert_allclose(moved[:2], points[:2], atol=1e-9)
    assert 10 < moved[2, 1] - 40 < 60


def test_thinned_fields_come_back_exactly_where_they_are_linear():
    thinned = Thinned.of((9, 14, 6), np.array([1.0, 0.4, 2.5]))
    assert thinned.factors == (2, 5, 1)
    k, j, i = (torch.from_numpy(a) for a in thinned.coarse_index)
    coarse = 2 * k[:, None, None] - 3 * j[:, None] + i
    full = thinned.full(coarse.float())
    k, j, i = (torch.arange(n) for n in (9, 14, 6))
    torch.testing.assert_close(full, (2 * k[:, None, None] - 3 * j[:, None] + i).float())


@needs_atlas
def test_atlas_is_upright_in_the_head_frame():
    loaded = atlas.load_atlas()
    index = np.linalg.inv(loaded.affine) @ np.array([(33, -57, -4, 1), (0, -35, -14, 1), (0, 0, 200, 1)]).T
    eye, nose = np.rint(index[:3, :2]).astype(int).T
    assert loaded.probability[2][tuple(eye)] > 0.5  # the eyeball, filed under CSF, lies in front
    assert loaded.probability[:3, nose[0], nose[1], nose[2]].sum() < 0.2
    np.testing.assert_allclose(loaded.probability.sum(0), 1, atol=1e-3)


@needs_atlas
def test_a_head_has_the_right_tissues_in_the_right_places(head, tissue):
    assert 20 < np.median(near(head, tissue, 30, 20, 62)) < 45  # cerebrum
    assert np.median(near(head, tissue, 0, 17, 5)) > 22  # pons
    assert np.median(near(head, tissue, 36, 30, -10, 5)) > 300  # petrous bone
    assert near(head, tissue, 10, -18, 42, 7).min() < 15  # frontal horn
    assert tissue.hu[:, 0].max() < -950
    shares = tissue.grey + tissue.white + tissue.csf
    assert shares.max() < 1.01 and (shares + tissue.bone).max() < 1.02


@needs_atlas
def test_volumes_are_those_of_people():
    def volumes(age):
        head = sample_head(np.random.default_rng(8), age=age)
        canvas = draw_head(head, WHOLE, WHOLE_SHAPE)
        return [float(t.sum()) * ML for t in (canvas.grey, canvas.white, canvas.csf)]

    young, old = volumes(25), volumes(85)
    for grey, white, csf in (young, old):
        total = grey + white + csf
        assert 1150 < total < 1800
        assert 0.36 < grey / total < 0.58
        assert 0.24 < white / total < 0.46
    assert 0.06 < young[2] / sum(young) < 0.2
    assert old[2] / sum(old) > young[2] / sum(young) + 0.05


@needs_atlas
def test_sides_differ_and_cortex_is_folded(head):
    affine = lattice((-70, -70, 70), 1.0)
    canvas = draw_head(head, affine, (4, 150, 141))
    grey = canvas.grey[2]
    assert (grey - grey.flip(-1)).abs().mean() > 0.1
    edges = (torch.diff((grey[:, 71:] > 0.5).int(), dim=0) != 0).sum(0)
    assert edges[10:40].float().mean() > 8  # many gyri are crossed from front to back


@needs_atlas
def test_a_mirrored_head_is_the_mirror_image(head, tissue):
    mirrored = head.mirrored()
    other = draw_head(mirrored, WHOLE, WHOLE_SHAPE)
    differs = (other.hu - tissue.hu.flip(-1)).abs() > 1
    assert differs.float().mean() < 2e-3
    points = np.array([(30.0, 5, 40), (-12, 60, -120)])
    flip = np.array((-1, 1, 1))
    np.testing.assert_allclose(mirrored.warp(points * flip), head.warp(points) * flip, atol=1e-6)


@needs_atlas
def test_the_same_seed_gives_the_same_head_and_another_another(head, tissue):
    again = draw_head(sample_head(np.random.default_rng(4), age=60), WHOLE, WHOLE_SHAPE)
    assert torch.equal(again.hu, tissue.hu)
    other = draw_head(sample_head(np.random.default_rng(5), age=60), WHOLE, WHOLE_SHAPE)
    assert (other.hu - tissue.hu).abs().mean() > 20


@needs_atlas
def test_slabs_fit_together(head, monkeypatch):
    affine, shape = lattice((-40, -30, 20), 1.0), (24, 60, 60)
    whole = draw_head(head, affine, shape)
    monkeypatch.setattr("lvo.phantom.head.individual._CHUNK", 8 * 60 * 60)
    assert (draw_head(head, affine, shape).hu - whole.hu).abs().max() < 0.5


@needs_atlas
def test_the_chest_has_lungs(head):
    body = draw_head(head, lattice((-200, -150, -330), 5.0), (10, 60, 81))
    assert ((body.hu < -600) & (body.hu > -950)).float().mean() > 0.05
