"""Export a trained vessel network to ONNX and safetensors, without making a release of it.

``scripts/export.py --run runs/model-cpu/cpu-whole --network configs/train/network/cpu-whole.yaml --out OUT``

``scripts/make_model.py`` does this too, and then trains the reader, calibrates and seals.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lvo.errors import LvoError
from lvo.training.config import read_config
from lvo.training.export import export_vessels
from lvo.training.run import RunConfig


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--run", type=Path, required=True, help="folder of the training run, or a file of weights"
    )
    parser.add_argument("--network", type=Path, required=True, help="its settings, YAML")
    parser.add_argument("--out", type=Path, required=True, help="the files go to OUT/models")
    arguments = parser.parse_args()
    try:
        export_vessels(arguments.run, arguments.out, read_config(arguments.network, RunConfig).network)
    except LvoError as fault:
        print(f"{fault.code}: {fault.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
