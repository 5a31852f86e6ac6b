"""Fixtures that write studies."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import SimpleITK as sitk

from lvo.phantom.write import StudyIdentity, write_series
from lvo.study import Volume
from tests.dicom.cases import head


@pytest.fixture
def identity() -> StudyIdentity:
    return StudyIdentity.from_seed("test")


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Series that were written before: encoding them costs more than most tests."""
    return tmp_path_factory.mktemp("series")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Slices of a few pixels gain nothing from threads."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


@pytest.fixture
def write(tmp_path: Path, identity: StudyIdentity, written: Path) -> Callable[..., list[Path]]:
    """Write a volume as a series under tmp_path/study; return its files from feet to head."""

    def write_one(volume: Volume | None = None, number: int = 2, **options: object) -> list[Path]:
        folder = tmp_path / "study" / str(number)
        arguments = {"description": "Head CTA", "identity": identity, "series_number": number} | options
        volume = head() if volume is None else volume
        asked = repr((volume.affine.tolist(), volume.array.shape, arguments)).encode()
        kept = written / hashlib.sha256(asked + volume.array.tobytes()).hexdigest()
        if not kept.is_dir():
            write_series(kept, volume, **arguments)  # type: ignore[arg-type]
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        return sorted(folder.iterdir())

    return write_one


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    folder.mkdir(exist_ok=True)
    return folder
