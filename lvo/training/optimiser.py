"""Optimiser, learning-rate schedule and running average of the weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import nn

from lvo.training.config import LoopConfig


def make_optimiser(network: nn.Module, config: LoopConfig) -> torch.optim.Optimizer:
    """Fused AdamW; weight decay on kernels only, since shrinking norms and biases only does harm."""
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, fused=True)


def learning_rate(step: int, config: LoopConfig) -> float:
    """Linear warm-up, then half a cosine down to ``lr_floor`` of the peak at the last step."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - 1 - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return config.lr * (config.lr_floor + (1 - config.lr_floor) * cosine)


class RunningAverage:
    """Exponential moving average of a network's weights and buffers.

    The decay starts low and rises with the step, so that a short run is not dominated by its
    random start.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self._pairs = list(
            zip(self.network.state_dict().values(), network.state_dict().values(), strict=True)
        )

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the network's present weights."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        for average, present in self._pairs:
            if average.is_floating_point():
                average.lerp_(present, 1 - decay)
            else:
                average.copy_(present)


def minimise(parameters: list[nn.Parameter], loss: Callable[[], torch.Tensor], steps: int) -> None:
    """Bring a smooth loss of a few parameters to its minimum (L-BFGS; no chance in it)."""
    optimiser = torch.optim.LBFGS(parameters, max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    optimiser.step(closure)
