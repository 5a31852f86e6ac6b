"""Bring a released model to a site's own studies.

``scripts/finetune.py --manifest site.csv --model models/lao-cta --out models/site --version 0.3.0+site
[--mix POOL] [--config configs/train/finetune.yaml]``

The manifest is described in docs/training.md. Studies that cannot be analysed are listed with their reason
codes, here and in ``refused.csv`` of the working folder, and left out. Patients' images stay in the working
folder; none goes into the bundle. The same command goes on after a stop.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from lvo.errors import LvoError, UsageError
from lvo.training.config import read_config
from lvo.training.finetune import finetune
from lvo.training.site_config import FinetuneConfig, Paths
from lvo.training.site_manifest import read_manifest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True, help="the site's studies, CSV")
    parser.add_argument("--model", type=Path, required=True, help="the released bundle")
    parser.add_argument("--out", type=Path, required=True, help="the site's bundle")
    parser.add_argument("--version", required=True, help="of the site's bundle")
    parser.add_argument("--mix", type=Path, help="pool of phantoms, without which only calibration is done")
    parser.add_argument("--config", type=Path, help="settings, YAML")
    parser.add_argument("--work", type=Path, help="working folder (runs/site-<name of the bundle>)")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("lvo").setLevel(logging.INFO)  # ONNX tells much at this level
    try:
        studies = read_manifest(arguments.manifest)
        config = read_config(arguments.config, FinetuneConfig) if arguments.config else FinetuneConfig()
        work = arguments.work or Path("runs") / f"site-{arguments.out.name}"
        paths = Paths(arguments.model, arguments.out, work, arguments.mix)
        figures = finetune(studies, config, paths, arguments.version)
    except LvoError as fault:
        print(f"{fault.code}: {fault.message}", file=sys.stderr)
        return 2 if isinstance(fault, UsageError) else 1
    except KeyboardInterrupt:
        print("stopped early; the same command goes on")
        return 0
    for name, value in figures.items():
        print(f"{name} {value:.4g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
