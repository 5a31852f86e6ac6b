import numpy as np
import pytest
import torch

from lvo.phantom.scanner.artefacts import Beam, Rays, artefact_maps
from lvo.phantom.scanner.metal import MetalObject, MetalRanges, add_streaks, draw_metal, metal_streaks
from lvo.phantom.scanner.xray import calcium_scale, scale_calcium

STEP = 4.0
AFFINE = np.array([[0, 0, STEP, -126], [0, STEP, 0, -126], [STEP, 0, 0, 0], [0, 0, 0, 1.0]])
Y, X = np.mgrid[:64, :64] * STEP - 126


def body(inside, *bones, hu=1400.0, slices=3, fill=20.0):
    """Soft tissue in air with round bones (x, y, radius mm), the same in every slice."""
    image = np.where(inside, fill, -1000.0)
    for x, y, radius in bones:
        image[np.hypot(X - x, Y - y) < radius] = hu
    return torch.from_numpy(image.astype(np.float32)).repeat(slices, 1, 1)


HEAD = np.hypot(X, Y) < 85
PETROUS = ((-38, 0, 14), (38, 0, 14))


def at(maps, x, y, k=1):
    return float(maps[k, round((y + 126) / STEP), round((x + 126) / STEP)])


def test_rays_measure_chords_and_reconstruct_what_they_went_through():
    rays = Rays.of(64, 64, STEP, 60, "cpu")
    disc = torch.from_numpy((np.hypot(X, Y) < 80).astype(np.float32))[None]
    views = rays.project(disc)
    assert float(views.max()) == pytest.approx(160, abs=8)
    assert float(views.sum()) / 60 * STEP == pytest.approx(np.pi * 80**2, rel=0.02)
    assert float(rays.reconstruct(views)[0, 24:40, 24:40].mean()) == pytest.approx(1, abs=0.02)


def test_water_is_calibrated():
    maps = artefact_maps(body(HEAD, fill=0.0), AFFINE, Beam(hardening=1.0, scatter=0.0))
    assert float(maps.error[1, 20:44, 20:44].abs().max()) < 1.0


def test_a_dark_bar_runs_between_dense_bones():
    maps = artefact_maps(body(HEAD, *PETROUS), AFFINE, Beam(hardening=1.0, scatter=0.0))
    assert -60 < at(maps.error, 0, 0) < -8
    assert at(maps.error, 0, 0) < at(maps.error, 0, 40) - 8


def test_hardening_is_stronger_at_low_voltage_and_none_when_corrected():
    bars = []
    for kvp, hardening in ((80, 1.0), (120, 1.0), (120, 0.0)):
        head = body(HEAD, *PETROUS)
        scale_calcium(head, kvp)
        beam = Beam(kvp=kvp, hardening=hardening, scatter=0.0)
        bars.append(at(artefact_maps(head, AFFINE, beam).error, 0, 0))
    assert bars[0] < bars[1] < -5
    assert bars[2] == pytest.approx(0, abs=0.5)


def test_noise_is_higher_between_bones_and_follows_the_body():
    plain, bony = (artefact_maps(body(HEAD, *b), AFFINE, Beam(modulation=0.0)) for b in ((), PETROUS))
    assert at(bony.noise, 0, 0) > 1.1 * at(plain.noise, 0, 0)
    assert at(plain.noise, 0, 0) > at(plain.noise, 0, 75)
    small = artefact_maps(body(np.hypot(X, Y) < 50), AFFINE, Beam(modulation=0.0))
    assert at(small.noise, 0, 0) < 0.7 * at(plain.noise, 0, 0)


def test_only_shoulders_starve_the_lateral_rays():
    wide = np.mgrid[:48, :120]
    y, x = wide[0] * STEP - 94, wide[1] * STEP - 238
    affine = AFFINE.copy()
    affine[:2, 3] = -238, -94
    shoulders = np.where((x / 220) ** 2 + (y / 80) ** 2 < 1, 40.0, -1000.0)
    shoulders[np.hypot(np.abs(x) - 150, y) < 22] = 900
    hu = torch.from_numpy(shoulders.astype(np.float32)).repeat(2, 1, 1)
    maps = artefact_maps(hu, affine, Beam())
    assert float(maps.streaks[0, 24, 60]) > 0.5
    assert -120 < float(maps.error[0, 24, 60]) < 0
    assert float(artefact_maps(body(HEAD), AFFINE, Beam()).streaks.max()) < 0.25


def test_maps_are_found_on_any_lattice():
    maps = artefact_maps(body(HEAD, *PETROUS, slices=8), AFFINE, Beam())
    fine = np.array([[0, 0, 0.9, -40], [0, 0.8, 0.1, -30], [1.0, 0, 0, 6], [0, 0, 0, 1.0]])
    found = maps.on(fine, (20, 70, 90))
    for index in ((0, 0, 0), (7, 33, 44), (19, 69, 89)):
        x, y, z = (fine @ [*index, 1])[:3]
        k, j, i = np.array([z, y + 126, x + 126]) / STEP
        part = maps.error[int(k), int(j) : int(j) + 2, int(i) : int(i) + 2].numpy()
        expected = (np.outer([1 - j % 1, j % 1], [1 - i % 1, i % 1]) * part).sum()
        assert float(found[0][index]) == pytest.approx(expected, abs=3)
    assert torch.allclose(maps.on(fine, (20, 70, 90), 5, 9), found[:, 5:9], atol=1.5)


def test_calcium_is_brighter_at_low_voltage_and_soft_tissue_is_not():
    assert calcium_scale(120) == pytest.approx(1)
    assert 1.25 < calcium_scale(80) < 1.5
    assert 0.85 < calcium_scale(140) < 0.95
    hu = torch.tensor([-1000.0, 40.0, 1100.0])
    scale_calcium(hu, 80)
    assert hu.tolist() == pytest.approx([-1000, 40, 100 + 1000 * calcium_scale(80)])


# ----------------------------------------------------------------------------- metal


def coil(material="gold", radius=4.0, fill=0.3, at=(10.0, 0.0, 30.0)):
    return MetalObject("coil", np.array([at]), radius, material, fill)


def streaks_of(thing, seed=0, **ranges):
    found = metal_streaks(
        [thing],
        np.eye(4),
        body(HEAD, slices=16),
        AFFINE,
        Beam(),
        np.random.default_rng(seed),
        MetalRanges(strength=(1.0, 1.0), angles=64, **ranges),
    )
    image = torch.zeros(60, 128, 128)
    lattice = np.array([[0, 0, 2, -127], [0, 2, 0, -127], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    add_streaks(image, lattice, found)
    away = np.hypot(np.arange(128)[:, None] * 2 - 127, np.arange(128) * 2 - 137)
    return image, torch.from_numpy((away > 12) & (away < 60))


def test_metal_throws_bright_and_dark_streaks_through_its_own_slices():
    image, around = streaks_of(coil())
    assert float(image[30][around].max()) > 60
    assert float(image[30][around].min()) < -60
    assert abs(float(image[30][around].mean())) < 0.35 * float(image[30][around].std())
    assert float(image[:22].abs().max()) == 0
    assert float(image[39:].abs().max()) == 0


def test_heavier_metal_throws_more():
    light, heavy = (
        streaks_of(coil(m, fill=1.0, radius=2.0), noise=(0.005, 0.005)) for m in ("titanium", "gold")
    )
    assert float(heavy[0][30][heavy[1]].std()) > 3 * float(light[0][30][light[1]].std()) > 0.3


@pytest.mark.parametrize("radius", [0.3, 1.0, 3.0])
def test_as_much_metal_is_drawn_as_there_is(radius):
    lattice = np.array([[0, 0, 1, -20], [0, 1, 0, -20], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    ball, wire = torch.zeros(40, 40, 40), torch.zeros(40, 40, 40)
    draw_metal(ball, lattice, [coil(radius=radius, fill=1.0, at=(0.2, 0.3, 20.1))])
    line = np.array([[0.2, 0.3, -10.0], [0.2, 0.3, 50.0]])
    draw_metal(wire, lattice, [MetalObject("wire", line, radius, "steel")])
    assert float(ball.sum()) / 8000 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.1)
    assert float(wire[10:30].sum()) / 8000 == pytest.approx(20 * np.pi * radius**2, rel=0.1)


def test_metal_is_drawn_where_it_is_and_saturates_the_scale():
    hu = torch.full((60, 128, 128), 30.0)
    lattice = np.array([[0, 0, 1, -64], [0, 1, 0, -64], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    lead = MetalObject("electrode", np.array([[0.0, 0, 10], [10, 0, 40], [10, 20, 50]]), 1.5, "gold")
    draw_metal(hu, lattice, [lead, coil(at=(-30.0, 5.0, 20.0), fill=1.0, radius=4.0)])
    assert float(hu[25, 64, 69]) > 3071
    assert float(hu[20, 69, 34]) > 3071
    assert float(hu[25, 64, 90]) == 30
    ball = hu[10:31, 58:80, 24:45] > 4000
    assert int(ball.sum()) == pytest.approx(4 / 3 * np.pi * 4**3, rel=0.2)
