"""From nothing to a released bundle: one settings file, its stages in order, each taken up where it was left.

The stages are the patients of every pool, the vessel network's training runs (each begins with the weights
of the one before), the tissue network's, the release (export, reader, calibration, thresholds, parity cases,
seal) and, where the settings ask for it, scoring of phantom studies and the report on it. A stage is skipped
when what it leaves is there and whole: pool files, a checkpoint of the last step, a sealed bundle of these
very weights, results by this very bundle. No marker is kept that could outlive what it stands for.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import load_file

from lvo.detector.bundle import NetworkConfig, load_bundle
from lvo.errors import BundleInvalid, ConfigInvalid
from lvo.training.boxed import DataConfig
from lvo.training.checkpoint import latest, step_of, weights_of
from lvo.training.config import StrictModel, read_config
from lvo.training.data import pool_of
from lvo.training.distributed import joined
from lvo.training.export import export_tissue, export_vessels, take_over
from lvo.training.reader import ReaderConfig, Readings, read_pool
from lvo.training.release import finish_bundle, unread
from lvo.training.run import RunConfig, make_patients, run
from lvo.training.scoring import ScoreConfig, score
from lvo.training.tissue import TissueConfig, finished_network, read_cells, train_tissue

log = logging.getLogger(__name__)
RunT = TypeVar("RunT", RunConfig, TissueConfig)


class Recipe(StrictModel):
    """All stages from nothing to a released bundle. Paths are relative to where the command is run.

    Attributes
    ----------
    out : the bundle.
    work : folder of the runs, the readings and the scores.
    pose : folder with ``pose.onnx`` and ``pose.safetensors`` (``scripts/train_pose.py`` makes them anew).
    tissue : settings file of the tissue network's run, relative to this file.
    processes : that make patients and score studies.
    threads : of the release.
    training : settings files of the vessel network's runs, in order, relative to this file.
    weights : released in place of the last run's newest, as ``scripts/mean_weights.py`` writes them.
    reader : the second stage, and the pool of patients it is made with.
    score : None leaves scoring out.
    """

    out: Path
    work: Path
    version: str
    pose: Path = Path("models/lao-cta/models")
    processes: int = Field(default=1, ge=1)
    threads: int = Field(default=1, ge=1)
    tissue: Path
    training: tuple[Path, ...] = Field(min_length=1)
    weights: Path | None = None
    reader: ReaderConfig
    score: ScoreConfig | None = None


@dataclass(frozen=True, slots=True)
class Stage(Generic[RunT]):
    """A training run of a recipe: its settings and its folder."""

    config: RunT
    out: Path

    @property
    def done(self) -> bool:
        """Whether its last step was reached."""
        return any((self.out / "checkpoints").glob("step-*")) and (
            step_of(latest(self.out)) >= self.config.steps
        )


@dataclass(frozen=True, slots=True)
class Stages:
    """The training runs of a recipe: of the vessel network, one after another, and of the tissue network."""

    vessels: tuple[Stage[RunConfig], ...]
    tissue: Stage[TissueConfig]

    @property
    def all(self) -> tuple[Stage[RunConfig] | Stage[TissueConfig], ...]:
        """In the order in which they are trained."""
        return (*self.vessels, self.tissue)


def stages_of(recipe: Recipe, beside: Path) -> Stages:
    """The training runs of a recipe.

    Each of the vessel network's begins with the weights of the one before, unless it names others.

    Parameters
    ----------
    beside : folder of the recipe's file.

    Raises
    ------
    PathNotFound, ConfigInvalid
        A settings file is missing or does not fit.
    """
    found: list[Stage[RunConfig]] = []
    for path in recipe.training:
        config = read_config(beside / path, RunConfig)
        if config.start_from is None and found:
            config = config.model_copy(update={"start_from": found[-1].out})
        found.append(Stage(config, recipe.work / path.stem))
    tissue = Stage(read_config(beside / recipe.tissue, TissueConfig), recipe.work / recipe.tissue.stem)
    stages = Stages(tuple(found), tissue)
    if len({stage.out for stage in stages.all}) < len(stages.all):
        raise ConfigInvalid("training: two settings files have one name, and so would their runs.")
    return stages


def make_model(recipe: Recipe, stages: Stages, scripts: Path) -> bool:
    """Do what is still to be done of a recipe; under ``torchrun`` only training is done by all processes.

    Parameters
    ----------
    scripts : folder of ``score_phantoms.py`` and ``benchmark.py``.

    Returns
    -------
    bool
        False when a stop signal or a time limit ended a training run early; the same call goes on.

    Raises
    ------
    LvoError
        What the stages raise; those that are done stay done.
    """
    recipe.work.mkdir(parents=True, exist_ok=True)
    with joined(stages.vessels[0].config.device) as process:
        process.first_only(lambda: _patients(recipe, stages))
        if not all(_trained(stage) for stage in stages.all):
            return False
        process.first_only(lambda: _release(recipe, stages))
        if (wanted := recipe.score) is not None:
            process.first_only(lambda: score(wanted, recipe.out, recipe.work, scripts, recipe.processes))
    return True


def _trained(stage: Stage[RunConfig] | Stage[TissueConfig]) -> bool:
    """Train what is still to be trained; False where a stop signal or a time limit ended it early."""
    if stage.done:
        log.info("%s: trained already", stage.out)
        return True
    resume = any((stage.out / "checkpoints").glob("step-*"))
    if isinstance(stage.config, TissueConfig):
        outcome = train_tissue(stage.config, stage.out, resume=resume)
    else:
        outcome = run(stage.config, stage.out, resume=resume)
    if outcome.ended != "finished":
        log.info("%s: stopped at step %d (%s)", stage.out, outcome.step, outcome.ended)
    return outcome.ended == "finished"


def _patients(recipe: Recipe, stages: Stages) -> None:
    pools: dict[Path, DataConfig] = {}
    for data in (*(stage.config.data for stage in stages.all), recipe.reader.patients):
        if data.pool is None:
            continue
        known = pools.setdefault(data.pool, data)
        if known.first_seed != data.first_seed:
            raise ConfigInvalid(f"data: the pool {data.pool} is given two different first seeds.")
        if data.patients > known.patients:
            pools[data.pool] = data
    for pool, data in pools.items():
        log.info("%s: %d patients made", pool, make_patients(data, recipe.processes))


def _release(recipe: Recipe, stages: Stages) -> None:
    trained = stages.vessels[-1]
    note = describe(recipe, stages)
    source = recipe.weights or trained.out
    if _released(recipe, {"vessels": (source, ""), "tissue": (stages.tissue.out, "deficit.")}, note):
        log.info("%s: released already", recipe.out)
        return
    torch.set_num_threads(recipe.threads)
    network = trained.config.network
    export_vessels(source, recipe.out, network)
    export_tissue(finished_network(stages.tissue.out, read_cells(stages.tissue.config.data)), recipe.out)
    take_over("pose", recipe.pose, recipe.out)
    readings = _readings(recipe, network)
    figures = finish_bundle(
        recipe.out, readings, recipe.reader, network, version=recipe.version, trained_on=note
    )
    log.info("%s: released; %s", recipe.out, " ".join(f"{k}={v:.4g}" for k, v in figures.items()))


def describe(recipe: Recipe, stages: Stages) -> str:
    """What a bundle was trained on, for its metadata."""
    runs = "; ".join(
        f"{stage.out.name}, {stage.config.steps} steps of {stage.config.batch_size} a process, "
        + ("on fresh patients" if stage.config.data.pool is None else f"on {stage.config.data.patients}")
        for stage in stages.all
    )
    patients = recipe.reader.patients
    runs += "" if recipe.weights is None else f"; of these weights the mean {recipe.weights.name}"
    return f"synthetic patients only: {runs}; reader on {patients.patients} from seed {patients.first_seed}"


def _released(recipe: Recipe, trained: Mapping[str, tuple[Path, str]], note: str) -> bool:
    """Whether the bundle is whole and was made of these weights, by these settings as far as it says.

    Parameters
    ----------
    trained : by network: where its weights come from, and what the bundle puts before their names.
    """
    try:
        metadata = load_bundle(recipe.out).metadata
    except BundleInvalid:
        return False
    for name, (source, prefix) in trained.items():
        stored = recipe.out / "models" / f"{name}.safetensors"
        inside = load_file(stored) if stored.is_file() else {}  # none in a bundle of an earlier version
        wanted = {prefix + key: value.half() for key, value in weights_of(source).items()}
        if not all(key in inside and torch.equal(value, inside[key]) for key, value in wanted.items()):
            return False
    whole = (recipe.out / "parity" / "cases.npz").is_file()
    return whole and (metadata.version, metadata.trained_on) == (recipe.version, note)


def _readings(recipe: Recipe, network: NetworkConfig) -> Readings:
    """The reader's features, kept for a later try with the same networks, patients and settings."""
    inside = [(recipe.out / "models" / f"{n}.safetensors").read_bytes() for n in ("vessels", "tissue")]
    names = sorted(path.name for path in pool_of(recipe.reader.patients).glob("[0-9]*.npz"))
    parts = (*inside, recipe.reader.model_dump_json().encode(), " ".join(names).encode())
    key = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
    path = recipe.work / f"readings-{key[:16]}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            return Readings(**{field.name: kept[field.name] for field in fields(Readings)})
    readings = read_pool(unread(recipe.out, network), recipe.reader)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, **{field.name: getattr(readings, field.name) for field in fields(Readings)})
    partial.rename(path)
    return readings


def read_recipe(path: Path) -> tuple[Recipe, Stages]:
    """A recipe and its training runs.

    Raises
    ------
    PathNotFound, ConfigInvalid
    """
    recipe = read_config(path, Recipe)
    return recipe, stages_of(recipe, path.parent)
