"""A site's manifest: what its rows mean, and that a fault names its line."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs torch: install the 'train' extra")

from lvo.anatomy import SITES, Segment, Side
from lvo.errors import PathNotFound, TruthInvalid
from lvo.training.site_manifest import read_manifest


def write(folder: Path, *rows: str, header: str = "study,segment,side,patient,clot_mask,x,y,z") -> Path:
    for name in "abcd":
        (folder / name).mkdir(exist_ok=True)
    (folder / "mask.nii").touch()
    path = folder / "site.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8-sig")
    return path


def test_rows_mean_what_they_say(tmp_path: Path) -> None:
    rows = (
        "a,M1,left,,,-31.5,12,48",
        "b,,,p,,,,",
        "c,ICA-T,right,p,mask.nii,,,",
        "c,A1,right,p,,,,",
        "d,any,,,,,,",
    )
    a, b, c, d = read_manifest(write(tmp_path, *rows))
    m1 = SITES.index((Segment.M1, Side.LEFT))
    assert (a.occluded, a.located, a.patient, sum(a.labels), a.labels[m1]) == (True, True, "a", 1, 1)
    assert a.occlusions[0].point == (-31.5, 12.0, 48.0)
    assert (b.occluded, b.located, b.patient, set(b.labels)) == (False, True, "p", {0})
    assert c.occlusions[0].mask == tmp_path / "mask.nii"
    assert (c.located, sum(c.labels)) == (False, 2)  # the clot in A1 has no place
    assert (d.occluded, d.located, set(d.labels)) == (True, False, {-1})
    assert len(read_manifest(write(tmp_path, "a,,", header="study,segment,side"))) == 1


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("z,M1,left,,,,,", "line 3: there is no folder"),
        ("a,M9,left,,,,,", "line 3: no segment 'M9'; write one of"),
        ("a,M1,,,,,,", "line 3: M1 has no side ''; write left or right"),
        ("a,BA,left,,,,,", "write midline"),
        ("a,M1,left,,none.nii,,,", "there is no mask"),
        ("a,M1,left,,,1,2,", "write x, y and z"),
        ("a,M1,left,,,1,2,nan", "finite"),
        ("a,,left,,,,,", "a side without a segment"),
        ("a,any,,,,1,2,3", "a clot's place without its segment"),
        ("b,M1,left,,,,,", "has another row"),
        (",M1,left,,,,,", "name the study's folder"),
    ],
)
def test_faults_name_their_line(tmp_path: Path, row: str, told: str) -> None:
    with pytest.raises(TruthInvalid, match=told):
        read_manifest(write(tmp_path, "b,,,,,,,", row))


def test_unknown_and_missing_columns_are_faults(tmp_path: Path) -> None:
    with pytest.raises(TruthInvalid, match="add the column side"):
        read_manifest(write(tmp_path, "a,", header="study,segment"))
    with pytest.raises(TruthInvalid, match="remove the column mask"):
        read_manifest(write(tmp_path, "a,,,", header="study,segment,side,mask"))
    with pytest.raises(PathNotFound):
        read_manifest(tmp_path / "none.csv")
