import numpy as np
import pytest

from lvo.imaging.pose_fit import head_angles, robust_similarity, rotation_from_angles, weighted_similarity


def scene(outliers, noise=1.0):
    rng = np.random.default_rng(3)
    rotation = rotation_from_angles(30, -15, 20)
    source = rng.uniform(-80, 80, (500, 3))
    target = 1.12 * source @ rotation.T + (5, -40, 12) + rng.normal(0, noise, (500, 3))
    bad = rng.random(500) < outliers
    target[bad] = rng.uniform(-120, 60, (bad.sum(), 3))
    return source, target, rotation


def test_exact_fit():
    source, target, rotation = scene(0, noise=0)
    fit = weighted_similarity(source, target, np.ones(500))
    np.testing.assert_allclose(fit.rotation, rotation, atol=1e-9)
    assert fit.scale == pytest.approx(1.12)


def test_a_third_of_outliers_does_not_pull():
    source, target, rotation = scene(0.33)
    fit, residual = robust_similarity(source, target, np.ones(500))
    np.testing.assert_allclose(fit.rotation, rotation, atol=0.01)
    assert fit.scale == pytest.approx(1.12, abs=0.01)
    np.testing.assert_allclose(fit.shift, (5, -40, 12), atol=0.5)
    assert 0.2 < (residual > 10).mean() < 0.4


def test_no_reflection_is_ever_returned():
    source, target, _ = scene(0)
    fit = weighted_similarity(source, target * (-1, 1, 1), np.ones(500))
    assert np.linalg.det(fit.rotation) == pytest.approx(1)


def test_points_on_a_line_are_refused():
    line = np.outer(np.arange(10.0), (1, 2, 3))
    with pytest.raises(ValueError, match="line"):
        weighted_similarity(line, line, np.ones(10))


@pytest.mark.parametrize("angles", [(20, 0, 0), (0, 15, 0), (0, 0, -25), (-38, 14, 21)])
def test_angles_round_trip(angles):
    np.testing.assert_allclose(head_angles(rotation_from_angles(*angles)), angles, atol=1e-9)


def test_signs_of_angles():
    nose, left = np.array([0, -1, 0]), np.array([1, 0, 0])
    assert (rotation_from_angles(25, 0, 0).T @ nose)[2] > 0.4  # chin up
    assert (rotation_from_angles(0, 25, 0).T @ left)[2] < -0.4  # left ear down
    assert (rotation_from_angles(0, 0, 25).T @ nose)[0] > 0.4  # face to the left
