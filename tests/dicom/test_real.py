"""Real images, where they are at hand."""

from pathlib import Path

import numpy as np
import pytest

from lvo.dicom import read_study

REAL = Path(__file__).resolve().parents[3] / "shared" / "real"


@pytest.fixture(autouse=True)
def _at_hand() -> None:
    if not REAL.is_dir():
        pytest.skip("the real images (../shared/real) are not here")


def test_a_tilted_head_with_uneven_slices_is_read_upright() -> None:
    result = read_study(REAL / "ge-head-tilt" / "dicom")
    assert result.cta is None and result.ncct is not None
    assert {r.code for r in result.reasons} == {"gantry-tilt", "uneven-spacing"}
    assert any("18.5 degrees" in r.message for r in result.reasons)
    axes = result.ncct.affine[:3, :3] / np.array(result.ncct.spacing)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-5)


def test_sparse_tags_are_enough() -> None:
    result = read_study(REAL / "head-neck-ncct")
    assert result.cta is None and result.ncct is not None and not result.reasons
    assert result.ncct.array.shape == (90, 511, 511)
