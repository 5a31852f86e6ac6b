"""What one slice shows: a brain within bone or none, and lit vessels by area and brightness."""

import numpy as np
import numpy.typing as npt
import pytest

from lvo.dicom.probe import lumen

Slice = npt.NDArray[np.int16]
PIXELS = [(0.45, 0.45), (1.0, 1.0), (1.0, 0.7), (2.0, 2.0), (4.5, 4.5)]


def head(
    pixel: tuple[float, float], *lit: tuple[float, float, float], skull: float = 900, hu: float = 320
) -> Slice:
    """HU of a round head 170 mm wide in a field of 216 mm; what is lit is (x, y, radius) in mm."""
    y, x = ((np.arange(round(216 / p)) - (round(216 / p) - 1) / 2) * p for p in pixel)
    y, x = y[:, None], x[None, :]
    radius = np.hypot(x, y)
    image = np.select([radius < 70, radius < 80, radius < 85], [35, skull, 20], -1000)
    for across, down, wide in lit:
        image = np.where(np.hypot(x - across, y - down) < wide, hu, image)
    return image.astype(np.int16)


@pytest.mark.parametrize("pixel", PIXELS)
def test_vessels_are_measured_whatever_the_pixels(pixel: tuple[float, float]) -> None:
    found = lumen(head(pixel, (30, 0, 8), (-30, 10, 8)), pixel)
    assert found is not None
    assert found.area_cm2 == pytest.approx(2 * np.pi * 0.8**2, rel=0.15)
    assert np.percentile(found.hu, 80) == pytest.approx(320)


@pytest.mark.parametrize("pixel", PIXELS)
def test_a_plain_head_shows_none(pixel: tuple[float, float]) -> None:
    found = lumen(head(pixel), pixel)
    assert found is not None and found.area_cm2 == 0 and not found.hu.size


def test_a_speck_and_what_lies_at_the_edge_are_no_vessels() -> None:
    found = lumen(head((1.0, 1.0), (20.5, 0.5, 0.6), (68.5, 0, 1.5)), (1.0, 1.0))
    assert found is not None and found.area_cm2 == 0


def test_noise_neither_hides_the_brain_nor_lights_it() -> None:
    grain = np.random.default_rng(0).normal(0, 45, (480, 480))
    found = lumen((head((0.45, 0.45)) + grain).astype(np.int16), (0.45, 0.45))
    assert found is not None and found.area_cm2 < 0.08


def test_no_brain_without_bone_round_it_or_of_another_size() -> None:
    pixel = (1.0, 1.0)
    open_sides = head(pixel)
    open_sides[50:166][open_sides[50:166] == 900] = 35
    assert lumen(head(pixel, skull=35), pixel) is None
    assert lumen(open_sides, pixel) is None
    assert lumen(head(pixel), (0.4, 0.4)) is None
    assert lumen(head(pixel), (2.0, 2.0)) is None
    assert lumen(np.full((200, 200), 900, np.int16), pixel) is None
    assert lumen(np.zeros((0, 0), np.int16), pixel) is None


def test_a_gap_in_the_skull_is_allowed() -> None:
    open_skull = head((1.0, 1.0))
    open_skull[:50][open_skull[:50] == 900] = 35
    assert lumen(open_skull, (1.0, 1.0)) is not None
