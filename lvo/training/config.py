"""Settings of a training run, read from YAML into models that refuse unknown keys."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lvo.errors import ConfigInvalid, PathNotFound

ConfigT = TypeVar("ConfigT", bound=BaseModel)


class StrictModel(BaseModel):
    """A frozen set of settings that refuses unknown keys, so that a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LoopConfig(StrictModel):
    """Everything the training loop itself needs to know; says nothing of data or network."""

    seed: int = Field(default=0, ge=0)
    steps: int = Field(gt=0, description="Optimiser steps of the whole run, resumptions included.")
    batch_size: int = Field(gt=0, description="Cases per step and per process.")
    time_limit_minutes: float | None = Field(
        default=None, gt=0, description="Stop cleanly, with a checkpoint, this long after the start."
    )

    lr: float = Field(default=1e-3, gt=0, description="Peak learning rate.")
    lr_floor: float = Field(default=0.01, ge=0, le=1, description="Share of the peak left at the last step.")
    warmup_steps: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=1e-4, ge=0, description="Not applied to biases and norms.")
    grad_clip: float | None = Field(default=1.0, gt=0, description="Largest norm of the whole gradient.")
    ema_decay: float = Field(default=0.999, ge=0, lt=1, description="0 keeps no running average.")

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="auto: bf16 on CUDA and on CPUs with AVX512-BF16, fp32 on others.",
    )
    channels_last_3d: bool = False
    compile: bool = Field(default=False, description="Compile the network with torch.compile.")
    threads: int = Field(default=1, gt=0, description="Threads of the training process; not the workers'.")
    num_workers: int = Field(default=0, ge=0, description="Processes that make cases; one core each.")

    log_every: int = Field(default=20, gt=0, description="Steps that one row of the metrics log averages.")
    validate_every: int = Field(default=500, gt=0)
    validation_batches: int | None = Field(
        default=None, gt=0, description="Batches per process; needed when the validation set has no length."
    )
    checkpoint_every_minutes: float = Field(default=10.0, ge=0)
    keep_averages: bool = Field(
        default=False, description="Keep every checkpoint's running average, to choose among them later."
    )


def read_config(path: Path, model: type[ConfigT]) -> ConfigT:
    """Read a YAML file into a settings model.

    Raises
    ------
    PathNotFound
        There is no such file.
    ConfigInvalid
        It is not YAML, not a mapping, or does not fit the model; every fault is named.
    """
    if not path.is_file():
        raise PathNotFound(str(path))
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise ConfigInvalid(f"{path}: {fault}") from fault
    if not isinstance(values, dict):
        raise ConfigInvalid(f"{path}: expected 'key: value' lines")
    try:
        return model.model_validate(values)
    except ValidationError as fault:
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or '(whole file)'}: {e['msg']}" for e in fault.errors()
        )
        raise ConfigInvalid(f"{path}: {faults}") from fault
