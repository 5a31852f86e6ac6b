"""Write phantoms as DICOM, score each by the whole route, keep truth and results, drop the pixels.

``scripts/score_phantoms.py --preset benchmark --out runs/benchmark [--count 100] [--part 0 --parts 2]``
``scripts/score_phantoms.py --preset realistic --seed 5000000 --count 300 --out runs/realistic --matrix 256``

Then ``scripts/benchmark.py --truth OUT/truth.csv --results OUT --out report.md``. Parts share an output
folder and each writes ``truth-<part>.csv``; the last one to finish joins them.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import tempfile
from pathlib import Path

import torch

from lvo.detector import load_detector
from lvo.dicom import read_study
from lvo.phantom.benchmark import studies_of
from lvo.phantom.config import load_config
from lvo.phantom.patient import Order, sample_case
from lvo.phantom.study import write_study
from lvo.phantom.truth import TRUTH_COLUMNS, truth_rows
from lvo.pipeline import analyse
from lvo.report.folder import write_result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--preset", default="realistic", help="of the phantom: a name, or a YAML file")
    parser.add_argument("--seed", type=int, default=0, help="first patient; not for the benchmark")
    parser.add_argument("--count", type=int, help="studies; all of the benchmark if left out")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--matrix", type=int, default=256, help="rows and columns; smaller is faster")
    parser.add_argument("--model", type=Path, help="bundle; the released one if not given")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    detector = load_detector(arguments.model, "cpu", threads=arguments.threads)
    config = load_config(arguments.preset)
    studies = studies_of(
        arguments.preset,
        count=arguments.count,
        first=1,
        seed=arguments.seed,
        order=Order(matrix=arguments.matrix),
    )
    with (arguments.out / f"truth-{arguments.part}.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, TRUTH_COLUMNS)
        table.writeheader()
        for name, seed, order in studies[arguments.part :: arguments.parts]:
            case = sample_case(seed, config, order)
            folder = Path(tempfile.mkdtemp(prefix="phantom-"))
            try:
                write_study(folder, case, ncct=order.ncct)
                result = analyse(read_study(folder), detector).result
            finally:
                shutil.rmtree(folder)
            (arguments.out / name).mkdir(exist_ok=True)
            write_result(result, arguments.out / name)
            table.writerows(truth_rows(name, case))
            file.flush()
            told = "; ".join(f"{o.segment} {o.side}" for o in case.patient.occlusions) or "patent"
            print(f"{name} {told}: {result.status.value} {result.probability}", flush=True)
    _join(arguments.out, arguments.parts)


def _join(out: Path, parts: int) -> None:
    tables = [out / f"truth-{n}.csv" for n in range(parts)]
    rows = []
    for path in tables:
        if not path.exists():
            return
        with path.open(newline="", encoding="utf-8") as file:
            rows += list(csv.DictReader(file))
    with (out / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, TRUTH_COLUMNS)
        table.writeheader()
        table.writerows(sorted(rows, key=lambda r: r["study"]))


if __name__ == "__main__":
    main()
