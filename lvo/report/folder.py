"""The folder that holds a study's result: made, cleared and written."""

from __future__ import annotations

from pathlib import Path

from lvo.errors import OutputUnwritable
from lvo.study import StudyResult

RESULT_NAME = "result.json"
_OURS = (
    "head.png",
    "axial_mip.png",
    "coronal_mip.png",
    "artery_map.png",
    "pose_check.png",
    "finding_*.png",
    RESULT_NAME,
)


def prepare_output(out: Path) -> None:
    """Make the output folder and remove an earlier run's files from it.

    Raises
    ------
    OutputUnwritable
        It cannot be made or written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        clear_output(out)
        probe = out / f".{RESULT_NAME}.part"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputUnwritable(f"({out}: {error.strerror})") from error


def clear_output(out: Path) -> None:
    """Remove what :func:`score_folder` writes, and nothing else."""
    for pattern in _OURS:
        for path in out.glob(pattern):
            path.unlink()


def write_result(result: StudyResult, out: Path) -> Path:
    """Write ``result.json`` in one step, so that no reader sees half of it."""
    part, path = out / f".{RESULT_NAME}.part", out / RESULT_NAME
    part.write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
    part.replace(path)
    return path
