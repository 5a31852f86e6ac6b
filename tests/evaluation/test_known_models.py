"""Models whose figures are known beforehand, strata that must add up, and two models side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvo.anatomy import SITES, Segment, Side
from lvo.evaluation import evaluate
from lvo.evaluation.bootstrap import calibration_error, median_by_study
from lvo.evaluation.cases import Case
from lvo.evaluation.compare import Compared, compare
from lvo.evaluation.figures import group, members
from lvo.evaluation.metrics import expected_calibration_error, median, roc_auc
from lvo.evaluation.strata import with_orders
from tests.evaluation.builders import answer, occlusion, perfect, refused, yes

M1L, M2R = (Segment.M1, Side.LEFT), (Segment.M2, Side.RIGHT)
Answerer = Callable[..., Case]


def cohort(answered: Answerer) -> tuple[Case, ...]:
    """Every site once, and as many patent studies."""
    occluded = [answered(f"o{n}", occlusion(site)) for n, site in enumerate(SITES)]
    return (
        *occluded,
        *(answered(f"p{n}", about={"mimics": "stenosis left M1 70%"}) for n in range(len(SITES))),
    )


def test_perfect_model() -> None:
    found = evaluate(cohort(perfect))
    whole = found.overall
    for share in (whole.sensitivity_all, whole.specificity_all, whole.side_right, whole.segment_right):
        assert share.value == 1.0 and share.low is not None and 0.8 < share.low < 1
    assert whole.auc_study.value == whole.auc_site.value == 1.0
    assert whole.position_error_mm.value == 0
    assert found.calibration.value == found.calibration_sites.value == found.brier == 0
    assert all(g.auc_site.value == 1 and g.sensitivity.value == 1 for g in found.segments.rows)


def test_model_that_says_yes_to_all() -> None:
    found = evaluate(cohort(yes))
    whole = found.overall
    assert (whole.sensitivity.value, whole.specificity.value, whole.auc_study.value) == (1.0, 0.0, 0.5)
    lefts = sum(side is Side.LEFT for _, side in SITES)
    assert (whole.side_right.count, whole.segment_right.count) == (lefts, 2)
    assert found.calibration.value == pytest.approx(0.4)  # 0.9 said, half are
    (mimics,) = [t for t in found.strata if "every mimic" in t.title]
    assert [(g.key, g.specificity.count, g.specificity.n) for g in mimics.rows] == [
        (("stenosis",), 0, len(SITES))
    ]


def test_not_analysed_is_missed_and_not_cleared() -> None:
    cases = (*cohort(perfect), Case("x", (occlusion(M1L),), refused()), Case("y", (), refused()))
    whole = evaluate(cases).overall
    n = len(SITES)
    assert (whole.sensitivity.n, whole.sensitivity_all.n, whole.sensitivity_all.count) == (n, n + 1, n)
    assert (whole.specificity.n, whole.specificity_all.n, whole.specificity_all.count) == (n, n + 1, n)


def test_tandem_study_counts_once_in_a_joined_row() -> None:
    tandem = perfect("t", occlusion((Segment.ICA_CERVICAL, Side.LEFT)), occlusion(M1L, at=(60.0, 0.0, 0.0)))
    rows = {g.key[0]: g for g in evaluate((tandem, perfect("p"))).segments.rows}
    joined = rows["ICA-C, ICA-I, ICA-T or M1"]
    assert (joined.studies, joined.occlusions, joined.auc_study.n) == (1, 2, 2)
    assert rows["ICA-C"].studies == rows["M1"].studies == 1


def test_orders_make_strata(tmp_path: Path) -> None:
    table = tmp_path / "orders.csv"
    table.write_text(
        "study,noise,slice_mm,ncct,mimic\na,low,1.0,yes,\nb,high,1.0,no,plaque\nc,high,0.7,no,\n"
    )
    cases = with_orders([perfect("a", occlusion(M1L)), yes("b"), perfect("c"), perfect("other")], table)
    tables = {t.title: {g.key[0]: g for g in t.rows} for t in evaluate(cases).strata}
    assert {k: (g.studies, g.patent) for k, g in tables["By noise"].items()} == {
        "low": (1, 0),
        "high": (0, 2),
    }
    assert {k: g.patent for k, g in tables["By NCCT"].items()} == {"with": 0, "without": 2}
    mimics = tables["Patent studies by the mimic made sure of"]
    assert {k: g.specificity.value for k, g in mimics.items()} == {"plaque": 0.0, "none": 1.0}


def test_composed_studies_stand_by_their_head() -> None:
    words = (
        "absent A1 left; head ge.nii.gz mirrored; tree mirrored",
        "head ge.nii.gz",
        "hypoplastic basilar",
    )
    cases = [replace(perfect(str(n)), about={"variants": w}) for n, w in enumerate(words)]
    (table,) = [t for t in evaluate(cases).strata if t.title.startswith("By the head")]
    assert [(g.key, g.patent) for g in table.rows] == [(("ge.nii.gz",), 2)]


scores = st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), min_size=1, max_size=12)


@given(first=scores, second=scores, patent=scores)
def test_areas_of_parts_add_up(first: list[float], second: list[float], patent: list[float]) -> None:
    """Weighted by their cases, the areas of the parts make the whole's; each is `roc_auc` of its scores."""

    def case(n: int, p: float, *sites: tuple[Segment, Side]) -> Case:
        return Case(f"{sites}{n}", tuple(occlusion(s) for s in sites), answer(p, {}))

    cases = [case(n, p, M1L) for n, p in enumerate(first)] + [case(n, p, M2R) for n, p in enumerate(second)]
    without = [case(n, p) for n, p in enumerate(patent)]
    parts = [
        group(("x",), members(cases, lambda _, o, s=s: o.segment is s), without).auc_study
        for s in (Segment.M1, Segment.M2)
    ]
    whole = group(("x",), members(cases, lambda *_: True), without).auc_study
    assert parts == [roc_auc(first, patent), roc_auc(second, patent)]
    assert whole == roc_auc(first + second, patent)
    weighted = sum((a.value or 0) * n for a, n in zip(parts, (len(first), len(second)), strict=True))
    assert whole.value == pytest.approx(weighted / (len(first) + len(second)))


def test_side_by_side() -> None:
    found = compare([("yes", cohort(yes)), ("perfect", cohort(perfect))], resamples=200)
    rows: dict[str, Compared] = {r.measure: r for r in found.rows}
    area, cleared = rows["AUC by study, any"], rows["specificity of all"]
    assert area.values == (0.5, 1.0) and area.differences[0].low == pytest.approx(0.5)
    assert cleared.differences[0].value == 1.0 and cleared.differences[0].n == len(SITES)
    same = compare([("a", cohort(yes)), ("b", cohort(yes))], resamples=200)
    assert all((d.value, d.low, d.high) == (0, 0, 0) for r in same.rows for d in r.differences)


def test_pairing_narrows_a_difference() -> None:
    rng = np.random.default_rng(0)
    truth = [bool(n % 2) for n in range(120)]
    base = [float(np.clip(rng.normal(0.55 if t else 0.45, 0.2), 0, 0.98)) for t in truth]

    def cases(shift: float) -> list[Case]:
        return [
            Case(f"{n}", (occlusion(M1L),) if t else (), answer(p + shift * t, {}))
            for n, (t, p) in enumerate(zip(truth, base, strict=True))
        ]

    row = compare([("a", cases(0.0)), ("b", cases(0.02))], resamples=500).rows[0]
    (difference,) = row.differences
    alone = evaluate(cases(0.0)).overall.auc_study
    assert difference.low is not None and difference.high is not None
    assert alone.low is not None and alone.high is not None
    assert difference.value is not None and 0 < difference.low < difference.value < difference.high
    assert difference.high - difference.low < (alone.high - alone.low) / 3


def test_calibration_interval() -> None:
    rng = np.random.default_rng(1)
    p = rng.random((400, 5))
    good = rng.random(p.shape) < p
    found = calibration_error(list(p), list(good))
    assert found.value == pytest.approx(expected_calibration_error(p, good))
    assert found.low is not None and found.high is not None and found.chance is not None
    assert found.low <= found.value < found.chance  # type: ignore[operator]
    bad = calibration_error(list(p), list(p > 0.5))
    assert bad.low is not None and bad.chance is not None and bad.low > bad.chance
    # A study's values stand or fall together: copies of one value are no more evidence.
    single = calibration_error(list(p[:, :1]), list(good[:, :1]))
    copied = calibration_error(list(p[:, [0] * 5]), list(good[:, [0] * 5]))
    assert (copied.value, copied.low, copied.high) == pytest.approx((single.value, single.low, single.high))


def test_median_by_study() -> None:
    values = np.random.default_rng(2).exponential(5, 60)
    one_each = median_by_study([[v] for v in values])
    assert one_each == median(values)
    pairs = median_by_study([*([v, v] for v in values), []])
    assert pairs.value == one_each.value and pairs.n == 60
    assert pairs.low == pytest.approx(one_each.low, rel=0.15)


def test_flops_of_known_nodes() -> None:
    onnx = pytest.importorskip("onnx")
    from lvo.evaluation.flops import count_flops

    helper = onnx.helper
    weights = {"w": (6, 4, 3, 3, 3), "u": (6, 2, 2, 2, 2), "m": (8, 5)}
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 6),
                helper.make_node("ConvTranspose", ["y", "u"], ["z"], strides=[2, 2, 2]),
                helper.make_node("MatMul", ["z", "m"], ["out"]),
            ],
            "known",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 4, 4, 4, 4))],
            [helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, None)],
            [
                helper.make_tensor(n, onnx.TensorProto.FLOAT, s, np.zeros(s).ravel())
                for n, s in weights.items()
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    conv, up = 64 * 6 * 4 * 27, 64 * 6 * 2 * 8
    assert count_flops(model) == 2 * (conv + up + 2 * 8 * 8 * 5 * 8)
