from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from lvo.phantom.scanner.kernels import Kernel, blur
from lvo.phantom.scanner.motion import Motion, MotionRanges, move, sample_motion
from lvo.phantom.scanner.noise import Grain, noise_field
from lvo.phantom.scanner.recon import (
    Exposure,
    Table,
    add_table,
    crop,
    develop,
    pad_circle,
    reformat,
    slabs,
    to_volume,
    two_spacings,
)
from lvo.phantom.scanner.scan import noise_sd, sample_scan
from lvo.phantom.scanner.scan_ranges import ScanRanges

SOFT, BONE = Kernel("soft", 0.38), Kernel("bone", 0.9)
AFFINE = np.array([[0, 0, 0.8, -30], [0, 0.9, 0, -25], [1.5, 0, 0, 10], [0, 0, 0, 1.0]])
STEPS = (1.0, 0.45, 0.45)


def rng(seed=0):
    return np.random.default_rng(seed)


def correlation(noise, axis, lag=1):
    return float((noise * np.roll(noise, lag, axis)).mean() / noise.var())


def spectrum(noise, step):
    """Frequencies and radially averaged noise power of slices."""
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(0)
    f = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n, step) for n in noise.shape[1:]), indexing="ij"))
    edges = np.arange(0, 0.9, 0.04)
    bins = np.digitize(f, edges)
    return edges[:-1] + 0.02, np.array([power[bins == n].mean() for n in range(1, len(edges))])


def ball(affine, shape, centre, radius=4.0):
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    away = index @ affine[:3, :3].T + affine[:3, 3] - centre
    return torch.from_numpy((np.linalg.norm(away, axis=-1) < radius).astype(np.float32)) * 1000


def middle(image):
    """Centre of gravity of an image, mm."""
    hu, affine = image
    weight = np.asarray(hu, float)
    index = [
        (weight * np.arange(n).reshape(np.roll([-1, 1, 1], a))).sum() for a, n in enumerate(weight.shape)
    ]
    return (affine @ [*(np.array(index) / weight.sum()), 1])[:3]


# ----------------------------------------------------------------------------- noise


@pytest.mark.parametrize("kernel", [SOFT, BONE])
def test_noise_has_the_deviation_and_the_spectrum_of_its_kernel(kernel):
    noise = noise_field((32, 192, 200), STEPS, 10.0, Grain(kernel, 1.0), rng()).numpy()
    assert noise.std() == pytest.approx(10, rel=0.02)
    assert abs(noise.mean()) < 0.2
    f, power = spectrum(noise, 0.45)
    expected = kernel.power(torch.from_numpy(f)).numpy()
    assert power / power.mean() == pytest.approx(expected / expected.mean(), rel=0.25, abs=0.05)
    assert f[power.argmax()] == pytest.approx(kernel.peak, abs=0.1)


def test_iterative_reconstruction_makes_noise_coarser():
    plain, smooth = (
        noise_field((8, 160, 160), STEPS, 10.0, Grain(replace(SOFT, iterative=v), 1.0), rng()).numpy()
        for v in (0.0, 0.8)
    )
    assert correlation(smooth, 2) > correlation(plain, 2) + 0.05


def test_thick_slices_share_noise_with_their_neighbours():
    thin, thick = (noise_field((32, 96, 96), STEPS, 10.0, Grain(SOFT, t), rng()).numpy() for t in (0.5, 3.0))
    assert correlation(thin, 0) < 0.1
    assert correlation(thick, 0) > 0.7


def test_noise_is_fresh_with_every_draw_and_the_same_for_the_same_seed():
    a, b, c = (noise_field((8, 64, 64), STEPS, 5.0, Grain(SOFT, 1.0), rng(s)) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert abs(np.corrcoef(a.flatten(), c.flatten())[0, 1]) < 0.1


@pytest.mark.parametrize("kernel", [SOFT, BONE])
def test_noise_drawn_on_another_lattice_is_that_of_a_scan_resampled_to_it(kernel):
    scan_mm, step = (0.6, 0.45, 0.45), 0.943
    scan = noise_field((128, 176, 176), scan_mm, 10.0, Grain(kernel, 0.75), rng(1))
    halved = functional.avg_pool3d(scan[None, None], (1, 2, 2))
    axes = [
        torch.linspace(0, (48 - 1) * step / p * 2 / (n - 1), 48) - 0.9
        for n, p in zip(halved.shape[2:], (0.6, 0.9, 0.9), strict=True)
    ]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    resampled = functional.grid_sample(halved, torch.stack([x, y, z], -1)[None], align_corners=True)[
        0, 0
    ].numpy()
    direct = noise_field((48, 48, 48), (step,) * 3, 10.0, Grain(kernel, 0.75, scan_mm), rng(2)).numpy()
    assert direct.std() == pytest.approx(resampled.std(), rel=0.03)
    for axis in range(3):
        assert correlation(direct, axis) == pytest.approx(correlation(resampled, axis), abs=0.06)


def test_blur_spreads_a_point_by_its_deviation_and_keeps_its_sum():
    hu = torch.zeros(31, 41, 41)
    hu[15, 20, 20] = 1000
    blur(hu, (1.0, 0.5, 0.5), (1.2, 0.8, 0.3), already_mm=(0.0, 0.3, 0.3))
    assert float(hu.sum()) == pytest.approx(1000, rel=1e-4)
    along = [hu.sum([a for a in range(3) if a != axis]).numpy() / 1000 for axis in range(3)]
    spread = [np.sqrt((p * (np.arange(len(p)) - len(p) // 2) ** 2).sum()) for p in along]
    assert spread == pytest.approx([1.2, np.sqrt(0.8**2 - 0.3**2) / 0.5, 0.0], rel=0.06, abs=1e-6)


def test_noise_falls_with_the_root_of_dose_and_thickness():
    scan = Exposure(120, 200, SOFT, 1.0, 1.0, 0.0)
    base = noise_sd(scan, 3.2)
    assert noise_sd(replace(scan, mas=800), 3.2) == pytest.approx(base / 2)
    assert noise_sd(replace(scan, thickness_mm=4.0), 3.2) == pytest.approx(base / 2)
    assert noise_sd(replace(scan, kvp=80), 3.2) > 1.5 * base
    assert noise_sd(replace(scan, kernel=BONE), 3.2) > 3 * base


# ----------------------------------------------------------------------------- derived series


@pytest.mark.parametrize(
    "derive",
    [
        lambda image: slabs(image, 4.0, 2.0),
        lambda image: slabs(image, 2.5, 2.5),
        lambda image: reformat(image, "coronal", 1.8, 0.9),
        lambda image: reformat(image, "sagittal", 3.0, 2.0),
        lambda image: crop(image, 30.0, 70.0),
    ],
)
def test_derived_series_show_things_where_they_are(derive):
    centre = np.array([3.0, -4.0, 49.0])
    hu, affine = derive((ball(AFFINE, (50, 60, 70), centre), AFFINE))
    assert middle((hu, affine)) == pytest.approx(centre, abs=0.4)
    assert float(hu.max()) > 900


def test_reformats_have_square_pixels_and_the_head_up():
    hu, affine = reformat((torch.zeros(50, 60, 70), AFFINE), "coronal", 3.0, 3.0)
    assert affine[:3, 1] == pytest.approx([0, 0, -0.8])
    assert affine[:3, 2] == pytest.approx([0.8, 0, 0])
    assert hu.shape[1] == pytest.approx(49 * 1.5 / 0.8, abs=2)


def test_slabs_of_maxima_keep_what_the_mean_dilutes():
    image = ball(AFFINE, (50, 60, 70), (3, -4, 49), 1.0), AFFINE
    assert float(slabs(image, 12.0, 3.0, "max")[0].max()) == 1000
    assert float(slabs(image, 12.0, 3.0)[0].max()) < 300


def test_two_spacings_join_without_gap_or_overlap():
    (low, a), (high, b) = two_spacings((torch.zeros(60, 4, 4), AFFINE), 55.0, 3.0, 6.0)
    top = a[2, 3] + a[2, 0] * (low.shape[0] - 1) + 1.5
    assert b[2, 3] - 3.0 == pytest.approx(top)
    assert (a[2, 0], b[2, 0]) == (3.0, 6.0)
    assert high.shape[0] == 7


def test_the_table_is_in_air_only_and_below():
    affine = np.array([[0, 0, 2, -130], [0, 2, 0, -130], [5, 0, 0, 0], [0, 0, 0, 1.0]])
    hu = torch.full((4, 131, 131), -1000.0)
    hu[:, 20:110] = 40.0
    before = hu.clone()
    add_table(hu, affine, Table(middle=(0.0, -10.0), shell_hu=200.0))
    assert torch.equal(hu[:, :110], before[:, :110])
    assert float(hu[:, 110:].max()) > -300
    assert torch.equal(hu, hu.flip(2))


def test_stored_values_are_whole_and_within_the_scanners_range():
    hu = torch.full((2, 32, 32), 3400.6)
    pad_circle(hu, -2000.0)
    stored = to_volume((hu, AFFINE), -2000.0).array
    assert stored.dtype == np.int16
    assert (stored[0, 0, 0], stored[0, 16, 16]) == (-2000, 3071)


def test_developing_adds_noise_of_the_exposure_and_blurs():
    hu = ball(AFFINE, (24, 96, 96), (8, 18, 28), 10.0)
    ideal = hu.clone()
    develop(hu, AFFINE, Exposure(120, 200, SOFT, 1.5, 1.5, 8.0), rng())
    assert float((hu - ideal)[:, :30].std()) == pytest.approx(8.0, rel=0.1)
    edge = (ideal - ideal.roll(1, 2)).abs() > 0
    assert float(hu[edge].std()) > 50


# ----------------------------------------------------------------------------- scans


def test_a_scan_is_the_same_for_the_same_seed_and_not_for_another():
    a, b, c = (sample_scan(rng(s)) for s in (4, 4, 5))
    assert np.array_equal(a.pose, b.pose)
    assert (a.noise_hu, a.sent, a.beam) == (b.noise_hu, b.sent, b.beam)
    assert a.noise_hu != c.noise_hu


def test_scans_lie_within_their_ranges_and_cover_the_head():
    r = ScanRanges(cut=0.0)
    for seed in range(40):
        scan = sample_scan(rng(seed), r)
        turn = scan.pose[:3, :3] / np.cbrt(np.linalg.det(scan.pose[:3, :3]))
        assert turn @ turn.T == pytest.approx(np.eye(3), abs=1e-9)
        affine, shape = scan.cta_lattice()
        last = affine @ [shape[0] - 1, 0, 0, 1]
        assert affine[2, 3] <= scan.pose[2, 3] - 40
        assert last[2] == pytest.approx(scan.coverage[1], abs=scan.slice_mm)
        assert (affine @ [0, (shape[1] - 1) / 2, (shape[2] - 1) / 2, 1])[:2] == pytest.approx(scan.centre)
        assert 3 < scan.noise_hu < 60 < scan.bone.noise_hu * 10


def test_the_number_of_slices_can_be_asked_for():
    assert sample_scan(rng(), slices=120, matrix=64).cta_lattice()[1] == (120, 64, 64)


def test_a_tilted_gantry_leans_the_slices_while_the_table_moves_along_z():
    scan = replace(sample_scan(rng()), tilt_deg=18.0)
    affine, shape = scan.ncct_lattice()
    assert affine[:2, 0] == pytest.approx([0, 0])
    normal = np.cross(affine[:3, 2], affine[:3, 1])
    assert np.degrees(np.arccos(abs(normal[2]) / np.linalg.norm(normal))) == pytest.approx(18.0)
    centre = affine @ [0, (shape[1] - 1) / 2, (shape[2] - 1) / 2, 1]
    assert centre[:3] == pytest.approx([*scan.centre, scan.ncct_coverage[0]])


# ----------------------------------------------------------------------------- motion


def stepped(z0=40.0, shift=(4.0, -3.0, 0.0), turn=0.0, **more):
    z = np.linspace(0, 90, 361)
    on = (z > z0).astype(float)
    return Motion("step", z, on[:, None] * np.array(shift), on * turn, (0.0, 0.0), **more)


@pytest.mark.parametrize("turned", [False, True])
def test_a_head_that_moves_is_seen_where_the_motion_says(turned):
    motion = stepped(shift=(4.0, -3.0, 1.5), turn=0.1)
    affine = AFFINE
    if turned:  # a lattice askew in the gantry, as the head frame is
        lean = np.radians(15)
        spin = np.array([[1, 0, 0], [0, np.cos(lean), -np.sin(lean)], [0, np.sin(lean), np.cos(lean)]])
        affine = AFFINE.copy()
        affine[:3, :3] = spin @ AFFINE[:3, :3]
        affine[:3, 3] += (5, 20, 5)
    for centre in ((-2.0, 2.0, 28.0), (2.0, 5.0, 52.0)):
        hu = ball(affine, (50, 60, 70), centre)
        move(hu, affine, motion)
        assert middle((hu, affine)) == pytest.approx(motion.points([centre])[0], abs=0.4)


def test_slices_before_the_step_are_left_alone():
    hu = ball(AFFINE, (50, 60, 70), (0, 0, 40), 12.0)
    before = hu.clone()
    move(hu, AFFINE, stepped(ghost=0.4, later_mm=3.0))
    height = AFFINE[2, 3] + AFFINE[2, 0] * np.arange(50)
    assert float((hu - before)[height < 36].abs().max()) < 0.1
    assert float((hu - before)[height > 42].abs().max()) > 500


def test_a_slice_that_sees_the_step_shows_two_contours():
    hu = ball(AFFINE, (50, 60, 70), (0, 0, 40), 12.0)
    move(hu, AFFINE, stepped(shift=(8.0, 0.0, 0.0), ghost=0.4, later_mm=3.0))
    levels = hu[19, 28]  # at z 38.5, 1.5 mm before the step
    assert bool(((levels > 350) & (levels < 450)).any())
    assert bool(((levels > 550) & (levels < 650)).any())


def test_motion_is_as_frequent_and_as_large_as_asked():
    ranges = MotionRanges(probability=0.5, size_mm=(2.0, 6.0), along=(0.0, 0.0))
    drawn = [sample_motion(rng(s), ranges, (0.0, 150.0), (0.0, 0.0)) for s in range(200)]
    moved = [m for m in drawn if m.kind != "still"]
    assert 70 < len(moved) < 130
    assert {m.kind for m in moved} == {"step", "drift", "swing"}
    assert max(m.largest_mm for m in moved) <= 6.0 + 1e-6
    assert max(m.largest_mm for m in drawn if m.kind == "still") == 0
