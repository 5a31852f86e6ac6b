"""Files made to harm: bounded in time and memory, refused in plain words."""

import os
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lvo.dicom import elements, headers, ingest, read_study, volumes
from lvo.study import Volume
from tests.dicom.cases import edit, head
from tests.dicom.fuzz import bounded


def rejections(folder: Path) -> list[str]:
    with bounded():
        return [r.code for r in read_study(folder).reasons if r.kind == "rejection"]


def test_links_are_not_followed_and_said(write, study: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in write(head(), 3):
        path.rename(elsewhere / path.name)
        (study / path.name).symlink_to(elsewhere / path.name)
    (study / "loop").symlink_to(study)
    (study / "dangling").symlink_to(study / "nothing")
    result = read_study(study)
    assert [r.code for r in result.reasons if r.kind == "rejection"] == ["no-dicom"]
    assert "links not followed" in result.reasons[0].message
    assert "links-not-followed" in {r.code for r in result.reasons}


def test_a_folder_named_by_a_link_is_read(write, study: Path, tmp_path: Path) -> None:
    write(head(), 3)
    (tmp_path / "link").symlink_to(study)
    assert read_study(tmp_path / "link").cta is not None


def test_a_pipe_among_the_files_stops_nothing(write, study: Path) -> None:
    write(head(), 3)
    os.mkfifo(study / "pipe")
    with bounded():
        assert read_study(study).cta is not None


def test_more_files_than_a_study_has(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "MAX_FILES", 50)
    for number in range(60):
        (study / str(number)).write_bytes(b"x")
    assert rejections(study) == ["too-many-files"]


def test_a_deflated_bomb(write, study: Path) -> None:
    (path, *rest) = write(head(), 3, transfer_syntax=elements.DEFLATED)
    for other in rest:
        other.unlink()
    with path.open("rb") as stream:
        start = elements.data_set_start(stream)
    packer = zlib.compressobj(9, wbits=-15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(100)) + packer.flush()
    path.write_bytes(path.read_bytes()[:start] + bomb)
    assert len(bomb) < 1 << 18
    assert rejections(study) == ["no-dicom"]


@pytest.mark.parametrize("rows", [65535, 0])
def test_a_header_that_asks_for_gigabytes(write, study: Path, rows: int) -> None:
    for path in write(head(), 3):
        edit(path, lambda ds: (setattr(ds, "Rows", rows), setattr(ds, "Columns", rows or 48)))
    assert rejections(study)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"])
def test_a_compressed_frame_that_asks_for_gigabytes(write, study: Path, syntax: str) -> None:
    marker = {"80": (b"\xff\xf7", 5), "90": (b"\xff\x4f\xff\x51", 8)}[syntax[-2:]]
    for path in write(head(), 3, transfer_syntax=syntax):
        data = bytearray(path.read_bytes())
        at = data.rindex(marker[0]) + marker[1]
        data[at : at + 2] = b"\xff\xff"
        path.write_bytes(data)
    assert rejections(study) == ["pixels-unreadable"]


def test_sequences_nested_without_end(write, study: Path) -> None:
    for path in write(head(), 3):
        data = path.read_bytes()
        at = data.index(b"\x08\x00\x60\x00")
        deep = (
            bytes.fromhex("08004011") + b"SQ\0\0" + b"\xff" * 4 + bytes.fromhex("feff00e0ffffffff")
        ) * 20000
        path.write_bytes(data[:at] + deep + data[at:])
    assert rejections(study) == ["no-dicom"]


def test_a_series_of_20_000_slices(write, study: Path) -> None:
    (path, *rest) = write(Volume(np.zeros((2, 4, 4), np.int16), np.eye(4)[:, [2, 1, 0, 3]]), 3)

    def mark(ds: pydicom.Dataset) -> None:
        ds.SOPInstanceUID, ds.ImagePositionPatient = "2.25.111111", [0, 0, "1.111111"]

    edit(path, mark)
    data = path.read_bytes()
    for other in (path, *rest):
        other.unlink()
    for n in range(100_000, 120_000):
        one = data.replace(b"2.25.111111", b"2.25.%d" % n).replace(b"1.111111", b"%08.2f" % (n / 50))
        (study / "3" / str(n)).write_bytes(one)
    with bounded(seconds=60):
        inventory = ingest(study)
    assert [s.series.instances for s in inventory.stacks] == [20_000], inventory.reasons
    assert inventory.stacks[0].series.role == "other_body_part"


def test_a_volume_beyond_memory_is_refused_by_its_header(
    write, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, "MAX_VOXELS", 1000)
    write(head(), 3)
    assert rejections(study) == ["series-too-large"]
    inventory = ingest(study, tmp_path / "out")
    assert [s.file for s in inventory.stacks] == [None]
    assert [r.code for r in inventory.stacks[0].series.reasons] == ["series-too-large"]


def test_a_value_that_pydicom_would_quote_is_not_printed(
    write, study: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A damaged character set is quoted in a warning of pydicom's; here a warning would be an error."""
    path = write(head(), 3, description="Gefäße")[0]
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 192", b"PHANTOM^XX", 1))
    headers_found = headers.scan(study)
    assert headers_found.unreadable == 0
    assert "PHANTOM" not in "".join(capfd.readouterr())
