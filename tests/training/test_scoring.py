"""The stages of a recipe that run other scripts: what they are asked for, and when they are not."""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs torch: install the 'train' extra")

from lvo.detector.bundle import load_bundle, seal
from lvo.training import scoring
from lvo.training.release import write_metadata
from lvo.training.scoring import BY_ROUTE, CalibrateConfig, calibrate

RELEASED = Path(__file__).parents[2] / "models/lao-cta"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    commands: list[list[str]] = []
    monkeypatch.setattr(scoring, "_run", commands.append)
    return commands


def bundle(folder: Path, point: str) -> Path:
    for path in RELEASED.glob("*/*"):
        if path.is_file() and path.parent.name != "docs":
            (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
            (folder / path.parent.name / path.name).write_bytes(path.read_bytes())
    metadata = load_bundle(RELEASED).metadata
    write_metadata(folder, metadata.model_copy(update={"operating_point": point}))
    seal(folder)
    return folder


def test_studies_are_scored_in_parts_and_then_calibrated_on(tmp_path: Path, asked: list[list[str]]) -> None:
    model = bundle(tmp_path / "b", "specificity 0.9 of a pool")
    calibrate(CalibrateConfig(count=40), model, tmp_path, Path("scripts"), 2)
    *parts, last = asked
    assert [Path(command[1]).name for command in asked] == ["score_phantoms.py"] * 2 + ["calibrate.py"]
    assert sorted(command[command.index("--part") + 1] for command in parts) == ["0", "1"]
    assert all("--keep-boxes" in command and "60000000" in command for command in parts)
    assert last[last.index("--boxes") + 1] == parts[0][parts[0].index("--out") + 1]


def test_a_bundle_is_calibrated_once(tmp_path: Path, asked: list[list[str]]) -> None:
    calibrate(CalibrateConfig(), bundle(tmp_path / "b", f"0.9 of phantoms {BY_ROUTE}"), tmp_path, Path(), 1)
    assert asked == []
