from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from lvo.imaging.quality import check_metal, check_motion, measure_motion
from lvo.imaging.resample import SKULL_BOX, to_head
from lvo.study import HeadPose, Volume

IDENTITY = HeadPose(
    matrix=tuple(tuple(float(v) for v in row) for row in np.eye(4)),
    pitch_deg=0, roll_deg=0, yaw_deg=0, scale=1, residual_mm=1, support=1, accepted=True,
)  # fmt: skip
AFFINE = np.array([[0, 0, 2, -95], [0, 2, 0, -114], [1.5, 0, 0, -45], [0, 0, 0, 1.0]])
Z, Y, X = (
    first + step * np.arange(n).reshape(shape)
    for first, step, n, shape in (
        (-45, 1.5, 84, (-1, 1, 1)),
        (-114, 2.0, 112, (-1, 1)),
        (-95, 2.0, 96, (-1,)),
    )
)


@cache
def still_head():
    """Brain in a skull that leans forward and is no body of revolution, with noise; HU."""
    radius = np.sqrt((X / 70) ** 2 + ((Y - 8 + 0.15 * Z) / (88 - 0.05 * X)) ** 2 + ((Z - 10) / 95) ** 2)
    hu = np.interp(radius, (0.90, 0.92, 1.0, 1.02, 1.07, 1.09), (35, 1000, 1000, 40, 40, -1000))
    return (hu + np.random.default_rng(0).normal(0, 12, hu.shape)).astype(np.int16)


def moved(moves):
    """The head whose slice at height z lies `moves(z)` = (y, x) mm beside its place."""
    hu = still_head().copy()
    for k, z in enumerate(Z.ravel()):
        if any(moves(z)):
            hu[k] = ndimage.shift(still_head()[k], np.array(moves(z)) / 2, order=1, cval=-1000)
    return hu


def with_metal(centre, radius_mm, streak_hu=0):
    """The head with a ball of metal, and rays from it that are as far below the brain as above it."""
    hu = still_head().astype(float)
    z, y, x = Z - centre[2], Y - centre[1], X - centre[0]
    rays = np.sign(np.sin(12 * np.arctan2(y, x))) * streak_hu * (np.abs(z) < radius_mm)
    hu += np.where(hu > -500, rays, 0)
    hu[np.sqrt(x**2 + y**2 + z**2) < radius_mm] = 3071
    return hu.astype(np.int16)


def codes(hu):
    volume = Volume(hu, AFFINE)
    head = to_head(volume, IDENTITY, SKULL_BOX)
    found = (*check_motion(volume, IDENTITY), *check_metal(volume, IDENTITY, head))
    return [(r.code, r.kind) for r in found]


def test_a_clean_head_passes():
    assert codes(still_head()) == []


@pytest.mark.parametrize(
    "moves",
    [
        lambda z: (5 * (z > 4), 0),
        lambda z: (0, 5 * (z > -8)),
        lambda z: (3.6 * (10 < z < 20), 3.6 * (10 < z < 20)),
        lambda z: (2.5 * np.sin(z) * (abs(z) < 15), 0),
    ],
)
def test_a_jump_of_five_millimetres_is_a_rejection(moves):
    assert codes(moved(moves)) == [("motion", "rejection")]


def test_a_jump_of_two_millimetres_is_a_caution():
    assert codes(moved(lambda z: (0, 2.4 * (z > 4)))) == [("some-motion", "caution")]


def test_a_turn_of_the_head_between_two_slices_is_a_rejection():
    hu = still_head().copy()
    hu[35:] = ndimage.rotate(hu[35:], 7, axes=(1, 2), reshape=False, order=1, cval=-1000)
    assert codes(hu) == [("motion", "rejection")]


def test_two_heads_in_one_slice_are_motion():
    double = (still_head() / 2 + moved(lambda z: (0, 8 * (0 < z < 15))) / 2).astype(np.int16)
    assert codes(double) == [("motion", "rejection")]


def test_a_head_that_lies_askew_has_not_moved():
    assert codes(moved(lambda z: (0.5 * z, 0.2 * z))) == []


def test_motion_away_from_the_vessels_does_not_count():
    assert codes(moved(lambda z: (8 * (z > 60), 0))) == []


@pytest.mark.parametrize("part", [slice(0, 3), slice(74, 84)])
def test_what_does_not_show_the_region_is_not_motion(part):
    affine = AFFINE.copy()
    affine[2, 3] += 1.5 * part.start
    assert check_motion(Volume(still_head()[part], affine), IDENTITY) == ()


def test_metal_outside_the_vessels_is_a_caution():
    assert codes(with_metal((60, 20, 60), 4, streak_hu=200)) == [("metal", "caution")]


def test_a_small_clip_with_hardly_a_streak_is_a_caution():
    assert codes(with_metal((30, -3, 15), 2.5, streak_hu=20)) == [("metal", "caution")]


def test_a_coil_with_streaks_through_the_arteries_is_a_rejection():
    assert codes(with_metal((10, 5, 15), 5, streak_hu=200)) == [("metal-over-vessels", "rejection")]


def test_a_large_lump_of_metal_is_a_rejection_without_any_streak():
    assert codes(with_metal((10, 5, 15), 8)) == [("metal-over-vessels", "rejection")]


def test_dense_bone_is_not_metal():
    hu = still_head().copy()
    hu[hu > 800] = 2700
    assert codes(hu) == []


def test_left_and_right_are_treated_alike():
    """The grid is symmetric about x = 0, so a mirrored array is a mirrored patient."""
    clipped = with_metal((30, -3, 15), 2.5, streak_hu=20)
    assert codes(clipped) == codes(clipped[..., ::-1].copy())
    for mm in (0.0, 2.4):
        hu = moved(lambda z, mm=mm: (0, mm * (z > 4)))
        pair = [measure_motion(Volume(h, AFFINE), IDENTITY) for h in (hu, hu[..., ::-1].copy())]
        assert pair[0] == pytest.approx(pair[1], abs=0.15)
