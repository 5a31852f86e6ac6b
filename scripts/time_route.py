"""Wall time by stage and peak memory of ``lvo score``.

``scripts/time_route.py --study DIR [--repeat 3] [--model BUNDLE] [--out time.json]``

Each run is a process of its own, so the figures include starting Python and loading the model, as a user
sees it. Peak memory is the largest resident size of the process or of any process it started and waited
for. Use ``taskset -c 0,1`` before the command to measure on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from lvo.study import StudyResult


def measure(study: Path, device: str) -> tuple[float, float, StudyResult]:
    """Score once: wall seconds, peak resident GiB, result."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        command = [sys.executable, "-m", "lvo.cli", "score", str(study), "--out", folder, "--device", device]
        with (out / "console.txt").open("w") as console:
            began = time.perf_counter()
            process = subprocess.Popen(command, stdout=console, stderr=subprocess.STDOUT)
            # Not getrusage(RUSAGE_CHILDREN): its maximum is over all runs so far, this one's own is wanted.
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 3):  # analysed, not analysed
            raise SystemExit(f"lvo score failed ({process.returncode}):\n{(out / 'console.txt').read_text()}")
        result = StudyResult.model_validate_json((out / "result.json").read_bytes())
    unit = 1 if platform.system() == "Darwin" else 1024
    return wall, usage.ru_maxrss * unit / 2**30, result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--study", type=Path, required=True, help="folder of a study's DICOM files")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--model", type=Path, help="bundle; the released one if not given")
    parser.add_argument("--out", type=Path, help="figures as JSON")
    arguments = parser.parse_args()
    if arguments.model is not None:
        os.environ["LVO_MODEL"] = str(arguments.model.resolve())  # as the command itself reads it
    if arguments.repeat < 1 or not arguments.study.is_dir():
        parser.error("--repeat must be 1 or more and --study a folder")
    runs = [measure(arguments.study, arguments.device) for _ in range(arguments.repeat)]
    last = runs[-1][2]
    slices = ", ".join(f"{s.role} of {s.instances} images" for s in last.series if s.chosen)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    reasons = ", ".join(r.code for r in last.reasons) or "no reasons"
    print(f"{last.status} ({reasons}); {slices or 'none chosen'}")
    print(f"{arguments.repeat} runs on {cores} cores, {platform.processor() or platform.machine()}\n")
    print("| stage | median s | least s | most s |\n| --- | --- | --- | --- |")
    for stage in dict.fromkeys(stage for *_, result in runs for stage in result.timings_s):
        row(stage, [result.timings_s.get(stage, 0.0) for *_, result in runs])
    row("whole command", [wall for wall, *_ in runs])
    print(f"\nPeak resident memory: {max(peak for _, peak, _ in runs):.2f} GiB")
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(figures(runs, cores), indent=1) + "\n", "utf-8")
    return 0


def figures(runs: list[tuple[float, float, StudyResult]], cores: int | None) -> dict[str, object]:
    """What the table says, to keep."""
    stages = dict.fromkeys(stage for *_, result in runs for stage in result.timings_s)
    model = runs[-1][2].model
    return {
        "model": None if model is None else model.model_dump(),
        "status": runs[-1][2].status.value,
        "cores": cores,
        "runs": len(runs),
        "median_s": {s: median(result.timings_s.get(s, 0.0) for *_, result in runs) for s in stages},
        "command_s": [wall for wall, *_ in runs],
        "peak_resident_gib": max(peak for _, peak, _ in runs),
    }


def row(name: str, seconds: list[float]) -> None:
    print(f"| {name} | {median(seconds):.2f} | {min(seconds):.2f} | {max(seconds):.2f} |")


if __name__ == "__main__":
    sys.exit(main())
