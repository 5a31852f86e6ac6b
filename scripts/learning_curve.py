"""How the whole detector's answers get better while its network learns: AUC on kept boxes, by checkpoint.

``scripts/learning_curve.py --run RUN --config RUN_SETTINGS.yaml --boxes DIR --pool READER_POOL --out curve``

At each checkpoint the network reads a part of the reader's pool, a reader is trained on that, and the two
answer the analysed studies of ``DIR``, which ``score_phantoms.py --keep-boxes`` wrote. One view of each, not
the mean with its mirror image, and fewer readings than a release has: what is compared is the checkpoints.
Started again, it goes on.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lvo.anatomy import SITES
from lvo.detector.bundle import Bundle, load_bundle
from lvo.detector.detect import Detector, Precision
from lvo.detector.features import site_features
from lvo.detector.reader import TENSORS, Reader, reader_from
from lvo.detector.torch_network import VesselNet, make_network
from lvo.errors import LvoError
from lvo.evaluation.boxes import read_box
from lvo.evaluation.cases import Case, read_cases
from lvo.evaluation.metrics import roc_auc
from lvo.evaluation.strata import SEGMENT_GROUPS
from lvo.study import FloatArray
from lvo.training.boxed import DataConfig
from lvo.training.checkpoint import average_weights
from lvo.training.config import read_config
from lvo.training.metrics_log import read_metrics
from lvo.training.reader import ReaderConfig, read_pool, train_reader
from lvo.training.run import RunConfig

SHOWN = ("any", "ICA-I, ICA-T or M1", "M2", "BA")
"""Groups of segments in the table."""


class TrainedBackend:
    """A vessel network in training as a backend, in bf16 where asked; of the brain it says nothing."""

    name = "torch-cpu"

    def __init__(self, network: VesselNet, *, bf16: bool) -> None:
        self.network, self.bf16 = network.eval(), bf16
        self.precision: Precision = "bf16" if bf16 else "fp32"

    def __call__(self, inputs: dict[str, FloatArray]) -> FloatArray:
        """The vessel network's logits."""
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            out = self.network(*(torch.from_numpy(inputs[k]) for k in ("cta", "ncct", "has_ncct")))
        array: FloatArray = out[0].float().numpy()
        return array

    def tissue(self, inputs: dict[str, FloatArray]) -> FloatArray:
        """Nothing lacks contrast."""
        return np.zeros(len(SITES), np.float32)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True, help="settings of the run")
    parser.add_argument("--boxes", type=Path, required=True)
    parser.add_argument("--pool", type=Path, required=True, help="the reader's, unseen by the network")
    parser.add_argument("--share", type=int, default=3, help="one in so many patients of the pool is read")
    parser.add_argument("--count", type=int, help="studies; all if left out")
    parser.add_argument("--processes", type=int, default=1, help="that the run had")
    parser.add_argument("--bf16", action="store_true", help="faster, where the CPU multiplies it")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        settings = read_config(arguments.config, RunConfig)
        cases = [c for c in read_cases(arguments.boxes, arguments.boxes) if c.analysed][: arguments.count]
        arguments.out.mkdir(parents=True, exist_ok=True)
        for folder in sorted(arguments.run.glob("checkpoints/step-*")):
            answer(folder, settings, cases, arguments)
    except LvoError as fault:
        print(f"{fault.code}: {fault.message}", file=sys.stderr)
        return 2
    text = table(arguments, cases, settings.batch_size * arguments.processes, settings.data.patients)
    (arguments.out / "curve.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def answer(folder: Path, settings: RunConfig, cases: list[Case], arguments: argparse.Namespace) -> None:
    """Keep the study's logits of every case by the network of a checkpoint, unless they are there."""
    kept = arguments.out / f"{folder.name}.npy"
    if kept.is_file():
        return
    network = make_network(settings.network)
    network.load_state_dict(average_weights(folder))
    empty = np.zeros((0, 0), np.float32)
    detector = Detector(
        _one_view(load_bundle(None)),
        TrainedBackend(network, bf16=arguments.bf16),
        Reader(*[empty] * len(TENSORS)),
    )
    config = ReaderConfig(patients=DataConfig(pool=arguments.pool, per_head=settings.data.per_head))
    reader = reader_from(train_reader(read_pool(detector, config, 0, arguments.share), config))
    logits = []
    for case in cases:
        box = read_box(arguments.boxes / case.study)
        assert box is not None  # it was analysed
        logits.append(reader.logits(site_features(detector.look(box.cta, box.ncct)))[len(SITES)])
    np.save(kept, np.array(logits))


def _one_view(bundle: Bundle) -> Bundle:
    return replace(bundle, metadata=bundle.metadata.model_copy(update={"mirrored_view": False}))


def table(arguments: argparse.Namespace, cases: list[Case], per_step: int, patients: int) -> str:
    """AUC of every checkpoint, by group of segments."""
    lines = ["| boxes | patients | minutes | " + " | ".join(SHOWN) + " |", "|---" * (3 + len(SHOWN)) + "|"]
    minutes = _minutes(arguments.run / "metrics.csv")
    for path in sorted(arguments.out.glob("step-*.npy")):
        step = int(path.stem.split("-")[1])
        boxes = step * per_step
        spent = max((m for s, m in minutes if s <= step), default=0.0)
        cells = [f"{boxes:,}", f"{min(boxes, patients):,}", f"{spent:.0f}"]
        cells += _areas(np.load(path), cases)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _areas(logits: npt.NDArray[np.float32], cases: list[Case]) -> list[str]:
    groups = dict(SEGMENT_GROUPS)
    patent = np.array([not c.occlusions for c in cases])
    cells = []
    for name in SHOWN:
        wanted = [name == "any" or any(o.segment in groups[name] for o in c.occlusions) for c in cases]
        area = roc_auc(logits[np.array(wanted) & ~patent], logits[patent])
        cells.append("-" if area.value is None else f"{area.value:.3f} ({area.low:.3f}-{area.high:.3f})")
    return cells


def _minutes(metrics: Path) -> list[tuple[int, float]]:
    """Minutes of training up to each step that was logged, waiting and validation not counted."""
    found, spent, before = [], 0.0, 0
    for step, split, name, value in read_metrics(metrics):
        if (split, name) == ("train", "step_s"):
            spent += value * (step - before) / 60
            before = step
            found.append((step, spent))
    return found


if __name__ == "__main__":
    sys.exit(main())
