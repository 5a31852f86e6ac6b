"""From nothing to a released bundle: ``scripts/make_model.py --config configs/train/model-cpu.yaml``.

Stages that are done are skipped, so the same command goes on after any stop. Several processes:
``torchrun --nproc-per-node N scripts/make_model.py --config ...``. Exit code 0 also after a clean stop
(SIGTERM, Ctrl-C, a time limit) while training; 2 for wrong usage or settings, 1 for a fault.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from lvo.errors import LvoError, UsageError
from lvo.training.recipe import make_model, read_recipe


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="the recipe, YAML")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("lvo").setLevel(logging.INFO)  # ONNX tells much at this level
    try:
        recipe, stages = read_recipe(arguments.config)
        whole = make_model(recipe, stages, Path(__file__).resolve().parent)
    except LvoError as fault:
        print(f"{fault.code}: {fault.message}", file=sys.stderr)
        return 2 if isinstance(fault, UsageError) else 1
    print(f"bundle in {recipe.out}" if whole else "stopped early; the same command goes on")
    return 0


if __name__ == "__main__":
    sys.exit(main())
