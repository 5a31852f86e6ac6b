import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lvo.anatomy import SITES, Segment, Side
from lvo.detector import Detector, load_detector
from lvo.detector.bundle import default_path, load_bundle, seal
from lvo.detector.detect import doubt_of, suspicious_sites
from lvo.detector.features import STARVED
from lvo.detector.reader import Answer, load_reader
from lvo.errors import BundleInvalid, DeviceUnavailable, InternalFault
from lvo.imaging.resample import HEAD_BOX

LEFT, RIGHT = SITES.index((Segment.M1, Side.LEFT)), SITES.index((Segment.M1, Side.RIGHT))
CLOT = ((24.0, -3.0, 15.0), 5.0)
MIRRORED_CLOT = ((-24.0, -3.0, 15.0), 5.0)


class Drawn:
    """Networks that say what was drawn by hand."""

    name, precision = "drawn", "fp32"

    def __init__(self, evidence):
        drawn = np.concatenate([evidence.vessel, [evidence.lit, evidence.missing, evidence.clot]])
        ends = evidence.cutoff.clip(1e-7, 1 - 1e-7)
        # logits whose softmax, or logistic, is what was drawn
        self.out = np.concatenate([np.log(drawn.clip(1e-7)), [np.log(ends / (1 - ends))]])
        self.brain = evidence.tissue
        self.seen = None

    def __call__(self, inputs):
        self.seen = inputs
        return self.out

    def tissue(self, inputs):
        return self.brain


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


@pytest.mark.parametrize(("study", "thrombectomy"), [(0.0, 0.0), (0.3, 0.69), (0.5999, 0.6999)])
def test_below_both_thresholds_nothing_is_suspected_however_likely_a_site(metadata, study, thrombectomy):
    assert suspicious_sites(Answer(np.full(len(SITES), 0.99), study, thrombectomy), metadata) == ()


@pytest.mark.parametrize(("study", "thrombectomy"), [(0.6, 0.0), (0.99, 0.1), (0.1, 0.7)])
def test_a_suspected_study_has_a_finding_even_if_no_site_stands_out(metadata, study, thrombectomy):
    sites = np.full(len(SITES), 0.01)
    sites[RIGHT] = 0.02
    assert suspicious_sites(Answer(sites, study, thrombectomy), metadata) == (RIGHT,)


def test_further_sites_are_listed_from_their_segments_threshold_most_proximal_first(metadata):
    sites = np.full(len(SITES), 0.53)
    sites[[2, LEFT, 20]] = 0.55, 0.9, 0.7
    assert suspicious_sites(Answer(sites, 0.8, 0.0), metadata) == (2, LEFT, 20)
    sites[2] = 0.53
    generous = metadata.model_copy(update={"site_thresholds": dict.fromkeys(Segment, 0.1)})
    assert suspicious_sites(Answer(sites, 0.8, 0.0), generous) == (LEFT, 20)
    sites[2] = 0.55
    strict = {**metadata.site_thresholds, SITES[2][0]: 0.56}
    changed = metadata.model_copy(update={"site_thresholds": strict})
    assert suspicious_sites(Answer(sites, 0.8, 0.0), changed) == (LEFT, 20)


@pytest.mark.parametrize(
    ("study", "novelty", "doubt"),
    [(0.61, 1.0, "equivocal"), (0.59, 1.0, "equivocal"), (0.9, 1.0, "none"), (0.1, 1.0, "none"),
     (0.61, 1e6, "unusual"), (0.9, 3e6, "strange")],
)  # fmt: skip
def test_answers_near_a_threshold_and_images_unlike_the_readers_are_doubted(metadata, study, novelty, doubt):
    assert doubt_of(Answer(np.zeros(len(SITES)), study, 0.0), novelty, metadata) == doubt


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
    assert detection.probability < 0.2 and len(detection.segments) == len(SITES)


def test_the_network_is_told_whether_there_is_an_ncct(build, make_evidence, cta):
    detector = build(make_evidence())
    detector.detect(cta)
    assert detector.network.seen["has_ncct"] == 0
    detector.detect(cta, cta)
    assert detector.network.seen["has_ncct"] == 1
    assert detector.backend == "drawn"


def test_the_mirrored_view_is_brought_back_before_it_is_read(build, make_evidence, cta):
    """A network that sees a clot wherever its image is bright."""
    detector = build(make_evidence())
    marked = cta.copy()
    marked[:, :, 80:] = 400  # the patient's left

    class Mirrored(Drawn):
        def __call__(self, inputs):
            left = inputs["cta"][0, 0, 0, 0, -1] > 200
            return np.ascontiguousarray(Drawn(make_evidence(clot=(CLOT if left else MIRRORED_CLOT,)))(inputs))

    two = detector.bundle.metadata.model_copy(update={"mirrored_view": True})
    looking = replace(
        detector, bundle=replace(detector.bundle, metadata=two), network=Mirrored(make_evidence())
    )
    finding = looking.detect(marked).findings[0]
    assert finding.side is Side.LEFT and finding.position[0] == pytest.approx(CLOT[0][0], abs=2)
    assert len(looking.detect(marked).findings) == 1


@pytest.mark.parametrize("network", ["arteries", "brain"])
def test_an_answer_that_is_no_number_is_a_fault_and_no_negative(build, make_evidence, cta, network):
    detector = build(make_evidence())
    drawn = detector.network
    (drawn.out if network == "arteries" else drawn.brain.starved)[:] = np.nan
    with pytest.raises(InternalFault, match="not a number"):
        detector.detect(cta)


@pytest.mark.parametrize(("clot", "by_brain"), [((), True), ((CLOT,), False)])
def test_a_study_suspected_for_its_brain_alone_is_told_apart(
    build, make_evidence, bundle_folder, cta, clot, by_brain
):
    path = bundle_folder / "models" / "reader.safetensors"
    tensors = load_file(path)
    tensors["weight"][:, -1] = 8
    tensors["mean"][:, STARVED] = 0.5
    save_file(tensors, path)
    seal(bundle_folder)
    evidence = make_evidence(clot=clot)
    evidence.tissue.starved[[LEFT, RIGHT]] = 0.9, 0.1
    detection = build(evidence).detect(cta)
    assert detection.suspected and detection.by_brain is by_brain
    if clot:
        (finding,) = detection.findings
        assert (finding.brain_deficit, finding.brain_deficit_other_side) == pytest.approx((0.9, 0.1))


def store_case(detector, cta, **wrong):
    answer = detector.detect(cta)
    folder = detector.bundle.path / "parity"
    folder.mkdir()
    case = {
        "cta": cta[None],
        "ncct": cta[None],
        "has_ncct": np.array([False]),
        "study": np.array([(answer.probability, answer.thrombectomy)]),
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
        ({"study": np.array([[0.5, 0.5]])}, "differ by"),
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


@pytest.mark.parametrize("name", ["vessels.onnx", "tissue.onnx"])
def test_a_network_that_is_no_network_is_a_bad_bundle(bundle_folder, name):
    for other in ("vessels.onnx", "tissue.onnx"):
        shutil.copyfile(default_path() / "models" / other, bundle_folder / "models" / other)
    (bundle_folder / "models" / name).write_bytes(b"no network")
    seal(bundle_folder)
    with pytest.raises(BundleInvalid, match=name):
        load_detector(bundle_folder, "cpu")


def test_a_tissue_network_of_another_version_is_told_apart_at_the_start(tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(default_path(), folder)
    # The vessel network runs, and tells neither of what the tissue network has to tell.
    shutil.copy(folder / "models" / "vessels.onnx", folder / "models" / "tissue.onnx")
    seal(folder)
    with pytest.raises(BundleInvalid, match="of another version"):
        load_detector(folder, "cpu")
