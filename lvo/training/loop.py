"""The training loop: any network, any dataset, any loss; one process or several.

It knows neither arteries nor phantoms. A run goes on exactly where its checkpoint left it, and a stop
signal or the time limit ends it with a checkpoint.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lvo.errors import CheckpointInvalid, ConfigInvalid, TrainingDiverged, UsageError
from lvo.training import checkpoint
from lvo.training.config import LoopConfig
from lvo.training.console import progress, stop_signals
from lvo.training.distributed import Process, joined
from lvo.training.feed import (
    Batch,
    DatasetFactory,
    derived_seed,
    seed_everything,
    to_device,
    training_batches,
    validation_batches,
)
from lvo.training.metrics_log import MetricsLog
from lvo.training.optimiser import RunningAverage, learning_rate, make_optimiser
from lvo.training.watching import LossFn, Means, Watching, validate

log = logging.getLogger(__name__)

NetworkFactory = Callable[[], nn.Module]
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    step: int
    ended: Literal["finished", "signal", "time-limit"]
    checkpoint: Path


def train(
    config: LoopConfig,
    out: Path,
    *,
    network_factory: NetworkFactory,
    dataset_factory: DatasetFactory,
    loss_fn: LossFn,
    inputs: Sequence[str] = ("image",),
    watching: Watching | None = None,
    resume: bool = False,
) -> Outcome:
    """Train until the last step, a stop signal or the time limit; always ends with a checkpoint.

    Parameters
    ----------
    config : settings; a subclass with data and network sections is stored with each checkpoint.
    out : folder of the run (checkpoints, ``metrics.csv``, TensorBoard events).
    network_factory : makes the network; called after seeding, the same in every process.
    dataset_factory : see `lvo.training.feed.DatasetFactory`; cases are dicts of tensors.
    loss_fn : (outputs, batch) to the loss and figures to log.
    inputs : entries of a batch that the network is called with, in order.
    resume : go on from the newest checkpoint in ``out``; without it ``out`` must hold none.

    Raises
    ------
    UsageError
        ``out`` holds a run already and ``resume`` is false.
    CheckpointInvalid, TrainingDiverged, ConfigInvalid, DeviceUnavailable
    """
    started = time.monotonic()
    with joined(config.device) as process, stop_signals() as stopped:
        run = _Run(config, out, process, network_factory, loss_fn, tuple(inputs), watching or Watching())
        step = run.begin(resume=resume)
        return run.steps(step, dataset_factory, started, stopped)


class _Run:
    """State of one run in one process."""

    def __init__(
        self,
        config: LoopConfig,
        out: Path,
        process: Process,
        network_factory: NetworkFactory,
        loss_fn: LossFn,
        inputs: tuple[str, ...],
        watching: Watching,
    ) -> None:
        self.config, self.out, self.process = config, out, process
        self.loss_fn, self.inputs, self.watching = loss_fn, inputs, watching
        torch.set_num_threads(config.threads)
        if process.device.type == "cuda":
            torch.set_float32_matmul_precision("high")
            torch.backends.cudnn.benchmark = True
        seed_everything(config.seed)
        network = network_factory().to(process.device)
        if config.channels_last_3d:
            network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.precision = _precision(config, process)
        scaler = torch.amp.GradScaler(process.device.type, enabled=self.precision == "fp16")
        average = RunningAverage(network, config.ema_decay)
        self.trained = checkpoint.Trained(network, average, make_optimiser(network, config), scaler)
        seed_everything(derived_seed(config.seed, process.rank))

    def begin(self, *, resume: bool) -> int:
        """Load the newest checkpoint when resuming; the step to go on from."""
        if not resume:
            if any((self.out / "checkpoints").glob("step-*")):
                raise UsageError(f"{self.out} holds a run already; use --resume or another --out.")
            return 0
        newest = checkpoint.latest(self.out)
        step, random_state = checkpoint.load(newest, self.trained, rank=self.process.rank)
        if step > self.config.steps:
            raise CheckpointInvalid(f"{newest} is past the {self.config.steps} steps of the settings.")
        if (newest / "config.json").read_text(encoding="utf-8") != self.config.model_dump_json(indent=2):
            log.warning("resuming with settings that differ from those of %s", newest)
        if random_state is None:
            log.warning("more processes than before: process %d has new random states", self.process.rank)
        else:
            checkpoint.set_random_state(random_state)
        return step

    def steps(
        self, start: int, datasets: DatasetFactory, started: float, stopped: Callable[[], bool]
    ) -> Outcome:
        """Run the steps; a checkpoint every so often and at the end."""
        config, model, means = self.config, self._model(), Means()
        limit = math.inf if config.time_limit_minutes is None else config.time_limit_minutes * 60
        saved, step = time.monotonic(), start
        ended: Literal["finished", "signal", "time-limit"] = "finished"
        batches = map(self._to_device, training_batches(datasets, config, self.process, start))
        with self._log(start) as write, progress(config.steps, start, shown=self.process.is_first) as tell:
            while step < config.steps:
                means.add(self._step(model, batches, step))
                step += 1
                if step % config.log_every == 0 or step == config.steps:
                    self._report(write, tell, step, means)
                if step % config.validate_every == 0 or step == config.steps:
                    self._validate(write, step, datasets)
                now = time.monotonic()
                stop, late, due = self.process.agree(
                    stopped(), now - started > limit, now - saved > config.checkpoint_every_minutes * 60
                )
                if stop or late:
                    ended = "signal" if stop else "time-limit"
                    break
                if due and step < config.steps:
                    self._save(step)
                    saved = time.monotonic()
        return Outcome(step, ended, self._save(step))

    def _model(self) -> nn.Module:
        """Return the network as it is called: compiled and wrapped for several processes where asked."""
        model: nn.Module = self.trained.network
        if self.config.compile:
            model.compile()
        if self.process.world > 1:
            ids = [self.process.device.index] if self.process.device.type == "cuda" else None
            model = DistributedDataParallel(model, device_ids=ids)
        return model.train()

    def _amp(self) -> AbstractContextManager[Any]:
        wanted = self.precision
        return torch.autocast(self.process.device.type, dtype=_DTYPES[wanted], enabled=wanted != "fp32")

    def _step(self, model: nn.Module, batches: Iterator[Batch], step: int) -> dict[str, float]:
        """One optimiser step; its figures."""
        trained, config, begun = self.trained, self.config, time.monotonic()
        batch = next(batches, None)
        if batch is None:
            raise ConfigInvalid(f"data: the training data ended at step {step} of {config.steps}.")
        waited = time.monotonic() - begun
        rate = learning_rate(step, config)
        for group in trained.optimiser.param_groups:
            group["lr"] = rate
        with self._amp():
            loss, figures = self.loss_fn(model(*(batch[k] for k in self.inputs)), batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingDiverged(f"Step {step + 1}, figures {figures}.")
        trained.optimiser.zero_grad(set_to_none=True)
        trained.scaler.scale(loss).backward()
        if config.grad_clip is not None:
            trained.scaler.unscale_(trained.optimiser)
            norm = nn.utils.clip_grad_norm_(trained.network.parameters(), config.grad_clip)
            figures = {**figures, "gradient_norm": float(norm)}
        trained.scaler.step(trained.optimiser)
        trained.scaler.update()
        trained.average.update(step)
        took = time.monotonic() - begun
        return {"loss": value, **figures, "lr": rate, "step_s": took, "data_wait_s": waited}

    def _to_device(self, batch: Batch) -> Batch:
        return to_device(batch, self.process, channels_last=self.config.channels_last_3d)

    def _validate(self, write: MetricsLog | None, step: int, datasets: DatasetFactory) -> None:
        """Figures of the running average on the validation set, over all processes."""
        batches = map(self._to_device, validation_batches(datasets, self.config, self.process))
        figures, pictures = validate(
            lambda batch: self.trained.average.network(*(batch[k] for k in self.inputs)),
            batches,
            self.process,
            self.loss_fn,
            self.watching,
            self._amp,
        )
        if write is not None:
            write.write(step, "validation", figures)
            write.write_pictures(step, pictures)
            log.info("step %d validation %s", step, _line(figures))

    def _report(
        self, write: MetricsLog | None, tell: Callable[[int, str], None], step: int, means: Means
    ) -> None:
        figures = means.take()
        if write is None:
            return
        figures["cases_per_s"] = self.config.batch_size * self.process.world / figures["step_s"]
        write.write(step, "train", figures)
        tell(step, f"loss {figures['loss']:.4g}")
        log.info("step %d/%d %s", step, self.config.steps, _line(figures))

    def _save(self, step: int) -> Path:
        """Write a checkpoint (a collective call); returns its folder in every process."""
        states = self.process.gather(checkpoint.random_state())
        path = None
        if self.process.is_first:
            keep = self.config.keep_averages
            path = checkpoint.save(self.out, step, self.trained, states, self.config, keep_average=keep)
        paths = self.process.gather(path)
        return Path(paths[0])

    def _log(self, start: int) -> AbstractContextManager[MetricsLog | None]:
        return MetricsLog(self.out, start=start) if self.process.is_first else nullcontext()


def _precision(config: LoopConfig, process: Process) -> str:
    if config.precision == "auto":
        return "bf16" if process.device.type == "cuda" or _cpu_multiplies_bf16() else "fp32"
    return config.precision


def _cpu_multiplies_bf16() -> bool:
    """Whether the CPU has AVX512-BF16: without it bf16 is many times slower than fp32, not faster."""
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())


def _line(figures: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:.4g}" for name, value in figures.items())
