"""Training of the tissue network: views, its loss, what each site feeds, and that a run learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monai", reason="training needs monai: install the 'train' extra")

import torch
from torch.nn.functional import avg_pool3d

from lvo.anatomy import SITES, Segment, Side
from lvo.detector.evidence import DEFICIT_GRID, MIRROR
from lvo.detector.torch_tissue import CELL_SHAPE, FOLD
from lvo.errors import ConfigInvalid
from lvo.imaging.resample import HEAD_BOX
from lvo.training.boxed import DataConfig
from lvo.training.tissue import (
    Cells,
    CellViews,
    TissueConfig,
    deficit_loss,
    finished_network,
    moved,
    otherwise,
    read_cells,
    territories,
    train_tissue,
    view,
)

M1 = {side: SITES.index((Segment.M1, side)) for side in (Side.LEFT, Side.RIGHT)}
CONFIG = TissueConfig(
    steps=12, batch_size=4, lr=3e-3, device="cpu", precision="fp32", ema_decay=0, log_every=4,
    validate_every=12, shading_hu=0.2,
    data=DataConfig(validation=2, ncct_dropped=0.0, cut_short=0.0),
)  # fmt: skip


def patients(count: int = 10) -> Cells:
    """Every other one lacks 5 HU of 6 in a part of one side, the next in the same of the other."""
    rng = np.random.default_rng(0)
    seen = torch.ones(count, 5, *CELL_SHAPE)
    deficit, sites = torch.zeros(count, *CELL_SHAPE), torch.zeros(count, len(SITES))
    for n in range(count):
        if n % 2 == 0:
            side = Side.LEFT if n % 4 == 0 else Side.RIGHT
            part = (slice(16, 28), slice(8, 20), slice(22, 34) if side is Side.LEFT else slice(2, 14))
            deficit[n][part] = 0.8
            sites[n, M1[side]] = 1
    seen[:, 1] = 42 - 6 * deficit + torch.from_numpy(rng.normal(0, 0.5, deficit.shape)).float()
    seen[:, 3], seen[:, 4] = 6 - 6 * deficit, 36.0
    return Cells(seen.half(), deficit.half(), sites)


def test_a_view_shows_the_same_brain_and_its_deficit_in_the_same_place() -> None:
    cells = patients()
    config = CONFIG.model_copy(update={"data": DataConfig(ncct_dropped=0.5, cut_short=0.5)})
    rng = np.random.default_rng(0)
    kinds = set()
    for _ in range(40):
        seen, deficit = view(cells.seen[0].float(), cells.deficit[0].float(), rng, config).values()
        brain = seen[0] > 0
        dark = deficit > 0.5
        if (dark & brain).any():
            assert seen[1][brain & dark].mean() < seen[1][brain & ~dark].mean() - 4
        kinds.add((bool(seen[2].any()), bool(brain.all()), bool(dark[..., :18].any())))
        assert cells.seen[0, 0].all(), "the patient itself is left as it was"
    assert len(kinds) == 8


def test_another_brain_has_the_same_contrast() -> None:
    rng = np.random.default_rng(0)
    cells = patients().seen[0].float()
    cells[4] += torch.from_numpy(rng.normal(0, 5, CELL_SHAPE)).float()
    cells[1] = cells[3] + cells[4]
    still = {"shading_hu": 0.0, "moved_mm": 0.0, "turned_degrees": 0.0}
    for changes, same in ((still, True), ({}, False)):
        config = CONFIG.model_copy(update={"shading_hu": 1.0, **changes})
        seen = cells.clone()
        otherwise(seen, rng, config)
        torch.testing.assert_close(seen[1], seen[3] + seen[4], atol=1e-3, rtol=0)
        assert (seen[3] - cells[3]).abs().max() < 1e-3 if same else (seen[3] - cells[3]).std() > 0.3
        assert (seen[4].mean() - cells[4].mean()).abs() > 0.5
        assert (seen[4].std() / cells[4].std() - 1).abs() > 0.02
    assert cells[0].all() and torch.equal(seen[0], cells[0])


def test_an_ncct_that_is_moved_is_moved_as_told() -> None:
    ramp = torch.arange(36.0).expand(CELL_SHAPE)
    config = CONFIG.model_copy(update={"moved_mm": 8.0, "turned_degrees": 0.0})
    shifts = [float((moved(ramp, np.random.default_rng(n), config) - ramp)[16, 14, 18]) for n in range(60)]
    assert np.std(shifts) == pytest.approx(2, rel=0.3)  # cells of 4 mm
    config = CONFIG.model_copy(update={"moved_mm": 0.0, "turned_degrees": 10.0})
    turned = moved(ramp, np.random.default_rng(0), config) - ramp
    assert turned[15:17, 13:15, 17:19].abs().max() < 1 < turned.abs().max()


def test_the_loss_is_nothing_for_the_truth_and_asks_nothing_where_no_brain_is_seen() -> None:
    cells = patients()
    batch = {"cells": cells.seen[:2].float(), "deficit": cells.deficit[:2].float()}
    truth = avg_pool3d(batch["deficit"][:, None], FOLD)[:, 0].clamp(1e-4, 1 - 1e-4).logit()
    assert float(deficit_loss(truth, batch)[0]) == pytest.approx(0, abs=1e-6)
    wrong = truth.clone()
    wrong[:, 10] -= 3
    assert float(deficit_loss(wrong, batch)[0]) > 0.001
    batch["cells"][:, :, 20:22] = 0
    assert float(deficit_loss(wrong, batch)[0]) == pytest.approx(0, abs=1e-6)


def test_a_site_feeds_what_its_patients_lack_on_its_own_side() -> None:
    feeds = territories(patients())
    assert feeds.shape == (len(SITES), *DEFICIT_GRID.shape)
    left = feeds[M1[Side.LEFT]]
    assert left[9:13, 5:9, 12:16].min() > 0.7 and not left[..., :9].any()
    torch.testing.assert_close(feeds[torch.from_numpy(MIRROR)].flip(-1), feeds)
    assert not feeds[[n for n in range(len(SITES)) if n not in M1.values()]].any()


def test_a_run_learns_goes_on_and_leaves_a_network(tmp_path: Path) -> None:
    cells = patients()
    first = train_tissue(CONFIG.model_copy(update={"steps": 6}), tmp_path / "run", cells)
    assert first.ended == "finished" and first.step == 6
    assert (
        train_tissue(CONFIG.model_copy(update={"steps": 60}), tmp_path / "run", cells, resume=True).step == 60
    )
    network = finished_network(tmp_path / "run", cells)
    with torch.inference_mode():
        told = network.deficit(cells.seen[:4].float()).sigmoid()
    dark = avg_pool3d(cells.deficit[:4].float()[:, None], FOLD)[:, 0]
    assert told[dark > 0.7].mean() > told[dark == 0].mean() + 0.3


def test_a_pool_of_before_is_refused_with_what_to_do(tmp_path: Path) -> None:
    np.savez(tmp_path / "000000.npz", cta=np.zeros(HEAD_BOX.shape, np.int16))
    with pytest.raises(ConfigInvalid, match="make it again"):
        read_cells(DataConfig(pool=tmp_path))


def test_validation_patients_are_never_trained_on() -> None:
    cells = patients()
    cells.seen[:2, 0] = 0.5
    place = {"seed": 0, "rank": 0, "world": 1}
    kept = list(CellViews(cells, CONFIG, split="validation", **place))
    assert len(kept) == 2 and all((item["cells"][0] == 0.5).all() for item in kept)
    training = iter(CellViews(cells, CONFIG, split="train", **place))
    assert all((next(training)["cells"][0] == 1).all() for _ in range(30))
