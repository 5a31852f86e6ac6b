"""Writes what the first ten studies of the frozen benchmark are, for the test that holds them.

``scripts/benchmark_fingerprint.py tests/phantom/benchmark_first_ten.json``, once for each version.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from lvo.cli import app
from lvo.phantom.benchmark import describe

COUNT = 10


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        app(
            ["phantom", "--preset", "benchmark", "--count", str(COUNT), "--out", folder],
            standalone_mode=False,
        )
        Path(sys.argv[1]).write_text(json.dumps(describe(Path(folder))) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
