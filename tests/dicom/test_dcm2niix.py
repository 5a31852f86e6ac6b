"""Side by side with dcm2niix, where both know what they do."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from lvo.phantom.hard.cases import HARD_CASES
from scripts.compare_dcm2niix import SAME_MM, bone, differing, read_both, same_grid, verdict

REAL = Path(__file__).parents[3] / "shared" / "real"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no real head CTs beside this checkout")


@pytest.mark.parametrize("name", ["regular", "axes--x+z-y", "anisotropic-pixels", "syntax-jpeg-ls-signed"])
def test_the_same_grid_and_the_same_hu(name: str, tmp_path: Path) -> None:
    truth = next(case for case in HARD_CASES if case.name == name).write(tmp_path)
    ours, theirs = read_both(tmp_path)
    assert len(ours) == len(theirs) == 1
    assert same_grid(ours[0], theirs[0]) <= SAME_MM and differing(ours[0], theirs[0]) == 0
    if truth.outcome == "exact":
        assert verdict(ours, truth) == "right"


@needs_real
def test_a_tilted_unevenly_spaced_head_is_set_upright_as_dcm2niix_does() -> None:
    (own,), theirs = read_both(REAL / "ge-head-tilt" / "dicom")
    upright = next(image for image in theirs if "Tilt_Eq" in image.name)
    dice, centres, ends = bone(own, upright, step=2.0)
    assert dice >= 0.98
    assert centres < 0.5 and ends < 1.5


@needs_real
def test_bits_stored_are_those_of_each_slice() -> None:
    """Six slices of this head store 13 bits, for a tooth filling; dcm2niix takes 12 for all."""
    folder = REAL / "head-neck-ncct"
    (own,), (other,) = read_both(folder)
    assert same_grid(own, other) <= SAME_MM
    headers = [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]
    beyond = sum(int((ds.pixel_array >= 4096).sum()) for ds in headers)
    assert {ds.BitsStored for ds in headers} == {12, 13}
    assert differing(own, other) == beyond > 0
    assert own.array.max() == max(int(ds.pixel_array.max()) for ds in headers) - 1024
    assert np.isfinite(own.affine).all()
