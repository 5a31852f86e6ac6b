"""Another model's answers to studies that ``score_phantoms.py --keep-boxes`` has scored.

``rescore.py --boxes DIR --model BUNDLE --out DIR2 [--device cuda]``

It draws, reads and aligns nothing again. Studies that were not analysed keep their result; the truth is
copied and joined, so that ``benchmark.py --results DIR2`` needs nothing else. Started again, it goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from lvo.detector import load_detector
from lvo.detector.detect import DEVICES
from lvo.errors import LvoError
from lvo.evaluation.boxes import finished, join_truth
from lvo.evaluation.rescore import rescore_study


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--boxes", type=Path, required=True, help="what score_phantoms.py --keep-boxes wrote")
    parser.add_argument("--model", type=Path, help="bundle; the released one if not given")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cpu", choices=DEVICES)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.out.resolve() == arguments.boxes.resolve():
        parser.error("--out must be another folder than --boxes")
    counts: Counter[str] = Counter()
    try:
        detector = load_detector(arguments.model, arguments.device, threads=arguments.threads)
        for folder in finished(arguments.boxes):
            result = rescore_study(folder, detector, arguments.out)
            counts[result.status.value] += 1
            print(f"{folder.name}: {result.status.value} {result.probability}", flush=True)
        truth = join_truth(arguments.out)
    except LvoError as fault:
        print(f"{fault.code}: {fault.message}", file=sys.stderr)
        return 2
    print(f"{', '.join(f'{n} {status}' for status, n in sorted(counts.items()))}; truth in {truth}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
