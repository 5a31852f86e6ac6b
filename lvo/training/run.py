"""One training run from a settings file: the detector's data, network and loss put into the loop."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from lvo.detector.bundle import NetworkConfig
from lvo.detector.torch_network import VesselNet, make_network
from lvo.training.boxed import DataConfig
from lvo.training.config import LoopConfig, read_config
from lvo.training.data import fill_pool, make_dataset, vessel_prior
from lvo.training.loop import Outcome, train
from lvo.training.losses import compute_loss, validation_metrics
from lvo.training.watching import Watching


class RunConfig(LoopConfig):
    """A whole settings file: the loop's own keys, and what is trained on what."""

    data: DataConfig
    network: NetworkConfig


def make_patients(config_path: Path, processes: int) -> int:
    """Make the patients that the run's pool still lacks; returns how many were made."""
    config = read_config(config_path, RunConfig).data
    # Started afresh, not forked: torch's threads do not survive a fork.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as executor:
        parts = [executor.submit(fill_pool, config, part, processes) for part in range(processes)]
        return sum(part.result() for part in parts)


def run(config_path: Path, out: Path | None = None, *, resume: bool = False) -> Outcome:
    """Train as the settings file says.

    Parameters
    ----------
    out : folder of the run; ``runs/<name of the settings file>`` when None.
    resume : go on from the newest checkpoint in ``out``.

    Raises
    ------
    LvoError
        See `lvo.training.config.read_config` and `lvo.training.loop.train`.
    """
    config = read_config(config_path, RunConfig)
    return train(
        config,
        out or Path("runs") / config_path.stem,
        network_factory=partial(_network, config),
        dataset_factory=partial(make_dataset, config.data),
        loss_fn=compute_loss,
        inputs=("cta", "ncct", "has_ncct"),
        watching=Watching(metrics=validation_metrics),
        resume=resume,
    )


def _network(config: RunConfig) -> VesselNet:
    """Fresh weights, with the pool's vessel prior."""
    network = make_network(config.network)
    network.prior.copy_(vessel_prior(config.data))
    return network
