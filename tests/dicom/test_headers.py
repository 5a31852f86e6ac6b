"""The header pass: the same from a folder, a list or a stream of files, and quiet about the patient."""

import logging
import os
import threading
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.datadict import tag_for_keyword

from lvo.dicom import headers
from lvo.dicom.elements import quiet
from lvo.dicom.headers import HeaderIndex, scan
from lvo.dicom.instance import read_instances
from lvo.dicom.pixels import decode_hu
from lvo.dicom.values import TAGS
from lvo.phantom.hard.encode import EXPLICIT, IMPLICIT
from tests.dicom.cases import edit, head


def test_the_table_of_tags_is_the_dictionary_of_dicom() -> None:
    assert {name: tag_for_keyword(name) for name in TAGS} == dict(TAGS)


def test_a_folder_a_list_and_a_stream_give_the_same(write, study: Path) -> None:
    files = write(head(), 3)
    (study / "notes.txt").write_text("no image")
    whole = scan(study)
    index = HeaderIndex()
    for path in [study / "notes.txt", *reversed(files)]:
        index.add(path)
    for other in (scan([*files, study / "notes.txt"]), index.headers()):
        assert set(other.instances) == set(whole.instances)
        assert (other.files, other.not_dicom, other.unreadable) == (len(files) + 1, 1, 0)


def test_a_stream_ends_at_the_limit(write, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write(head(), 3)
    monkeypatch.setattr(headers, "MAX_FILES", 5)
    index = HeaderIndex()
    for path in files:
        index.add(path)
    assert index.too_many and len(index.instances) == 5


def test_odd_values_are_none_and_no_guess(write) -> None:
    path = write(head(), 3)[0]

    def spoil(ds: pydicom.Dataset) -> None:
        for name, value in (
            ("KVP", b"high"),
            ("SeriesNumber", b""),
            ("PixelSpacing", b"0.5"),
            ("ImagePositionPatient", b"1\\2\\nan"),
            ("PatientAge", b"old "),
        ):
            ds[name] = pydicom.dataelem.RawDataElement(
                pydicom.tag.Tag(name), "LO", len(value), value, 0, False, True
            )

    edit(path, spoil)
    (instance,) = read_instances(path)
    assert (instance.kvp, instance.series_number, instance.pixel_spacing) == (None, None, None)
    assert (instance.position, instance.age_years) == (None, None)


@pytest.mark.parametrize(
    ("age", "born", "years"),
    [("017Y", "", 17), ("018M", "", 1.5), ("", "20100101", 16.0), ("045Y", "20250101", 45), ("", "", None)],
)
def test_age_comes_from_the_age_or_the_dates(write, age: str, born: str, years: float | None) -> None:
    path = write(head(), 3)[0]
    edit(path, lambda ds: (setattr(ds, "PatientAge", age), setattr(ds, "PatientBirthDate", born)))
    (instance,) = read_instances(path)
    assert instance.age_years == pytest.approx(years) if years is not None else instance.age_years is None


@pytest.mark.parametrize(
    ("text", "years"),
    [(b"012Y", 12), (b"12Y ", 12), (b"7y", 7), (b"018M", 1.5), (b"Y   ", None), (b"0012Y ", None)],
)
def test_an_age_is_read_with_or_without_its_zeros(write, text: bytes, years: float | None) -> None:
    path = write(head(), 3)[0]

    def spoil(ds: pydicom.Dataset) -> None:
        tag = pydicom.tag.Tag("PatientAge")
        ds[tag] = pydicom.dataelem.RawDataElement(tag, "LO", len(text), text, 0, False, True)
        ds.PatientBirthDate = ""

    edit(path, spoil)
    assert read_instances(path)[0].age_years == years


@pytest.mark.parametrize(("said", "meant"), [(EXPLICIT, IMPLICIT), (IMPLICIT, EXPLICIT)])
def test_the_meta_information_names_the_other_encoding(write, said: str, meant: str) -> None:
    path = write(head(), 3, transfer_syntax=meant)[0]
    right = decode_hu(*read_instances(path))
    old, new = (len(uid + " ").to_bytes(2, "little") + uid.encode() + b"\0" for uid in (meant, said))
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    (instance,) = read_instances(path)
    assert instance.transfer_syntax == said
    np.testing.assert_array_equal(decode_hu(instance), right)


def test_a_data_set_without_a_preamble_is_counted_and_not_read(write, study: Path) -> None:
    files = write(head(), 3)
    files[-1].write_bytes(files[-1].read_bytes()[132:])
    found = scan(study)
    assert (len(found.instances), found.unreadable, found.not_dicom) == (len(files) - 1, 1, 0)


def test_a_pipe_that_is_named_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert scan([tmp_path / "pipe"]).not_dicom == 1


def test_warnings_stay_off_until_the_last_thread_has_left() -> None:
    logger = logging.getLogger("pydicom")
    before, inside = logger.level, threading.Barrier(2)
    levels = []

    def first() -> None:
        with quiet():
            inside.wait(5)

    def second() -> None:
        inside.wait(5)
        with quiet():
            threads[0].join(5)
            levels.append(logger.level)

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert levels == [logging.CRITICAL + 1]
    assert logger.level == before
