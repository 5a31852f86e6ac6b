"""``configs/train/smoke.yaml`` through ``scripts/train.py``: patients made, trained on, resumed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("monai", reason="training needs monai: install the 'train' extra")

import torch

from lvo.detector.torch_network import make_network
from lvo.phantom.head.atlas import SPM_RUNTIME, atlas_path
from lvo.training.checkpoint import average_weights, latest
from lvo.training.config import read_config
from lvo.training.metrics_log import read_metrics
from lvo.training.run import RunConfig

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["smoke", "detector", "fresh"])
def test_settings_files_fit(name: str) -> None:
    config = read_config(ROOT / "configs/train" / f"{name}.yaml", RunConfig)
    assert 0 < config.data.validation < config.data.patients


@pytest.mark.slow
@pytest.mark.skipif(atlas_path() is None, reason=f"synthetic heads need {SPM_RUNTIME}")
def test_smoke_run_and_resume(tmp_path: Path) -> None:
    config = ROOT / "configs/train/smoke.yaml"
    script = [sys.executable, str(ROOT / "scripts/train.py"), "--config", str(config)]
    settings = {"cwd": tmp_path, "text": True, "capture_output": True, "timeout": 600}
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    done = subprocess.run([*script, "--make-patients", "1"], env=environment, **settings)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    steps = read_config(config, RunConfig).steps
    run = tmp_path / "runs" / "smoke"
    assert latest(run).name == f"step-{steps:09d}"
    assert {r[0] for r in read_metrics(run / "metrics.csv") if r[1] == "train"} == set(range(1, steps + 1))
    weights = average_weights(latest(run))
    make_network(read_config(config, RunConfig).network).load_state_dict(weights)
    assert all(torch.isfinite(w).all() for w in weights.values())

    again = subprocess.run(script, env=environment, **settings)  # type: ignore[call-overload]
    assert again.returncode == 2 and "--resume" in again.stderr
    resumed = subprocess.run([*script, "--resume"], env=environment, **settings)  # type: ignore[call-overload]
    assert resumed.returncode == 0, resumed.stderr
