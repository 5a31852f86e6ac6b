"""Training and export of the pose network."""

from __future__ import annotations

import csv
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from monai.networks.nets.unet import UNet
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from lvo.imaging.pose_input import CHANNELS, MULTIPLE, settings
from lvo.phantom.config import load_config
from lvo.training.pose_data import BankedHead, Sample, bank_head, nothing, sample

_FIRST_HEADS = 16
_STEPS_PER_HEAD = 10


class PoseTraining(BaseModel):
    """Everything a pose training run may change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 1
    heads: int = Field(default=240, ge=1, description="Synthetic heads in the bank.")
    preset: str = Field(default="training", description="Of the phantom: a name, or a YAML file.")
    steps: int = Field(default=3500, ge=1)
    minutes: float = Field(default=20.0, gt=0, description="Stop after so long, whatever the steps.")
    batch: int = Field(default=2, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    empty_share: float = Field(default=0.06, ge=0, lt=1, description="Share of samples without a head.")
    channels: tuple[int, ...] = (24, 40, 64, 80)
    bf16: bool = True
    threads: int = Field(default=1, ge=1)
    checkpoint_every: int = Field(default=250, ge=1)


def read_config(path: Path) -> PoseTraining:
    """Read a YAML file; unknown keys are refused."""
    return PoseTraining.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})


def build(channels: tuple[int, ...]) -> UNet:
    """A small U-Net on 8 mm cells: 24 channels in, three coordinates and one head logit out."""
    return UNet(
        spatial_dims=3,
        in_channels=CHANNELS,
        out_channels=4,
        channels=channels,
        strides=(2,) * (len(channels) - 1),
        num_res_units=1,
        norm="INSTANCE",
    )


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples stacked, as tensors; see `lvo.training.pose_data.Sample`."""

    image: torch.Tensor
    target: torch.Tensor
    head: torch.Tensor
    known: torch.Tensor


def loss(output: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Coordinate error where there is head, nearer the sella more, plus cross-entropy of headness.

    Returns
    -------
    total, error_mm : the loss to minimise and the mean coordinate error along an axis, mm
    """
    distance = batch.target.square().sum(1)
    weight = batch.head * (0.3 + torch.exp(-distance / (2 * 0.6**2)))
    error = (output[:, :3] - batch.target).abs().mean(1)
    coordinates = (error * weight).sum() / weight.sum().clamp(min=1)
    logits = functional.binary_cross_entropy_with_logits(output[:, 3], batch.head, weight=batch.known)
    return 10 * coordinates + logits, 100 * coordinates.detach()


def draw_batch(rng: np.random.Generator, bank: list[BankedHead], config: PoseTraining) -> Batch:
    """One batch of one random grid size."""
    z, y, x = (int(n) * MULTIPLE for n in (rng.integers(3, 7), rng.integers(3, 5), rng.integers(3, 5)))
    samples: list[Sample] = []
    for _ in range(config.batch):
        empty = rng.random() < config.empty_share
        head = bank[int(rng.integers(len(bank)))]
        samples.append(nothing(rng, (z, y, x)) if empty else sample(rng, head, (z, y, x)))
    return Batch(
        *(torch.from_numpy(np.stack([getattr(s, n) for s in samples])) for n in Batch.__dataclass_fields__)
    )


def train(config: PoseTraining, out: Path) -> Path:
    """Train from `config`, writing checkpoint, log and model to `out`; goes on where a run stopped.

    Returns
    -------
    Path of the weights, ``pose.safetensors``.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    model = build(config.channels)
    optimiser = torch.optim.AdamW(model.parameters(), config.learning_rate, weight_decay=1e-3)
    start = _resume(out / "checkpoint.pt", model, optimiser)
    rng = np.random.default_rng([config.seed, start])
    _loop(config, out, model, optimiser, rng, start)
    weights = out / "pose.safetensors"
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, weights)
    return weights


def _loop(
    config: PoseTraining,
    out: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    rng: np.random.Generator,
    start: int,
) -> None:
    """Steps until their number or the time is up; the learning rate follows whichever comes first."""
    bank: list[BankedHead] = []
    began = time.monotonic()
    errors: list[float] = []
    with (out / "log.csv").open("a", newline="", encoding="utf-8") as stream:
        log = csv.writer(stream)
        for step in range(start, config.steps):
            gone = max(step / config.steps, (time.monotonic() - began) / (60 * config.minutes))
            if gone >= 1:
                break
            warm = min(1.0, (step - start + 1) / 100)
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * warm * (0.5 * (1 + math.cos(math.pi * gone)) + 0.005)
            _grow(bank, config, step - start)
            batch = draw_batch(rng, bank, config)
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
                output = model(batch.image)
            total, error = loss(output.float(), batch)
            optimiser.zero_grad(set_to_none=True)
            total.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            errors.append(float(error))
            if (step + 1) % 50 == 0:
                log.writerow([step + 1, f"{time.monotonic() - began:.0f}", f"{np.mean(errors):.2f}"])
                stream.flush()
                errors.clear()
            if (step + 1) % config.checkpoint_every == 0:
                state = {"step": step + 1, "model": model.state_dict(), "optimiser": optimiser.state_dict()}
                torch.save(state, out / "checkpoint.pt")


def _grow(bank: list[BankedHead], config: PoseTraining, step: int) -> None:
    """Add heads while training goes on, so that it need not wait for all of them."""
    due = min(config.heads, _FIRST_HEADS + step // _STEPS_PER_HEAD)
    ranges = load_config(config.preset).head if len(bank) < due else None
    while len(bank) < due:
        bank.append(bank_head(np.random.default_rng([config.seed, 7, len(bank)]), ranges))


def _resume(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Load a checkpoint if there is one; the number of steps done."""
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def export(config: PoseTraining, weights: Path, onnx_path: Path) -> None:
    """Write the network as ONNX with free z, y, x (multiples of eight cells), settings as metadata."""
    import onnx

    model = build(config.channels).eval()
    model.load_state_dict(load_file(weights))
    example = torch.zeros(1, CHANNELS, 16, 24, 32)
    axes = {2: "z", 3: "y", 4: "x"}
    torch.onnx.export(
        model,
        (example,),
        str(onnx_path),
        input_names=["image"],
        output_names=["votes"],
        dynamic_axes={"image": axes, "votes": axes},
        opset_version=18,
        dynamo=False,
    )
    proto = onnx.load(str(onnx_path))
    onnx.helper.set_model_props(proto, {"lvo_pose": json.dumps(settings())})
    onnx.save(proto, str(onnx_path))
