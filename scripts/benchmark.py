"""Accuracy of results against the truth, as markdown, with its figures as JSON beside it.

``benchmark.py --results DIR --out report.md [--truth T.csv] [--against DIR2 ...]``

``DIR`` holds ``<study>/result.json`` for every study of the table (as ``lvo score`` writes them) and, unless
``--truth`` names another, ``truth.csv``, or a ``truth.csv`` in the folder of every study. Studies of the
frozen benchmark are broken down by what its table ordered. Results of other models on the same studies
(``--against``) are set beside it, with paired differences.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lvo.errors import LvoError, PathNotFound
from lvo.evaluation import as_markdown, evaluate
from lvo.evaluation.cases import Case, read_cases
from lvo.evaluation.compare import compare
from lvo.evaluation.strata import with_orders
from lvo.report.folder import RESULT_NAME

ORDERS = Path(__file__).parents[1] / "configs" / "phantom" / "benchmark.csv"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--truth", type=Path, help="truth.csv, or a folder of studies (default: in --results)"
    )
    parser.add_argument("--results", type=Path, required=True, help="folder of results")
    parser.add_argument("--against", type=Path, nargs="*", default=[], help="folders of other results")
    parser.add_argument("--orders", type=Path, default=ORDERS, help="table of what was ordered, by study")
    parser.add_argument("--out", type=Path, required=True, help="report, markdown")
    parser.add_argument("--title", default="Accuracy")
    parser.add_argument("--measured-on", help="what the set is, in words (default: the truth table's path)")
    arguments = parser.parse_args()
    joined = arguments.results / "truth.csv"
    truth = arguments.truth or (joined if joined.is_file() else arguments.results)
    try:
        cases = read(truth, arguments.results, arguments.orders)
        others = [(folder.name, read(truth, folder, arguments.orders)) for folder in arguments.against]
    except LvoError as fault:
        print(f"{fault.code}: {fault.message}", file=sys.stderr)
        return 2
    report = evaluate(cases)
    comparison = compare([(arguments.results.resolve().name, cases), *others]) if others else None
    text = as_markdown(
        report,
        title=arguments.title,
        measured_on=arguments.measured_on or str(truth),
        comparison=comparison,
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(text, "utf-8")
    arguments.out.with_suffix(".json").write_text(report.model_dump_json(indent=2), "utf-8")
    if comparison is not None:
        path = arguments.out.with_suffix(".comparison.json")
        path.write_text(comparison.model_dump_json(indent=2), "utf-8")
    whole = report.overall
    print(f"AUC {whole.auc_study}; sensitivity {whole.sensitivity}; specificity {whole.specificity}")
    unanswered = whole.not_analysed + whole.not_analysed_patent
    print(f"{unanswered} of {report.studies} studies not analysed; report in {arguments.out}")
    return 0


def read(truth: Path, results: Path, orders: Path) -> tuple[Case, ...]:
    """Cases, with what was ordered of them."""
    cases = read_cases(truth, results)
    if not any(
        case.result for case in cases
    ):  # a mistyped folder must not read as a model that answers nothing
        raise PathNotFound(f"{results}/*/{RESULT_NAME}")
    return with_orders(cases, orders)


if __name__ == "__main__":
    sys.exit(main())
