"""One run of the network: ``scripts/train.py --config configs/train/network/gpu.yaml [--resume]``.

``scripts/make_model.py`` does this too, with all that comes before and after.

Several processes: ``torchrun --nproc-per-node 2 scripts/train.py --config ...``. Ctrl-C, SIGTERM and the
time limit end the run with a checkpoint, from which ``--resume`` goes on. Exit code 0 also then; 2 for
wrong usage or settings, 1 for a fault.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from lvo.errors import LvoError, UsageError
from lvo.training.config import read_config
from lvo.training.run import RunConfig, make_patients, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="settings, YAML")
    parser.add_argument("--out", type=Path, help="folder of the run (runs/<name of the settings>)")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument(
        "--make-patients", type=int, metavar="N", help="first make the missing patients, with N processes"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        config = read_config(arguments.config, RunConfig)
        if arguments.make_patients:
            print(f"{make_patients(config.data, arguments.make_patients)} patients made")
        out = arguments.out or Path("runs") / arguments.config.stem
        outcome = run(config, out, resume=arguments.resume)
    except LvoError as fault:
        print(f"{fault.code}: {fault.message}", file=sys.stderr)
        return 2 if isinstance(fault, UsageError) else 1
    note = "" if outcome.ended == "finished" else f"; stopped early ({outcome.ended}), go on with --resume"
    print(f"{outcome.step} steps done, checkpoint {outcome.checkpoint}{note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
