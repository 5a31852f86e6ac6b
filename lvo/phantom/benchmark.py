"""The frozen benchmark: its published table of seeds and strata, as orders for the phantom."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Segment, Side
from lvo.dicom import read_study
from lvo.errors import ConfigInvalid, PathNotFound, UsageError
from lvo.phantom.config import folder
from lvo.phantom.patient import Order
from lvo.study import Volume

MATRIX = 256
"""Rows and columns of its CTAs: a thousand studies fit a laptop."""
LATER_COLUMNS = ("lumen_mm", "clot_scanned")
"""Columns of truth.csv that say more of the same patients than when the benchmark was frozen."""
COLUMNS = ("study", "seed", "sites", "collateral", "phase", "noise", "slice_mm", "ncct", "variant", "mimic")


def read_benchmark(path: Path | None = None) -> tuple[tuple[str, int, Order], ...]:
    """Name, seed and order of every study.

    Parameters
    ----------
    path : table to read; the published one if None.

    Raises
    ------
    PathNotFound
        There is no such table.
    ConfigInvalid
        A row of it cannot be read; its line is named.
    """
    path = path or folder() / "benchmark.csv"
    if not path.is_file():
        raise PathNotFound(str(path))
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    studies = []
    for number, row in enumerate(rows, start=2):
        try:
            studies.append((row["study"], int(row["seed"]), order_of(row)))
        except (KeyError, ValueError) as error:
            raise ConfigInvalid(f"{path}, line {number}: {error}") from error
    return tuple(studies)


def studies_of(
    preset: str, *, count: int | None, first: int, seed: int, order: Order
) -> tuple[tuple[str, int, Order], ...]:
    """Name, seed and order of the studies of a preset: of the benchmark's table, or counted up from a seed.

    Parameters
    ----------
    count : how many; None is one, or the whole benchmark.
    first : of the benchmark, from 1.

    Raises
    ------
    UsageError
        The benchmark was asked for something else than it holds.
    """
    if preset != "benchmark":
        return tuple((f"study-{n:06d}", n, order) for n in range(seed, seed + (count or 1)))
    if order.sites or order.slices or seed:
        raise UsageError("The benchmark is frozen: --occlusion, --seed and --slices do not go with it.")
    return read_benchmark()[first - 1 :][:count]


def order_of(row: dict[str, str]) -> Order:
    """What a row of the table asks for."""
    return Order(
        sites=tuple(_site(text) for text in row["sites"].split()),
        collateral=int(row["collateral"]) if row["collateral"] else None,
        phase=row["phase"] or None,
        noise=row["noise"] or None,
        slice_mm=float(row["slice_mm"]),
        strata=tuple(name for name in (row["variant"], row["mimic"]) if name),
        matrix=MATRIX,
        ncct=row["ncct"] == "yes",
    )


def fingerprint(volume: Volume, blocks: int = 4) -> npt.NDArray[np.float64]:
    """Mean HU of blocks of a volume, (blocks, blocks, blocks), to a tenth.

    It tells any change of what is drawn, but not the last bit in which processors differ.
    """
    parts = (np.array_split(np.arange(n), blocks) for n in volume.array.shape)
    z, y, x = ([p[0] for p in axis] for axis in parts)
    total = volume.array.astype(np.float64)
    for axis, starts in enumerate((z, y, x)):
        total = np.add.reduceat(total, starts, axis=axis)
    sizes = [np.diff([*starts, n]) for starts, n in zip((z, y, x), volume.array.shape, strict=True)]
    return np.asarray(np.round(total / np.einsum("i,j,k->ijk", *sizes), 1))


def describe(folder: Path) -> dict[str, Any]:
    """Truth and fingerprints of the studies in a folder that `lvo phantom` wrote.

    Returns
    -------
    dict
        ``truth``: SHA-256 of truth.csv without `LATER_COLUMNS`; by study, ``cta`` and ``ncct``: the
        fingerprint as a flat list.
    """
    found: dict[str, Any] = {"truth": hashlib.sha256(_frozen_truth(folder / "truth.csv")).hexdigest()}
    for study in sorted(p for p in folder.iterdir() if p.is_dir()):
        volumes = read_study(study)
        found[study.name] = {
            name: fingerprint(volume).ravel().tolist()
            for name, volume in (("cta", volumes.cta), ("ncct", volumes.ncct))
            if volume is not None
        }
    return found


def _frozen_truth(path: Path) -> bytes:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        names = [n for n in reader.fieldnames or () if n not in LATER_COLUMNS]
        out = io.StringIO(newline="")
        table = csv.DictWriter(out, names, extrasaction="ignore")
        table.writeheader()
        table.writerows(reader)
    return out.getvalue().encode("utf-8")


def _site(text: str) -> tuple[Side, Segment]:
    side, _, segment = text.partition(":")
    found = Side(side), Segment(segment)
    if found[0] not in found[1].sides:
        raise ValueError(f"there is no {text}")
    return found
