"""One training process among several: who am I, and what do we all agree on."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist

from lvo.errors import DeviceUnavailable

_PATIENCE = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Process:
    """The place of one process among the training processes."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        """Make each flag true everywhere that is true in any process (a collective call)."""
        if self.world == 1:
            return flags
        shared = torch.tensor(flags, dtype=torch.int32, device=self.device)
        dist.all_reduce(shared, op=dist.ReduceOp.MAX)
        return tuple(bool(f) for f in shared.tolist())

    def first_only(self, work: Callable[[], object]) -> None:
        """Do something in the first process while the others wait, for days if need be (a collective call).

        A fault of the first process is raised there only; the launcher then ends the others.
        """
        if self.world == 1:
            work()
            return
        # Waiting with NCCL would keep the GPUs busy, and its watchdog would end it.
        group = dist.new_group(backend="gloo", timeout=_PATIENCE)
        if self.is_first:
            work()
        dist.barrier(group=group)
        dist.destroy_process_group(group)

    def gather(self, thing: Any) -> list[Any]:
        """Collect the same thing of every process, in order of rank (a collective call)."""
        if self.world == 1:
            return [thing]
        things: list[Any] = [None] * self.world
        dist.all_gather_object(things, thing)
        return things


@contextmanager
def joined(device: Literal["auto", "cpu", "cuda"]) -> Iterator[Process]:
    """Join the processes that ``torchrun`` started; alone, just choose the device.

    Within another ``joined`` its processes stay joined: under ``torchrun`` a group that was left cannot be
    made a second time.

    Raises
    ------
    DeviceUnavailable
        ``cuda`` was asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceUnavailable("No CUDA device is visible to torch.")
    kind = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    target = torch.device("cpu")
    if kind == "cuda":
        target = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(target)
    if world == 1 or dist.is_initialized():
        yield Process(rank, world, target)
        return
    dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield Process(rank, world, target)
    finally:
        # A wrapped network refers to itself, and to the group: left for the end of the interpreter, it takes
        # the group's threads with it while they run, and the process aborts.
        gc.collect()
        dist.destroy_process_group()
