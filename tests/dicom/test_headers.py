"""The header pass: the same from a folder, a list or a stream of files, and quiet about the patient."""

from pathlib import Path

import pydicom
import pytest
from pydicom.datadict import tag_for_keyword

from lvo.dicom import headers
from lvo.dicom.headers import HeaderIndex, scan
from lvo.dicom.instance import read_instances
from lvo.dicom.values import TAGS
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
