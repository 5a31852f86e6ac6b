"""Accuracy of results against truth, with confidence intervals, as a report."""

from lvo.evaluation.report import Report, evaluate, evaluate_folder
from lvo.evaluation.table import as_markdown

__all__ = ["Report", "as_markdown", "evaluate", "evaluate_folder"]
