"""The frozen benchmark: its table, and its first ten studies rebuilt from nothing."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lvo.anatomy import Segment
from lvo.cli import app
from lvo.errors import ConfigInvalid, PathNotFound, UsageError
from lvo.phantom.benchmark import COLUMNS, describe, fingerprint, read_benchmark, studies_of
from lvo.phantom.config import folder, load_config
from lvo.phantom.head import atlas
from lvo.phantom.patient import Order
from lvo.study import Volume

HELD = Path(__file__).parent / "benchmark_first_ten.json"
TOLERANCE_HU = 0.25


@pytest.fixture(scope="module")
def table():
    with (folder() / "benchmark.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_table_is_balanced(table):
    assert tuple(table[0]) == COLUMNS
    assert len(table) >= 1000 and len({r["seed"] for r in table}) == len({r["study"] for r in table}) == len(
        table
    )
    occluded = [r for r in table if r["sites"]]
    assert len(occluded) * 2 == len(table)
    grades = Counter(r["collateral"] for r in occluded)
    assert set(grades) == set("0123") and max(grades.values()) - min(grades.values()) <= 1
    for column in ("noise", "slice_mm", "ncct"):
        assert len(Counter(r[column] for r in table)) in (2, 3)
    segments = {site.split(":")[1] for r in occluded for site in r["sites"].split()}
    assert segments == {s.value for s in Segment}
    strata = load_config("benchmark").strata
    assert {r["variant"] or r["mimic"] for r in table} - {""} == set(strata)


def test_every_row_can_be_ordered():
    for _, _, order in read_benchmark():
        assert order.sites is not None and order.matrix == 256


def test_a_table_that_cannot_be_read_names_the_line(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(",".join(COLUMNS) + "\nx,1,left:BA,,,,1.0,yes,,\n")
    with pytest.raises(ConfigInvalid, match="line 2: there is no left:BA"):
        read_benchmark(path)
    with pytest.raises(PathNotFound):
        read_benchmark(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="frozen"):
        studies_of("benchmark", count=1, first=1, seed=3, order=Order())
    assert [s[1] for s in studies_of("realistic", count=2, first=1, seed=3, order=Order())] == [3, 4]


def test_a_fingerprint_tells_a_changed_block():
    array = np.zeros((9, 10, 11), np.int16)
    array[:2, :2, :2] = 10
    before = fingerprint(Volume(array, np.eye(4)))
    assert before.shape == (4, 4, 4) and before.max() == before[0, 0, 0] > 0
    assert before.sum() == before[0, 0, 0]


@pytest.mark.slow
@pytest.mark.skipif(
    atlas.atlas_path() is None, reason="spm-runtime, which holds the head atlas, is not installed"
)
def test_the_first_ten_studies_are_what_they_were(tmp_path):
    app(["phantom", "--preset", "benchmark", "--count", "10", "--out", str(tmp_path)], standalone_mode=False)
    held, found = json.loads(HELD.read_text()), describe(tmp_path)
    assert found.keys() == held.keys() and len(found) == 11
    assert found.pop("truth") == held.pop("truth"), "another truth: a new version of the benchmark"
    for study, series in held.items():
        assert found[study].keys() == series.keys()
        for name, blocks in series.items():
            np.testing.assert_allclose(
                found[study][name], blocks, atol=TOLERANCE_HU, err_msg=f"{study} {name}"
            )
