"""Ablation: every variant can be trained, and a table says how it differs from its base."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monai", reason="training needs monai: install the 'train' extra")

import torch

from lvo.detector.bundle import NetworkConfig
from lvo.detector.evidence import EVIDENCE_GRID, VESSEL_CLASSES
from lvo.training.boxed import CLOT, LIT, MISSING
from lvo.training.losses import compute_loss
from scripts.ablate import INPUTS, VARIANTS, _at_lower_scales, _DeepBody, table


def part_of_a_box() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {
        "cta": torch.randn(1, 1, 16, 16, 144, generator=rng) * 100,
        "ncct": torch.randn(1, 1, 8, 8, 72, generator=rng) * 30,
        "has_ncct": torch.ones(1, 1),
        "corner": torch.tensor([[4, 4]]),
        "vessel": torch.randint(0, VESSEL_CLASSES, (1, 8, 8, 72), generator=rng),
        "state": torch.tensor([0, LIT, MISSING, CLOT])[torch.randint(0, 4, (1, 8, 8, 72), generator=rng)],
    }


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns_from_a_part_of_the_box(name: str) -> None:
    batch, variant = part_of_a_box(), VARIANTS[name]
    network = variant.network(NetworkConfig(filters=8)).train()
    loss, _ = variant.loss(network(*(batch[k] for k in INPUTS)), batch)
    if isinstance(network.body, _DeepBody):
        assert len(network.body.lower) == 2
        loss = loss + _at_lower_scales(network.body.lower, batch)
    loss.backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in network.parameters())
    assert VARIANTS[variant.base].base == variant.base


@torch.no_grad()
def test_the_losses_differ_and_leave_the_released_one_alone() -> None:
    batch = part_of_a_box()
    outputs = VARIANTS["released"].network(NetworkConfig(filters=8))(*(batch[k] for k in INPUTS))
    before = float(compute_loss(outputs, batch)[0])
    changed = {
        name: float(v.loss(outputs, batch)[0]) for name, v in VARIANTS.items() if v.loss is not compute_loss
    }
    assert len(changed) == 6 and before not in changed.values()
    assert float(compute_loss(outputs, batch)[0]) == before


@pytest.mark.parametrize(
    ("name", "changed"),
    [("2-mm-input", [0, 1, 2, 3]), ("narrow-field", [0, 1, 2, 3]), ("no-mirrored-channel", [2]),
     ("no-narrow-window", [3])],
)  # fmt: skip
@torch.no_grad()
def test_a_variant_sees_other_channels_and_leaves_the_rest(name: str, changed: list[int]) -> None:
    cta = part_of_a_box()["cta"]
    whole, seen = (VARIANTS[n].network(NetworkConfig(filters=8)).windows(cta) for n in ("released", name))
    assert [c for c in range(4) if not torch.equal(whole[:, c], seen[:, c])] == changed


@torch.no_grad()
def test_without_its_place_the_network_gets_none() -> None:
    network = VARIANTS["no-place"].network(NetworkConfig(filters=8))
    network.prior.fill_(1)
    assert not network.place(torch.zeros(1, 1, *EVIDENCE_GRID.shape), None).any()


def test_the_table_sets_each_run_against_its_base(tmp_path: Path) -> None:
    for name, shift in (("released", 0.0), ("no-dice", 0.1), ("fresh", 0.3)):
        figures = np.full((5, 4), 0.5 + shift)
        figures[0, 2] = np.nan  # a patient without a clot
        np.savez(tmp_path / f"{name}.npz", figures=figures, seconds=1 + shift)
    released, no_dice, fresh = table(tmp_path).splitlines()[2:]
    assert "(" not in released.split("|")[3] and "(" not in fresh.split("|")[3]
    assert [c.strip() for c in no_dice.split("|")[3:8]] == ["0.600 (+0.100 to +0.100)"] * 4 + ["1.10"]
