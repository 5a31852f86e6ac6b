"""Make a released bundle of a trained network.

``scripts/release.py --run runs/detector --network configs/train/detector.yaml
--config configs/train/reader.yaml --pose models/lao-cta/models --out models/lao-cta --version 0.1.0
[--make-patients]``

Exports the network, reads fresh patients with it, trains and calibrates the reader, stores parity cases and
seals the folder. The model card (``docs/README.md``) is written by hand and must be there before sealing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from lvo.errors import LvoError
from lvo.training.config import read_config
from lvo.training.data import fill_pool
from lvo.training.reader import ReaderConfig, read_pool
from lvo.training.release import export_network, finish_bundle, network_of
from lvo.training.run import RunConfig


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, note in (
        ("run", "folder of the training run"),
        ("network", "its settings, YAML"),
        ("config", "settings of the reader, YAML"),
        ("pose", "folder with pose.onnx and pose.safetensors"),
        ("out", "the bundle"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=note)
    parser.add_argument("--version", required=True)
    note = "first make the reader's missing patients"
    parser.add_argument("--make-patients", action="store_true", help=note)
    arguments = parser.parse_args()
    try:
        network = read_config(arguments.network, RunConfig)
        config = read_config(arguments.config, ReaderConfig)
        if arguments.make_patients:
            fill_pool(config.patients)
        torch.set_num_threads(2)
        export_network(arguments.run, arguments.pose, arguments.out, network.network)
        readings = read_pool(network_of(arguments.out, network.network), config)
        trained_on = (
            f"synthetic patients only: {network.steps} steps over a pool of phantoms from seed "
            f"{network.data.first_seed}; reader on {len(readings.sites)} from seed "
            f"{config.patients.first_seed}"
        )
        figures = finish_bundle(
            arguments.out, readings, config, network.network, version=arguments.version, trained_on=trained_on
        )
    except LvoError as fault:
        print(f"{fault.code}: {fault.message}", file=sys.stderr)
        return 1
    print(" ".join(f"{name}={value:.4g}" for name, value in figures.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
