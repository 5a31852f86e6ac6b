"""The bundle released with this software gives the answers that were stored with it, on every backend."""

import numpy as np
import pytest

from lvo.detector import Detector, load_detector
from lvo.detector.bundle import CHECKSUMS, default_path
from lvo.detector.detect import PARITY_TOLERANCE

pytestmark = pytest.mark.skipif(
    not (default_path() / CHECKSUMS).is_file(), reason="no released bundle (models/lao-cta) is here"
)


@pytest.fixture(scope="module")
def detector():
    return load_detector(device="cpu", threads=1)


@pytest.fixture(scope="module")
def cases(detector):
    with np.load(detector.bundle.path / "parity" / "cases.npz", allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def test_parity_cases_cover_both_decisions_and_both_kinds_of_study(cases):
    assert set(cases["suspected"]) == {True, False}
    assert set(cases["has_ncct"]) == {True, False}


def test_onnx_repeats_the_stored_answers(detector):
    assert detector.backend == "onnxruntime-cpu"
    assert detector.check_parity() <= PARITY_TOLERANCE["fp32"]


def test_torch_and_onnx_agree(detector, cases):
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("monai", reason="monai is not installed")
    from lvo.detector.torch_backend import TorchBackend

    torch_detector = Detector(detector.bundle, TorchBackend(detector.bundle, "cpu"), detector.reader)
    for n in range(len(cases["study"])):
        ncct = cases["ncct"][n].astype(np.float32) if cases["has_ncct"][n] else None
        cta = cases["cta"][n].astype(np.float32)
        one, two = detector.detect(cta, ncct), torch_detector.detect(cta, ncct)
        assert one.suspected == two.suspected
        assert [(f.segment, f.side) for f in one.findings] == [(f.segment, f.side) for f in two.findings]
        p, q = (np.array([v for _, _, v in d.segments] + [d.probability]) for d in (one, two))
        assert np.abs(p - q).max() < 1e-3
        for f, g in zip(one.findings, two.findings, strict=True):
            np.testing.assert_allclose(f.position, g.position, atol=1.0)
