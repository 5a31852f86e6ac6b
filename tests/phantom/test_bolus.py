import numpy as np
import pytest

from lvo.phantom.flow.bolus import VEIN_CLASS, BolusRanges, sample_bolus, usual_curve
from lvo.phantom.vessels.labels import VEIN_STRUCTURES


def draw(n=200, kvp=120.0, **fixed):
    ranges = BolusRanges(**fixed)
    return [sample_bolus(np.random.default_rng(seed), ranges, kvp) for seed in range(n)]


def one_phase(weights, **fixed):
    return draw(phase_weights=weights, low_output=0, missed=0, **fixed)


def test_arteries_and_veins_are_as_bright_as_in_life():
    peak = one_phase((0, 1, 0, 0))
    assert 300 < np.median([b.artery for b in peak]) < 450
    assert all(120 < b.artery < 660 for b in peak)
    assert 60 < np.median([b.vein for b in peak]) < 150
    late = one_phase((0, 0, 1, 0))
    assert np.median([b.vein for b in late]) > 200
    early = one_phase((1, 0, 0, 0))
    assert np.median([b.vein for b in early]) < 90 < 200 < np.median([b.artery for b in early])


@pytest.mark.parametrize("phase", range(4))
def test_the_phase_is_the_one_drawn(phase):
    weights = np.eye(4)[phase]
    name = ("early", "peak", "late", "venous")[phase]
    assert {b.phase for b in one_phase(tuple(weights), n=20)} == {name}


def test_iodine_is_brighter_at_a_lower_voltage():
    high, low = draw(kvp=120.0, iodine_saving=0), draw(kvp=80.0, iodine_saving=0)
    ratio = [b.gain_hu / a.gain_hu for a, b in zip(high, low, strict=True) if b.gain_hu < 620]
    assert np.median(ratio) == pytest.approx(1.6, abs=0.05)
    assert [b.time_s for b in high] == [b.time_s for b in low]


def test_distal_arteries_are_dimmer_early_and_brighter_late():
    delays = np.array([1.5, 3.0, 6.0, np.inf])
    for bolus in one_phase((1, 0, 0, 0), n=20):
        seen = bolus.artery_hu(delays)
        assert (np.diff(seen) < 0).all() and seen[-1] == bolus.blood
    for bolus in one_phase((0, 0, 0, 1), n=20):
        assert bolus.artery_hu(6.0) > bolus.artery_hu(1.5)


def test_veins_fill_one_after_the_other():
    assert set(VEIN_CLASS) == set(VEIN_STRUCTURES)
    for bolus in one_phase((0, 1, 0, 0), n=30, vein_scatter=0):
        order = ("cavernous sinus", "cortical vein", "transverse sinus", "internal jugular vein")
        seen = [bolus.vein_hu(name) for name in order]
        assert seen == sorted(seen, reverse=True) and bolus.artery > seen[0]


def test_later_phases_are_the_same_bolus_later():
    (bolus,) = one_phase((0, 1, 0, 0), n=1)
    second, third = bolus.at(8), bolus.at(16)
    assert second.time_s == bolus.time_s + 8 and second.curve is bolus.curve
    assert bolus.vein < second.vein and bolus.artery > third.artery
    assert third.phase == "venous"


def test_a_weak_heart_and_a_missed_bolus_are_named():
    weak, usual = draw(low_output=1, missed=0), draw(low_output=0, missed=0)
    assert all(b.mimics == ("low cardiac output",) for b in weak)
    assert not any(b.mimics for b in usual)
    assert np.median([b.curve.peak_s for b in weak]) > np.median([b.curve.peak_s for b in usual]) + 4
    missed = draw(low_output=0, missed=1)
    assert all(b.mimics == ("missed bolus",) for b in missed)
    assert np.median([b.artery for b in missed]) < 200


def test_the_same_seed_gives_the_same_bolus():
    one, two = draw(1)[0], draw(1)[0]
    assert one.artery == two.artery and one.vein_s == two.vein_s
    np.testing.assert_array_equal(one.curve.share, two.curve.share)


def test_contrast_comes_round_again():
    curve = usual_curve()
    assert curve.share.max() == 1 and 12 < curve.peak_s < 22
    late = curve.seen(curve.peak_s + 25, 0.0)
    assert 0.05 < late < 0.35
    wide = [curve.seen(t, 8.0) for t in np.arange(0, 60, 0.5)]
    assert max(wide) < 1  # a late arrival is a flat one
