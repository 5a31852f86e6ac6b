"""Skull, face, neck and chest: the right tissue in the right place, individual, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lvo.phantom.head import atlas
from lvo.phantom.head.canvas import Canvas, Where
from lvo.phantom.head.chest import ChestRanges, draw_chest, sample_chest
from lvo.phantom.head.face import FaceRanges, draw_face, sample_face
from lvo.phantom.head.neck import NeckRanges, draw_neck, sample_neck
from lvo.phantom.head.skull_base import BaseRanges, draw_base, sample_base
from lvo.phantom.head.solids import Ground
from lvo.phantom.head.temporal_bone import TemporalRanges
from lvo.phantom.head.vault import VaultRanges, draw_vault, sample_vault

pytestmark = pytest.mark.skipif(atlas.atlas_path() is None, reason="the head atlas is not installed")


def lattice(low: tuple[float, ...], high: tuple[float, ...], step: float = 1.0) -> Where:
    """A grid between two (x, y, z) corners."""
    x, y, z = (torch.arange(a, b + 1e-3, step) for a, b in zip(low, high, strict=True))
    grid = torch.meshgrid(z, y, x, indexing="ij")
    return Where(grid[2].contiguous(), grid[1].contiguous(), grid[0].contiguous())


def blank(where: Where) -> Canvas:
    """Soft tissue with the average brain in it."""
    canvas = Canvas.of_air(where)
    canvas.put(torch.ones_like(where.x), 40.0)
    canvas.put(where.atlas()[:3].sum(0).clamp(0, 1), 33.0, grey=1.0)
    return canvas


def head(where: Where, seed: int, base: BaseRanges | None = None, vault: VaultRanges | None = None) -> Canvas:
    """Everything of one seed."""
    rng, canvas = np.random.default_rng(seed), blank(where)
    neck, chest = sample_neck(rng, NeckRanges(), 60), sample_chest(rng, ChestRanges(), 60)
    skull = sample_vault(rng, vault or VaultRanges(), 60)
    middle, face = sample_base(rng, base or BaseRanges(), 60), sample_face(rng, FaceRanges(), 60)
    draw_neck(neck, where, canvas)
    draw_chest(chest, where, canvas)
    depth = draw_vault(skull, where, canvas)
    draw_base(middle, where, canvas)
    draw_face(face, where, canvas, depth)
    return canvas


def test_the_same_seed_gives_the_same_head_and_another_seed_another() -> None:
    where = lattice((-40, -30, -25), (40, 40, 10), 2.0)
    first, again, other = head(where, 1), head(where, 1), head(where, 2)
    assert torch.equal(first.hu, again.hu)
    assert (first.hu - other.hu).abs().mean() > 20


def test_a_part_of_the_head_is_drawn_as_in_the_whole() -> None:
    whole = lattice((-64, -60, -30), (64, 60, 30), 2.0)
    part = Where(*(c[8:24, 12:50, 10:50].contiguous() for c in (whole.x, whole.y, whole.z)))
    difference = head(whole, 3).hu[8:24, 12:50, 10:50] - head(part, 3).hu
    # Only the rim of a mastoid cell sees its neighbours.
    assert (difference.abs() > 1).float().mean() < 0.01


def test_the_vault_has_two_tables_and_diploe_and_its_thickness_follows_its_range() -> None:
    where = lattice((0, 60, 60), (0, 125, 60), 0.25)
    thick = {}
    for factor in (0.7, 1.4):
        ranges = VaultRanges(thickness_mean_sd=(factor, 0.0), hyperostosis_probability=0, suture_hu=(0, 0))
        canvas = head(where, 4, vault=ranges)
        line = canvas.bone[0, :, 0]
        thick[factor] = 0.25 * float(line.sum())
        hu = canvas.hu[0, :, 0][line > 0.9]
        third = len(hu) // 3
        assert hu[third:-third].min() < 0.75 * min(hu[:third].max(), hu[-third:].max())
    assert thick[1.4] > 1.6 * thick[0.7]


def test_no_bone_lies_in_the_brain_and_bone_is_bone() -> None:
    where = lattice((-55, -49, -40), (55, 60, 55), 2.0)
    canvas = head(where, 5)
    brain = where.atlas()[:3].sum(0) > 0.98
    middle = (where.x.abs() < 8) & (where.y > 25) & (where.z < 30) & (where.z > -30)
    assert canvas.bone[brain & middle].max() < 0.05
    assert 150 < canvas.hu[canvas.bone > 0.95].median() < 1500
    for share in (canvas.bone, canvas.uptake, canvas.grey, canvas.csf, canvas.white):
        assert share.min() >= -1e-5
        assert share.max() <= 1 + 1e-5


@pytest.mark.parametrize(
    ("what", "place", "low", "high"),
    [
        ("globe", (33, -52, -8), -10, 30),
        ("ear canal", (66, 24, -21.5), -1001, -600),
        ("otic capsule", (33, 29, -8), 1000, 2600),
        ("nasopharynx", (0, 2, -42), -1001, -600),
        ("dens", (0, 32.5, -60), 60, 1800),
        ("cord", (0, 50, -110), 0, 60),
        ("trachea", (0, 12, -210), -1001, -800),
        ("lung", (70, 30, -300), -960, -300),
    ],
)
def test_tissue_is_where_anatomy_has_it(what: str, place: tuple[float, ...], low: float, high: float) -> None:
    where = lattice(tuple(p - 1 for p in place), tuple(p + 1 for p in place))
    for seed in (6, 7):
        assert low < float(head(where, seed).hu[1, 1, 1]) < high, what


def test_mastoids_range_from_sclerotic_to_pneumatised() -> None:
    where = lattice((44, 22, -32), (72, 56, 0))
    air = []
    for probability, wide in ((1.0, (0.0, 0.0)), (0.0, (1.1, 1.1))):
        temporal = TemporalRanges(
            sclerotic_probability=probability, pneumatisation=wide, asymmetry=0.0, opaque_probability=0.0
        )
        canvas = head(where, 8, base=BaseRanges(temporal=temporal))
        air.append(float((canvas.hu < -300).float().mean()))
    assert air[1] > 0.1
    assert air[1] > 2 * air[0]


def test_the_vertebral_artery_has_a_free_way_through_the_transverse_processes() -> None:
    where = lattice((12, 30, -136), (24, 44, -90), 0.5)
    canvas = head(where, 9)
    way = (((where.x - 17.9) ** 2 + (where.y - 37) ** 2) < 2.0**2).float()
    ring = (((where.x - 17.9) ** 2 + (where.y - 37) ** 2) < 6.0**2).float() - way
    assert float((canvas.bone * way).sum() / way.sum()) < 0.15
    assert float((canvas.bone * ring).sum() / ring.sum()) > 0.15


def test_a_crop_holds_every_point_of_its_box_on_a_tilted_grid() -> None:
    plain = lattice((-50, -50, -50), (50, 50, 50), 1.5)
    c, s = np.cos(0.4), np.sin(0.4)
    tilted = Where(plain.x * c - plain.z * s, plain.y, plain.x * s + plain.z * c)
    canvas = Canvas.of_air(tilted)
    low, high = (5.0, -20.0, -12.0), (14.0, -3.0, 8.0)
    plot = Ground.of(tilted, canvas).crop(low, high)
    assert plot is not None
    plot.put(torch.ones_like(plot.where.x), 0.0)
    inside = torch.ones_like(tilted.x, dtype=torch.bool)
    for value, a, b in zip((tilted.x, tilted.y, tilted.z), low, high, strict=True):
        inside &= (value > a) & (value < b)
    assert inside.any()
    assert (canvas.hu[inside] == 0).all()
    assert (canvas.hu == 0).float().mean() < 0.2
