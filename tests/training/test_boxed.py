"""Training patients: labels lie on what is seen, families share a head, fresh ones never come twice."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monai", reason="training needs monai: install the 'train' extra")

import torch
from pydantic import ValidationError
from torch.nn import functional

from lvo.anatomy import Segment
from lvo.detector.bundle import NetworkConfig
from lvo.detector.evidence import EVIDENCE_GRID
from lvo.detector.torch_network import make_network
from lvo.errors import ConfigInvalid
from lvo.phantom.config import load_config
from lvo.phantom.head.atlas import SPM_RUNTIME, atlas_path
from lvo.phantom.head.individual import sample_head
from lvo.phantom.patient import Case, Order, sample_case
from lvo.phantom.scanner.motion import Motion
from lvo.training import data, views
from lvo.training.box_place import PoseError
from lvo.training.boxed import (
    CLOT,
    LIT,
    UNSCANNED_HU,
    DataConfig,
    draw_case,
    image_family,
    image_in_box,
    place_head,
)
from lvo.training.pose_data import prepare

needs_atlas = pytest.mark.skipif(atlas_path() is None, reason=f"synthetic heads need {SPM_RUNTIME}")
CONFIG = DataConfig(presets={"realistic": 1.0}, validation=2)


@pytest.fixture(scope="module")
def case() -> Case:
    """A patient at the peak of the contrast."""
    return sample_case(3, load_config("realistic"), Order(sites=(), phase="peak", noise="low"))


def along_arteries(item: dict[str, torch.Tensor], shift: tuple[int, int, int]) -> float:
    """Mean HU where the labels say lit artery, the labels shifted by some voxels."""
    seen = functional.avg_pool3d(item["cta"][None, None].clamp(-100, 600), 2)[0, 0]
    return float(seen[torch.roll(item["state"] == LIT, shift, (0, 1, 2))].mean())


@needs_atlas
@pytest.mark.parametrize("moves", [False, True])
def test_labels_lie_on_the_arteries(case: Case, moves: bool) -> None:
    z = np.linspace(-2000, 2000, 41)
    way = np.tile((5.0, -4.0, 3.0), (len(z), 1)) * moves
    motion = Motion("drift" if moves else "still", z, way, np.zeros(len(z)))
    case = replace(case, scan=replace(case.scan, motion=motion))
    item = image_in_box(case, place_head(case, "cpu", PoseError()))
    here = along_arteries(item, (0, 0, 0))
    for shift in ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)):
        assert here > along_arteries(item, shift) + 10


@needs_atlas
def test_what_the_scan_leaves_out_has_neither_image_nor_labels(case: Case) -> None:
    z = float(case.scan.pose[2, 3])
    scan = replace(case.scan, coverage=(z - 55, z + 150), ncct_coverage=(z - 30, z + 150))
    head = place_head(case, "cpu", PoseError())
    whole = image_in_box(replace(case, scan=replace(scan, coverage=(z - 300, z + 150))), head)
    cut = image_in_box(replace(case, scan=scan), head)
    gone = cut["cta"] == UNSCANNED_HU
    # The box begins 72 mm below the sella; its place and the patient's size are not quite the average's.
    assert 0.02 < gone.float().mean() < 0.25 and not gone[40:].any()
    assert torch.equal(cut["cta"][~gone], whole["cta"][~gone])
    beyond = gone[::2, ::2, ::2] & gone[1::2, 1::2, 1::2]
    assert whole["vessel"][beyond].any() and not cut["vessel"][beyond].any()
    assert not cut["state"][beyond].any()
    assert (cut["ncct"] == UNSCANNED_HU).float().mean() > gone.float().mean()


@needs_atlas
def test_only_the_segments_that_are_asked_for_are_occluded() -> None:
    config = CONFIG.model_copy(
        update={"occluded": 1.0, "several": 0.5, "segments": {Segment.M2: 2, Segment.BASILAR: 1}}
    )
    found = [o.segment for seed in range(8) for o in draw_case(seed, config).patient.occlusions]
    assert set(found) == {Segment.M2, Segment.BASILAR}
    assert len(found) > 8
    for nothing in ({}, {Segment.M2: 0}):
        with pytest.raises(ValidationError):
            DataConfig(segments=nothing)


@needs_atlas
def test_patients_with_many_clots_teach_more_at_once() -> None:
    config = CONFIG.model_copy(update={"occluded": 1.0, "several": 1.0, "most": 5})
    counts = [len(draw_case(seed, config).patient.occlusions) for seed in range(12)]
    # One fewer, where a patient lacks one of the segments.
    assert min(counts) >= 1 and max(counts) > 2 and max(counts) <= 5
    assert {len(draw_case(seed, CONFIG).patient.occlusions) for seed in range(12)} <= {0, 1, 2}


@needs_atlas
def test_tandem_occlusions_are_as_many_as_asked_for() -> None:
    sites = {Segment.M1: 1.0, Segment.BASILAR: 1.0}
    config = CONFIG.model_copy(update={"occluded": 1.0, "several": 0.0, "segments": sites, "tandem": 1.0})
    for seed in range(6):
        found = {(o.segment, o.side) for o in draw_case(seed, config).patient.occlusions}
        carotids = {side for segment, side in found if segment is Segment.ICA_CERVICAL}
        assert carotids == {side for segment, side in found if segment is Segment.M1}


@needs_atlas
def test_a_family_shares_head_and_box_and_nothing_else() -> None:
    (a, first), (b, second) = image_family(5, CONFIG, 2)
    assert a.patient.head is b.patient.head
    assert a.patient.age == b.patient.age
    assert len(a.patient.arteries.branches[0].points) != len(b.patient.arteries.branches[0].points)
    assert a.patient.bolus != b.patient.bolus
    assert a.scan.cta != b.scan.cta
    assert (first["vessel"] != second["vessel"]).any()
    bone = [item["cta"] > 500 for item in (first, second)]
    assert float((bone[0] & bone[1]).sum()) > 0.7 * float((bone[0] | bone[1]).sum())


@needs_atlas
def test_a_patient_leaves_the_head_that_others_have_as_it_was(case: Case) -> None:
    head = place_head(case, "cpu", PoseError())
    before = head.canvas.hu.clone(), head.canvas.uptake.clone(), head.body.clone()
    first = image_in_box(case, head)
    second = image_in_box(case, head)
    assert all(torch.equal(first[k], second[k]) for k in first)
    for a, b in zip(before, (head.canvas.hu, head.canvas.uptake, head.body), strict=True):
        assert torch.equal(a, b)


def test_no_two_shares_or_runs_draw_the_same_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def family(first: int, config: DataConfig, count: int | None = None):  # type: ignore[no-untyped-def]
        for seed in range(first, first + (count or config.per_head)):
            drawn.append(seed)
            yield None, {}

    monkeypatch.setattr(data, "image_family", family)
    config = CONFIG.model_copy(update={"per_head": 3})
    for run in (0, 1):
        for share in range(4):
            source = data.FreshDataset(config, "train", run, 0, 1)
            list(islice(source.endless(np.random.default_rng(0), share, 4), 9))
    assert len(set(drawn)) == len(drawn) == 72
    assert min(drawn) > 10**9  # pools, validation and benchmarks count up from less


@needs_atlas
def test_fresh_items_come_without_a_pool_and_validation_is_the_same_every_time() -> None:
    config = CONFIG.model_copy(update={"validation": 1})
    kind = {"seed": 1, "rank": 0, "world": 1}
    first, again = (list(data.make_dataset(config, split="validation", **kind)) for _ in range(2))
    assert len(first) == 1
    assert all(torch.equal(first[0][k], again[0][k]) for k in first[0])
    shown = next(iter(data.make_dataset(config, split="train", **kind)))
    assert {k: (v.shape, v.dtype) for k, v in shown.items()} == {
        k: (v.shape, v.dtype) for k, v in first[0].items()
    }
    with pytest.raises(ConfigInvalid, match="pool"):
        data.fill_pool(config)


@needs_atlas
def test_a_pool_is_filled_by_parts(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"pool": tmp_path, "patients": 3, "per_head": 2, "validation": 1})
    assert [data.fill_pool(config, part, 2) for part in (0, 1, 0)] == [2, 1, 0]
    assert len(list(data.make_dataset(config, split="validation", seed=1, rank=0, world=1))) == 1
    with np.load(tmp_path / "000002.npz") as item:
        assert item["cta"].dtype == np.int16


def test_a_patient_of_a_pool_made_for_another_box_is_refused_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "000003.npz", cta=np.zeros((96, 112, 112), np.int16))
    with pytest.raises(ConfigInvalid, match=r"000003\.npz .*make it again"):
        data.read_patient(tmp_path / "000003.npz")


@needs_atlas
def test_a_banked_head_says_where_it_is() -> None:
    head = sample_head(np.random.default_rng(3))
    banked = prepare(head, 20.0, 110.0)
    z, y, x = np.meshgrid(
        *(np.linspace(a, b, n) for a, b, n in zip(
            banked.low[::-1], banked.high[::-1], banked.canonical.shape[2:], strict=True
        )), indexing="ij",
    )  # fmt: skip
    canonical = banked.canonical[0].numpy().reshape(3, -1).T
    np.testing.assert_allclose(head.warp(canonical), np.stack([x, y, z], -1).reshape(-1, 3), atol=0.1)
    middle = [round(-a / 3) for a in banked.low[::-1]]
    assert banked.hu[0, 0, middle[0] + 17, middle[1] + 7, middle[2]] > -50  # brain over the sella
    assert banked.hu[0, 0, :, 0].max() < -900


def test_a_view_may_be_a_part_of_the_box_that_knows_where_it_lies() -> None:
    rng = np.random.default_rng(0)
    z, y, x = EVIDENCE_GRID.shape
    state = np.zeros((z, y, x), np.uint8)
    state[40:42, 10:12, 20] = CLOT
    row = (
        np.arange(y, dtype=np.float32)[None, :, None] + 100.0 * np.arange(z, dtype=np.float32)[:, None, None]
    )
    whole = {
        "cta": np.broadcast_to(row.repeat(2, 0).repeat(2, 1), (2 * z, 2 * y, 2 * x)),
        "ncct": np.broadcast_to(row, (z, y, x)), "vessel": state, "state": state,
    }  # fmt: skip
    hits = 0
    for _ in range(40):
        item = dict(whole)
        views.part(item, rng, (24, 32))
        k, j = item["corner"]
        assert item["ncct"].shape == (24, 32, x) and item["cta"].shape == (48, 64, 2 * x)
        assert item["ncct"][0, 0, 0] == item["cta"][0, 0, 0] == 100 * k + j
        hits += bool(item["state"].any())
    assert hits > 25


def test_a_part_of_the_box_is_told_its_place() -> None:
    network = make_network(NetworkConfig(filters=4, blocks_down=(1, 1), blocks_up=(1,)))
    network.prior.copy_(torch.randn(network.prior.shape))
    ncct, corner = torch.zeros(1, 1, 24, 32, 56), torch.tensor([[7, 9]])
    whole = network.place(torch.zeros(1, 1, *EVIDENCE_GRID.shape), None)
    assert torch.equal(network.place(ncct, corner), whole[:, :, 7:31, 9:41])
