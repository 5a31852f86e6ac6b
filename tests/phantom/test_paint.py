import numpy as np
import pytest
import torch

from lvo.anatomy import Side
from lvo.phantom.paint import centreline, draw_lobes, label_of, paint
from lvo.phantom.vessels.labels import LABEL_OF
from lvo.phantom.vessels.tree import Branch


def turned(steps, shape, angles=(0.4, -0.7, 1.1)):
    """A lattice about the origin in an arbitrary pose."""
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [k for k in range(3) if k != axis]
        one = np.eye(3)
        one[[a, b, a, b], [a, b, b, a]] = np.cos(angle), np.cos(angle), -np.sin(angle), np.sin(angle)
        turn = turn @ one
    affine = np.eye(4)
    affine[:3, :3] = turn * np.asarray(steps)
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def positions(affine, voxel, shape):
    index = np.stack(np.unravel_index(voxel.numpy(), shape), axis=1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def straight(radius, direction, centre=(0, 0, 0), half=20.0, structure="M1", side=Side.LEFT):
    way = np.asarray(direction, float) / np.linalg.norm(direction)
    points = np.asarray(centre) + np.linspace(-half, half, int(4 * half) + 1)[:, None] * way
    return Branch(structure, structure, side, points, np.full(len(points), float(radius)))


@pytest.mark.parametrize(
    "steps", [(0.4, 0.4, 0.4), (0.6, 0.45, 0.45), (1, 1, 1), (1.5, 0.5, 0.5), (1.5, 1.5, 1.5)]
)
@pytest.mark.parametrize("radius", [0.3, 0.5, 0.8, 1.3, 2.0, 4.0])
def test_the_amount_of_lumen_is_right_on_any_lattice(steps, radius):
    shape = tuple(int(22 / s) for s in steps)
    affine = turned(steps, shape)
    way = np.array([0.3, -0.5, 0.8]) / np.linalg.norm([0.3, -0.5, 0.8])
    painted = paint([straight(radius, way)], affine, shape, edge_mm=float(np.hypot(0.7, np.mean(steps))))
    middle = np.abs(positions(affine, painted.voxel, shape) @ way) < 6
    volume = painted.share.numpy()[middle].sum() * np.prod(steps)
    assert volume / (12 * np.pi * radius**2) == pytest.approx(1, abs=0.1)


def test_a_sheath_is_wider_by_what_was_asked():
    shape, affine = (40, 40, 40), turned((0.5, 0.5, 0.5), (40, 40, 40))
    tube = straight(1.0, (0.2, 0.3, 1))
    for widen in (0.0, 1.5):
        painted = paint([tube], affine, shape, edge_mm=0.8, widen_mm=widen)
        inside = positions(affine, painted.voxel, shape)[painted.within.numpy()]
        way = np.array([0.2, 0.3, 1]) / np.linalg.norm([0.2, 0.3, 1])
        away = np.linalg.norm(inside - np.outer(inside @ way, way), axis=1)
        assert away.max() == pytest.approx(1.0 + widen, abs=0.15)


def test_the_radius_runs_on_between_points_and_voxels_know_the_nearest_point():
    points = np.stack([np.zeros(9), np.zeros(9), np.linspace(-8, 8, 9)], axis=1)
    cone = Branch("M1", "M1", Side.LEFT, points, np.linspace(1, 5, 9))
    shape, affine = (41, 31, 31), turned((0.4, 0.4, 0.4), (41, 31, 31), (0, 0, 0))
    affine[:3, :3] = affine[:3, :3][:, ::-1]  # array z is head z
    affine[:3, 3] = -affine[:3, :3] @ np.array([20, 15, 15])
    painted = paint([cone], affine, shape, edge_mm=0.4)
    at = positions(affine, painted.voxel, shape)
    slice_of = np.abs(at[:, 2] - 1.0) < 0.3
    area = painted.share.numpy()[slice_of].sum() * 0.16
    assert np.sqrt(area / len(np.unique(at[slice_of, 2].round(3))) / np.pi) == pytest.approx(3.25, abs=0.1)
    axis = np.hypot(at[:, 0], at[:, 1]) < 0.5
    assert np.abs(points[painted.point.numpy()[axis], 2] - at[axis, 2]).max() < 1.4


def test_the_order_of_vessels_changes_nothing():
    rng = np.random.default_rng(2)
    tubes = [
        straight(rng.uniform(0.4, 2.5), rng.normal(size=3), rng.normal(0, 3, 3), structure=name)
        for name in ("M1", "A1", "P1", "M4", "ECA")
    ]
    shape, affine = (30, 40, 40), turned((0.6, 0.45, 0.45), (30, 40, 40))
    one, other = (paint(b, affine, shape, edge_mm=0.8) for b in (tubes, tubes[::-1]))
    torch.testing.assert_close(one.cover, other.cover, rtol=0, atol=0)
    torch.testing.assert_close(label_of((one, tubes)), label_of((other, tubes[::-1])), rtol=0, atol=0)


def test_a_slab_is_painted_as_in_the_whole(monkeypatch):
    tubes = [straight(1.2, (0.4, 0.2, 1)), straight(3.0, (1, 0.1, 0.3), (1, 2, 3))]
    shape, affine = (48, 30, 30), turned((0.7, 0.6, 0.6), (48, 30, 30))
    whole = paint(tubes, affine, shape, edge_mm=1.0)
    part = affine.copy()
    part[:3, 3] += affine[:3, 0] * 16
    slab = paint(tubes, part, (16, 30, 30), edge_mm=1.0)
    torch.testing.assert_close(whole.cover[16:32], slab.cover, rtol=0, atol=2e-4)
    monkeypatch.setattr("lvo.phantom.paint._SLAB_VOXELS", 5 * 900)
    pieces = paint(tubes, affine, shape, edge_mm=1.0)
    torch.testing.assert_close(whole.cover, pieces.cover, rtol=0, atol=0)
    torch.testing.assert_close(whole.index, pieces.index, rtol=0, atol=0)


def test_nothing_within_reach_paints_nothing():
    shape, affine = (8, 8, 8), turned((1, 1, 1), (8, 8, 8))
    for tubes in ([], [straight(2, (0, 0, 1), (90, 0, 0))]):
        painted = paint(tubes, affine, shape, edge_mm=1.0)
        assert painted.cover.max() == 0
        assert painted.index.max() == -1


def test_arteries_win_over_veins():
    artery, vein = straight(1.0, (0, 0, 1)), straight(3.0, (0, 0, 1), structure="cavernous sinus")
    shape, affine = (20, 30, 30), turned((0.5, 0.5, 0.5), (20, 30, 30), (0, 0, 0))
    painted = [paint([b], affine, shape, edge_mm=0.7) for b in (artery, vein)]
    labels = label_of((painted[0], [artery]), (painted[1], [vein]))
    found = set(labels.unique().tolist())
    assert found == {0, artery.label, vein.label}
    middle = labels.view(-1)[painted[0].voxel[painted[0].within]]
    assert (middle == artery.label).all()


def test_lobes_make_the_section_uneven_but_keep_its_size():
    tube = straight(3.0, (0.2, 0.1, 1))
    shape, affine = (50, 40, 40), turned((0.4, 0.4, 0.4), (50, 40, 40))
    plain = paint([tube], affine, shape, edge_mm=0.6)
    lobed = paint([tube], affine, shape, edge_mm=0.6, lobes=draw_lobes([tube], np.random.default_rng(1), 0.2))
    assert float(lobed.share.sum() / plain.share.sum()) == pytest.approx(1, abs=0.06)
    assert float((lobed.cover - plain.cover).abs().sum() / plain.share.sum()) > 0.05


def test_a_centreline_is_unbroken_and_sites_win():
    artery = straight(1.0, (0.5, 0.3, 1), half=6.0)
    vein = straight(1.0, (0.5, 0.3, 1), half=6.0, structure="basal vein")
    shape, affine = (40, 40, 40), turned((0.5, 0.5, 0.5), (40, 40, 40))
    labels = centreline([artery, vein], affine, shape).numpy()
    assert set(np.unique(labels)) == {0, LABEL_OF["M1", Side.LEFT]}
    at = np.argwhere(labels)
    gaps = np.abs(at[:, None] - at[None]).max(-1)
    near = (gaps <= 1).sum(1) - 1
    assert near.min() >= 1
    assert (near == 1).sum() <= 2
    assert len(at) > 24
