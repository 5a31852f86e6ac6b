"""Disturbed training patients: labels stay true, CTA and NCCT agree, clots stay, thin open arteries go."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("monai", reason="training needs monai: install the 'train' extra")

import torch
from torch.nn import functional

from lvo.anatomy import Segment, Side
from lvo.phantom.config import load_config
from lvo.phantom.head.atlas import SPM_RUNTIME, atlas_path
from lvo.phantom.image import tubes
from lvo.phantom.patient import Case, Order, sample_case
from lvo.training.box_head import BoxHead
from lvo.training.box_place import PoseError
from lvo.training.boxed import CLOT, LIT, image_in_box, place_head
from lvo.training.roughen import Roughness, RoughRanges, draw_roughness, roughen_arteries

pytestmark = pytest.mark.skipif(atlas_path() is None, reason=f"synthetic heads need {SPM_RUNTIME}")
SITES = ((Side.LEFT, Segment.M1), (Side.RIGHT, Segment.M3))


@pytest.fixture(scope="module")
def case() -> Case:
    """A patient with two clots at the peak of the contrast."""
    return sample_case(3, load_config("realistic"), Order(sites=SITES, phase="peak", noise="low"))


@pytest.fixture(scope="module")
def head(case: Case) -> BoxHead:
    """The patient's head in the box."""
    return place_head(case, "cpu", PoseError())


@pytest.fixture(scope="module")
def rough() -> Roughness:
    """Every disturbance at its strongest."""
    wide = {name: (high, high) for name, (_, high) in RoughRanges().model_dump(exclude={"chance"}).items()}
    return draw_roughness(np.random.default_rng(1), RoughRanges(chance=1.0, **wide))


def bone(hu: torch.Tensor) -> torch.Tensor:
    return (hu > 250).float().flatten()


def agreement(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([bone(a), bone(b)]))[0, 1])


def test_no_chance_leaves_the_patient_as_it_was(case: Case, head: BoxHead) -> None:
    nothing = draw_roughness(np.random.default_rng(1), RoughRanges())
    plain, same = image_in_box(case, head), image_in_box(case, head, nothing)
    assert all(torch.equal(plain[name], same[name]) for name in plain)


def test_labels_lie_on_the_arteries_and_both_scans_show_one_head(
    case: Case, head: BoxHead, rough: Roughness
) -> None:
    plain, item = image_in_box(case, head), image_in_box(case, head, rough)
    lit = item["state"] == LIT
    seen = functional.avg_pool3d(item["cta"][None, None].clamp(-100, 600), 2)[0, 0]
    for axis in range(3):
        for step in (-1, 1):
            assert seen[lit].mean() > seen[lit.roll(step, axis)].mean() + 10
    assert agreement(seen, item["ncct"]) > agreement(seen, plain["ncct"]) + 0.05


def test_clots_stay_and_thin_open_arteries_go(case: Case, head: BoxHead, rough: Roughness) -> None:
    whole = tubes(case.patient, case.patient.bolus)
    left = roughen_arteries(whole, rough)
    assert left.clot.sum() == whole.clot.sum() > 0
    assert sum(len(b.points) for b in left.arteries) == len(left.clot) == len(left.fill) < len(whole.clot)
    open_ends = [b.radius[-1] for b in roughen_arteries(whole, replace(rough, calibre_sd=0.0)).arteries]
    assert np.quantile(open_ends, 0.05) > 0.9 * rough.thinnest_mm
    clots = [((image_in_box(case, head, r)["state"] & CLOT) > 0).sum() for r in (None, rough)]
    assert 0.6 * clots[0] < clots[1] < 1.6 * clots[0]


def test_a_slip_moves_the_head_as_a_whole_and_no_artery(case: Case, head: BoxHead) -> None:
    nothing = draw_roughness(np.random.default_rng(1), RoughRanges())
    slip = np.zeros_like(nothing.slip)
    slip[2] = 6.0
    plain, item = image_in_box(case, head), image_in_box(case, head, replace(nothing, slip=slip))
    assert torch.equal(item["vessel"], plain["vessel"])
    for name, step in (("cta", 6), ("ncct", 3)):
        was, now = plain[name][step:], item[name][:-step]
        assert agreement(now, was) > agreement(item[name], plain[name]) + 0.2, name


def test_open_cortical_branches_go_with_all_that_they_feed(case: Case) -> None:
    whole = tubes(case.patient, case.patient.bolus)
    nothing = draw_roughness(np.random.default_rng(1), RoughRanges())
    left = roughen_arteries(whole, replace(nothing, absent=1.0))
    names = {(b.name, b.side) for b in left.arteries}
    gone = [b for b in whole.arteries if (b.name, b.side) not in names]
    assert left.clot.sum() == whole.clot.sum() > 0
    # Nothing below a trunk is left but what clots block, or what leads to them.
    assert {"M2", "M3", "M4", "A3", "P3"} == {b.structure for b in gone}
    parents = [whole.arteries[b.parent] for b in left.arteries if b.parent >= 0]
    assert names >= {(b.name, b.side) for b in parents}
    assert all(b.radius[0] < 1.0 or (whole.arteries[b.parent] in gone) for b in gone)
    half = roughen_arteries(whole, replace(nothing, absent=0.5))
    assert len(left.arteries) < len(half.arteries) < len(whole.arteries)
