"""The training loop on a toy task: resuming, stopping, several processes, settings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs torch: install the 'train' extra")

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import IterableDataset
from toy_task import toy_dataset, toy_loss, toy_network, toy_train

from lvo.errors import CheckpointInvalid, ConfigInvalid, PathNotFound, TrainingDiverged, UsageError
from lvo.training.checkpoint import average_weights, latest, mean_weights, weights_of
from lvo.training.config import LoopConfig, read_config
from lvo.training.distributed import Process
from lvo.training.feed import StepSampler
from lvo.training.loop import train
from lvo.training.metrics_log import read_metrics
from lvo.training.optimiser import learning_rate

TOY = Path(__file__).with_name("toy_task.py")


def settings(**changes: object) -> LoopConfig:
    values: dict[str, object] = {
        "seed": 3, "steps": 6, "batch_size": 2, "lr": 0.01, "warmup_steps": 2, "device": "cpu",
        "log_every": 1, "validate_every": 3, "checkpoint_every_minutes": 60,
    }  # fmt: skip
    return LoopConfig.model_validate(values | changes)


def all_state(run: Path) -> dict[str, Tensor]:
    state = torch.load(latest(run) / "state.pt", weights_only=True)
    moments = state["optimiser"]["state"]
    found = {f"{i}.{k}": v for i, entry in moments.items() for k, v in entry.items()}
    return average_weights(latest(run)) | found | {"random": state["random"][0]["torch"]}


class StopAt:
    """A loss that sends this process a signal at one step."""

    def __init__(self, step: int, number: int) -> None:
        self.left, self.number = step, number

    def __call__(self, outputs: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        self.left -= torch.is_grad_enabled()
        if self.left == 0:
            os.kill(os.getpid(), self.number)
            self.left = -1
        return toy_loss(outputs, batch)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [0, 2])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path: Path, number: int, workers: int) -> None:
    config, before = settings(num_workers=workers), signal.getsignal(signal.SIGINT)
    whole = toy_train(config, tmp_path / "whole")
    assert (whole.ended, whole.step) == ("finished", 6)

    parts = {"network_factory": toy_network, "dataset_factory": toy_dataset}
    stopped = train(config, tmp_path / "parts", loss_fn=StopAt(3, number), **parts)  # type: ignore[arg-type]
    assert (stopped.ended, stopped.step) == ("signal", 3)
    assert signal.getsignal(signal.SIGINT) is before
    resumed = toy_train(config, tmp_path / "parts", resume=True)
    assert (resumed.ended, resumed.step) == ("finished", 6)

    expected, found = all_state(tmp_path / "whole"), all_state(tmp_path / "parts")
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[k], found[k]) for k in expected)
    timed = {"step_s", "data_wait_s", "cases_per_s"}
    figures = [
        [r for r in read_metrics(tmp_path / run / "metrics.csv") if r[2] not in timed and r[1] == "train"]
        for run in ("whole", "parts")
    ]
    assert figures[0] == figures[1] and len(figures[0]) == 6 * 4


def test_validation_sees_every_case_once_and_pictures_are_written(tmp_path: Path) -> None:
    toy_train(settings(), tmp_path)
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [(s, v) for s, split, name, v in rows if (split, name) == ("validation", "distinct")] == [
        (3, 7.0), (6, 7.0)
    ]  # fmt: skip
    events = b"".join(p.read_bytes() for p in (tmp_path / "tensorboard").glob("events*"))
    assert b"slice" in events and b"train/loss" in events


def test_training_learns(tmp_path: Path) -> None:
    toy_train(settings(steps=150, validate_every=75, batch_size=16, ema_decay=0.9), tmp_path)
    losses = [v for _, split, name, v in read_metrics(tmp_path / "metrics.csv") if name == "loss"
              and split == "validation"]  # fmt: skip
    assert losses[-1] < 0.02 < 1.0


def test_rows_of_steps_done_again_are_replaced(tmp_path: Path) -> None:
    from lvo.training.metrics_log import MetricsLog

    with MetricsLog(tmp_path) as log:
        for step in (1, 2, 3):
            log.write(step, "train", {"loss": step})
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("4,train,lo")
    with MetricsLog(tmp_path, start=2) as log:
        log.write(3, "train", {"loss": 30.0})
    assert [(r[0], r[3]) for r in read_metrics(tmp_path / "metrics.csv")] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_time_limit_stops_cleanly(tmp_path: Path) -> None:
    outcome = toy_train(settings(steps=100_000, time_limit_minutes=0.01, validate_every=100_000), tmp_path)
    assert outcome.ended == "time-limit" and 0 < outcome.step < 100_000
    assert outcome.checkpoint == latest(tmp_path)


def test_a_run_is_not_overwritten_and_resume_needs_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointInvalid):
        toy_train(settings(steps=1), tmp_path, resume=True)
    toy_train(settings(steps=1), tmp_path)
    with pytest.raises(UsageError, match="--resume"):
        toy_train(settings(steps=1), tmp_path)


@pytest.mark.parametrize("file", ["weights.safetensors", "average.safetensors", "state.pt"])
def test_damaged_checkpoint_is_refused(tmp_path: Path, file: str) -> None:
    toy_train(settings(steps=1), tmp_path)
    path = latest(tmp_path) / file
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(CheckpointInvalid):
        toy_train(settings(steps=2), tmp_path, resume=True)


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    toy_train(settings(steps=5, checkpoint_every_minutes=0), tmp_path)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        "step-000000004",
        "step-000000005",
    ]


def test_averages_of_all_checkpoints_can_be_kept_and_their_mean_taken(tmp_path: Path) -> None:
    toy_train(settings(steps=3, checkpoint_every_minutes=0, keep_averages=True), tmp_path)
    first, second, last = sorted((tmp_path / "averages").iterdir())
    assert weights_of(last).keys() == weights_of(tmp_path).keys()
    for name, value in mean_weights([(first, 3.0), (second, 1.0)]).items():
        torch.testing.assert_close(value, 0.75 * weights_of(first)[name] + 0.25 * weights_of(second)[name])
    other = {name: torch.zeros(*value.shape, 2) for name, value in weights_of(first).items()}
    save_file(other, tmp_path / "other.safetensors")
    same = mean_weights([(first, 1.0), (first, 1.0), (second, 2.0)])  # a source named twice counts twice
    torch.testing.assert_close(same, mean_weights([(first, 1.0), (second, 1.0)]))
    with pytest.raises(CheckpointInvalid, match="another network"):
        mean_weights([(first, 1.0), (tmp_path / "other.safetensors", 1.0)])


def test_divergence_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    toy_train(settings(steps=2), tmp_path)

    def loss(outputs: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        return outputs.sum() * float("nan"), {}

    with pytest.raises(TrainingDiverged):
        train(settings(steps=4), tmp_path, network_factory=toy_network, dataset_factory=toy_dataset,
              loss_fn=loss, resume=True)  # fmt: skip
    assert latest(tmp_path).name == "step-000000002"


class Stream(IterableDataset[dict[str, Tensor]]):
    def __init__(self, seed: int, cases: int) -> None:
        self.seed, self.cases = seed, cases

    def __iter__(self):  # type: ignore[no-untyped-def]
        draw = torch.Generator().manual_seed(self.seed)
        for number in range(self.cases):
            image = torch.randn(1, 4, 4, 4, generator=draw)
            yield {"image": image, "target": image.mean().reshape(1), "index": torch.tensor(number)}


def test_streams_resume_with_a_new_seed_and_must_not_end(tmp_path: Path) -> None:
    seeds: list[int] = []

    def dataset(*, split: str, seed: int, rank: int, world: int) -> Stream:
        seeds.append(seed)
        return Stream(seed, 10)

    def run(steps: int, *, resume: bool = False) -> None:
        train(settings(steps=steps, validation_batches=2), tmp_path, network_factory=toy_network,
              dataset_factory=dataset, loss_fn=toy_loss, resume=resume)  # fmt: skip

    run(2)
    run(4, resume=True)
    assert len(set(seeds)) == 2
    with pytest.raises(ConfigInvalid, match="ended at step"):
        run(40, resume=True)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_runs_and_resumes(tmp_path: Path, precision: str) -> None:
    config = settings(precision=precision, channels_last_3d=True)
    toy_train(config.model_copy(update={"steps": 2}), tmp_path)
    assert toy_train(config, tmp_path, resume=True).step == 6
    assert all(torch.isfinite(v).all() for v in average_weights(latest(tmp_path)).values())


def start(out: Path, config: LoopConfig, *launcher: str) -> subprocess.Popen[str]:
    root = TOY.parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(TOY), str(out), config.model_dump_json()]
    return subprocess.Popen(
        command, cwd=root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_two_processes_share_cases_and_agree(tmp_path: Path) -> None:
    run = start(tmp_path, settings(), "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    output, _ = run.communicate(timeout=90)
    assert run.returncode == 0, output
    assert output.count("ended finished 6") == 2
    rows = read_metrics(tmp_path / "metrics.csv")
    assert {v for _, _, name, v in rows if name == "distinct"} == {7.0}
    # the first of two processes reads cases 0, 1 of every four
    assert (1, "train", "index_sum", 0.0 + 1.0) in rows
    states = torch.load(latest(tmp_path) / "state.pt", weights_only=True)["random"]
    assert len(states) == 2 and not torch.equal(states[0]["torch"], states[1]["torch"])


def test_sigterm_writes_a_checkpoint_and_exits_well(tmp_path: Path) -> None:
    run = start(tmp_path, settings(steps=10_000_000, num_workers=1, validate_every=10_000_000))
    deadline = time.monotonic() + 60
    while not read_metrics(tmp_path / "metrics.csv") and time.monotonic() < deadline:
        time.sleep(0.1)
    run.send_signal(signal.SIGTERM)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 0 and "ended signal" in output, output
    assert latest(tmp_path).name > "step-000000000"


def test_settings_are_strict(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    with pytest.raises(PathNotFound):
        read_config(path, LoopConfig)
    path.write_text("steps: 5\nbatch_size: 2\nlearning_rate: 1\n")
    with pytest.raises(ConfigInvalid, match="learning_rate"):
        read_config(path, LoopConfig)
    path.write_text("steps: [")
    with pytest.raises(ConfigInvalid):
        read_config(path, LoopConfig)
    path.write_text("steps: 5\nbatch_size: 2\nlr: 1.0e-3\n")
    assert read_config(path, LoopConfig).lr == 1e-3


def test_learning_rate_rises_then_falls_to_its_floor() -> None:
    config = settings(steps=100, warmup_steps=10, lr=1.0, lr_floor=0.1)
    rates = [learning_rate(s, config) for s in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.1) and rates[10:] == sorted(rates[10:], reverse=True)


def test_processes_share_an_epoch_without_overlap_and_resume_in_place() -> None:
    config = settings(steps=4, batch_size=3)
    shares = [list(StepSampler(24, config, Process(r, 2, torch.device("cpu")), 0)) for r in (0, 1)]
    assert sorted(shares[0] + shares[1]) == list(range(24))
    later = list(StepSampler(24, config, Process(1, 2, torch.device("cpu")), 2))
    assert later == shares[1][6:]
