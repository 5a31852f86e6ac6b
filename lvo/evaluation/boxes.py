"""Head boxes kept on disk: what the detector saw of a study, so that another model can answer it.

The folder of a study holds ``result.json`` and ``truth.csv`` and, where the study came as far as the
detector, ``box.npz``: ``cta`` and, where there was one, ``ncct``, both float32 HU on
`lvo.imaging.resample.HEAD_BOX`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from lvo.detector import Detection, Detector
from lvo.errors import PathNotFound, UsageError
from lvo.imaging.resample import HEAD_BOX
from lvo.report.folder import RESULT_NAME
from lvo.study import FloatArray, StudyResult

BOX_NAME = "box.npz"
TRUTH_NAME = "truth.csv"


@dataclass(frozen=True, slots=True)
class Box:
    """What the detector sees of a study; HU on HEAD_BOX."""

    cta: FloatArray
    ncct: FloatArray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingDetector(Detector):
    """A detector that keeps what it was shown."""

    inner: Detector
    seen: list[Box] = field(default_factory=list)

    def detect(self, cta: FloatArray, ncct: FloatArray | None = None) -> Detection:
        """Answer as the detector does."""
        self.seen.append(Box(cta, ncct))
        return self.inner.detect(cta, ncct)


def recording(detector: Detector) -> RecordingDetector:
    """The same detector, keeping what it is shown."""
    same = {f.name: getattr(detector, f.name) for f in fields(Detector)}
    return RecordingDetector(**same, inner=detector)


def write_box(folder: Path, box: Box) -> None:
    """Write ``box.npz`` in one step."""
    part = folder / f".{BOX_NAME}.part"
    with part.open("wb") as file:
        if box.ncct is None:
            np.savez(file, cta=box.cta.astype(np.float32))
        else:
            np.savez(file, cta=box.cta.astype(np.float32), ncct=box.ncct.astype(np.float32))
    part.replace(folder / BOX_NAME)


def read_box(folder: Path) -> Box | None:
    """The box of a study; None where it never came to the detector.

    Raises
    ------
    UsageError
        It was kept by a version whose detector saw a box of another size.
    """
    path = folder / BOX_NAME
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        box = Box(stored["cta"], stored.get("ncct"))
    if box.cta.shape != HEAD_BOX.shape:
        raise UsageError(
            f"{path} has {box.cta.shape} voxels, and this version's box {HEAD_BOX.shape}; "
            "score the studies again, with --keep-boxes, into another folder."
        )
    return box


def read_result(folder: Path) -> StudyResult:
    """The result that stands in a study's folder."""
    return StudyResult.model_validate_json((folder / RESULT_NAME).read_bytes())


def finished(folder: Path) -> Iterator[Path]:
    """Folders of studies that have a result, by name.

    Raises
    ------
    PathNotFound
        There is no such folder.
    """
    if not folder.is_dir():
        raise PathNotFound(str(folder))
    yield from sorted(p.parent for p in folder.glob(f"*/{RESULT_NAME}"))


def join_truth(folder: Path) -> Path:
    """Join the truth of every finished study into the folder's own ``truth.csv``, in one step."""
    names: Sequence[str] = ()
    rows: list[dict[str, str]] = []
    for study in finished(folder):
        with (study / TRUTH_NAME).open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            names = names or reader.fieldnames or ()
            rows += list(reader)
    part = folder / f".{TRUTH_NAME}.part"
    with part.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        table.writerows(rows)
    return part.replace(folder / TRUTH_NAME)
