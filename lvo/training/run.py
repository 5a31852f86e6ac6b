"""One training run from a settings file: the detector's data, network and loss put into the loop."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from pydantic import Field

from lvo.detector.bundle import NetworkConfig
from lvo.detector.torch_network import VesselNet, make_network
from lvo.errors import CheckpointInvalid
from lvo.training.boxed import DataConfig
from lvo.training.checkpoint import weights_of
from lvo.training.config import LoopConfig
from lvo.training.data import fill_pool, make_dataset, vessel_prior
from lvo.training.loop import Outcome, train
from lvo.training.losses import validation_metrics
from lvo.training.occlusion_loss import compute_losses
from lvo.training.pictures import pictures
from lvo.training.watching import Watching


class RunConfig(LoopConfig):
    """A whole settings file: the loop's own keys, and what is trained on what.

    Attributes
    ----------
    start_from : a run, a bundle or a file of weights with which this one begins; None begins with none.
    occlusion_weight : of the loss of the strongest evidence on every site (`lvo.training.occlusion_loss`),
        which asks of a patient what the reader will; for a network that knows the arteries already.
    """

    data: DataConfig
    network: NetworkConfig
    start_from: Path | None = None
    occlusion_weight: float = Field(default=0.0, ge=0)


def make_patients(config: DataConfig, processes: int) -> int:
    """Make the patients that a pool still lacks; returns how many were made.

    A family is a piece of work of its own: whatever kills this process, its helpers stop within seconds, and
    no patient that was made is lost.
    """
    families = range(-(-config.patients // config.per_head))
    if processes == 1:
        return sum(fill_pool(config, family, len(families)) for family in families)
    # Started afresh, not forked: torch's threads do not survive a fork.
    with ProcessPoolExecutor(processes, get_context("spawn"), torch.set_num_threads, (1,)) as executor:
        jobs = [executor.submit(fill_pool, config, family, len(families)) for family in families]
        return sum(job.result() for job in jobs)


def run(config: RunConfig, out: Path, *, resume: bool = False) -> Outcome:
    """Train as the settings say.

    Parameters
    ----------
    out : folder of the run.
    resume : go on from the newest checkpoint in ``out``.

    Raises
    ------
    LvoError
        See `lvo.training.loop.train`.
    """
    return train(
        config,
        out,
        network_factory=partial(starting_network, config),
        dataset_factory=partial(make_dataset, config.data),
        loss_fn=partial(compute_losses, config.occlusion_weight),
        inputs=("cta", "ncct", "has_ncct", "corner"),
        watching=Watching(metrics=validation_metrics, pictures=pictures),
        resume=resume,
    )


def starting_network(config: RunConfig) -> VesselNet:
    """Fresh weights with the patients' vessel prior, or those of an earlier run, its prior included."""
    network = make_network(config.network)
    if config.start_from is None:
        network.prior.copy_(vessel_prior(config.data))
        return network
    try:
        network.load_state_dict(weights_of(config.start_from))
    except RuntimeError as fault:
        raise CheckpointInvalid(f"{config.start_from} holds another network: {fault}") from fault
    return network
