"""Train the pose network and export it.

``python scripts/train_pose.py --config configs/train/pose.yaml --out DIR``
"""

import argparse
from pathlib import Path

from lvo.training.pose import export, read_config, train


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    config = read_config(options.config)
    weights = train(config, options.out)
    export(config, weights, options.out / "pose.onnx")


if __name__ == "__main__":
    main()
