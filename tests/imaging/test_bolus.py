"""Levels of arteries and torcula, and what is read from them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from lvo.imaging.bolus import TORCULA, Levels, artery_hu, read_phase, report_bolus, torcula_hu
from lvo.imaging.resample import HEAD_BOX

Array = npt.NDArray[np.float32]
HALF = tuple(n // 2 for n in HEAD_BOX.shape)


def artery(hu: float, cells: int, noise: float = 10.0) -> tuple[Array, Array]:
    """A square artery of `cells` by `cells` voxels of 2 mm across and 24 mm long: CTA, certainty."""
    certainty = np.zeros(HALF, np.float32)
    certainty[10:22, 20 : 20 + cells, 20 : 20 + cells] = 0.95
    cta = np.random.default_rng(0).normal(35, noise, HEAD_BOX.shape).astype(np.float32)
    inside = certainty.repeat(2, 0).repeat(2, 1).repeat(2, 2) > 0
    cta[inside] += hu - 35
    return cta, certainty


@pytest.mark.parametrize("cells", [1, 2, 3])
def test_an_artery_is_as_bright_as_its_lumen_however_thin(cells: int) -> None:
    cta, certainty = artery(320, cells)
    assert artery_hu(cta, certainty) == pytest.approx(320, abs=25)


def test_bone_and_plaque_on_the_artery_do_not_count_as_contrast() -> None:
    cta, certainty = artery(300, 3)
    cta[:, 45:48, 40:] = 1100  # the outermost third of it lies in bone
    assert artery_hu(cta, certainty) == pytest.approx(300, abs=25)


def test_what_cannot_be_measured_is_not_guessed() -> None:
    cta, certainty = artery(300, 3)
    assert artery_hu(cta, certainty * 0.5) is None  # the detector is not certain
    few = certainty.copy()
    few[14:] = 0
    few[:, 21:], few[:, :, 21:] = 0, 0
    assert artery_hu(cta, few) is None  # too little of it
    noise = np.random.default_rng(0).uniform(100, 1200, HEAD_BOX.shape).astype(np.float32)
    assert artery_hu(noise, certainty) is None  # no level on which its voxels agree


def occiput(sinus: float) -> Array:
    """Brain, a sinus of 7 mm on the inner table, skull with marrow, and air behind; round the torcula."""
    part = np.random.default_rng(0).normal(35, 8, TORCULA.shape).astype(np.float32)
    z, x = np.ogrid[: TORCULA.shape[0], : TORCULA.shape[2]]
    round_sinus = np.hypot(z - 18, x - 23) < 6
    part[:, 18:25][np.broadcast_to(round_sinus[:, None], (40, 7, 46))] += sinus - 35
    part[:, 25:28], part[:, 28:31], part[:, 31:34], part[:, 34:] = 1200, 400, 1200, -1000
    return part


@pytest.mark.parametrize("hu", [60.0, 150.0, 280.0, 400.0])
def test_the_torcula_is_told_from_bone_and_marrow(hu: float) -> None:
    assert torcula_hu(occiput(hu)) == pytest.approx(hu, abs=20)


def test_a_torcula_outside_the_scan_is_unknown() -> None:
    part = occiput(200)
    part[:8] = -3000
    assert torcula_hu(part) is None
    assert torcula_hu(np.full(TORCULA.shape, -1000, np.float32)) is None


@pytest.mark.parametrize(
    ("torcula", "phase"),
    [(55, "early-arterial"), (120, "peak-arterial"), (190, "peak-arterial"), (210, "late"), (330, "venous")],
)
def test_the_phase_follows_from_torcula_and_arteries(torcula: float, phase: str) -> None:
    assert read_phase(Levels(300, 290, None, torcula))[0] == phase


@pytest.mark.parametrize("levels", [Levels(None, None, None, 150), Levels(300, 300, 300, None)])
def test_without_arteries_or_torcula_there_is_no_phase(levels: Levels) -> None:
    phase, why = read_phase(levels)
    assert phase is None and "could not be measured" in why


@pytest.mark.parametrize(
    ("levels", "codes"),
    [
        (Levels(300, 290, 280, 120), ()),
        (Levels(140, 150, None, 100), ("weak-arterial-contrast",)),
        (Levels(300, 290, None, 50), ("early-phase",)),
        (Levels(300, 290, None, 260), ("late-phase",)),
        (Levels(180, 300, None, 120), ("carotid-contrast-differs",)),
        (Levels(None, 300, None, 120), ()),  # not measured is not the same as not filled
    ],
)
def test_each_level_leads_to_its_caution(levels: Levels, codes: tuple[str, ...]) -> None:
    report, cautions = report_bolus(levels)
    assert report.cautions == codes == tuple(caution.code for caution in cautions)
    assert all(caution.kind == "caution" for caution in cautions)


def test_the_side_with_less_contrast_is_named() -> None:
    _, (left,) = report_bolus(Levels(180, 300, None, 120))
    _, (right,) = report_bolus(Levels(300, 180, None, 120))
    assert "left intracranial ICA is less" in left.message
    assert "right intracranial ICA is less" in right.message
