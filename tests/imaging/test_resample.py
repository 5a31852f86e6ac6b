import itertools

import numpy as np
import pytest

from lvo.imaging.pose_fit import Similarity, rotation_from_angles
from lvo.imaging.resample import (
    HEAD_BOX,
    Grid,
    grid_index_to_patient,
    points_to_head,
    points_to_patient,
    to_head,
)
from lvo.study import HeadPose, Volume


def pose_of(fit):
    rows = tuple(tuple(float(v) for v in row) for row in fit.matrix)
    return HeadPose(
        matrix=rows, pitch_deg=0, roll_deg=0, yaw_deg=0, scale=1, residual_mm=1, support=1, accepted=True
    )


POSE = pose_of(Similarity(rotation_from_angles(20, 5, -10), 1 / 1.1, np.array([3.0, -150.0, 40.0])))


def blob_volume(affine, shape, centre):
    """A ball of 300 HU, 6 mm sd, at an LPS point."""
    index = np.indices(shape).reshape(3, -1)
    lps = affine[:3, :3] @ index + affine[:3, 3:]
    square = ((lps - np.array(centre)[:, None]) ** 2).sum(0)
    return Volume((300 * np.exp(-square / 72)).reshape(shape).astype(np.float32), affine)


def axes():
    for order in itertools.permutations(range(3)):
        for signs in ((1, 1, 1), (-1, 1, -1), (1, -1, 1)):
            yield order, signs


@pytest.mark.parametrize(("order", "signs"), axes())
def test_the_patients_left_stays_left_for_every_array_order(order, signs):
    target = np.array([30.0, 10.0, 5.0])  # head frame: on the patient's left
    lps = points_to_patient(POSE, [target])[0]
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (row, sign) in enumerate(zip(order, signs, strict=True)):
        affine[row, axis] = sign * (2.0, 1.5, 2.5)[axis]
    shape = (80, 90, 70)
    affine[:3, 3] = lps + np.array((4, -7, 3)) - affine[:3, :3] @ (np.array(shape) / 2)
    head = to_head(blob_volume(affine, shape, lps), POSE, smooth=False)
    k, j, i = np.unravel_index(int(head.argmax()), head.shape)
    np.testing.assert_allclose(HEAD_BOX.affine[:3] @ (k, j, i, 1), target, atol=1.5)


def test_averaging_thin_slices_does_not_shift():
    affine = np.zeros((4, 4))
    affine[0, 2], affine[1, 1], affine[2, 0], affine[3, 3] = 0.4, -0.4, 0.5, 1
    lps = points_to_patient(POSE, [(-20, 5, 0)])[0]
    affine[:3, 3] = lps - affine[:3, :3] @ (30.0, 40.0, 50.0)
    volume = blob_volume(affine, (61, 83, 101), lps)
    grid = Grid((21, 21, 21), 1.0, (-30.0, -5.0, -10.0))
    fine, smooth = to_head(volume, POSE, grid, smooth=False), to_head(volume, POSE, grid)
    both = (fine > 50) & (smooth > 50)
    weights = np.indices(grid.shape)[:, both]
    for array in (fine, smooth):
        centre = (weights * array[both]).sum(1) / array[both].sum()
        np.testing.assert_allclose(grid.affine[:3] @ (*centre, 1), (-20, 5, 0), atol=0.2)


def test_outside_is_filled_and_never_tissue():
    affine = np.diag([1.0, 1.0, 1.0, 1.0])[:, [2, 1, 0, 3]]
    affine[:3, 3] = points_to_patient(POSE, [(0, 0, 500)])[0]
    assert (to_head(Volume(np.zeros((5, 5, 5), np.int16), affine), POSE, fill=-1024) == -1024).all()


def test_points_go_there_and_back():
    points = np.array([(0.0, 0, 0), (10, -20, 30)])
    np.testing.assert_allclose(points_to_patient(POSE, points_to_head(POSE, points)), points, atol=1e-9)
    index = (3, 5, 7)
    head = HEAD_BOX.affine[:3] @ (*index, 1)
    np.testing.assert_allclose(
        grid_index_to_patient(POSE, HEAD_BOX, [index]), points_to_patient(POSE, [head]), atol=1e-9
    )
