import numpy as np
import pytest

from lvo.phantom import atlas
from lvo.phantom.deformation import sample_deformation
from lvo.phantom.head import sample_head

needs_atlas = pytest.mark.skipif(
    atlas.atlas_path() is None, reason="spm-runtime, which holds the head atlas, is not installed"
)


@pytest.fixture(scope="module")
def head():
    return sample_head(np.random.default_rng(4), spacing_mm=3.0, below_mm=60)


def at(head, x, y, z):
    """HU in a 9 mm ball round a canonical point, wherever it lies in this head."""
    (place,) = head.warp([(x, y, z)])
    index = np.indices(head.hu.shape).reshape(3, -1)
    where = head.affine[:3, :3] @ index + head.affine[:3, 3:]
    near = np.linalg.norm(where - place[:, None], axis=0) < 9
    return head.hu.reshape(-1)[near]


def test_a_missing_atlas_says_how_to_get_it(monkeypatch):
    atlas.load_atlas.cache_clear()
    monkeypatch.setattr(atlas.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(atlas.AtlasMissing, match=r"pip install --no-deps spm-runtime=="):
        atlas.load_atlas()
    atlas.load_atlas.cache_clear()


def test_deformation_is_inverted():
    deformation = sample_deformation(np.random.default_rng(1))
    points = np.random.default_rng(2).uniform(-70, 70, (200, 3))
    there = deformation.from_canonical(points)
    assert np.abs(there - points).max() > 2
    np.testing.assert_allclose(deformation.to_canonical(there), points, atol=0.02)


def test_grid_and_points_agree():
    deformation = sample_deformation(np.random.default_rng(1))
    z, y, x = np.array([-30.0, 12.0]), np.array([5.0]), np.array([-20.0, 0.0, 33.0])
    grid = deformation.on_grid(z, y, x)
    np.testing.assert_allclose(grid[:, 1, 0, 2], deformation.to_canonical([(33, 5, 12)])[0], atol=1e-3)


@needs_atlas
def test_atlas_is_upright_in_the_head_frame():
    loaded = atlas.load_atlas()
    index = np.linalg.inv(loaded.affine) @ np.array([(33, -57, -4, 1), (0, -35, -14, 1), (0, 0, 200, 1)]).T
    eye, nose = np.rint(index[:3, :2]).astype(int).T
    assert loaded.probability[2][tuple(eye)] > 0.5  # the eyeball, filed under CSF, lies in front
    assert loaded.probability[:3, nose[0], nose[1], nose[2]].sum() < 0.2
    np.testing.assert_allclose(loaded.probability.sum(0), 1, atol=1e-3)


@needs_atlas
def test_a_head_has_the_right_tissues_in_the_right_places(head):
    assert 15 < np.median(at(head, 30, 20, 60)) < 45  # cerebrum
    assert np.median(at(head, 36, 30, -10)) > 300  # petrous bone
    assert np.median(head.hu[:, 0]) == -1000
    assert 900 < head.brain.sum() * 27 / 1000 < 2200  # ml
    assert head.hu[head.bone > 0.95].min() > 50


@needs_atlas
def test_the_same_seed_gives_the_same_head_and_another_another(head):
    again = sample_head(np.random.default_rng(4), spacing_mm=3.0, below_mm=60)
    np.testing.assert_array_equal(again.hu, head.hu)
    other = sample_head(np.random.default_rng(5), spacing_mm=3.0, below_mm=60)
    assert np.abs(other.hu - head.hu).mean() > 20


@needs_atlas
def test_the_chest_has_lungs():
    body = sample_head(np.random.default_rng(1), 4.0, below_mm=320, half_width_mm=200)
    lowest = body.hu[:8]
    assert ((lowest < -600) & (lowest > -950)).mean() > 0.05
    assert body.brain[:8].max() == 0
