"""How much of what this machine can compute the network's forward pass reaches on the CPU.

``scripts/time_network.py [--model BUNDLE] [--threads 2] [--rounds 10] [--out time.json]``

The peak is measured, not looked up: a float32 matrix product, by the faster of torch and numpy, in the same
process and with the same number of threads. Product and network alternate, so that a neighbour who takes
the core slows both; each round's network is set against the products before and after it.
``scripts/time_route.py`` has the whole command's time and its peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
import torch

from lvo.detector.bundle import load_bundle
from lvo.detector.evidence import network_input
from lvo.detector.onnx_backend import OnnxBackend
from lvo.errors import LvoError
from lvo.evaluation.flops import count_flops
from lvo.imaging.resample import HEAD_BOX

SIZE = 2048
"""Rows and columns of the product: large enough to be bound by arithmetic."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, help="bundle; the released one if not given")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", type=Path, help="figures as JSON")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be 1 or more")
    torch.set_num_threads(arguments.threads)
    try:
        bundle = load_bundle(arguments.model)
        backend = OnnxBackend(bundle, arguments.threads)
    except LvoError as fault:
        print(f"{fault.code}: {fault.message}", file=sys.stderr)
        return 2
    box = np.random.default_rng(0).normal(40, 100, HEAD_BOX.shape).astype(np.float32)
    inputs = network_input(box, box)
    flops = count_flops(bundle.path / "models" / "vessels.onnx")
    peaks, seconds = alternate(lambda: backend(inputs), products(), arguments.rounds)
    between = [(a + b) / 2 for a, b in pairwise(peaks)]
    shares = [flops / s / peak for s, peak in zip(seconds, between, strict=True)]
    figures = {
        "model": f"{bundle.name} {bundle.version}",
        "digest": bundle.digest,
        "onnxruntime": onnxruntime.__version__,
        "machine": platform.processor() or platform.machine(),
        "threads": arguments.threads,
        "forwards_per_study": 1 + bundle.metadata.mirrored_view,
        "gflop": flops / 1e9,
        "seconds_median": median(seconds),
        "seconds_least": min(seconds),
        "gflop_per_s": flops / median(seconds) / 1e9,
        "peak_gflop_per_s": median(peaks) / 1e9,
        "share_of_peak_median": median(shares),
        "share_of_peak_range": [min(shares), max(shares)],
    }
    print("\n".join(f"{name}: {value}" for name, value in figures.items()))
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    return 0


def products() -> tuple[Callable[[], object], ...]:
    """The same matrix product by both libraries."""
    a = np.random.default_rng(0).normal(size=(SIZE, SIZE)).astype(np.float32)
    t = torch.from_numpy(a)
    return (lambda: t @ t), (lambda: a @ a)


def alternate(
    network: Callable[[], object], peak: tuple[Callable[[], object], ...], rounds: int
) -> tuple[list[float], list[float]]:
    """Peak in FLOP/s before, between and after the rounds, and the network's seconds in each."""
    for warm in (network, *peak):
        warm()
    peaks, seconds = [], []
    for _ in range(rounds):
        peaks.append(2 * SIZE**3 / min(timed(p) for p in peak))
        seconds.append(timed(network))
    return [*peaks, 2 * SIZE**3 / min(timed(p) for p in peak)], seconds


def timed(run: Callable[[], object]) -> float:
    """Wall seconds of one run."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
