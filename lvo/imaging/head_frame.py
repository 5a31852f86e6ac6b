"""The pose of a head: a small network says where every cell lies in a head, a robust fit does the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from lvo.imaging.pose_fit import Similarity, head_angles, robust_similarity, weighted_median
from lvo.imaging.pose_input import (
    CELL_MM,
    COARSE_MM,
    COORDINATE_SCALE_MM,
    Coarse,
    cell_centres,
    coarse_lps,
    encode,
    on_grid,
    pad_to_multiple,
    thin,
)
from lvo.study import HeadPose, Volume

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

# The gate. Distances in head-frame mm.
MIN_CELLS = 600
MAX_RESIDUAL_MM = 9.0
MIN_SUPPORT = 0.6
SCALE_RANGE = (0.75, 1.3)
MIN_EXTENT_MM = (70.0, 80.0, 30.0)
MAX_CHANGE_MM = 12.0
AGREES_MM = 12.0
_REFINE_SHAPE = (64, 64, 48)
_REFINE_ORIGIN = (-94.0, -122.0, -100.0)
_SELLA_MM = 60.0


class HeadFramer:
    """Finds the head frame of CT volumes with one loaded pose model.

    Parameters
    ----------
    model_path : the exported ``pose.onnx``
    threads : for the network; None leaves the choice to ONNX Runtime

    Raises
    ------
    FileNotFoundError
        When there is no model at `model_path`.
    """

    def __init__(self, model_path: Path, threads: int | None = None) -> None:
        if not model_path.is_file():
            raise FileNotFoundError(f"no pose model at {model_path}")
        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(model_path), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, volume: Volume) -> HeadPose:
        """Find the pose; a volume without a usable head gives a pose with ``accepted=False``.

        Parameters
        ----------
        volume : any orientation and size, HU

        Returns
        -------
        HeadPose
        """
        try:
            array, affine = thin(volume)
            points, targets, weight = self._votes(coarse_lps(array, affine))
            first, _ = robust_similarity(points, targets, weight)
        except ValueError:  # too small, too long, or no three cells that look like head
            return refused()
        if not 0.5 < first.scale < 2:
            return refused()
        try:
            return self._refine(array, affine, first)
        except ValueError:
            return refused()

    def _refine(self, array: F32, affine: F64, first: Similarity) -> HeadPose:
        """Look again with the head upright and of canonical size, twice; the second look is the answer."""
        matrix = first.matrix
        changes = []
        for _ in range(2):
            coarse = _upright(array, affine, matrix)
            points, targets, weight = self._votes(coarse, mirror=True)
            near = weight * (0.03 + np.exp(-0.5 * (np.linalg.norm(targets, axis=1) / _SELLA_MM) ** 2))
            fit, residual = robust_similarity(points, targets, near)
            changes.append(float(np.linalg.norm(fit.shift)) + 60 * abs(1 - fit.scale))
            matrix = fit.matrix @ matrix
        return _judge(matrix, targets, residual, near, weight, changes[-1])

    def _votes(self, coarse: Coarse, mirror: bool = False) -> tuple[F64, F64, F64]:
        """Cells that look like head: where they are, where in a head they belong, and how surely.

        Raises
        ------
        ValueError
            When there are none.
        """
        coarse = pad_to_multiple(coarse)
        out = self._run(encode(coarse.hu, coarse.valid))
        if mirror:  # a head is nearly symmetric, and so must the answer be
            flipped = self._run(encode(coarse.hu[..., ::-1], coarse.valid[..., ::-1]))[..., ::-1].copy()
            flipped[0] *= -1
            out = np.float32(0.5) * (out + flipped)
        headness = 1 / (1 + np.exp(-out[3].astype(np.float64)))
        chosen = headness > 0.5
        if np.count_nonzero(chosen) < 50:
            raise ValueError("nothing here looks like a head")
        points = cell_centres(coarse)[chosen]
        targets = np.moveaxis(out[:3], 0, -1)[chosen].astype(np.float64) * COORDINATE_SCALE_MM
        return points, targets, headness[chosen]

    def _run(self, encoded: F32) -> F32:
        (out,) = self._session.run(None, {self._session.get_inputs()[0].name: encoded[None]})
        result: F32 = out[0]
        return result


def _upright(array: F32, affine: F64, matrix: F64) -> Coarse:
    """The head on a 4 mm grid of the head frame that `matrix` claims."""
    grid = np.zeros((4, 4))
    grid[0, 2] = grid[1, 1] = grid[2, 0] = COARSE_MM
    grid[:3, 3], grid[3, 3] = _REFINE_ORIGIN, 1
    sampled = on_grid(array, affine, np.linalg.inv(matrix) @ grid, _REFINE_SHAPE)
    return Coarse(sampled.hu, sampled.valid, grid)


def _judge(matrix: F64, targets: F64, residual: F64, near: F64, weight: F64, change: float) -> HeadPose:
    """Describe the pose and decide whether it is to be trusted."""
    size = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
    pitch, roll, yaw = head_angles(matrix[:3, :3] / size)
    typical = weighted_median(residual, near)
    support = float(weight[residual < AGREES_MM].sum() / weight.sum())
    good = targets[residual < AGREES_MM]
    extent = np.ptp(np.percentile(good, (3, 97), axis=0), axis=0) if len(good) > 20 else np.zeros(3)
    cells = weight.sum() * (CELL_MM / 8.0) ** 3
    accepted = (
        cells >= MIN_CELLS
        and typical <= MAX_RESIDUAL_MM
        and support >= MIN_SUPPORT
        and SCALE_RANGE[0] <= 1 / size <= SCALE_RANGE[1]
        and bool((extent >= MIN_EXTENT_MM).all())
        and change <= MAX_CHANGE_MM
        and max(abs(pitch), abs(roll), abs(yaw)) < 60
    )
    return HeadPose(
        matrix=tuple(tuple(float(v) for v in row) for row in matrix),
        pitch_deg=pitch,
        roll_deg=roll,
        yaw_deg=yaw,
        scale=1 / size,
        residual_mm=typical,
        support=support,
        accepted=bool(accepted),
    )


def refused() -> HeadPose:
    """The pose of something in which no head was found."""
    rows = tuple(tuple(float(v) for v in row) for row in np.eye(4))
    return HeadPose(
        matrix=rows, pitch_deg=0, roll_deg=0, yaw_deg=0, scale=1, residual_mm=999.0, support=0, accepted=False
    )  # fmt: skip
