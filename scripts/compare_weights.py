"""What each of several weights sees on kept boxes, without a reader: to stop a training where it is best.

``scripts/compare_weights.py --boxes runs/composed --weights runs/x/averages/*.safetensors models/lao-cta``

The strongest cut-off, and the strongest clot on an artery, in a study's box tell the occluded from the
patent: their AUC by group of segments, and by the head that a patient was composed with. ``DIR`` is what
``score_composed.py`` or ``score_phantoms.py --keep-boxes`` wrote; one view of each study, a second or less.
Choose by one set of patients and judge by another.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from learning_curve import TrainedBackend

from lvo.detector.bundle import NetworkConfig
from lvo.detector.evidence import Evidence, network_input
from lvo.detector.torch_network import make_network
from lvo.errors import LvoError
from lvo.evaluation.boxes import read_box
from lvo.evaluation.cases import Case, read_cases
from lvo.evaluation.metrics import roc_auc
from lvo.evaluation.strata import SEGMENT_GROUPS, head_name
from lvo.training.checkpoint import weights_of

SHOWN = ("any", "ICA-T or M1", "M2", "BA")
MEASURES = ("cut-off", "clot")
Scores = npt.NDArray[np.float64]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--boxes", type=Path, required=True)
    parser.add_argument("--weights", type=Path, nargs="+", required=True, help="files, bundles or runs")
    parser.add_argument("--filters", type=int, default=NetworkConfig().filters, help="of the network")
    parser.add_argument("--count", type=int, help="studies; all if left out")
    parser.add_argument("--bf16", action="store_true", help="faster, where the CPU multiplies it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = make_network(NetworkConfig(filters=arguments.filters))
    backend = TrainedBackend(network, bf16=arguments.bf16)
    print("| weights | head | n | " + " | ".join(f"{g}: {m}" for g in SHOWN for m in MEASURES) + " |")
    print("|---" * (3 + len(SHOWN) * len(MEASURES)) + "|")
    try:
        cases = [c for c in read_cases(arguments.boxes, arguments.boxes) if c.analysed][: arguments.count]
        for source in arguments.weights:
            network.load_state_dict(weights_of(source))
            scores = np.array([look(arguments.boxes / case.study, backend) for case in cases])
            for head in ("all", *sorted({head_name(case) or "" for case in cases} - {""})):
                print(row(source.name, head, cases, scores), flush=True)
    except LvoError as fault:
        print(f"{fault.code}: {fault.message}", file=sys.stderr)
        return 2
    except RuntimeError as fault:
        print(f"{source} does not fit a network of {arguments.filters} filters: {fault}", file=sys.stderr)
        return 2
    return 0


def look(folder: Path, backend: TrainedBackend) -> tuple[float, ...]:
    """The strongest cut-off, and clot on an artery, in a study's box."""
    box = read_box(folder)
    assert box is not None  # it was analysed
    inputs = network_input(box.cta, box.ncct)
    evidence = Evidence.from_networks(backend(inputs), backend.tissue(inputs), box.cta)
    return float(evidence.cutoff.max()), float((evidence.arteries * evidence.clot).max())


def row(name: str, head: str, cases: list[Case], scores: Scores) -> str:
    """A line of the table: AUC of each measure by group of segments, among the patients of a head."""
    groups = dict(SEGMENT_GROUPS)
    here = np.array([head in ("all", head_name(case)) for case in cases])
    patent = here & np.array([not case.occlusions for case in cases])
    cells = []
    for group in SHOWN:
        wanted = here & np.array([any(o.segment in groups[group] for o in c.occlusions) for c in cases])
        areas = [roc_auc(scores[wanted, k], scores[patent, k]).value for k in range(len(MEASURES))]
        cells += ["-" if area is None else f"{area:.3f}" for area in areas]
    return f"| {name} | {head} | {here.sum()} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
