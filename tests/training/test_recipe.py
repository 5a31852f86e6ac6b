"""Recipes: their files fit, and the smoke one makes a bundle, goes on where it was left, is not redone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("monai", reason="training needs monai: install the 'train' extra")

from lvo.detector.bundle import load_bundle
from lvo.detector.detect import load_detector
from lvo.errors import ConfigInvalid
from lvo.phantom.config import CaseRanges
from lvo.phantom.head.atlas import SPM_RUNTIME, atlas_path
from lvo.training.checkpoint import latest
from lvo.training.config import read_config
from lvo.training.recipe import read_recipe
from lvo.training.run import RunConfig
from lvo.training.site_config import FinetuneConfig

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs/train"


@pytest.mark.parametrize("name", ["model-cpu", "model-gpu", "model-smoke"])
def test_recipes_fit(name: str) -> None:
    recipe, stages = read_recipe(CONFIGS / f"{name}.yaml")
    for before, run in zip((None, *stages.vessels), stages.vessels, strict=False):
        assert before is None or run.config.start_from == before.out
    for stage in stages.all:
        assert 0 < stage.config.data.validation < stage.config.data.patients
        assert stage.config.data.first_seed != recipe.reader.patients.first_seed
        assert stage.config.data.pool != recipe.reader.patients.pool


@pytest.mark.parametrize("name", ["model-cpu", "model-gpu"])
def test_released_readers_see_the_segments_as_often_as_the_presets_have_them(name: str) -> None:
    recipe, _ = read_recipe(CONFIGS / f"{name}.yaml")
    assert {s.value: share for s, share in recipe.reader.patients.segments.items()} == CaseRanges().sites


def test_every_settings_file_belongs_to_a_recipe() -> None:
    recipes = [read_recipe(f)[0] for f in CONFIGS.glob("model-*.yaml")]
    named = {p.name for recipe in recipes for p in (*recipe.training, recipe.tissue)}
    assert named == {p.name for p in (CONFIGS / "network").iterdir()}
    assert read_config(CONFIGS / "finetune.yaml", FinetuneConfig) == FinetuneConfig()
    ablation = read_config(CONFIGS / "ablation.yaml", RunConfig)
    assert ablation.start_from is not None and ablation.data.pool is not None


def test_two_runs_of_one_name_are_refused(tmp_path: Path) -> None:
    text = (CONFIGS / "model-smoke.yaml").read_text()
    smoke = CONFIGS / "network/smoke.yaml"
    text = text.replace("network/smoke-tissue.yaml", str(CONFIGS / "network/smoke-tissue.yaml"))
    changed = text.replace("[network/smoke.yaml, network/smoke-whole.yaml]", f"[{smoke}, {smoke}]")
    (tmp_path / "twice.yaml").write_text(changed)
    with pytest.raises(ConfigInvalid, match="one name"):
        read_recipe(tmp_path / "twice.yaml")


def start(folder: Path, *launcher: str) -> subprocess.Popen[str]:
    command = [sys.executable, *launcher, str(ROOT / "scripts/make_model.py")]
    command += ["--config", str(CONFIGS / "model-smoke.yaml")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.mark.slow
@pytest.mark.skipif(atlas_path() is None, reason=f"synthetic heads need {SPM_RUNTIME}")
def test_smoke_recipe_killed_stopped_and_finished(tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(ROOT / "models")
    runs = tmp_path / "runs"

    killed = start(tmp_path)
    while killed.poll() is None and not list(runs.glob("smoke-reader-pool/*.npz")):
        time.sleep(0.1)
    killed.kill()
    killed.communicate()
    first = runs / "smoke-pool/000000.npz"
    made = first.stat().st_mtime_ns

    stopped = start(tmp_path)
    while stopped.poll() is None and not (runs / "model-smoke/smoke/metrics.csv").exists():
        time.sleep(0.1)
    stopped.send_signal(signal.SIGTERM)
    output, _ = stopped.communicate(timeout=300)
    assert stopped.returncode == 0 and "goes on" in output, output
    assert first.stat().st_mtime_ns == made

    output, _ = (done := start(tmp_path)).communicate(timeout=900)
    assert done.returncode == 0, output
    assert latest(runs / "model-smoke/smoke").name == "step-000000004"
    bundle = runs / "model-smoke/bundle"
    load_detector(bundle, "cpu", threads=1).check_parity()
    assert "smoke-whole, 2 steps" in load_bundle(bundle).metadata.trained_on
    (report,) = runs.glob("model-smoke/scores-*/report.md")
    assert "2 studies of the phantom's preset realistic" in report.read_text()
    digest = load_bundle(bundle).digest

    output, _ = (again := start(tmp_path)).communicate(timeout=120)
    assert again.returncode == 0 and output.count("already") == 5, output
    assert load_bundle(bundle).digest == digest
