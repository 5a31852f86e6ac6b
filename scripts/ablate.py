"""What each choice of network, input, labels and loss is worth: short runs, alike but for one.

``scripts/ablate.py --config configs/train/ablation.yaml --out runs/ablation [--only NAME ...]``

What can be taken from a trained network is taken from the one that the settings start from: whole boxes, in
the same order, until it has made do without. What makes another network begins with fresh weights, and is
shown parts of the box, for from nothing whole ones take too long. The pool, which the network must not have
seen, is the settings'; its first `VALIDATION` patients are never trained on, and on them each run is set
against its base, patient by patient. Started again, it goes on; ``table.md`` holds what there is so far.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import torch
from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.segresnet_ds import SegResNetDS
from torch import Tensor, nn
from torch.nn import functional as F

from lvo.anatomy import SITES
from lvo.detector.bundle import NetworkConfig
from lvo.detector.evidence import OUTPUTS, VESSEL_CLASSES
from lvo.detector.torch_network import VesselNet
from lvo.errors import LvoError
from lvo.evaluation.bootstrap import RESAMPLES
from lvo.evaluation.metrics import roc_auc
from lvo.training import losses
from lvo.training.boxed import DataConfig, preset_of
from lvo.training.checkpoint import average_weights, latest
from lvo.training.config import read_config
from lvo.training.data import make_dataset, pool_of, vessel_prior
from lvo.training.loop import train
from lvo.training.losses import compute_loss, state_classes
from lvo.training.metrics_log import read_metrics
from lvo.training.run import RunConfig, make_patients, starting_network
from lvo.training.views import keep, tensors
from lvo.training.watching import LossFn

VALIDATION = 48
"""Patients that the runs are measured on."""
INPUTS = ("cta", "ncct", "has_ncct", "corner")
_NEAR = 7
"""Width, in label voxels, of what around a clot is neither clot nor not."""
FIGURES = ("artery Dice", "artery in its class", "clot on an artery, AUC", "p(clot on an artery) in clot")
_IN_CHANNELS = 4 * 8 + 2 + 3
_PARTS: Mapping[str, Any] = {"crop": (24, 32)}
_FOUR: Mapping[str, Any] = {"batch_size": 4, "start_from": None, "lr": 1.5e-3}
_SIDE = 16
"""Voxels at either side of the box that a narrow field of view lacks; 112 mm are left, as in 0.4.0."""
_LAST_SITE, _OTHER, _VEIN = len(SITES), VESSEL_CLASSES - 2, VESSEL_CLASSES - 1
F64 = npt.NDArray[np.float64]


class _WithoutMirror(VesselNet):
    def windows(self, cta: Tensor) -> Tensor:
        soft, wide, _, narrow = super().windows(cta).split(1, dim=1)
        return torch.cat([soft, wide, torch.zeros_like(soft), narrow], dim=1)


class _WithoutNarrow(VesselNet):
    def windows(self, cta: Tensor) -> Tensor:
        soft, wide, turned, narrow = super().windows(cta).split(1, dim=1)
        return torch.cat([soft, wide, turned, torch.zeros_like(narrow)], dim=1)


class _Narrow(VesselNet):
    def windows(self, cta: Tensor) -> Tensor:
        seen = super().windows(cta)
        seen[..., :_SIDE] = seen[..., -_SIDE:] = 0
        return seen


class _Coarse(VesselNet):
    def windows(self, cta: Tensor) -> Tensor:
        return super().windows(F.interpolate(F.avg_pool3d(cta, 2), scale_factor=2.0))


class _WithoutPlace(VesselNet):
    def place(self, like: Tensor, corner: Tensor | None) -> Tensor:
        return torch.zeros_like(super().place(like, corner))


class _DeepBody(nn.Module):
    """Answers at three scales while training; the coarser ones lie in `lower`."""

    def __init__(self) -> None:
        super().__init__()
        self.net = SegResNetDS(
            init_filters=16, in_channels=_IN_CHANNELS, out_channels=OUTPUTS, norm="instance",
            blocks_down=(1, 1, 2, 2), blocks_up=(1, 1, 1), dsdepth=3,
        )  # fmt: skip
        self.lower: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        out = self.net(x)
        if isinstance(out, Tensor):
            return out
        self.lower = out[1:]
        first: Tensor = out[0]
        return first


def _with_body(make: Callable[[], nn.Module]) -> Callable[[NetworkConfig], VesselNet]:
    def network(config: NetworkConfig) -> VesselNet:
        made = VesselNet(config)
        made.body = make()  # type: ignore[assignment]
        return made

    return network


class _DynBody(nn.Module):
    """A DynUNet without its second list of the same blocks, which no checkpoint can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.net = DynUNet(
            3, _IN_CHANNELS, OUTPUTS, [3] * 4, [1, 2, 2, 2], [2] * 3, filters=[16, 32, 64, 128]
        )
        del self.net.skip_layers

    def forward(self, x: Tensor) -> Tensor:
        net, beside = self.net, []
        for block in (net.input_block, *net.downsamples):
            x = block(x)
            beside.append(x)
        x = net.bottleneck(x)
        for block in net.upsamples:
            x = block(x, beside.pop())
        out: Tensor = net.output_block(x)
        return out


def _one_artery(outputs: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    """Every artery of one class: the network is not asked which it is."""
    vessel = batch["vessel"].clone()
    vessel[(vessel > 0) & (vessel < _VEIN)] = _OTHER
    return compute_loss(outputs, batch | {"vessel": vessel})


def _no_dice(
    logits: Tensor, truth: Tensor, weight: Tensor, first: int
) -> tuple[Tensor, Tensor]:  # `first` is of the Dice that is left out
    return F.cross_entropy(logits, truth, weight=weight), logits.sum() * 0


def _altered(**changes: object) -> LossFn:
    """The released loss with some of its parts exchanged."""

    def loss(outputs: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        with ExitStack() as stack:
            for name, value in changes.items():
                stack.enter_context(patch.object(losses, name, value))
            return compute_loss(outputs, batch)

    return loss


@dataclass(frozen=True, slots=True)
class Variant:
    """One run; what is not named is as in its base."""

    asks: str
    network: Callable[[NetworkConfig], VesselNet] = VesselNet
    loss: LossFn = compute_loss
    ncct_dropped: float | None = None
    preset: str | None = None
    seed: int = 1
    fresh: bool = False

    @property
    def base(self) -> str:
        """The run that it is set against."""
        return "fresh" if self.fresh else "released"


VARIANTS: Mapping[str, Variant] = {
    "released": Variant("the released network, trained on"),
    "again": Variant("the same, other random numbers: what chance makes of it", seed=101),
    "2-mm-input": Variant("the CTA averaged to 2 mm first", _Coarse),
    "narrow-field": Variant("112 mm of the box's 144 from side to side", _Narrow),
    "no-mirrored-channel": Variant("without the mirrored image beside the image", _WithoutMirror),
    "no-ncct": Variant("never shown an NCCT", ncct_dropped=1.0),
    "no-narrow-window": Variant("without the window of 60 HU", _WithoutNarrow),
    "no-place": Variant("without coordinates and vessel prior", _WithoutPlace),
    "no-dice": Variant("cross-entropy without Dice", loss=_altered(_entropy_and_dice=_no_dice)),
    "no-vessel-emphasis": Variant(
        "arteries weigh no more than background", loss=_altered(_CLASS_WEIGHT=(1.0,) * VESSEL_CLASSES)
    ),
    "more-vessel-emphasis": Variant(
        "named arteries weigh twice as much",
        loss=_altered(_CLASS_WEIGHT=(0.25, *([4.0] * (VESSEL_CLASSES - 3)), 1.0, 1.0)),
    ),
    "no-clot-emphasis": Variant("clot weighs as much as lit lumen", loss=_altered(_STATE_WEIGHT=(1.0,) * 3)),
    "no-cutoff": Variant("cut-offs are not asked for", loss=_altered(_CUTOFF_WEIGHT=0.0)),
    "one-artery-class": Variant("not asked which artery it is", loss=_one_artery),
    "training-only": Variant("patients of the wide preset alone", preset="training"),
    "realistic-only": Variant("patients of the narrow preset alone", preset="realistic"),
    "fresh": Variant("the released design from nothing", fresh=True),
    "fresh-again": Variant("the same, other random numbers", seed=101, fresh=True),
    "dynunet": Variant("DynUNet (nnU-Net's), 16 to 128 filters", _with_body(_DynBody), fresh=True),
    "deep-supervision": Variant("SegResNetDS, loss at three scales", _with_body(_DeepBody), fresh=True),
    "24-filters": Variant(
        "half as wide again", lambda c: VesselNet(c.model_copy(update={"filters": 24})), fresh=True
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="a run's settings: pool, precision, rate")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--make-patients", type=int, metavar="N", help="first make the missing patients, with N processes"
    )
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = read_config(arguments.config, RunConfig)
        if arguments.make_patients:
            make_patients(settings.data, arguments.make_patients)
        prior = vessel_prior(_watched(settings), limit=100)
        for name in arguments.only:
            measure(name, settings, prior, arguments.out)
            text = table(arguments.out)
            (arguments.out / "table.md").write_text(text, encoding="utf-8")
    except LvoError as fault:
        print(f"{fault.code}: {fault.message}", file=sys.stderr)
        return 2
    print(text)
    return 0


def measure(name: str, settings: RunConfig, prior: Tensor, out: Path) -> None:
    """Train a variant and keep its figures of every validation patient, unless they are there."""
    kept, variant = out / f"{name}.npz", VARIANTS[name]
    if kept.is_file():
        return
    watched = _watched(settings)
    data = watched.model_copy(update=_PARTS if variant.fresh else {})
    if variant.ncct_dropped is not None:
        data = data.model_copy(update={"ncct_dropped": variant.ncct_dropped})
    if variant.preset is not None:
        data = data.model_copy(update={"pool": _only(variant.preset, watched, out)})
    config = settings.model_copy(
        update={"data": data, "seed": variant.seed, **(_FOUR if variant.fresh else {})}
    )
    made: list[VesselNet] = []

    def network() -> VesselNet:
        made.append(variant.network(settings.network))
        if variant.fresh:
            made[0].prior.copy_(prior)
        else:
            made[0].load_state_dict(starting_network(settings).state_dict())
        return made[0]

    def loss(outputs: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        total, figures = variant.loss(outputs, batch)
        if isinstance(made[0].body, _DeepBody) and outputs.requires_grad:
            total = total + _at_lower_scales(made[0].body.lower, batch)
        return total, figures

    run = out / name
    outcome = train(
        config, run, network_factory=network, loss_fn=loss, inputs=INPUTS,
        dataset_factory=lambda **which: make_dataset(data, **which),
        resume=any(run.glob("checkpoints/step-*")),
    )  # fmt: skip
    if outcome.ended == "finished":
        tested = variant.network(settings.network)
        tested.load_state_dict(average_weights(latest(run)))
        np.savez(kept, figures=figures_of(tested, data, watched), seconds=_seconds(run))


def _watched(settings: RunConfig) -> DataConfig:
    return settings.data.model_copy(update={"validation": VALIDATION})


def _only(preset: str, data: DataConfig, out: Path) -> Path:
    """A pool of links to the training patients of one preset."""
    pool = out / f"pool-{preset}"
    pool.mkdir(parents=True, exist_ok=True)
    for path in sorted(pool_of(data).glob("[0-9]*.npz"))[data.validation :]:
        link = pool / path.name
        if preset_of(data.first_seed + int(path.stem), data) == preset and not link.exists():
            link.symlink_to(path.resolve())
    return pool


def _at_lower_scales(lower: list[Tensor], batch: dict[str, Tensor]) -> Tensor:
    """The loss on the highest label in every 2 and 4 voxels along an axis, weighed a half and a quarter."""
    total = lower[0].new_zeros(())
    for n, outputs in enumerate(lower, start=1):
        coarse = {k: F.max_pool3d(batch[k].float(), 2**n).long() for k in ("vessel", "state")}
        total = total + compute_loss(outputs, batch | coarse)[0] / 2**n
    return total


@torch.no_grad()
def figures_of(network: VesselNet, data: DataConfig, watched: DataConfig) -> F64:
    """`FIGURES` of every validation patient, (patients, 4); the last two are of clots."""
    rows = []
    for item in make_dataset(watched, split="validation", seed=0, rank=0, world=1).fixed(0, 1):
        if data.crop is not None:
            spare = np.subtract(item["state"].shape[:2], data.crop)
            keep(item, spare.astype(np.int64) // 2, data.crop)
        batch = {name: value[None] for name, value in tensors(item).items()}
        if data.ncct_dropped == 1:
            batch["has_ncct"] = batch["has_ncct"] * 0
        out = network.eval()(*(batch[k] for k in INPUTS))[0].float()
        p, vessel = out[:VESSEL_CLASSES].softmax(0), batch["vessel"][0]
        clot = out[VESSEL_CLASSES:-1].softmax(0)[2]
        truth, found = (vessel > 0) & (vessel < _VEIN), p[1:_VEIN].sum(0) > 0.5
        dice = 2 * (truth & found).sum() / (truth.sum() + found.sum()).clamp(min=1)
        named = (vessel > 0) & (vessel <= _LAST_SITE)
        right = (out[:VESSEL_CLASSES].argmax(0) == vessel)[named].float().mean()
        score = clot * p[1:_VEIN].sum(0)
        blocked = state_classes(batch["state"][0]) == 2
        far = F.max_pool3d(blocked[None, None].float(), _NEAR, stride=1, padding=_NEAR // 2)[0, 0] == 0
        area = roc_auc(score[blocked].numpy(), score[far].numpy()).value
        rows.append(
            [float(dice), float(right), np.nan if area is None else area, float(score[blocked].mean())]
        )
    return np.array(rows)


def _seconds(run: Path) -> float:
    """Median time of a step."""
    rows = read_metrics(run / "metrics.csv")
    return float(np.median([v for _, split, name, v in rows if (split, name) == ("train", "step_s")]))


def table(out: Path) -> str:
    """Every variant's figures, and by how much they differ from its base's."""
    kept = {name: np.load(out / f"{name}.npz") for name in VARIANTS if (out / f"{name}.npz").is_file()}
    lines = ["| run | what differs | " + " | ".join(FIGURES) + " | time of a step |"]
    lines.append("|---" * (len(FIGURES) + 3) + "|")
    for name, found in kept.items():
        cells = [f"{np.nanmean(v):.3f}" for v in found["figures"].T]
        base, time = kept.get(VARIANTS[name].base), ""
        if base is not None:
            time = f"{float(found['seconds']) / float(base['seconds']):.2f}"
            if name != VARIANTS[name].base:
                pairs = zip(cells, (found["figures"] - base["figures"]).T, strict=True)
                cells = [f"{cell} ({_interval(v)})" for cell, v in pairs]
        lines.append(f"| {name} | {VARIANTS[name].asks} | " + " | ".join(cells) + f" | {time} |")
    return "\n".join(lines) + "\n"


def _interval(difference: F64) -> str:
    """95 % percentile bootstrap interval of the mean difference over patients."""
    v = difference[~np.isnan(difference)]
    means = v[np.random.default_rng(0).integers(len(v), size=(RESAMPLES, len(v)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{low:+.3f} to {high:+.3f}"


if __name__ == "__main__":
    sys.exit(main())
