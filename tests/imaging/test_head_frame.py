from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lvo.imaging.head_frame import HeadFramer
from lvo.imaging.pose_fit import rotation_from_angles
from lvo.imaging.pose_input import coarse_lps, encode, thin
from lvo.imaging.resample import Grid, points_to_head, to_head
from lvo.phantom.head import atlas
from lvo.phantom.head.individual import Head, draw_head, sample_head
from lvo.study import Volume

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "lao-cta" / "models" / "pose.onnx"
REAL = ROOT.parent / "shared" / "real"

needs_model = pytest.mark.skipif(not MODEL.is_file(), reason="the pose model is not in models/")
needs_atlas = pytest.mark.skipif(
    atlas.atlas_path() is None, reason="spm-runtime, which holds the head atlas, is not installed"
)
LANDMARKS = np.array([(0, 0, 0), (18, -4, 8), (-18, -4, 8), (38, -2, 12), (-38, -2, 12), (0, 22, 5)], float)


@pytest.fixture(scope="module")
def framer():
    return HeadFramer(MODEL, threads=1)


@dataclass
class Drawn:
    """A head on an upright lattice: HU, index to head-frame mm, and its recipe."""

    hu: np.ndarray
    affine: np.ndarray
    recipe: Head

    def warp(self, points):
        return self.recipe.warp(points)


def draw(seed, spacing, below, half_width=96.0):
    """A head down to `below` mm under the atlas."""
    recipe = sample_head(np.random.default_rng(seed))
    extra = 0.5 * (half_width - 96)
    low = np.array([-half_width, -100 - extra, atlas.load_atlas().bottom - below])
    x, y, z = ((np.array([half_width, 140 + extra, 152]) - low) / spacing).astype(int) + 1
    affine = np.eye(4)
    affine[:3, :3] = spacing * np.eye(3)[:, ::-1]
    affine[:3, 3] = low
    return Drawn(draw_head(recipe, affine, (z, y, x)).hu.numpy(), affine, recipe)


@pytest.fixture(scope="module")
def head():
    return draw(314, 2.0, below=40)


def box(hu, size=(120, 120, 120), spacing=2.0):
    affine = np.zeros((4, 4))
    affine[0, 2] = affine[1, 1] = affine[2, 0] = spacing
    affine[3, 3] = 1
    return Volume(np.full(size, hu, np.int16), affine)


def posed(head, angles=(0.0, 0.0, 0.0), size=1.0):
    """The head turned and scaled in the scanner; the map from head to patient."""
    to_patient = np.eye(4)
    to_patient[:3, :3] = size * rotation_from_angles(*angles).T
    to_patient[:3, 3] = (10, -200, 700)
    return Volume(head.hu, to_patient @ head.affine), to_patient


def miss(pose, head, to_patient):
    lps = head.warp(LANDMARKS) @ to_patient[:3, :3].T + to_patient[:3, 3]
    return np.linalg.norm(points_to_head(pose, lps) - LANDMARKS, axis=1)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.onnx"):
        HeadFramer(tmp_path / "none.onnx")


def test_thinning_keeps_places():
    affine = np.array([[0, 0, 0.5, -30], [0, -0.5, 0, 12], [0.7, 0, 0, 5], [0, 0, 0, 1.0]])
    array = (affine[0, 2] * np.indices((90, 100, 110))[2] + affine[0, 3]).astype(
        np.float32
    )  # every voxel holds its own x
    small, moved = thin(Volume(array, affine))
    x = moved[0, 2] * np.indices(small.shape)[2] + moved[0, 3]
    np.testing.assert_allclose(small, x, atol=1e-4)
    assert max(small.shape) < 20


def test_what_was_not_scanned_is_marked():
    coarse = coarse_lps(np.full((20, 20, 20), 40, np.float32), np.diag([0, 0, 0, 1.0]) + tilted())
    assert 0.3 < coarse.valid.mean() < 0.95
    assert (coarse.hu[coarse.valid == 0] == -1024).all()
    assert (coarse.hu[coarse.valid == 1] == 40).all()


def tilted():
    out = np.zeros((4, 4))
    out[:3, :3] = 5 * rotation_from_angles(30, 0, 0)[:, ::-1]
    return out


def test_encoding_gathers_blocks():
    hu = np.zeros((16, 16, 32), np.float32)
    hu[1, 0, 1] = 200
    image = encode(hu, np.ones_like(hu))
    assert image.shape == (24, 8, 8, 16)
    assert image[:8, 0, 0, 0].tolist() == [0, 0, 0, 0, 0, 1, 0, 0]
    assert (image[16:] == 1).all()


@needs_model
@pytest.mark.parametrize("volume", [box(0), box(-1000), box(0, (3, 5, 4)), box(40, (900, 20, 20))])
def test_what_is_no_head_is_refused(framer, volume):
    assert not framer(volume).accepted


@needs_model
@needs_atlas
@pytest.mark.parametrize(
    ("angles", "size"), [((0, 0, 0), 1.0), ((38, 0, 0), 0.9), ((-38, 10, 0), 1.15), ((0, -23, 23), 0.82)]
)
def test_a_head_is_found_in_any_pose(framer, head, angles, size):
    volume, to_patient = posed(head, angles, size)
    pose = framer(volume)
    assert pose.accepted
    # The released network learned simpler heads; over 20 of today's the mean is 5.4 mm, the worst 9.3.
    assert miss(pose, head, to_patient).mean() < 6.2
    np.testing.assert_allclose((pose.pitch_deg, pose.roll_deg, pose.yaw_deg), angles, atol=8)
    assert pose.scale == pytest.approx(size, rel=0.1)


@needs_model
@needs_atlas
def test_a_mirrored_head_has_the_mirrored_pose(framer, head):
    volume, _ = posed(head, (12, 8, -15))
    mirror = np.diag([-1.0, 1, 1, 1])
    pose, other = framer(volume), framer(Volume(volume.array, mirror @ volume.affine))
    assert other.accepted
    assert other.pitch_deg == pytest.approx(pose.pitch_deg, abs=1.5)
    assert other.roll_deg == pytest.approx(-pose.roll_deg, abs=1.5)
    assert other.yaw_deg == pytest.approx(-pose.yaw_deg, abs=1.5)


@needs_model
@needs_atlas
def test_the_array_order_does_not_matter(framer, head):
    volume, to_patient = posed(head, (15, 0, 10))
    order = (2, 0, 1)
    turned = Volume(volume.array.transpose(order)[:, ::-1], volume.affine.copy())
    turned.affine[:, :3] = volume.affine[:, list(order)]
    turned.affine[:3, 3] += turned.affine[:3, 1] * (turned.array.shape[1] - 1)
    turned.affine[:3, 1] *= -1
    pose = framer(turned)
    assert pose.accepted
    assert miss(pose, head, to_patient).mean() < 6


@needs_model
@needs_atlas
def test_neck_and_chest_alone_are_refused(framer):
    body = draw(2, 3.0, below=330, half_width=200.0)
    below = round((-100 - body.affine[2, 3]) / 3)
    assert not framer(Volume(body.hu[:below], body.affine)).accepted


@needs_model
@pytest.mark.skipif(not REAL.is_dir(), reason="the real images are not at ../shared/real")
@pytest.mark.parametrize("name", ["ge-head-tilt", "head-neck-ncct"])
def test_real_heads_are_found_and_level(framer, name):
    from lvo.dicom import read_study

    volume = read_study(REAL / name).ncct
    assert volume is not None
    pose = framer(volume)
    assert pose.accepted
    here = symmetry(volume, pose)
    for roll, yaw, shift in ((6, 0, 0), (-6, 0, 0), (0, 6, 0), (0, -6, 0), (0, 0, 6), (0, 0, -6)):
        assert symmetry(volume, turned(pose, roll, yaw, shift)) < here


def turned(pose, roll, yaw, shift):
    """The pose of a head frame that is rotated (degrees) and shifted (mm to the left) against this one."""
    extra = np.eye(4)
    extra[:3, :3] = rotation_from_angles(0, roll, yaw)
    extra[0, 3] = shift
    return pose.model_copy(update={"matrix": tuple(map(tuple, extra @ np.array(pose.matrix)))})


def symmetry(volume, pose):
    """Correlation of left and right half of the head, each the mirror of the other if it is level."""
    head = to_head(volume, pose, Grid((40, 80, 76), 2.0, (-75.0, -80.0, -20.0)))
    head = np.clip(head, -200, 600)
    return np.corrcoef(head.ravel(), head[..., ::-1].ravel())[0, 1]
