"""The weighted mean of several weights of one network, to be compared, begun with or released.

``scripts/mean_weights.py runs/x/averages/step-000002414.safetensors models/lao-cta --shares 0.7 0.3 --out W``

A source is a file of weights, a bundle, or a run (its newest running average). A recipe releases the mean
with ``weights: W``; a run begins with it with ``start_from: W``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from safetensors.torch import save_file

from lvo.errors import LvoError
from lvo.training.checkpoint import mean_weights


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--shares", type=float, nargs="+", help="one for each source; equal if left out")
    parser.add_argument("--out", type=Path, required=True, help="safetensors")
    arguments = parser.parse_args()
    shares = arguments.shares or [1.0] * len(arguments.sources)
    if len(shares) != len(arguments.sources) or min(shares) <= 0:
        parser.error("--shares takes a positive number for each source")
    try:
        mean = mean_weights(list(zip(arguments.sources, shares, strict=True)))
    except LvoError as fault:
        print(f"{fault.code}: {fault.message}", file=sys.stderr)
        return 2
    save_file({name: value.contiguous() for name, value in mean.items()}, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
