"""A tiny task for the training loop: a fixed linear map to learn, with dropout so that RNG matters."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from lvo.training.config import LoopConfig
from lvo.training.loop import Outcome, train
from lvo.training.watching import Watching


class ToyCases(Dataset[dict[str, Tensor]]):
    """Endless for training (no length), 7 cases for validation."""

    def __init__(self, split: str, seed: int) -> None:
        self.seed = seed + (10_000_000 if split == "validation" else 0)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        draw = torch.Generator().manual_seed(self.seed + index)
        image = torch.randn(1, 4, 4, 4, generator=draw)
        return {"image": image, "target": image.mean().reshape(1), "index": torch.tensor(index)}


class ToyValidation(ToyCases):
    def __len__(self) -> int:
        return 7


def toy_dataset(*, split: str, seed: int, rank: int, world: int) -> Dataset[dict[str, Tensor]]:
    return (ToyValidation if split == "validation" else ToyCases)(split, seed)


def toy_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4), nn.Dropout(0.5), nn.GELU(), nn.Flatten(), nn.Linear(32, 1)
    )


def toy_loss(outputs: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    loss = nn.functional.mse_loss(outputs.float(), batch["target"])
    return loss, {"index_sum": float(batch["index"].sum())}


def toy_rows(outputs: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"index": batch["index"], "error": (outputs.float() - batch["target"]).abs()[:, 0]}


def toy_summary(rows: dict[str, Tensor]) -> dict[str, float]:
    return {"cases": float(rows["index"].numel()), "distinct": float(rows["index"].unique().numel())}


def toy_pictures(outputs: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"slice": batch["image"][0, :, 0].sigmoid()}


def toy_train(config: LoopConfig, out: Path, *, resume: bool = False) -> Outcome:
    return train(
        config,
        out,
        network_factory=toy_network,
        dataset_factory=toy_dataset,
        loss_fn=toy_loss,
        watching=Watching(rows=toy_rows, summary=toy_summary, pictures=toy_pictures),
        resume=resume,
    )


if __name__ == "__main__":  # run by the tests as a process of its own
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("settings", type=str)
    arguments = parser.parse_args()
    outcome = toy_train(LoopConfig.model_validate_json(arguments.settings), arguments.out)
    print(f"ended {outcome.ended} {outcome.step}", flush=True)
