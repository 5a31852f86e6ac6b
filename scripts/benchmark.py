"""Accuracy of results against the truth: ``benchmark.py --truth T.csv --results DIR --out report.md``.

``DIR`` holds ``<study>/result.json`` for every study of the table (as ``lvo score`` writes them). Beside
the report its figures are written as JSON.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lvo.errors import LvoError
from lvo.evaluation import as_markdown, evaluate_folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--truth", type=Path, required=True, help="truth.csv")
    parser.add_argument("--results", type=Path, required=True, help="folder of results")
    parser.add_argument("--out", type=Path, required=True, help="report, markdown")
    parser.add_argument("--title", default="Accuracy")
    parser.add_argument("--measured-on", help="what the set is, in words (default: the truth table's path)")
    arguments = parser.parse_args()
    try:
        report = evaluate_folder(arguments.truth, arguments.results)
    except LvoError as fault:
        print(f"{fault.code}: {fault.message}", file=sys.stderr)
        return 2
    measured_on = arguments.measured_on or str(arguments.truth)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(as_markdown(report, title=arguments.title, measured_on=measured_on), "utf-8")
    arguments.out.with_suffix(".json").write_text(report.model_dump_json(indent=2), "utf-8")
    print(f"AUC {report.auc}; sensitivity {report.sensitivity}; specificity {report.specificity}")
    unanswered = report.not_analysed_occluded + report.not_analysed_patent
    print(f"{unanswered} of {report.studies} studies not analysed; report in {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
