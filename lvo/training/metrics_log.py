"""Where a run's figures go: a CSV that needs no tool to read, and TensorBoard."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

HEADER = ("step", "split", "name", "value")


class MetricsLog:
    """Figures of a run as ``metrics.csv`` (one figure a row) and TensorBoard events.

    Parameters
    ----------
    out : folder of the run.
    start : the step the run goes on from; rows after it, left by an interrupted run, are removed,
        since those steps are done again.
    """

    def __init__(self, out: Path, *, start: int = 0) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.path = out / "metrics.csv"
        kept = [row for row in read_metrics(self.path) if row[0] <= start] if start else []
        partial = self.path.with_suffix(".tmp")
        with partial.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([HEADER, *kept])
        os.replace(partial, self.path)  # noqa: PTH105 - named for what it does: atomic on one file system
        self._file = self.path.open("a", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file)
        self._board = SummaryWriter(str(out / "tensorboard"), purge_step=start + 1 if start else None)

    def write(self, step: int, split: str, figures: Mapping[str, float]) -> None:
        """Write the figures of one step."""
        for name, value in figures.items():
            self._csv.writerow((step, split, name, repr(float(value))))
            if math.isfinite(value):
                self._board.add_scalar(f"{split}/{name}", value, step)
        self._file.flush()

    def write_pictures(self, step: int, pictures: Mapping[str, Tensor]) -> None:
        """Write pictures, each (channels, rows, columns), float in 0..1 or uint8, to TensorBoard."""
        for name, picture in pictures.items():
            shown = picture.detach().cpu()
            self._board.add_image(name, shown if shown.dtype == torch.uint8 else shown.float(), step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._board.close()


def read_metrics(path: Path) -> list[tuple[int, str, str, float]]:
    """Rows (step, split, name, value) of a ``metrics.csv``; none where there is no file.

    A last row cut off by a crash is left out.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if len(row) == len(HEADER)]
    return [(int(s), split, name, float(v)) for s, split, name, v in rows[1:] if v]
