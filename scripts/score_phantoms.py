"""Write phantoms as DICOM, score each by the whole route, keep truth and results, drop the pixels.

``scripts/score_phantoms.py --seed 5000000 --count 300 --out runs/benchmark [--matrix 256]
[--part 0 --parts 2]``

Then ``scripts/benchmark.py --truth OUT/truth.csv --results OUT --out report.md``. Parts share an output
folder and each writes ``truth-<part>.csv``; the last one to finish joins them.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import tempfile
from pathlib import Path

from lvo.detector import load_detector
from lvo.dicom import read_study
from lvo.phantom.study import TRUTH_COLUMNS, sample_study, truth_rows, write_study
from lvo.pipeline import analyse
from lvo.report.folder import write_result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, required=True, help="first patient")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--matrix", type=int, default=256, help="rows and columns; smaller is faster")
    parser.add_argument("--model", type=Path, help="bundle; the released one if not given")
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    detector = load_detector(arguments.model, "cpu", threads=arguments.threads)
    with (arguments.out / f"truth-{arguments.part}.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, TRUTH_COLUMNS)
        table.writeheader()
        for n in range(arguments.seed + arguments.part, arguments.seed + arguments.count, arguments.parts):
            name = f"study-{n:07d}"
            patient, scan, rng = sample_study(n, matrix=arguments.matrix)
            folder = Path(tempfile.mkdtemp(prefix="phantom-"))
            try:
                write_study(folder, patient, scan, rng)
                result = analyse(read_study(folder), detector).result
            finally:
                shutil.rmtree(folder)
            (arguments.out / name).mkdir(exist_ok=True)
            write_result(result, arguments.out / name)
            table.writerows(truth_rows(name, patient, scan))
            file.flush()
            told = "; ".join(f"{o.segment} {o.side}" for o in patient.occlusions) or "patent"
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
