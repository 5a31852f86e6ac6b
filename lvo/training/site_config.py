"""Settings of bringing a released model to a site."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lvo.training.boxed import DataConfig
from lvo.training.config import LoopConfig, StrictModel
from lvo.training.reader import ReaderConfig


class FinetuneConfig(StrictModel):
    """How a model is brought to a site.

    Attributes
    ----------
    least_studies : usable ones without which nothing is done.
    least_of_each : occluded ones, and patent ones, among those that calibrate.
    reader_from : studies from which the reader is trained anew, with phantoms.
    network_from : occluded studies with places of their clots from which the network is.
    network_share : of the patients whose clots have places, and of the patent ones, who teach the network.
    segment_from : occlusions of a segment (or for thrombectomy) from which its calibration is the site's.
    site_share : of the network's training views that are the site's.
    phantoms : what of the pool that is mixed in; its folder comes with the command. The first `validation` of
        them are for the reader and for watching, the others for the network.
    loop : the network's training.
    reader : its ``patients`` are not read.
    """

    least_studies: int = 20
    least_of_each: int = 5
    reader_from: int = 60
    network_from: int = 20
    network_share: float = 0.5
    segment_from: int = 10
    site_share: float = 0.5
    phantoms: DataConfig = DataConfig(validation=400, per_head=4, crop=(24, 32))
    loop: LoopConfig = LoopConfig(
        steps=800, batch_size=4, lr=2e-4, warmup_steps=50, ema_decay=0.99, validate_every=200,
        validation_batches=12,
    )  # fmt: skip
    reader: ReaderConfig = ReaderConfig(patients=DataConfig())


@dataclass(frozen=True, slots=True)
class Paths:
    """Where things are: the model, what is made of it, working files, and phantoms to mix in."""

    model: Path
    out: Path
    work: Path
    mix: Path | None = None
