from dataclasses import replace

import numpy as np
import pytest

from lvo.anatomy import SITES, Segment, Side
from lvo.errors import ConfigInvalid, PathNotFound
from lvo.phantom.config import PRESETS, load_config
from lvo.phantom.head import atlas
from lvo.phantom.mirror import mirrored
from lvo.phantom.patient import NOISE_HU, Order, sample_case
from lvo.phantom.vessels.tree import mirrored_words

pytestmark = pytest.mark.skipif(
    atlas.atlas_path() is None, reason="spm-runtime, which holds the head atlas, is not installed"
)
LEFT_M1 = Order(sites=((Side.LEFT, Segment.M1),))


@pytest.fixture(scope="module")
def config():
    return load_config("realistic")


@pytest.fixture(scope="module")
def case(config):
    return sample_case(5, config, LEFT_M1)


def test_the_same_seed_gives_the_same_patient_and_another_another(config, case):
    again, other = sample_case(5, config, LEFT_M1), sample_case(6, config, LEFT_M1)
    for one, two in zip(case.patient.arteries.branches, again.patient.arteries.branches, strict=True):
        np.testing.assert_array_equal(one.points, two.points)
    assert again.patient.age == case.patient.age != other.patient.age
    assert again.scan.cta == case.scan.cta != other.scan.cta
    assert again.patient.occlusions[0].start_mm == case.patient.occlusions[0].start_mm
    assert again.pixels().random() == case.pixels().random()


def test_an_occlusion_leaves_the_rest_of_the_patient_as_it_was(config, case):
    patent = sample_case(5, config, Order(sites=()))
    assert not patent.patient.occlusions
    for one, two in zip(patent.patient.arteries.branches, case.patient.arteries.branches, strict=True):
        np.testing.assert_array_equal(one.points, two.points)
        np.testing.assert_array_equal(one.radius, two.radius)
    assert patent.patient.bolus.time_s == case.patient.bolus.time_s
    assert patent.patient.disease.mimics == case.patient.disease.mimics
    assert patent.scan.cta == case.scan.cta


def test_what_is_ordered_comes(config):
    order = Order(
        sites=((Side.RIGHT, Segment.M2),), collateral=1, phase="late", noise="high", slice_mm=1.5, matrix=64
    )
    case = sample_case(3, config, order)
    (clot,) = case.patient.occlusions
    assert (clot.segment, clot.side, clot.collateral) == (Segment.M2, Side.RIGHT, 1)
    assert case.patient.bolus.phase == "late"
    low, high = NOISE_HU["high"]
    assert low <= case.scan.noise_hu <= high
    assert case.scan.slice_mm == 1.5 and case.scan.matrix == 64


def test_half_of_the_patients_are_occluded_at_sites_of_theirs(config):
    cases = [sample_case(n, config) for n in range(24)]
    found = [[(o.segment, o.side) for o in c.patient.occlusions] for c in cases]
    assert 6 <= sum(map(bool, found)) <= 18
    assert {site for sites in found for site in sites} <= set(SITES)


def test_a_segment_that_a_patient_lacks_is_refused(config):
    without = config.changed({"arteries": {"a1_hypoplasia": 1.0, "a1_absent": 1.0}})
    side = next(
        s
        for s in (Side.LEFT, Side.RIGHT)
        if sample_case(1, without, Order(sites=())).patient.arteries.find("A1", s) < 0
    )
    with pytest.raises(ValueError, match=f"no {side} A1"):
        sample_case(1, without, Order(sites=((side, Segment.A1),)))


def test_a_mirrored_patient_has_a_mirrored_truth(case):
    twin = mirrored(case.patient)
    (clot,), (other,) = case.patient.occlusions, twin.occlusions
    assert (other.side, other.segment) == (Side.RIGHT, clot.segment)
    np.testing.assert_array_equal(other.points, clot.points * (-1, 1, 1))
    assert twin.arteries.branches[other.branch].side is Side.RIGHT
    assert twin.mimics == tuple(map(mirrored_words, case.patient.mimics))
    back = mirrored(twin)
    assert back.mimics == case.patient.mimics and back.head.flipped is False
    assert "left" in mirrored_words("stenosis right M1 80%")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_can_be_read_and_every_stratum_fits(name):
    config = load_config(name)
    for stratum in config.strata:
        assert config.changed(config.stratum(stratum)) != config


def test_training_is_wider_than_life():
    life, wide = load_config("realistic"), load_config("training")
    assert wide.scan.cta.f50[0] < life.scan.cta.f50[0] and wide.scan.cta.f50[1] > life.scan.cta.f50[1]
    assert wide.mimics.stenoses["ICA-C"].distal  # what a file does not say stays as it is


def test_a_configuration_that_does_not_fit_is_refused(tmp_path, config):
    path = tmp_path / "mine.yaml"
    path.write_text("version: '1'\nscan: {turns: 3}\n")
    with pytest.raises(ConfigInvalid, match="turns"):
        load_config(path)
    path.write_text("scan: {}\n")
    with pytest.raises(ConfigInvalid, match="no version"):
        load_config(path)
    with pytest.raises(PathNotFound):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigInvalid, match="no stratum"):
        sample_case(1, config, replace(LEFT_M1, strata=("unheard of",)))
