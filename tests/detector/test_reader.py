import numpy as np
import pytest
from safetensors.numpy import save_file

from lvo.anatomy import SITES, Segment, Side
from lvo.detector.bundle import Calibration
from lvo.detector.evidence import MIRROR
from lvo.detector.features import FEATURES
from lvo.detector.reader import CONTEXT, IS_THROMBECTOMY, STUDY_ANSWERS, calibrated, load_reader
from lvo.errors import BundleInvalid


@pytest.fixture
def tensors(empty_reader):
    rng = np.random.default_rng(1)
    both = empty_reader(3, 5) | empty_reader(3, 5, member=1)
    both = {name: rng.normal(0, 0.4, value.shape).astype(np.float32) for name, value in both.items()}
    return both | {"spread": np.full((len(SITES), FEATURES), 2, np.float32)}


def features(seed=2):
    return np.random.default_rng(seed).normal(size=(len(SITES), FEATURES)).astype(np.float32)


def test_neighbours_lie_on_the_same_side_and_the_twin_on_the_other():
    for (segment, side), (twin, *others) in zip(SITES, CONTEXT, strict=True):
        assert SITES[twin] == (segment, side.mirrored)
        assert {SITES[o][1] for o in others} <= {side, Side.MIDLINE} or side is Side.MIDLINE
    assert not IS_THROMBECTOMY[SITES.index((Segment.P2, Side.LEFT))]
    assert IS_THROMBECTOMY[SITES.index((Segment.M2, Side.LEFT))]


def test_members_are_averaged(tmp_path, tensors):
    save_file(tensors, tmp_path / "reader.safetensors")
    answers = []
    for member in ("0", "1"):
        own = {f"0{k[1:]}" if k[0] == member else k: v for k, v in tensors.items() if k[0] in (member, *"ms")}
        save_file(own, tmp_path / "one.safetensors")
        answers.append(load_reader(tmp_path / "one.safetensors").logits(features()))
    both = load_reader(tmp_path / "reader.safetensors").logits(features())
    assert both.shape == (len(SITES) + STUDY_ANSWERS,)
    np.testing.assert_allclose(both, np.mean(answers, axis=0), atol=1e-5)


@pytest.mark.parametrize("fault", ["missing", "no safetensors", "empty", "a tensor short", "one site", "nan"])
def test_a_reader_that_cannot_be_used_is_a_bad_bundle(tmp_path, tensors, fault):
    path = tmp_path / "reader.safetensors"
    if fault == "no safetensors":
        path.write_bytes(b"no reader")
    elif fault != "missing":
        if fault == "a tensor short":
            tensors.pop("1.study.1.bias")
        if fault == "one site":
            tensors |= {"mean": tensors["mean"][:1], "spread": tensors["spread"][:1, :3]}
        if fault == "nan":
            tensors["1.site.2.bias"][:] = np.nan
        save_file({} if fault == "empty" else tensors, path)
    with pytest.raises(BundleInvalid, match=r"reader\.safetensors"):
        load_reader(path)


def test_wild_features_are_bounded_and_novel(tmp_path, tensors):
    save_file(tensors, tmp_path / "reader.safetensors")
    reader = load_reader(tmp_path / "reader.safetensors")
    wild = tensors["mean"] + np.float32(1e9)
    np.testing.assert_allclose(reader.logits(wild), reader.logits(tensors["mean"] + 12), rtol=1e-5)
    assert reader.novelty(tensors["mean"]) == 0
    assert reader.novelty(tensors["mean"] + 2) == pytest.approx(1) and reader.novelty(wild) == 36


def test_the_sites_of_a_mirrored_patient_are_mirrored(tmp_path, tensors):
    """One perceptron reads both sides: nothing in it can favour one."""
    for name in ("mean", "spread"):
        tensors[name] = (tensors[name] + tensors[name][MIRROR]) / 2
    save_file(tensors, tmp_path / "reader.safetensors")
    reader, x = load_reader(tmp_path / "reader.safetensors"), features()
    own, other = (reader.logits(f)[: len(SITES)] for f in (x, x[MIRROR]))
    # The midline's neighbours are read on the left only.
    two_sided = np.array([side is not Side.MIDLINE for _, side in SITES])
    np.testing.assert_allclose(other[MIRROR][two_sided], own[two_sided], atol=1e-5)


def test_what_is_trained_is_what_is_read(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("monai", reason="monai is not installed")
    from lvo.training.boxed import DataConfig
    from lvo.training.reader import ReaderConfig, SiteReader

    torch.manual_seed(0)
    net = SiteReader(ReaderConfig(patients=DataConfig())).eval()
    own = {f"0.{name}": value for name, value in net.tensors().items()}
    shape = (len(SITES), FEATURES)
    save_file(
        own | {"mean": np.zeros(shape, np.float32), "spread": np.ones(shape, np.float32)},
        tmp_path / "reader.safetensors",
    )
    x = features()
    with torch.no_grad():
        trained = net(torch.from_numpy(x)[None])[0].numpy()
    np.testing.assert_allclose(load_reader(tmp_path / "reader.safetensors").logits(x), trained, atol=1e-4)


def test_every_site_has_the_calibration_of_its_segment(metadata):
    own = {Segment.M1: Calibration(slope=2.0, offset=-1.0)}
    changed = metadata.model_copy(
        update={"sites": own, "study": Calibration(slope=0.5), "thrombectomy": Calibration(offset=1.0)}
    )
    logits = np.linspace(-3, 3, len(SITES) + STUDY_ANSWERS).astype(np.float32)
    answer, plain = calibrated(logits, changed), calibrated(logits, metadata)
    for i, (segment, _) in enumerate(SITES):
        if segment is Segment.M1:
            assert answer.sites[i] == pytest.approx(1 / (1 + np.exp(1 - 2 * logits[i])))
        else:
            assert answer.sites[i] == plain.sites[i]
    assert answer.sites.shape == (len(SITES),)
    assert answer.study == pytest.approx(1 / (1 + np.exp(-0.5 * logits[-2])))
    assert answer.thrombectomy == pytest.approx(1 / (1 + np.exp(-logits[-1] - 1)))
