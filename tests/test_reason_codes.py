"""The page of reason codes against the source: none missing, none invented, every sentence as in use."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import lvo
from lvo.errors import LvoError, NotAnalysable

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reason-codes.md").read_text()
ROOMS = ("dicom", "imaging", "detector", "pathway")


def errors() -> set[type[LvoError]]:
    for room in ROOMS:
        package = importlib.import_module(f"lvo.{room}")
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            if "torch" not in module.name:
                importlib.import_module(module.name)
    found, todo = set(), [LvoError]
    while todo:
        error = todo.pop()
        found.add(error)
        todo += error.__subclasses__()
    return {error for error in found if error.__module__.startswith("lvo.")}


def literal_codes() -> set[str]:
    """Codes given as text where a Reason is made, itself or through a helper of that purpose."""
    codes = set()
    for path in (ROOT / "lvo").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Reason", "_reason", "_note"):
                first = node.args[:1] + [k.value for k in node.keywords if k.arg == "code"]
                codes |= {a.value for a in first if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return codes


def test_the_page_lists_exactly_the_codes_in_use() -> None:
    listed = set(re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE, flags=re.M)) - {
        "rejection", "repair", "caution", "information",
    }  # fmt: skip
    used = {error.code for error in errors()} | literal_codes()
    assert len(literal_codes()) > 8  # the search itself works
    assert listed == used


def test_every_error_has_its_own_code_and_stands_on_the_page_in_its_words() -> None:
    codes = [error.code for error in errors()]
    assert len(codes) == len(set(codes))
    for error in errors():
        sentence = " ".join(inspect.cleandoc(error.__doc__ or "").split())
        assert f"| `{error.code}` | {sentence} |" in PAGE


def test_every_reason_not_to_analyse_says_so_under_that_heading() -> None:
    section = PAGE.split("## Why a study is not analysed")[1].split("\n## ")[0]
    for error in errors():
        if issubclass(error, NotAnalysable):
            assert f"`{error.code}`" in section


def test_the_package_is_the_one_under_test() -> None:
    assert Path(lvo.__file__).parents[1] == ROOT
