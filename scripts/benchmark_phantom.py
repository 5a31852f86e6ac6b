"""Speed of the synthetic-patient generator: patients per second in the box, and seconds for whole studies.

``benchmark_phantom.py [--patients 8] [--per-head 1 4] [--processes 1] [--device cpu] [--slices 600]``

Every process computes on one thread. A product of matrices on one thread is timed first, for scale: a shared
machine is not the same from one hour to the next.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from lvo.phantom import study
from lvo.phantom.config import load_config
from lvo.phantom.patient import Order, sample_case
from lvo.training.boxed import DataConfig, image_family

_STAGES = ("tissue_hu", "draw_vessels", "move", "expose", "write_series")
_COVERAGE = {"head": (1.0, 0.0, 0.0), "arch to vertex": (0.0, 0.0, 1.0)}
_WARM_UP, _FIRST = 900, 1000


def gflops(size: int = 1024, rounds: int = 10) -> float:
    """Speed of a float32 matrix product on one thread, 1e9 operations per second; the best of some rounds."""
    a, best = torch.rand(size, size), float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def make(first: int, count: int, per_head: int, device: str) -> tuple[float, float]:
    """Seconds on the clock and of the processor for some patients; maps are read beforehand."""
    torch.set_num_threads(1)
    config = DataConfig(per_head=per_head, device=device)
    list(image_family(_WARM_UP, config, 1))
    wall, own = time.perf_counter(), time.process_time()
    for seed in range(first, first + count, per_head):
        for _, arrays in image_family(seed, config):
            arrays["cta"].cpu()
    return time.perf_counter() - wall, time.process_time() - own


def box(count: int, per_head: int, processes: int, device: str) -> None:
    """Print patients per second."""
    count = -(-count // per_head) * per_head
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(make, _FIRST + 1000 * k, count, per_head, device) for k in range(processes)]
        found = [job.result() for job in jobs]
    rate = sum(count / wall for wall, _ in found)
    own = sum(cpu for _, cpu in found) / (count * processes)
    print(
        f"box, {per_head} per head, {processes} x {device}: {rate:.2f} patients/s, {own:.2f} processor-s each"
    )


def whole(name: str, slices: int, device: str) -> None:
    """Print the seconds of a study with its NCCT, and of its stages, which overlap on several threads."""
    spent = dict.fromkeys(_STAGES, 0.0)

    def timed(stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return work(*args, **options)
            finally:
                spent[stage] += time.perf_counter() - start

        return run

    kept = {stage: getattr(study, stage) for stage in _STAGES}
    config = load_config("realistic").changed({"scan": {"coverage": _COVERAGE[name], "cut": 0.0}})
    for stage, work in kept.items():
        setattr(study, stage, timed(stage, work))
    try:
        start = time.perf_counter()
        case = sample_case(_FIRST, config, Order(sites=(), slices=slices))
        with tempfile.TemporaryDirectory() as folder:
            study.write_study(Path(folder), case, device=device)
        total = time.perf_counter() - start
    finally:
        for stage, work in kept.items():
            setattr(study, stage, work)
    print(
        f"study, {name}, {slices} slices: {total:.1f} s; "
        + ", ".join(f"{k} {v:.1f}" for k, v in spent.items())
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--patients", type=int, default=8, help="of every process")
    parser.add_argument("--per-head", type=int, nargs="*", default=[1, 4])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--slices", type=int, default=600, help="of a whole study; 0 leaves these out")
    wanted = parser.parse_args()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    print(f"matrix product, one thread: {gflops():.0f} GFLOP/s")
    torch.set_num_threads(threads)
    for per_head in wanted.per_head:
        box(wanted.patients, per_head, wanted.processes, wanted.device)
    for name in _COVERAGE if wanted.slices else ():
        whole(name, wanted.slices, wanted.device)


if __name__ == "__main__":
    main()
