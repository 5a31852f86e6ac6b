"""Compose patients of real heads and a real tree, score each by the whole route, keep what it takes.

``scripts/score_composed.py --head HEAD [--head HEAD] --tree TREE.nii.gz --count 200 --out runs/composed``

Half are patent; the others have a clot in ICA-T, M1, M2 or BA, fewer in ICA-I, P1, V4 or A2, on both sides,
with all collateral grades. Studies come in an order that is random but always the same, so that whatever is
done so far is a fair sample; started again, it goes on. A study's folder holds ``truth.csv``,
``result.json``, ``pose.json`` (head frame to LPS) and ``box.npz`` (what the detector was shown).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from score_phantoms import score

from lvo.anatomy import Segment, Side
from lvo.detector import load_detector
from lvo.evaluation.boxes import join_truth
from lvo.imaging.head_frame import HeadFramer
from lvo.phantom.config import PhantomConfig, load_config
from lvo.phantom.patient import Case, Order, Site
from lvo.phantom.real import compose
from lvo.report.folder import RESULT_NAME

SITES = ("ICA-T", "M1", "M2", "BA", "M1", "ICA-I", "ICA-T", "M2", "BA", "P1", "M1", "ICA-T", "M2", "BA", "V4",
         "M1", "M2", "A2")  # fmt: skip
"""Segments in turn."""
_TRIES = 6
_NEXT_SEED = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--head", type=Path, action="append", required=True, help="NIfTI in HU, or DICOM")
    parser.add_argument("--tree", type=Path, required=True, help="NIfTI of an angiogram without background")
    parser.add_argument("--preset", default="realistic", help="of the phantom: a name, or a YAML file")
    parser.add_argument("--seed", type=int, default=7_000_000, help="first patient")
    parser.add_argument("--count", type=int, default=200, help="studies in all")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--matrix", type=int, default=256, help="rows and columns; smaller is faster")
    parser.add_argument("--model", type=Path, help="bundle; the released one if not given")
    parser.add_argument("--part", type=int, default=0, help="parts share an output folder")
    parser.add_argument("--parts", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    detector = load_detector(arguments.model, "cpu", threads=1)
    sources = compose.load_sources(
        tuple(arguments.head), arguments.tree, HeadFramer(detector.bundle.pose_path, 1)
    )
    config = load_config(arguments.preset)
    check_same_run(arguments, detector.bundle.digest)
    order = np.random.default_rng(0).permutation(arguments.count).tolist()
    for n in order[arguments.part :: arguments.parts]:
        folder = arguments.out / f"composed-{n:04d}"
        if (folder / RESULT_NAME).is_file():
            continue
        asked = order_of(n, arguments.matrix)
        case = visible_case(arguments.seed + n, config, asked, sources.only(n % len(sources.heads)))
        result = score(folder.name, case, asked, detector, folder, keep_boxes=True)
        told = "; ".join(f"{o.segment} {o.side}" for o in case.patient.occlusions) or "patent"
        print(f"{folder.name} {told}: {result.status.value} {result.probability}", flush=True)
    join_truth(arguments.out)


def check_same_run(arguments: argparse.Namespace, digest: str) -> None:
    """Refuse to mix results of two models or two sets in one folder."""
    about = {
        "heads": [p.name for p in arguments.head],
        "tree": arguments.tree.name,
        "preset": str(arguments.preset),
        "model": digest,
        "seed": arguments.seed,
        "count": arguments.count,
        "matrix": arguments.matrix,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "run.json"
    if path.exists() and json.loads(path.read_text("utf-8")) != about:
        raise SystemExit(f"{path} says that {arguments.out} holds another run; take another folder.")
    path.write_text(json.dumps(about, indent=1) + "\n", "utf-8")


def order_of(n: int, matrix: int) -> Order:
    """What is asked of a study: heads take turns fastest, then patent and occluded, then sites and grades."""
    round_ = n // 4
    again = round_ // len(SITES)
    if n % 4 < 2:
        return Order(sites=(), matrix=matrix)
    segment = Segment(SITES[round_ % len(SITES)])
    sides = [s for s in (Side.LEFT, Side.RIGHT, Side.MIDLINE) if s in segment.sides]
    site: Site = (sides[(round_ + again + n) % len(sides)], segment)
    return Order(sites=(site,), collateral=(3 * round_ + again) % 4, matrix=matrix)


def visible_case(seed: int, config: PhantomConfig, order: Order, sources: compose.Sources) -> Case:
    """A case whose clots all lie in the scan: a real head may end above them."""
    for attempt in range(_TRIES):
        case = compose.sample_case(seed + attempt * _NEXT_SEED, config, order, sources)
        low, high = case.scan.coverage
        middle = [o.points[len(o.points) // 2] for o in case.patient.occlusions]
        heights = [float((case.scan.pose @ np.append(m, 1.0))[2]) for m in middle]
        if all(low + 3 < z < high - 3 for z in heights):
            return case
    return visible_case(seed, config, Order(sites=(), matrix=order.matrix), sources)


if __name__ == "__main__":
    main()
