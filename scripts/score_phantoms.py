"""Write phantoms as DICOM, score each by the whole route, keep truth and results, drop the pixels.

``scripts/score_phantoms.py --preset benchmark --out runs/benchmark [--count 100] [--part 0 --parts 2]``
``scripts/score_phantoms.py --preset realistic --seed 5000000 --count 300 --out runs/realistic --matrix 256``

Then ``scripts/benchmark.py --results OUT --out report.md``. Studies come in an order that is random but
always the same, so that whatever is done so far is a fair sample. Started again, it goes on; parts share an
output folder. With ``--keep-boxes`` (10 MB a study) ``scripts/rescore.py`` answers the same studies with
another model, and ``pose.json`` holds the true pose (head frame to LPS) beside the one that was found.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

from lvo.detector import Detector, load_detector
from lvo.dicom import read_study
from lvo.evaluation.boxes import TRUTH_NAME, join_truth, recording, write_box
from lvo.phantom.benchmark import studies_of
from lvo.phantom.config import load_config
from lvo.phantom.patient import Case, Order, sample_case
from lvo.phantom.study import write_study
from lvo.phantom.truth import TRUTH_COLUMNS, truth_rows
from lvo.pipeline import analyse
from lvo.report.folder import RESULT_NAME, write_result
from lvo.study import StudyResult

_SHUFFLE = 0
"""Seed of the order; another one is another sample."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--preset", default="realistic", help="of the phantom: a name, or a YAML file")
    parser.add_argument("--seed", type=int, default=0, help="first patient; not for the benchmark")
    parser.add_argument("--count", type=int, help="studies; all of the benchmark if left out")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--matrix", type=int, default=256, help="rows and columns; smaller is faster")
    parser.add_argument("--model", type=Path, help="bundle; the released one if not given")
    parser.add_argument("--keep-boxes", action="store_true", help="what the detector sees, for rescore.py")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    detector = load_detector(arguments.model, "cpu", threads=arguments.threads)
    check_same_run(arguments, detector.bundle.digest)
    config = load_config(arguments.preset)
    for name, seed, order in todo(arguments):
        folder = arguments.out / name
        if (folder / RESULT_NAME).is_file():
            continue
        case = sample_case(seed, config, order)
        result = score(name, case, order, detector, folder, keep_boxes=arguments.keep_boxes)
        told = "; ".join(f"{o.segment} {o.side}" for o in case.patient.occlusions) or "patent"
        print(f"{name} {told}: {result.status.value} {result.probability}", flush=True)
    join_truth(arguments.out)


def todo(arguments: argparse.Namespace) -> list[tuple[str, int, Order]]:
    """Studies of this part. Of the benchmark the whole is shuffled before any are counted off."""
    whole = arguments.preset == "benchmark"
    studies = studies_of(
        arguments.preset,
        count=None if whole else arguments.count,
        first=1,
        seed=arguments.seed,
        order=Order(matrix=arguments.matrix),
    )
    order = np.random.default_rng(_SHUFFLE).permutation(len(studies))
    chosen = [studies[i] for i in order[: arguments.count]]
    return chosen[arguments.part :: arguments.parts]


def check_same_run(arguments: argparse.Namespace, digest: str) -> None:
    """Refuse to mix results of two models or two sets in one folder."""
    whole = arguments.preset == "benchmark"
    about = {
        "preset": str(arguments.preset),
        "model": digest,
        "seed": None if whole else arguments.seed,
        "matrix": None if whole else arguments.matrix,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "run.json"
    if path.exists() and json.loads(path.read_text("utf-8")) != about:
        raise SystemExit(f"{path} says that {arguments.out} holds another run; take another folder.")
    path.write_text(json.dumps(about, indent=1) + "\n", "utf-8")


def score(
    name: str, case: Case, order: Order, detector: Detector, out: Path, *, keep_boxes: bool
) -> StudyResult:
    """Write a case as DICOM, score it and keep what is asked for; the result last, for it says "done"."""
    recorder = recording(detector)
    dicom = Path(tempfile.mkdtemp(prefix="phantom-"))
    try:
        write_study(dicom, case, ncct=order.ncct)
        result = analyse(read_study(dicom), recorder).result
    finally:
        shutil.rmtree(dicom)
    out.mkdir(parents=True, exist_ok=True)
    write_truth_table(out / TRUTH_NAME, name, case)
    if keep_boxes:
        (out / "pose.json").write_text(json.dumps(case.scan.pose.tolist()), "utf-8")
        for box in recorder.seen:
            write_box(out, box)
    write_result(result, out)
    return result


def write_truth_table(path: Path, name: str, case: Case) -> None:
    """The truth of one study."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, TRUTH_COLUMNS)
        table.writeheader()
        table.writerows(truth_rows(name, case))


if __name__ == "__main__":
    main()
