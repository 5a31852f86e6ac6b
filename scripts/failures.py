"""A picture of every study that was answered wrongly, and a page of them all.

``failures.py --boxes DIR --results DIR2 --out DIR4 [--model BUNDLE] [--limit 50]``

``DIR`` is what ``score_phantoms.py --keep-boxes`` wrote, ``DIR2`` the answers (the same folder, or what
``rescore.py`` wrote). With a model its maps of arteries and clot stand beside the scan.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from pathlib import Path

from lvo.detector import load_detector
from lvo.errors import LvoError
from lvo.evaluation.boxes import read_box
from lvo.evaluation.cases import read_cases
from lvo.evaluation.gallery import caption, failures, index_page, picture
from lvo.evaluation.strata import with_orders

ORDERS = Path(__file__).parents[1] / "configs" / "phantom" / "benchmark.csv"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--boxes", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="bundle whose maps to draw; none if not given")
    parser.add_argument("--limit", type=int, help="most pictures of each kind")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    try:
        cases = with_orders(read_cases(arguments.boxes, arguments.results), ORDERS)
        detector = (
            load_detector(arguments.model, "cpu", threads=arguments.threads) if arguments.model else None
        )
    except LvoError as fault:
        print(f"{fault.code}: {fault.message}", file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    drawn = []
    for failure in failures(cases):
        counts[failure.kind] += 1
        box = read_box(arguments.boxes / failure.case.study)
        if box is None or (arguments.limit is not None and counts[failure.kind] > arguments.limit):
            continue
        detection = detector.detect(box.cta, box.ncct) if detector else None
        picture(failure, box, detection).save(arguments.out / failure.file)
        drawn.append(failure)
    title = f"Wrong answers: {', '.join(f'{n} {kind}' for kind, n in counts.items()) or 'none'}"
    (arguments.out / "index.html").write_text(index_page(drawn, title), "utf-8")
    with (arguments.out / "index.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("picture", "study", "kind", "truth", "answer"))
        for f in drawn:
            lines = caption(f)
            table.writerow((f.file, f.case.study, f.kind, *(line.split(": ", 1)[1] for line in lines[1:3])))
    print(f"{title}; {len(drawn)} pictures in {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
