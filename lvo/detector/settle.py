"""The pose again, by where the arteries run.

The first pose comes from the whole head, and heads differ more outside than within: on phantoms it is off by
4 mm on average, much of it the same way in every patient, and another way in real heads. The network's own
map of the arteries, laid over the atlas of where they run, is right to some 2.5 mm in both.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from lvo.anatomy import SITES
from lvo.clock import Clock
from lvo.detector.evidence import EVIDENCE_GRID, Evidence
from lvo.errors import BundleInvalid
from lvo.imaging.box import HeadBoxes, boxes_of
from lvo.imaging.pose_fit import head_angles
from lvo.imaging.resample import pose_matrix
from lvo.study import HeadPose, Reason, Study, Volume

if TYPE_CHECKING:
    from lvo.detector.detect import Detector

F64 = npt.NDArray[np.float64]
_CENTRE = np.array([0.0, 5.0, 15.0])
"""Middle of the arteries in the head frame, mm: turns about it move them least."""
_USUAL = np.array([6.0, 6.0, 6.0, 5.0, 5.0, 5.0, 4.0])
"""How far a first pose is usually off: mm along x, y, z, degrees about them, and per cent of size."""
_PULL = 0.02
"""Weight of that against the mean log frequency of the atlas."""
_FURTHEST = 2.5
"""Times the usual beyond which the arteries are not believed."""
_SEEN = 0.1
"""Probability of a site from which a voxel counts."""
_LEAST_MM3 = 5000.0
"""Volume of arteries below which there is too little to lay over the atlas; heads have 10 to 25 thousand."""


def settled_boxes(
    study: Study, cta: Volume, pose: HeadPose, detector: Detector, clock: Clock | None = None
) -> tuple[HeadPose, HeadBoxes]:
    """What the detector may be shown of a study, under a pose that its arteries have confirmed or moved.

    Parameters
    ----------
    cta : the study's
    pose : accepted; patient LPS to head frame
    clock : gets the stages ``resample``, ``acceptance`` and ``settling``

    Returns
    -------
    pose : the one that the boxes were resampled under
    boxes : checked anew under it; with a caution where the arteries did not confirm the first pose
    """
    clock = clock or Clock()
    boxes = boxes_of(study, cta, pose, clock)
    if boxes.rejected:
        return pose, boxes
    with clock.stage("settling"):
        atlas = load_atlas(detector.bundle.path / "models" / "vessels.safetensors")
        settled = settle(pose, detector.glance(boxes.cta, boxes.ncct), atlas)
    if settled is not None:
        return settled, boxes_of(study, cta, settled, clock)
    message = "The arteries do not confirm where the head was found to lie; it was left there."
    unsettled = Reason(code="pose-unsettled", message=message, kind="caution")
    return pose, HeadBoxes(boxes.cta, boxes.ncct, (*boxes.reasons, unsettled))


@lru_cache(maxsize=2)
def load_atlas(path: Path) -> F64:
    """Log frequency of every site over the box, (sites, z, y, x), blocks of EVIDENCE_GRID's voxels to one.

    Raises
    ------
    BundleInvalid
        The weights are missing, damaged, or of another anatomy.
    """
    try:
        with safe_open(path, "numpy") as weights:
            prior = weights.get_tensor("prior")[0, 1 : len(SITES) + 1].astype(np.float64)
    except (OSError, KeyError, IndexError, SafetensorError) as error:
        raise BundleInvalid(f"({path.name} cannot be read: {type(error).__name__})") from error
    if prior.ndim != 4 or len(prior) != len(SITES) or not np.isfinite(prior).all():
        raise BundleInvalid(f"({path.name} holds no atlas of {len(SITES)} sites)")
    return np.stack([ndimage.gaussian_filter(one, 0.5) for one in prior])


def settle(pose: HeadPose, evidence: Evidence, atlas: F64) -> HeadPose | None:
    """The pose under which the arteries that the network sees lie where arteries run.

    Parameters
    ----------
    pose : the first one; patient LPS to head frame
    evidence : of the image in the box under that pose
    atlas : from `load_atlas`

    Returns
    -------
    HeadPose or None
        With `settled_mm`; None where there are too few arteries, or so far off that they are not believed.
    """
    found = _fit(evidence, atlas)
    if found is None or (np.abs(found) > _FURTHEST * _USUAL).any():
        return None
    move = np.vstack([_move(found), [0, 0, 0, 1]])
    matrix = move @ pose_matrix(pose)
    size = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
    pitch, roll, yaw = head_angles(matrix[:3, :3] / size)
    return pose.model_copy(
        update={
            "matrix": tuple(tuple(float(v) for v in row) for row in matrix),
            "pitch_deg": pitch,
            "roll_deg": roll,
            "yaw_deg": yaw,
            "scale": 1 / size,
            "settled_mm": float(np.linalg.norm(found[:3])),
        }
    )


def _fit(evidence: Evidence, atlas: F64) -> F64 | None:
    """Shift (mm), turn (degrees) and growth (per cent), (7,), that lay the arteries over the atlas."""
    sites = evidence.vessel[1 : len(SITES) + 1]
    which, k, j, i = np.nonzero(sites > _SEEN)
    weight = sites[which, k, j, i].astype(np.float64)
    if weight.sum() * EVIDENCE_GRID.spacing**3 < _LEAST_MM3:
        return None
    points = np.stack([k, j, i, np.ones_like(k)], axis=1) @ EVIDENCE_GRID.affine.T
    result = optimize.minimize(
        _misfit, np.zeros(7), (points, which, weight / weight.sum(), atlas), "L-BFGS-B", jac=True,
        options={"ftol": 1e-8, "gtol": 1e-5, "maxiter": 100},
    )  # fmt: skip
    return np.asarray(result.x, dtype=np.float64)


def _misfit(
    move: F64, points: F64, which: npt.NDArray[np.int64], weight: F64, atlas: F64
) -> tuple[float, F64]:
    """Mean negative log frequency of moved points (n, 4), drawn towards no move; and its gradient."""
    value, slope = _sample(atlas, which, points @ _move(move).T)
    along = (weight[:, None] * slope).T @ points
    steps = np.eye(7) * 1e-4
    gradient = np.array([(along * (_move(move + h) - _move(move - h))).sum() / 2e-4 for h in steps])
    pull = move / _USUAL
    return float(_PULL * (pull**2).sum() - weight @ value), 2 * _PULL * pull / _USUAL - gradient


def _move(move: F64) -> F64:
    """The affine, (3, 4), of a shift, a turn about `_CENTRE` and a growth."""
    turn = Rotation.from_rotvec(np.radians(move[3:6])).as_matrix() * np.exp(move[6] / 100)
    return np.hstack([turn, (_CENTRE + move[:3] - turn @ _CENTRE)[:, None]])


def _sample(atlas: F64, which: npt.NDArray[np.int64], points: F64) -> tuple[F64, F64]:
    """Trilinear value of each point's site (n,), and its slope along x, y and z per mm, (n, 3)."""
    shape = np.array(atlas.shape[1:])
    spacing = EVIDENCE_GRID.spacing * EVIDENCE_GRID.shape[0] / shape[0]
    first = np.array(EVIDENCE_GRID.origin) + (spacing - EVIDENCE_GRID.spacing) / 2
    index = ((points - first) / spacing)[:, ::-1]
    inside = np.clip(index, 0, shape - 1.000001)
    low = inside.astype(np.int64)
    share = inside - low
    value, slope = np.zeros(len(points)), np.zeros((len(points), 3))
    for corner in np.ndindex(2, 2, 2):
        k, j, i = (low + corner).T
        factor = np.where(corner, share, 1 - share)
        here = atlas[which, k, j, i]
        value += here * factor.prod(axis=1)
        for axis in range(3):
            others = np.delete(factor, axis, axis=1).prod(axis=1)
            slope[:, axis] += here * others * (1 if corner[axis] else -1)
    slope[inside != index] = 0
    return value, slope[:, ::-1] / spacing
