"""Fixtures that write studies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lvo.phantom.write import StudyIdentity, write_series
from lvo.study import Volume
from tests.dicom.cases import head


@pytest.fixture
def identity() -> StudyIdentity:
    return StudyIdentity.from_seed("test")


@pytest.fixture
def write(tmp_path: Path, identity: StudyIdentity) -> Callable[..., list[Path]]:
    """Write a volume as a series under tmp_path/study; return its files from feet to head."""

    def write_one(volume: Volume | None = None, number: int = 2, **options: object) -> list[Path]:
        folder = tmp_path / "study" / str(number)
        arguments = {"description": "Head CTA", "identity": identity, "series_number": number} | options
        write_series(folder, head() if volume is None else volume, **arguments)  # type: ignore[arg-type]
        return sorted(folder.iterdir())

    return write_one


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    folder.mkdir(exist_ok=True)
    return folder
