import numpy as np
import pytest
from safetensors.numpy import save_file

from lvo.anatomy import SITES, Segment, Side
from lvo.detector.bundle import Calibration
from lvo.detector.evidence import MIRROR
from lvo.detector.features import FEATURES, STARVED, WEIGHED
from lvo.detector.reader import (
    IS_THROMBECTOMY,
    MOST_BEHIND,
    NEIGHBOURS,
    STUDY_ANSWERS,
    behind_other_sides,
    calibrated,
    load_reader,
)
from lvo.errors import BundleInvalid


@pytest.fixture
def tensors(empty_reader):
    rng = np.random.default_rng(1)
    drawn = {
        name: rng.normal(0, 0.4, value.shape).astype(np.float32) for name, value in empty_reader().items()
    }
    return drawn | {
        "weight": np.abs(drawn["weight"]),
        "spread": np.full((len(SITES), FEATURES), 2, np.float32),
    }


def features(seed=2):
    return np.random.default_rng(seed).uniform(size=(len(SITES), FEATURES)).astype(np.float32)


def test_thrombectomy_segments():
    assert not IS_THROMBECTOMY[SITES.index((Segment.P2, Side.LEFT))]
    assert IS_THROMBECTOMY[SITES.index((Segment.M2, Side.LEFT))]


def test_neighbours_lie_on_the_same_side_and_both_sides_of_a_midline_artery_count():
    for (_, side), near in zip(SITES, NEIGHBOURS, strict=True):
        seen = {SITES[i][1] for i in near.ravel()}
        assert seen <= ({side, Side.MIDLINE} if side is not Side.MIDLINE else {Side.LEFT, Side.RIGHT})
    basilar = SITES.index((Segment.BASILAR, Side.MIDLINE))
    assert {SITES[i] for i in NEIGHBOURS[basilar][0]} == {(Segment.V4, Side.LEFT), (Segment.V4, Side.RIGHT)}


def test_the_study_follows_the_site_that_says_most(tmp_path, empty_reader):
    tensors = empty_reader()
    tensors["weight"][:, 0] = tensors["place"][:, 0] = 1
    tensors["pool"][0] = 1
    save_file(tensors, tmp_path / "reader.safetensors")
    reader, quiet = load_reader(tmp_path / "reader.safetensors"), np.zeros((len(SITES), FEATURES), np.float32)
    for site, (segment, _) in enumerate(SITES):
        seen = quiet.copy()
        seen[site, WEIGHED.start] = 0.9
        logits = reader.logits(seen)
        assert logits[: len(SITES)].argmax() == site
        assert logits[-2] == pytest.approx(logits[site], abs=0.01)
        thrombectomy = logits[site] if IS_THROMBECTOMY[site] else reader.logits(quiet)[-1]
        assert logits[-1] == pytest.approx(thrombectomy, abs=0.01), segment


def test_what_is_seen_on_both_sides_is_believed_less_on_each_and_the_basilar_artery_as_before(
    tmp_path, empty_reader
):
    tensors = empty_reader()
    tensors["weight"][:, 0] = tensors["pool"][0] = 1
    answers = {}
    for share in (0, 0.4):
        tensors["twin"][:] = share
        save_file(tensors, tmp_path / "reader.safetensors")
        reader = load_reader(tmp_path / "reader.safetensors")
        for seen in (["left"], ["left", "right"], ["midline"]):
            features = np.full((len(SITES), FEATURES), 0.05, np.float32)
            for segment in (Segment.M2, Segment.BASILAR):
                for side in (s for s in seen if (segment, Side(s)) in SITES):
                    features[SITES.index((segment, Side(side))), WEIGHED.start] = 0.9
            answers[share, len(seen), seen[0]] = reader.logits(features)[-STUDY_ANSWERS]
    assert answers[0, 2, "left"] == pytest.approx(answers[0, 1, "left"], abs=0.15)
    assert answers[0.4, 2, "left"] < answers[0.4, 1, "left"] - 1
    assert answers[0.4, 1, "midline"] == pytest.approx(answers[0, 1, "midline"], abs=0.01)


def test_the_side_is_judged_as_a_whole_before_the_site():
    said = np.full(len(SITES), -6.0)
    for segment, side, logit in (
        (Segment.M2, Side.LEFT, -1.0), (Segment.M2, Side.RIGHT, -1.2), (Segment.M1, Side.RIGHT, -1.3),
    ):  # fmt: skip
        said[SITES.index((segment, side))] = logit
    behind = behind_other_sides(said)
    for (_, side), less in zip(SITES, behind, strict=True):
        assert less == 0 if side is Side.RIGHT else less < -0.2, side
    assert SITES[int((said + behind).argmax())] == (Segment.M2, Side.RIGHT)


def test_two_sides_of_which_as_much_speaks_are_both_named():
    said = np.full(len(SITES), -6.0)
    for side in (Side.LEFT, Side.RIGHT):
        said[SITES.index((Segment.M1, side))] = 1.0
    behind = behind_other_sides(said)
    assert [behind[SITES.index((Segment.M1, side))] for side in (Side.LEFT, Side.RIGHT)] == [0, 0]
    assert behind[SITES.index((Segment.BASILAR, Side.MIDLINE))] == -MOST_BEHIND


@pytest.mark.parametrize("starving", [Side.LEFT, Side.RIGHT])
def test_the_brain_has_its_say_on_the_side_though_not_on_the_name(tmp_path, empty_reader, starving):
    tensors = empty_reader()
    tensors["place"][:, 0] = 1
    tensors["weight"][:, STARVED - WEIGHED.start] = 1
    save_file(tensors, tmp_path / "reader.safetensors")
    seen = np.zeros((len(SITES), FEATURES), np.float32)
    for segment, side, p in ((Segment.M2, Side.LEFT, 0.21), (Segment.M1, Side.RIGHT, 0.2)):
        seen[SITES.index((segment, side)), WEIGHED.start] = p
    seen[SITES.index((Segment.M1, starving)), STARVED] = 0.3
    first = SITES[int(load_reader(tmp_path / "reader.safetensors").logits(seen)[: len(SITES)].argmax())]
    assert first == ((Segment.M2, Side.LEFT) if starving is Side.LEFT else (Segment.M1, Side.RIGHT))


@pytest.mark.parametrize("fault", ["missing", "no safetensors", "empty", "a tensor short", "one site", "nan"])
def test_a_reader_that_cannot_be_used_is_a_bad_bundle(tmp_path, tensors, fault):
    path = tmp_path / "reader.safetensors"
    if fault == "no safetensors":
        path.write_bytes(b"no reader")
    elif fault != "missing":
        if fault == "a tensor short":
            tensors.pop("bias")
        if fault == "one site":
            tensors |= {name: tensors[name][:1] for name in ("weight", "bias", "place", "place_bias")}
        if fault == "nan":
            tensors["bias"][:] = np.nan
        save_file({} if fault == "empty" else tensors, path)
    with pytest.raises(BundleInvalid, match=r"reader\.safetensors"):
        load_reader(path)


def test_wild_features_are_bounded_and_novel(tmp_path, tensors):
    save_file(tensors, tmp_path / "reader.safetensors")
    reader = load_reader(tmp_path / "reader.safetensors")
    wild = tensors["mean"] + np.float32(1e9)
    np.testing.assert_allclose(reader.logits(wild), reader.logits(tensors["mean"] * 0 + 1), rtol=1e-5)
    assert reader.novelty(tensors["mean"]) == 0
    assert reader.novelty(tensors["mean"] + 2) == pytest.approx(1) and reader.novelty(wild) == 36


def test_a_mirrored_patient_has_the_mirrored_answer(tmp_path, tensors):
    save_file(tensors, tmp_path / "reader.safetensors")
    reader, x = load_reader(tmp_path / "reader.safetensors"), features()
    own, other = reader.logits(x), reader.logits(x[MIRROR])
    np.testing.assert_allclose(other[: len(SITES)][MIRROR], own[: len(SITES)], atol=1e-5)
    np.testing.assert_allclose(other[-STUDY_ANSWERS:], own[-STUDY_ANSWERS:], atol=1e-5)


def test_what_is_trained_is_what_is_read(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("monai", reason="monai is not installed")
    from lvo.detector.reader import SEGMENT_CODE, against_twin, behind_other_sides, beside, log_odds
    from lvo.training.reader import PlaceReader, SiteReader

    torch.manual_seed(0)
    x, shape = features(), (len(SITES), FEATURES)
    own = {"mean": np.zeros(shape, np.float32), "spread": np.ones(shape, np.float32)}
    own["twin"] = np.array([0.3], np.float32)
    odds, trained = log_odds(x[:, WEIGHED]), []
    for net, evidence in ((PlaceReader(), beside(odds)), (SiteReader(), against_twin(odds, own["twin"]))):
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        mean, spread = (torch.rand(evidence.shape[-1]).double() + 0.5 for _ in range(2))
        own |= net.tensors(mean, spread)
        with torch.no_grad():
            trained.append(net((torch.from_numpy(evidence) - mean)[None] / spread)[0].numpy())
    save_file(own, tmp_path / "reader.safetensors")
    speaking = (SEGMENT_CODE @ own["weight"] * evidence).sum(axis=1) + SEGMENT_CODE @ own["bias"]
    sites = trained[0] + behind_other_sides(trained[0] + speaking)
    expected = np.concatenate([sites, trained[1][len(SITES) :]])
    np.testing.assert_allclose(load_reader(tmp_path / "reader.safetensors").logits(x), expected, atol=1e-4)


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
