import numpy as np
import pytest
from safetensors.numpy import save_file

from lvo.anatomy import SITES, Segment, Side
from lvo.detector.bundle import Calibration
from lvo.detector.evidence import FEATURES, MIRROR
from lvo.detector.reader import calibrated, load_reader
from lvo.errors import BundleInvalid


@pytest.fixture
def tensors():
    rng = np.random.default_rng(1)
    shapes = {
        "mean": (len(SITES), FEATURES),
        "0.0.weight": (7, len(SITES) * FEATURES),
        "0.0.bias": (7,),
        "0.1.weight": (len(SITES) + 1, 7),
        "0.1.bias": (len(SITES) + 1,),
        "1.0.weight": (len(SITES) + 1, len(SITES) * FEATURES),
        "1.0.bias": (len(SITES) + 1,),
    }
    out = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return out | {"spread": np.full((len(SITES), FEATURES), 2, np.float32)}


def test_members_are_read_in_full_and_averaged(tmp_path, tensors):
    save_file(tensors, tmp_path / "reader.safetensors")
    reader = load_reader(tmp_path / "reader.safetensors")
    assert [len(m) for m in reader.members] == [2, 1]
    features = np.random.default_rng(2).normal(size=(len(SITES), FEATURES)).astype(np.float32)
    x = ((features - tensors["mean"]) / 2).ravel()
    hidden = (tensors["0.0.weight"] @ x + tensors["0.0.bias"]).clip(0)
    first = tensors["0.1.weight"] @ hidden + tensors["0.1.bias"]
    second = tensors["1.0.weight"] @ x + tensors["1.0.bias"]
    np.testing.assert_allclose(reader.logits(features), (first + second) / 2, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fault", ["missing", "no safetensors", "empty", "a tensor short", "one site", "nan"])
def test_a_reader_that_cannot_be_used_is_a_bad_bundle(tmp_path, tensors, fault):
    path = tmp_path / "reader.safetensors"
    if fault == "no safetensors":
        path.write_bytes(b"no reader")
    elif fault != "missing":
        last = tensors.pop("1.0.bias") if fault == "a tensor short" else tensors["1.0.bias"]
        if fault == "one site":
            tensors |= {"1.0.weight": tensors["1.0.weight"][:1], "1.0.bias": last[:1]}
        if fault == "nan":
            last[3] = np.nan
        save_file({} if fault == "empty" else tensors, path)
    with pytest.raises(BundleInvalid, match=r"reader\.safetensors"):
        load_reader(path)


def test_wild_features_are_bounded(tmp_path, tensors):
    save_file(tensors, tmp_path / "reader.safetensors")
    reader = load_reader(tmp_path / "reader.safetensors")
    wild = tensors["mean"] + np.float32(1e9)
    np.testing.assert_allclose(reader.logits(wild), reader.logits(tensors["mean"] + 12), rtol=1e-5)


def test_a_reader_without_a_favoured_side_mirrors(tmp_path):
    """Weights that treat a site and its twin alike turn mirrored features into mirrored logits."""
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(len(SITES) + 1, len(SITES), FEATURES))
    rows = [*MIRROR, len(SITES)]
    weight = (weight + weight[rows][:, MIRROR]) / 2
    save_file(
        {
            "mean": np.zeros((len(SITES), FEATURES), np.float32),
            "spread": np.ones((len(SITES), FEATURES), np.float32),
            "0.0.weight": weight.reshape(len(SITES) + 1, -1).astype(np.float32),
            "0.0.bias": np.zeros(len(SITES) + 1, np.float32),
        },
        tmp_path / "reader.safetensors",
    )
    reader = load_reader(tmp_path / "reader.safetensors")
    features = rng.normal(size=(len(SITES), FEATURES)).astype(np.float32)
    np.testing.assert_allclose(
        reader.logits(features[MIRROR]), reader.logits(features)[rows], rtol=1e-4, atol=1e-4
    )


def test_every_site_has_the_calibration_of_its_segment(metadata):
    own = {Segment.M1: Calibration(slope=2.0, offset=-1.0)}
    changed = metadata.model_copy(update={"sites": own, "study": Calibration(slope=0.5)})
    logits = np.linspace(-3, 3, len(SITES) + 1).astype(np.float32)
    sites, study = calibrated(logits, changed)
    plain, _ = calibrated(logits, metadata)
    for i, (segment, _) in enumerate(SITES):
        if segment is Segment.M1:
            assert sites[i] == pytest.approx(1 / (1 + np.exp(1 - 2 * logits[i])))
        else:
            assert sites[i] == plain[i]
    assert sites.shape == (len(SITES),) and study == pytest.approx(1 / (1 + np.exp(-1.5)))
    assert plain[SITES.index((Segment.BASILAR, Side.MIDLINE))] != plain[0]
