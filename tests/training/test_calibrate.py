"""A bundle calibrated on studies that came to it by the route."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the 'train' extra")

from lvo.anatomy import SITES, Segment, Side
from lvo.detector import load_detector
from lvo.detector.bundle import load_bundle
from lvo.detector.features import FEATURES, STRONGEST
from lvo.detector.reader import calibrated
from lvo.errors import TruthInvalid
from lvo.evaluation.cases import Case
from lvo.report.folder import write_result
from lvo.training.reader import study_truth
from lvo.training.site_data import SiteReadings
from scripts import calibrate
from tests.evaluation.builders import occlusion, perfect

RELEASED = Path(__file__).parents[2] / "models/lao-cta"
COLUMNS = "study,status,segment,side,clot_length_mm,collateral,position_x,position_y,position_z"


def studies(folder: Path, count: int) -> None:
    """Every other one occluded in the left M1."""
    for n in range(count):
        blocked = [occlusion((Segment.M1, Side.LEFT))] if n % 2 else []
        case = perfect(f"s{n:02d}", *blocked)
        assert case.result is not None
        (folder / case.study).mkdir(parents=True)
        write_result(case.result, folder / case.study)
        row = f"{case.study},{'occluded,M1,left' if n % 2 else 'patent,,'},,,,,"
        (folder / case.study / "truth.csv").write_text(f"{COLUMNS}\n{row}\n")


def weak_evidence(_detector: object, cases: list[tuple[Path, Case]]) -> SiteReadings:
    """Half the occluded show a clot at one in three, everybody else nothing."""
    features = np.full((len(cases), len(SITES), FEATURES), 0.01, np.float32)
    sites = np.zeros((len(cases), len(SITES)), np.float32)
    left = SITES.index((Segment.M1, Side.LEFT))
    for n, (_, case) in enumerate(cases):
        sites[n, left] = bool(case.occlusions)
        if case.occlusions and n % 4 == 1:
            features[n, left, STRONGEST] = 1 / 3
    truth = np.concatenate([sites, study_truth(sites)], axis=1)
    return SiteReadings(features, truth, tuple(case.study for _, case in cases))


def asked(tmp_path: Path) -> argparse.Namespace:
    return argparse.Namespace(
        boxes=[tmp_path / "one", tmp_path / "other"],
        model=RELEASED,
        out=tmp_path / "out",
        specificity=0.9,
        threads=1,
    )


def test_what_is_said_becomes_what_is_true_of_these_studies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies(tmp_path / "one", 28)
    studies(tmp_path / "other", 20)
    monkeypatch.setattr(calibrate, "look_again", weak_evidence)
    calibrate.recalibrate(asked(tmp_path))
    detector = load_detector(tmp_path / "out", "cpu", threads=1)
    metadata, former = detector.bundle.metadata, load_bundle(RELEASED).metadata
    assert "24 patent studies scored by the whole route" in metadata.operating_point
    assert metadata.trained_on == former.trained_on
    nothing = np.full((len(SITES), FEATURES), 0.01, np.float32)
    said = [calibrated(detector.reader.logits(nothing), m).study for m in (former, metadata)]
    assert said[1] == pytest.approx(12 / 36, abs=0.05)  # 12 of the 36 without evidence are occluded
    assert abs(said[0] - 12 / 36) > 0.1
    assert detector.check_parity() < 1e-3


def test_too_few_studies_calibrate_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studies(tmp_path / "one", 8)
    studies(tmp_path / "other", 4)
    monkeypatch.setattr(calibrate, "look_again", weak_evidence)
    with pytest.raises(TruthInvalid, match="12 analysed studies"):
        calibrate.recalibrate(asked(tmp_path))
    assert not (tmp_path / "out").exists()
