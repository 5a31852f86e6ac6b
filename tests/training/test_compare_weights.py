"""Weights set side by side on kept boxes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monai", reason="training needs monai: install the 'train' extra")

from lvo.anatomy import Segment, Side
from lvo.evaluation.boxes import Box, write_box
from lvo.imaging.resample import HEAD_BOX
from lvo.report.folder import write_result
from tests.evaluation.builders import occlusion, perfect

ROOT = Path(__file__).parents[2]
COLUMNS = "study,status,segment,side,variants,clot_length_mm,collateral,position_x,position_y,position_z"


def test_every_head_has_its_row(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sites = {"a": [(Segment.M1, Side.LEFT)], "b": [], "c": [(Segment.M2, Side.RIGHT)], "d": []}
    for n, (name, blocked) in enumerate(sites.items()):
        case = perfect(name, *(occlusion(site) for site in blocked))
        assert case.result is not None
        (tmp_path / name).mkdir()
        write_result(case.result, tmp_path / name)
        write_box(tmp_path / name, Box(rng.normal(40, 60, HEAD_BOX.shape).astype(np.float32)))
        segment, side = (blocked[0][0].value, blocked[0][1].value) if blocked else ("", "")
        status = "occluded" if blocked else "patent"
        head = f"head {'one' if n < 2 else 'two'}.nii.gz mirrored"
        truth = f"{COLUMNS}\n{name},{status},{segment},{side},{head},,,,,\n"
        (tmp_path / name / "truth.csv").write_text(truth)
    command = [sys.executable, str(ROOT / "scripts/compare_weights.py"), "--boxes", str(tmp_path)]
    command += ["--weights", str(ROOT / "models/lao-cta")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    assert [row[:3] for row in rows] == [
        ["lao-cta", "all", "4"],
        ["lao-cta", "one.nii.gz", "2"],
        ["lao-cta", "two.nii.gz", "2"],
    ]
    assert rows[1][7:] == ["-", "-", "-", "-"]  # it has neither an M2 nor a basilar occlusion
    assert all(0 <= float(v) <= 1 for v in rows[0][3:9])
