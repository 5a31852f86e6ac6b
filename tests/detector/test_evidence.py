import numpy as np
import pytest

from lvo.anatomy import SITES, Segment, Side
from lvo.detector.evidence import (
    DEFICIT_GRID,
    EVIDENCE_GRID,
    MIRROR,
    OUTPUTS,
    STEP,
    VESSEL_CLASSES,
    Evidence,
    Tissue,
    locate,
    network_input,
)
from lvo.detector.features import FEATURES, site_features
from lvo.imaging.resample import HEAD_BOX

LEFT, RIGHT = SITES.index((Segment.M1, Side.LEFT)), SITES.index((Segment.M1, Side.RIGHT))
BALL = ((25.0, -3.0, 15.0), 4.0)


def mirrored(e: Evidence) -> Evidence:
    """The same patient reflected in the midsagittal plane."""
    vessel = e.vessel[..., ::-1].copy()
    vessel[1 : len(SITES) + 1] = vessel[1 : len(SITES) + 1][MIRROR]
    maps = (a[..., ::-1] for a in (e.lit, e.missing, e.clot, e.cutoff, e.bright))
    return Evidence(vessel, *maps, e.tissue.mirrored)


def test_the_mirror_swaps_sides_and_leaves_the_midline():
    for i, (segment, side) in enumerate(SITES):
        assert SITES[MIRROR[i]] == (segment, side.mirrored)
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(len(SITES)))


def test_evidence_lies_in_the_middle_of_the_voxels_it_was_made_from():
    for index in ((0, 0, 0), (3, 7, 11)):
        blocks = [np.array(index) * STEP + o for o in np.ndindex(STEP, STEP, STEP)]
        centre = np.mean([HEAD_BOX.affine @ [*b, 1] for b in blocks], axis=0)
        np.testing.assert_allclose(EVIDENCE_GRID.affine @ [*index, 1], centre)


def test_inputs_have_the_shapes_and_the_flag_of_the_network():
    rng = np.random.default_rng(0)
    cta, ncct = (rng.normal(40, 20, HEAD_BOX.shape).astype(np.float32) for _ in range(2))
    both, alone = network_input(cta, ncct), network_input(cta, None)
    assert both["cta"].shape == (1, 1, *HEAD_BOX.shape)
    assert both["ncct"].shape == alone["ncct"].shape == (1, 1, *EVIDENCE_GRID.shape)
    assert (both["has_ncct"], alone["has_ncct"]) == (1, 0) and not alone["ncct"].any()
    assert both["ncct"][0, 0, 1, 2, 3] == pytest.approx(ncct[2:4, 4:6, 6:8].mean(), abs=1e-3)
    assert all(a.dtype == np.float32 for a in (*both.values(), *alone.values()))


def test_deficits_lie_in_the_middle_of_the_cells_they_were_made_from():
    size = EVIDENCE_GRID.shape[0] // DEFICIT_GRID.shape[0]
    for index in ((0, 0, 0), (3, 7, 11)):
        middle = np.array(index) * size + (size - 1) / 2
        np.testing.assert_allclose(DEFICIT_GRID.affine @ [*index, 1], EVIDENCE_GRID.affine @ [*middle, 1])


@pytest.mark.parametrize("which", ["cta", "ncct"])
def test_a_volume_of_another_shape_is_refused(which):
    right, wrong = np.zeros(HEAD_BOX.shape, np.float32), np.zeros((96, 112, 144), np.float32)
    with pytest.raises(ValueError, match="128, 112, 144"):
        network_input(*((wrong, right) if which == "cta" else (right, wrong)))


def test_the_output_of_the_network_becomes_probabilities():
    out = np.random.default_rng(0).normal(0, 3, (OUTPUTS, *EVIDENCE_GRID.shape))
    out[3] += 60.0  # far beyond what exp can hold when squared
    cta = np.zeros(HEAD_BOX.shape, np.float32)
    cta[21, 30, 41] = 500
    tissue = Tissue(np.linspace(0, 1, len(SITES), dtype=np.float32), np.zeros(DEFICIT_GRID.shape, np.float32))
    evidence = Evidence.from_networks(out.astype(np.float32), tissue, cta)
    assert evidence.tissue is tissue
    np.testing.assert_allclose(evidence.vessel.sum(0), 1, rtol=1e-5)
    np.testing.assert_allclose(evidence.lit + evidence.missing + evidence.clot, 1, rtol=1e-5)
    assert (evidence.vessel.argmax(0) == 3).all()
    odds = np.log(evidence.clot / evidence.lit)
    np.testing.assert_allclose(odds, (out[-2] - out[VESSEL_CLASSES]), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(evidence.cutoff, 1 / (1 + np.exp(-out[-1])), rtol=1e-5)
    assert evidence.bright[10, 15, 20] == 500 and evidence.bright.sum() == 500


def test_the_mean_with_the_mirrored_view_is_of_the_same_places_and_vessels(make_evidence):
    evidence = make_evidence(clot=(BALL,))
    evidence.tissue.starved[LEFT] = 0.4
    evidence.tissue.deficit[10, 5, 14] = 0.6
    same = evidence.averaged(mirrored(evidence))
    for name in ("vessel", "lit", "missing", "clot", "cutoff"):
        np.testing.assert_allclose(getattr(same, name), getattr(evidence, name), atol=1e-6)
    for name in ("starved", "deficit"):
        np.testing.assert_array_equal(getattr(same.tissue, name), getattr(evidence.tissue, name))
    blind = evidence.averaged(mirrored(make_evidence()))
    np.testing.assert_allclose(blind.clot, evidence.clot / 2, atol=1e-6)
    np.testing.assert_allclose(blind.cutoff, evidence.cutoff / 2, atol=1e-6)


def test_features_are_finite_and_tell_the_sides_apart(make_evidence):
    features = site_features(make_evidence(clot=(BALL,)))
    assert features.shape == (len(SITES), FEATURES) and features.dtype == np.float32
    assert np.isfinite(features).all()
    assert np.abs(features[LEFT] - features[RIGHT]).max() > 0.3
    healthy = site_features(make_evidence())
    np.testing.assert_allclose(healthy[LEFT], healthy[RIGHT], atol=1e-4)


def test_a_mirrored_patient_has_mirrored_features(make_evidence):
    evidence = make_evidence(clot=(BALL,), missing=(((-30.0, -3.0, 15.0), 3.0),))
    evidence.tissue.starved[LEFT] = 0.4
    np.testing.assert_allclose(site_features(mirrored(evidence)), site_features(evidence)[MIRROR], atol=1e-4)


def test_features_of_an_empty_scan_are_finite(make_evidence):
    e = make_evidence()
    nothing = np.zeros_like(e.vessel)
    nothing[0] = 1
    assert np.isfinite(
        site_features(Evidence(nothing, e.lit, e.missing, e.clot, e.cutoff, 0 * e.bright, e.tissue))
    ).all()


@pytest.mark.parametrize("x", [14.0, 22.0, 31.0])
@pytest.mark.parametrize("side", [LEFT, RIGHT], ids=["left", "right"])
def test_a_clot_is_found_where_it_is_and_on_its_side(make_evidence, x, side):
    sign = 1 if side == LEFT else -1  # +x is the patient's left
    other = ((-sign * 25.0, -3.0, 15.0), 4.0)
    off_vessel = ((sign * 25.0, 35.0, 15.0), 6.0)
    evidence = make_evidence(clot=(((sign * x, -3.0, 15.0), 3.5), other, off_vessel))
    np.testing.assert_allclose(locate(evidence, side), (sign * x, -3, 15), atol=2)


def test_without_clot_the_missing_lumen_is_shown_and_failing_that_the_vessel(make_evidence):
    missing = make_evidence(missing=(((30.0, -3.0, 15.0), 4.0),))
    np.testing.assert_allclose(locate(missing, LEFT), (30, -3, 15), atol=2)
    x, y, z = locate(make_evidence(), LEFT)
    assert 8 < x < 38 and abs(y + 3) < 2 and abs(z - 15) < 2
