"""Do ONNX Runtime and torch give the same answers? On every kept head box, or on a pool of training patients.

``parity.py --boxes DIR --model BUNDLE --out parity.json [--devices torch-cpu cuda cuda-bf16]``

The reference is ONNX Runtime on the CPU, which hospitals run; all others are held against it. Ends with 1
if any of them decides a study differently in fp32. Reduced precisions are reported, not judged.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from lvo.detector import load_detector
from lvo.detector.detect import PARITY_TOLERANCE
from lvo.errors import LvoError
from lvo.evaluation.boxes import Box, finished, read_box
from lvo.evaluation.parity import compare_backends

DEVICES = ("torch-cpu", "cuda", "cuda-bf16", "cuda-fp16")
"""As `lvo.detector.load_detector` takes them."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--boxes", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="bundle; the released one if not given")
    parser.add_argument("--devices", nargs="+", default=["torch-cpu"], choices=DEVICES)
    parser.add_argument("--count", type=int, help="first so many studies; all if left out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        reference = load_detector(arguments.model, "cpu", threads=arguments.threads)
        others = [
            load_detector(arguments.model, device, threads=arguments.threads) for device in arguments.devices
        ]
        found = compare_backends(reference, others, islice(boxes(arguments.boxes), arguments.count))
    except LvoError as fault:
        print(f"{fault.code}: {fault.message}", file=sys.stderr)
        return 2
    bundle = reference.bundle
    rows = [(d.network.precision, row) for d, row in zip(others, found.rows, strict=True)]
    about = {
        "model": f"{bundle.name} {bundle.version}",
        "digest": bundle.digest,
        "reference": found.reference,
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "rows": [{"precision": p, "tolerance": PARITY_TOLERANCE[p], **row.model_dump()} for p, row in rows],
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    for precision, row in rows:
        print(
            f"{row.backend} {precision}, {row.studies} studies: largest difference "
            f"{row.study_difference:.1e} of the study, {row.site_difference:.1e} of a site; "
            f"{row.decisions} decisions and {row.findings} lists of findings differ"
        )
    return int(any(row.decisions for precision, row in rows if precision == "fp32"))


def boxes(folder: Path) -> Iterator[tuple[str, Box]]:
    """Name and box of every study that came to the detector; of a pool, every second one with its NCCT."""
    for n, path in enumerate(sorted(folder.glob("[0-9]*.npz"))):
        with np.load(path, allow_pickle=False) as item:
            cta, plain = item["cta"].astype(np.float32), item["ncct"].astype(np.float32)
        yield path.stem, Box(cta, plain.repeat(2, 0).repeat(2, 1).repeat(2, 2) if n % 2 else None)
    for study in finished(folder):
        if (box := read_box(study)) is not None:
            yield study.name, box


if __name__ == "__main__":
    sys.exit(main())
