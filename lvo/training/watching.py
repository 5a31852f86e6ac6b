"""What is looked at while training: averages of the loss's figures, and the validation set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lvo.training.distributed import Process
from lvo.training.feed import Batch

Rows = dict[str, Tensor]
LossFn = Callable[[Any, Batch], tuple[Tensor, dict[str, float]]]


@dataclass(frozen=True, slots=True)
class Watching:
    """What is looked at besides the loss, all optional.

    Attributes
    ----------
    metrics : (outputs, batch) to figures of a validation batch; each is averaged over the batches
        that have it.
    rows : (outputs, batch) to small tensors with one row per case, kept over the validation set.
    summary : those rows, of all processes together, to figures.
    pictures : (outputs, batch) to pictures (channels, rows, columns); asked for batch by batch of the
        validation set until there are any.
    """

    metrics: Callable[[Any, Batch], dict[str, float]] | None = None
    rows: Callable[[Any, Batch], Rows] | None = None
    summary: Callable[[Rows], Mapping[str, float]] | None = None
    pictures: Callable[[Any, Batch], Mapping[str, Tensor]] | None = None


@dataclass(slots=True)
class Means:
    """Averages of named figures over steps or batches; each over those that had it."""

    sums: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, figures: Mapping[str, float]) -> None:
        """Add the figures of one step or batch."""
        for name, value in figures.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = (total + float(value), count + 1)

    def merge(self, other: Means) -> None:
        """Add what another process has added."""
        for name, (more, times) in other.sums.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = (total + more, count + times)

    def take(self) -> dict[str, float]:
        """Return the averages, then start anew."""
        means = {name: total / count for name, (total, count) in self.sums.items()}
        self.sums = {}
        return means


@torch.no_grad()
def validate(
    network: Callable[[Batch], Any],
    batches: Iterable[Batch],
    process: Process,
    loss_fn: LossFn,
    watching: Watching,
    amp: Callable[[], AbstractContextManager[Any]],
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Run a network over the validation set (a collective call).

    Parameters
    ----------
    network : a batch to outputs.
    batches : this process's share, already on its device.

    Returns
    -------
    figures : of all processes' cases together.
    pictures : of the first batch of the first process that gives any; empty elsewhere.
    """
    means, kept = Means(), []
    pictures: dict[str, Tensor] = {}
    for batch in batches:
        with amp():
            outputs = network(batch)
            loss, figures = loss_fn(outputs, batch)
        more = watching.metrics(outputs, batch) if watching.metrics is not None else {}
        means.add({"loss": float(loss), **figures, **more})
        if watching.rows is not None:
            kept.append({k: v.detach().cpu() for k, v in watching.rows(outputs, batch).items()})
        if not pictures and process.is_first and watching.pictures is not None:
            pictures = {k: v.detach().cpu() for k, v in watching.pictures(outputs, batch).items()}
    together = process.gather((means, kept))
    total = Means()
    for part, _ in together:
        total.merge(part)
    rows = [r for _, part in together for r in part]
    summary: dict[str, float] = total.take()
    if rows and watching.summary is not None:
        summary |= watching.summary({k: torch.cat([r[k] for r in rows]) for k in rows[0]})
    return summary, pictures
