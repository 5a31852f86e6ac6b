"""From a dataset to batches: order, sharding over processes, workers and their seeds."""

from __future__ import annotations

import itertools
import random
import signal
from collections.abc import Iterator, Sized
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from lvo.errors import ConfigInvalid
from lvo.training.config import LoopConfig
from lvo.training.distributed import Process

Batch = dict[str, Tensor]


class DatasetFactory(Protocol):
    """Makes the dataset of one split.

    A dataset with ``__getitem__`` is read by index: every process gets the same one, the loop shares
    the indices out, and a resumed run goes on with exactly the cases it would have seen. Without
    ``__len__`` it is endless: indices count up and none comes twice. An ``IterableDataset`` must share
    itself out over ``rank``, ``world`` and the loader's workers, and for validation come to an end (or
    ``validation_batches`` ends it); a resumed run gets it with a new seed.
    """

    def __call__(self, *, split: str, seed: int, rank: int, world: int) -> Dataset[Batch]:
        """Return the dataset of ``split`` (``train`` or ``validation``)."""
        ...


def derived_seed(*parts: int) -> int:
    """Mix integers into one 32-bit seed, so that neighbouring seeds share nothing."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def seed_everything(seed: int) -> None:
    """Seed Python, numpy's global generator and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class StepSampler(Sampler[int]):
    """Indices for the training steps from ``start`` on, for one process.

    Parameters
    ----------
    length : cases in the dataset, shuffled anew every epoch; None when endless, read in order.
    """

    def __init__(self, length: int | None, config: LoopConfig, process: Process, start: int) -> None:
        self.length, self.seed = length, config.seed
        self.batch, self.rank, self.world = config.batch_size, process.rank, process.world
        self.start, self.steps = start, config.steps

    def __iter__(self) -> Iterator[int]:
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for step in range(self.start, self.steps):
            first = (step * self.world + self.rank) * self.batch
            for place in range(first, first + self.batch):
                if self.length is None:
                    yield place
                    continue
                if place // self.length != epoch:
                    epoch = place // self.length
                    order = np.random.default_rng([self.seed, epoch]).permutation(self.length)
                yield int(order[place % self.length])


def _worker_init(worker: int) -> None:
    seed_everything(torch.initial_seed() % 2**32)
    torch.set_num_threads(1)
    # A stop signal sent to the whole group is for the training process: it lets its workers finish.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _loader(
    dataset: Dataset[Batch], config: LoopConfig, process: Process, seed: int, sampler: Any
) -> DataLoader[Any]:
    return DataLoader(
        dataset,
        batch_size=config.batch_size,
        sampler=sampler,
        num_workers=config.num_workers,
        worker_init_fn=_worker_init,
        generator=torch.Generator().manual_seed(seed),
        pin_memory=process.device.type == "cuda",
    )


def training_batches(
    factory: DatasetFactory, config: LoopConfig, process: Process, start: int
) -> DataLoader[Any]:
    """Batches of this process from step ``start`` on."""
    place = {"rank": process.rank, "world": process.world}
    dataset = factory(split="train", seed=config.seed, **place)
    sampler = None
    if isinstance(dataset, IterableDataset):
        if start:
            dataset = factory(split="train", seed=derived_seed(config.seed, start), **place)
    else:
        length = len(dataset) if isinstance(dataset, Sized) else None
        sampler = StepSampler(length, config, process, start)
    return _loader(dataset, config, process, derived_seed(config.seed, process.rank, start), sampler)


def validation_batches(factory: DatasetFactory, config: LoopConfig, process: Process) -> Iterator[Batch]:
    """Batches of this process's share of the validation set: the same cases every time.

    Raises
    ------
    ConfigInvalid
        The set is read by index, has no length, and ``validation_batches`` is not set.
    """
    dataset = factory(split="validation", seed=config.seed, rank=process.rank, world=process.world)
    limit = config.validation_batches
    cases = None if limit is None else limit * config.batch_size * process.world
    if isinstance(dataset, Sized):
        cases = len(dataset) if cases is None else min(cases, len(dataset))
    if cases is None and not isinstance(dataset, IterableDataset):
        raise ConfigInvalid("validation_batches: the validation set has no length, so set a number.")
    sampler = None
    if cases is not None and not isinstance(dataset, IterableDataset):
        sampler = range(process.rank, cases, process.world)
    loader = _loader(dataset, config, process, derived_seed(config.seed, process.rank, 1), sampler)
    return itertools.islice(loader, limit)


def to_device(batch: Batch, process: Process, *, channels_last: bool) -> Batch:
    """Move a batch; 5-D tensors to channels-last memory where asked."""
    moved = {k: v.to(process.device, non_blocking=True) for k, v in batch.items()}
    if channels_last:
        for key, value in moved.items():
            if value.ndim == 5:
                moved[key] = value.contiguous(memory_format=torch.channels_last_3d)
    return moved
