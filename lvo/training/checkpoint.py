"""Checkpoints: a folder per step that appears whole or not at all.

``run/checkpoints/step-000000123/`` holds ``weights.safetensors`` and ``average.safetensors`` (the
running average, which is what is released), ``state.pt`` (optimiser, gradient scaler, random
generators; plain tensors and numbers, loaded with ``weights_only=True``) and ``config.json``. Where the
settings ask for it, the averages of all checkpoints stay in ``run/averages/step-000000123.safetensors``:
the last weights are not always the best on other anatomy, and `mean_weights` of several may be better than
any.
"""

from __future__ import annotations

import os
import pickle
import random
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lvo.errors import CheckpointInvalid
from lvo.training.optimiser import RunningAverage

_NAME = re.compile(r"step-(\d{9})")
KEEP = 2
"""Newest checkpoints that are kept."""


@dataclass(frozen=True, slots=True)
class Trained:
    """Everything that changes while training, apart from random generators."""

    network: nn.Module
    average: RunningAverage
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler


def random_state() -> dict[str, Any]:
    """Return the state of the random generators of this process, as plain tensors and numbers."""
    kind, keys, *rest = np.random.get_state()
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Put the random generators of this process back."""
    kind, keys, *rest = state["numpy"]
    random.setstate(state["python"])
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def save(
    run: Path,
    step: int,
    trained: Trained,
    random_states: list[Any],
    config: BaseModel,
    *,
    keep_average: bool = False,
) -> Path:
    """Write the checkpoint of a step and remove all but the newest few.

    Everything is written to a hidden folder first, flushed to disk and then renamed, so that a kill
    at any moment leaves the former checkpoint whole.
    """
    folder = run / "checkpoints"
    final = folder / f"step-{step:09d}"
    if final.exists():
        return final
    partial = folder / f".{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(_plain(trained.network), partial / "weights.safetensors")
    save_file(_plain(trained.average.network), partial / "average.safetensors")
    state = {
        "step": step,
        "optimiser": trained.optimiser.state_dict(),
        "scaler": trained.scaler.state_dict(),
        "random": random_states,
    }
    torch.save(state, partial / "state.pt")
    (partial / "config.json").write_text(config.model_dump_json(indent=2), encoding="utf-8")
    for file in partial.iterdir():
        _flush(file)
    partial.rename(final)
    _flush(folder)
    if keep_average:
        kept = run / "averages" / f"{final.name}.safetensors"
        kept.parent.mkdir(exist_ok=True)
        partial = kept.with_suffix(".partial")
        shutil.copyfile(final / "average.safetensors", partial)
        partial.rename(kept)
    for old in _all(run)[:-KEEP]:
        shutil.rmtree(old)
    return final


def latest(run: Path) -> Path:
    """Find the newest checkpoint of a run.

    Raises
    ------
    CheckpointInvalid
        The run has none.
    """
    if not (found := _all(run)):
        raise CheckpointInvalid(f"{run} holds none.")
    return found[-1]


def step_of(checkpoint: Path) -> int:
    """Steps done at a checkpoint, by its name."""
    return int(checkpoint.name.removeprefix("step-"))


def load(checkpoint: Path, trained: Trained, *, rank: int = 0) -> tuple[int, dict[str, Any] | None]:
    """Put a checkpoint's state into ``trained``.

    Returns
    -------
    step : steps done.
    random : state of this rank's random generators, or None when the run had fewer processes.

    Raises
    ------
    CheckpointInvalid
        A file is missing or damaged, or it belongs to another network.
    """
    try:
        trained.network.load_state_dict(load_file(checkpoint / "weights.safetensors"))
        trained.average.network.load_state_dict(load_file(checkpoint / "average.safetensors"))
        state = torch.load(checkpoint / "state.pt", map_location="cpu", weights_only=True)
        trained.optimiser.load_state_dict(state["optimiser"])
        trained.scaler.load_state_dict(state["scaler"])
    except (OSError, SafetensorError, RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as fault:
        raise CheckpointInvalid(f"{checkpoint}: {fault}") from fault
    states: list[Any] = state["random"]
    return int(state["step"]), states[rank] if rank < len(states) else None


def average_weights(checkpoint: Path) -> dict[str, Tensor]:
    """Load the running average of the weights: what is exported and released."""
    return _loaded(checkpoint / "average.safetensors")


def weights_of(source: Path) -> dict[str, Tensor]:
    """Load the weights that a source would release.

    Parameters
    ----------
    source : a file of weights, a bundle, or a run, of which it is the newest running average.

    Raises
    ------
    CheckpointInvalid
        There are none, or they are damaged.
    """
    bundled = source / "models" / "vessels.safetensors"
    if source.is_file() or bundled.is_file():
        found = _loaded(source if source.is_file() else bundled)
        return {name: value.float() for name, value in found.items()}
    return average_weights(latest(source))


def mean_weights(shares: Sequence[tuple[Path, float]]) -> dict[str, Tensor]:
    """The weighted mean of several sources' weights.

    Of one run: Izmailov et al. 2018 (SWA). Of two, one begun with the other: Wortsman et al. 2022 (WiSE-FT).

    Parameters
    ----------
    shares : sources of `weights_of`, each with a positive weight; these need not add up to 1.

    Raises
    ------
    CheckpointInvalid
        A source is missing or damaged, or they are of different networks.
    """
    total = sum(share for _, share in shares)
    mean: dict[str, Tensor] = {}
    for source, share in shares:
        weights = weights_of(source)
        shapes = [{name: value.shape for name, value in some.items()} for some in (weights, mean or weights)]
        if shapes[0] != shapes[1]:
            raise CheckpointInvalid(f"{source} is of another network.")
        for name, value in weights.items():
            mean[name] = mean.get(name, torch.zeros_like(value)) + value * (share / total)
    return mean


def _loaded(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as fault:
        raise CheckpointInvalid(f"{path}: {fault}") from fault


def _all(run: Path) -> list[Path]:
    return sorted(p for p in (run / "checkpoints").glob("step-*") if _NAME.fullmatch(p.name))


def _plain(network: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
