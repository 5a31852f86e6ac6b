from dataclasses import replace

import numpy as np
import pytest

from lvo.imaging.acceptance import check_contrast, check_coverage, check_gaps, check_neck, measure_contrast
from lvo.imaging.resample import SKULL_BOX
from lvo.study import HeadPose, Stack, Volume

IDENTITY = HeadPose(
    matrix=tuple(tuple(float(v) for v in row) for row in np.eye(4)),
    pitch_deg=0, roll_deg=0, yaw_deg=0, scale=1, residual_mm=1, support=1, accepted=True,
)  # fmt: skip


def scan(low, high, fill=30):
    """Tissue between two head-frame heights."""
    affine = np.zeros((4, 4))
    affine[0, 2] = affine[1, 1] = affine[2, 0] = 2
    affine[:, 3] = (-100, -110, low, 1)
    return Volume(np.full((int((high - low) / 2), 120, 100), fill, np.int16), affine)


def brain(artery_hu=None, vein_hu=None):
    """Brain with a line of artery along M1 and one of vein at the back, between slabs of bone."""
    rng = np.random.default_rng(0)
    head = (35 + rng.normal(0, 8, SKULL_BOX.shape)).astype(np.float32)
    head[:25] = 1000
    lines = [(artery_hu, (50, 50), (41, 101)), (artery_hu, (60, 60), (41, 101))]
    lines += [(vein_hu, (85, 95), (66, 78)), (vein_hu, (87, 65), (66, 78))]
    for hu, (k, j), span in lines:
        if hu is not None:
            head[k - 2 : k + 2, j - 2 : j + 2, slice(*span)] = hu
    return head


def codes(reasons):
    return [(r.code, r.kind) for r in reasons]


def test_a_whole_head_is_covered():
    assert check_coverage(scan(-60, 150), IDENTITY) == ()


@pytest.mark.parametrize(("low", "high"), [(-60, 10), (0, 150), (200, 300)])
def test_a_cut_through_the_circle_of_willis_is_a_rejection(low, high):
    assert codes(check_coverage(scan(low, high), IDENTITY)) == [("coverage-incomplete", "rejection")]


def test_a_cut_at_the_edge_of_the_box_is_a_caution():
    assert codes(check_coverage(scan(-34, 150), IDENTITY)) == [("coverage-partial", "caution")]


@pytest.mark.parametrize(("low", "told"), [(-90, []), (-60, [("neck-unscanned", "information")])])
def test_a_neck_that_was_not_scanned_is_told(low, told):
    assert codes(check_neck(scan(low, 150), IDENTITY)) == told


def test_padding_is_not_coverage():
    assert codes(check_coverage(scan(-60, 150, fill=-2000), IDENTITY)) == [
        ("coverage-incomplete", "rejection")
    ]


@pytest.mark.parametrize(("gap", "refused"), [((-80, -70), False), ((-20, -12), True), ((100, 130), False)])
def test_a_gap_is_a_rejection_where_it_crosses_the_box(gap, refused):
    stack = Stack("1", "2", (1, 0, 0, 0, 1, 0), (2, 2), 120, 100, ())
    volume = replace(scan(-90, 150), stack=stack, gaps=(gap,))
    found = codes(check_gaps(volume, IDENTITY))
    assert found == ([("slices-missing", "rejection")] if refused else [])


def test_no_contrast_is_a_rejection_however_much_bone_there_is():
    assert codes(check_contrast(brain())) == [("no-arterial-contrast", "rejection")]


def test_arterial_phase_passes_and_is_measured():
    assert check_contrast(brain(artery_hu=350, vein_hu=150)) == ()
    assert measure_contrast(brain(artery_hu=350)).artery_hu == pytest.approx(350, abs=5)


def test_weak_contrast_is_a_caution():
    assert codes(check_contrast(brain(artery_hu=165))) == [("weak-arterial-contrast", "caution")]


def test_bright_veins_are_a_caution():
    assert codes(check_contrast(brain(artery_hu=250, vein_hu=240))) == [("late-phase", "caution")]


@pytest.mark.parametrize("artery_hu", [170, 250])
def test_veins_that_outshine_the_arteries_are_a_rejection(artery_hu):
    assert codes(check_contrast(brain(artery_hu=artery_hu, vein_hu=360))) == [("venous-phase", "rejection")]


def test_one_dark_artery_does_not_make_a_venous_phase():
    head = brain(artery_hu=250, vein_hu=200)
    head[48:52, 48:52, :72] = 35
    assert ("venous-phase", "rejection") not in codes(check_contrast(head))


def test_pineal_calcium_is_no_vein():
    head = brain(artery_hu=250, vein_hu=100)
    head[68:74, 74:80, 69:75] = 600
    assert codes(check_contrast(head)) == []


def test_calcium_of_the_falx_is_no_vein():
    head = brain(artery_hu=250, vein_hu=80)
    head[80:94, 96:110, 70:74] = 600
    assert codes(check_contrast(head)) == []


def test_an_empty_box_is_no_contrast():
    air = np.full(SKULL_BOX.shape, -1024, np.float32)
    assert codes(check_contrast(air)) == [("no-arterial-contrast", "rejection")]
