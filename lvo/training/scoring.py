"""The last stage of a recipe: phantom studies as DICOM through the whole route, and the report on it.

The scoring itself lies above training (`lvo.pipeline`, `lvo.evaluation`), so it is run as what a user would
run: the scripts, as processes of their own. They skip studies that have an answer.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import Field

from lvo.detector.bundle import load_bundle
from lvo.errors import PhantomScoringFailed
from lvo.training.config import StrictModel

log = logging.getLogger(__name__)


class ScoreConfig(StrictModel):
    """Which phantom studies a bundle is scored on.

    Attributes
    ----------
    preset : of the phantom; ``benchmark`` is the frozen one.
    count : studies.
    seed : of the first; 0 for the benchmark.
    matrix : rows and columns of the CTA.
    """

    preset: str = "benchmark"
    count: int = Field(default=1032, ge=1)
    seed: int = Field(default=0, ge=0)
    matrix: int = Field(default=256, ge=64)


def score(config: ScoreConfig, model: Path, work: Path, scripts: Path, processes: int) -> Path:
    """Score what this very bundle has not scored yet; returns the report, ``scores-<digest>/report.md``.

    Raises
    ------
    PhantomScoringFailed
        A script ended with an error; what it said is on the terminal.
    """
    out = work / f"scores-{load_bundle(model).digest[:12]}"
    done = sum(1 for _ in out.glob("*/result.json")) >= config.count
    report = out / "report.md"
    if done and report.is_file():
        log.info("%s: scored already", report)
        return report
    command = [
        sys.executable, str(scripts / "score_phantoms.py"), "--preset", config.preset, "--out", str(out),
        "--seed", str(config.seed), "--count", str(config.count), "--matrix", str(config.matrix),
        "--model", str(model), "--parts", str(processes),
    ]  # fmt: skip
    with ThreadPoolExecutor(processes) as threads:
        list(threads.map(lambda part: _run([*command, "--part", str(part)]), range(processes)))
    measured_on = f"{config.count} studies of the phantom's preset {config.preset}"
    benchmark = [sys.executable, str(scripts / "benchmark.py"), "--results", str(out), "--out", str(report)]
    _run([*benchmark, "--measured-on", measured_on])
    log.info("%s: written", report)
    return report


def _run(command: list[str]) -> None:
    if subprocess.run(command, check=False).returncode:
        raise PhantomScoringFailed(f"({Path(command[1]).name})")
