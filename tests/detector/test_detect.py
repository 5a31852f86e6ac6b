import sys

import numpy as np
import pytest

from lvo.anatomy import SITES, Segment, Side
from lvo.detector import Detector, load_detector
from lvo.detector.bundle import load_bundle, seal
from lvo.detector.detect import suspicious_sites
from lvo.detector.reader import load_reader
from lvo.errors import BundleInvalid, DeviceUnavailable
from lvo.imaging.resample import HEAD_BOX

LEFT, RIGHT = SITES.index((Segment.M1, Side.LEFT)), SITES.index((Segment.M1, Side.RIGHT))
CLOT = ((24.0, -3.0, 15.0), 5.0)


class Drawn:
    """A network that says what was drawn by hand."""

    name = "drawn"

    def __init__(self, evidence):
        drawn = np.concatenate([evidence.vessel, [evidence.lit, evidence.missing, evidence.clot]])
        self.out = np.log(drawn.clip(1e-7))  # logits whose softmax is what was drawn
        self.seen = None

    def __call__(self, inputs):
        self.seen = inputs
        return self.out


@pytest.fixture
def build(bundle_folder):
    def with_evidence(evidence):
        reader = load_reader(bundle_folder / "models" / "reader.safetensors")
        return Detector(load_bundle(bundle_folder), Drawn(evidence), reader)

    return with_evidence


@pytest.fixture
def cta():
    return np.full(HEAD_BOX.shape, 35, np.float32)


# ------------------------------------------------------------------------------ the policy


@pytest.mark.parametrize("study", [0.0, 0.3, 0.5999])
def test_below_the_threshold_nothing_is_suspected_however_likely_a_site(metadata, study):
    assert suspicious_sites(np.full(len(SITES), 0.99), study, metadata) == ()


@pytest.mark.parametrize("study", [0.6, 0.99])
def test_a_suspected_study_has_a_finding_even_if_no_site_stands_out(metadata, study):
    sites = np.full(len(SITES), 0.01)
    sites[RIGHT] = 0.02
    assert suspicious_sites(sites, study, metadata) == (RIGHT,)


def test_further_sites_are_listed_from_their_own_threshold_most_proximal_first(metadata):
    sites = np.full(len(SITES), 0.29)
    sites[[2, LEFT, 20]] = 0.3, 0.9, 0.5
    assert suspicious_sites(sites, 0.8, metadata) == (2, LEFT, 20)


# ------------------------------------------------------------------------------ the answer


@pytest.mark.parametrize(("sign", "site"), [(1, LEFT), (-1, RIGHT)], ids=["left", "right"])
def test_a_clot_becomes_a_finding_on_its_side_at_its_place(build, make_evidence, cta, sign, site):
    (x, y, z), radius = CLOT
    detection = build(make_evidence(clot=(((sign * x, y, z), radius),))).detect(cta)
    (finding,) = detection.findings
    assert detection.suspected and (finding.segment, finding.side) == SITES[site]
    np.testing.assert_allclose(finding.position, (sign * x, y, z), atol=2)
    assert finding.probability == detection.segments[site][2] > 0.9
    assert [(s, side) for s, side, _ in detection.segments] == list(SITES)
    peak = np.unravel_index(detection.heatmap.argmax(), detection.heatmap.shape)
    assert np.linalg.norm((detection.grid.affine @ [*peak, 1])[:3] - finding.position) < 8


def test_open_arteries_are_not_suspected_and_leave_no_finding(build, make_evidence, cta):
    detection = build(make_evidence()).detect(cta)
    assert not detection.suspected and detection.findings == ()
    assert detection.probability < 0.1 and len(detection.segments) == len(SITES)


def test_the_network_is_told_whether_there_is_an_ncct(build, make_evidence, cta):
    detector = build(make_evidence())
    detector.detect(cta)
    assert detector.network.seen["has_ncct"] == 0
    detector.detect(cta, cta)
    assert detector.network.seen["has_ncct"] == 1
    assert detector.backend == "drawn"


def store_case(detector, cta, **wrong):
    answer = detector.detect(cta)
    folder = detector.bundle.path / "parity"
    folder.mkdir()
    case = {
        "cta": cta[None],
        "ncct": cta[None],
        "has_ncct": np.array([False]),
        "study": np.array([answer.probability]),
        "sites": np.array([[p for _, _, p in answer.segments]]),
        "suspected": np.array([answer.suspected]),
    }
    np.savez_compressed(folder / "cases.npz", **case | wrong)


def test_stored_answers_are_repeated(build, make_evidence, cta):
    detector = build(make_evidence(clot=(CLOT,)))
    store_case(detector, cta)
    assert detector.check_parity() == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"suspected": np.array([False])}, "decided differently by drawn"),
        ({"study": np.array([0.5])}, "differ by"),
        ({"sites": np.full((1, len(SITES)), 0.5)}, "differ by"),
    ],
)
def test_another_answer_than_the_stored_one_is_a_fault(build, make_evidence, cta, wrong, message):
    detector = build(make_evidence(clot=(CLOT,)))
    store_case(detector, cta, **wrong)
    with pytest.raises(BundleInvalid, match=message):
        detector.check_parity()


# ------------------------------------------------------------------------------ loading


def test_an_unknown_device_is_named(bundle_folder):
    with pytest.raises(DeviceUnavailable, match="tpu"):
        load_detector(bundle_folder, "tpu")


def test_without_torch_a_gpu_is_refused_with_what_to_install(bundle_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "lvo.detector.torch_backend", raising=False)
    with pytest.raises(DeviceUnavailable, match=r"lvo\[torch\]"):
        load_detector(bundle_folder, "cuda")


def test_a_network_that_is_no_network_is_a_bad_bundle(bundle_folder):
    (bundle_folder / "models" / "vessels.onnx").write_bytes(b"no network")
    seal(bundle_folder)
    with pytest.raises(BundleInvalid, match=r"vessels\.onnx"):
        load_detector(bundle_folder, "cpu")
