"""The pose by the arteries: drawn arteries of the released atlas, moved, must be found again."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from lvo.anatomy import SITES
from lvo.detector import settle as settling
from lvo.detector.bundle import load_bundle
from lvo.detector.evidence import EVIDENCE_GRID, VESSEL_CLASSES, Evidence
from lvo.detector.settle import load_atlas, settle, settled_boxes
from lvo.errors import BundleInvalid
from lvo.imaging.box import HeadBoxes
from lvo.imaging.resample import pose_matrix
from lvo.study import HeadPose, Study, Volume

AT_HOME = HeadPose(
    matrix=tuple(tuple(float(v) for v in row) for row in np.eye(4)),
    pitch_deg=0, roll_deg=0, yaw_deg=0, scale=1, residual_mm=1, support=1, accepted=True,
)  # fmt: skip
LANDMARKS = np.array([[0, 0, 0], [45, 0, 25], [-45, 0, 25], [0, 35, 20], [0, -35, 20], [0, 0, 45]], float)


@pytest.fixture(scope="module")
def atlas():
    return load_atlas(load_bundle(None).path / "models" / "vessels.safetensors")


def misplaced(atlas, matrix) -> Evidence:
    """Arteries where the atlas has them most often, seen in a box that lies off by `matrix`."""
    fine = np.stack([ndimage.zoom(one, 2, order=1) for one in atlas])
    usual = (fine > np.quantile(fine, 0.999, axis=(1, 2, 3), keepdims=True)).astype(np.float32)
    grid = EVIDENCE_GRID.affine
    index = np.linalg.inv(grid) @ np.linalg.inv(matrix) @ grid
    moved = [ndimage.affine_transform(one, index[:3, :3], index[:3, 3], order=1) for one in usual]
    vessel = np.zeros((VESSEL_CLASSES, *EVIDENCE_GRID.shape), np.float32)
    vessel[1 : len(SITES) + 1] = moved
    nothing = np.zeros(EVIDENCE_GRID.shape, np.float32)
    return Evidence(vessel, nothing + 1, nothing, nothing, nothing, nothing)


def off_by(shift, degrees=0.0, size=1.0):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(4)
    matrix[:3, :3] = size * np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    matrix[:3, 3] = shift
    return matrix


def apart(matrix) -> float:
    moved = LANDMARKS @ matrix[:3, :3].T + matrix[:3, 3]
    return float(np.linalg.norm(moved - LANDMARKS, axis=1).mean())


@pytest.mark.parametrize(
    "matrix", [off_by((0, 4, 0)), off_by((-3, 0, 3)), off_by((0, 0, 0), 5), off_by((2, -2, 0), -3, 1.04)]
)
def test_a_misplaced_head_is_brought_back(atlas, matrix):
    settled = settle(AT_HOME, misplaced(atlas, matrix), atlas)
    assert settled is not None
    assert (
        apart(pose_matrix(settled) @ matrix) < 0.4 * apart(matrix) + 0.6
    )  # the drawn arteries are not the atlas
    assert settled.settled_mm == pytest.approx(np.linalg.norm(matrix[:3, 3]), abs=2.5)
    assert settled.scale == pytest.approx(np.cbrt(np.linalg.det(matrix[:3, :3])), abs=0.03)


def test_the_same_answer_to_a_hundredth_of_a_millimetre_from_nearly_the_same_map(atlas):
    """Two backends differ in the sixth digit."""
    evidence = misplaced(atlas, off_by((2, 3, -1), 2))
    noise = 1 + 1e-5 * np.random.default_rng(0).standard_normal(evidence.vessel.shape).astype(np.float32)
    one, other = (
        settle(AT_HOME, evidence, atlas),
        settle(AT_HOME, replace(evidence, vessel=evidence.vessel * noise), atlas),
    )
    assert one is not None
    assert other is not None
    assert np.abs(pose_matrix(one) - pose_matrix(other)).max() < 0.01


def test_far_off_arteries_are_not_believed(atlas):
    assert settle(AT_HOME, misplaced(atlas, off_by((22, 0, 0))), atlas) is None


def test_too_few_arteries_move_nothing(atlas):
    evidence = misplaced(atlas, off_by((0, 4, 0)))
    evidence.vessel[2:] *= 0.05
    evidence.vessel[1] = 0
    assert settle(AT_HOME, evidence, atlas) is None


def test_weights_without_an_atlas_are_refused(tmp_path):
    (tmp_path / "vessels.safetensors").write_bytes(b"none")
    with pytest.raises(BundleInvalid, match="vessels"):
        load_atlas(tmp_path / "vessels.safetensors")


# ------------------------------------------------------------------------------ what is resampled under it


@dataclass
class Glancing:
    evidence: Evidence
    bundle: SimpleNamespace

    def glance(self, _cta, _ncct):
        return self.evidence


@pytest.fixture
def resampled(monkeypatch):
    """Poses under which boxes were resampled, in order."""
    poses = []

    def boxes_of(_study, _cta, pose, _clock):
        poses.append(pose)
        return HeadBoxes(np.zeros((1, 1, 1), np.float32), None, ())

    monkeypatch.setattr(settling, "boxes_of", boxes_of)
    return poses


@pytest.mark.parametrize(("shift", "codes"), [((0, 4, 0), []), ((22, 0, 0), ["pose-unsettled"])])
def test_the_detector_is_shown_the_box_of_the_pose_that_is_reported(atlas, resampled, shift, codes):
    detector = Glancing(misplaced(atlas, off_by(shift)), load_bundle(None))
    scan = Volume(np.zeros((1, 1, 1), np.float32), np.eye(4))
    pose, boxes = settled_boxes(Study(study_instance_uid=None), scan, AT_HOME, detector)
    assert resampled[0] == AT_HOME
    assert resampled[-1] == pose
    assert [reason.code for reason in boxes.reasons] == codes
