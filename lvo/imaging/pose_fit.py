"""Robust similarity transforms from noisy correspondences, and their angles. Pure mathematics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Similarity:
    """``target = scale * rotation @ source + shift``; mm."""

    rotation: F64
    scale: float
    shift: F64

    @property
    def matrix(self) -> F64:
        """Float64, shape (4, 4)."""
        out = np.eye(4)
        out[:3, :3] = self.scale * self.rotation
        out[:3, 3] = self.shift
        return out

    def apply(self, points: F64) -> F64:
        """Move points (n, 3)."""
        return self.scale * points @ self.rotation.T + self.shift


def weighted_similarity(source: F64, target: F64, weight: F64) -> Similarity:
    """Closed-form weighted least squares similarity (no reflection).

    Parameters
    ----------
    source, target : float64, shape (n, 3), mm
    weight : float64, shape (n,), not negative

    Raises
    ------
    ValueError
        With fewer than three points of weight, or points on one line: rotation is then undetermined.

    Notes
    -----
    Umeyama S. Least-squares estimation of transformation parameters between two point patterns.
    IEEE TPAMI 1991;13:376-380.
    """
    total = weight.sum()
    if np.count_nonzero(weight > 0) < 3 or not np.isfinite(total) or total <= 0:
        raise ValueError("a similarity needs at least three points with weight")
    w = (weight / total)[:, None]
    centre_s, centre_t = (w * source).sum(0), (w * target).sum(0)
    s, t = source - centre_s, target - centre_t
    u, values, vt = np.linalg.svd((w * t).T @ s)
    if values[1] < 1e-9 * max(values[0], 1e-12):
        raise ValueError("the points lie on one line; rotation is undetermined")
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * sign) @ vt
    scale = float((values * sign).sum() / (w * s**2).sum())
    if scale <= 0:
        raise ValueError("the points do not correspond")
    return Similarity(rotation, scale, centre_t - scale * rotation @ centre_s)


def robust_similarity(
    source: F64, target: F64, weight: F64, floor_mm: float = 4.0, rounds: int = 12
) -> tuple[Similarity, F64]:
    """Iteratively reweighted similarity that outliers do not pull.

    Parameters
    ----------
    source, target : float64, shape (n, 3), mm
    weight : float64, shape (n,): prior weight of every pair
    floor_mm : residuals below this are never taken for outliers
    rounds : at most so many reweightings

    Returns
    -------
    similarity : Similarity
    residual : float64, shape (n,), mm in the target frame

    Raises
    ------
    ValueError
        When the points do not determine a similarity.

    Notes
    -----
    Geman-McClure weights; their scale falls from the initial spread to 1.5 times the median residual.
    """
    current = weight
    spread = np.inf
    fit = weighted_similarity(source, target, current)
    for _ in range(rounds):
        residual = np.linalg.norm(fit.apply(source) - target, axis=1)
        spread = max(floor_mm, min(0.7 * spread, 1.5 * weighted_median(residual, weight)))
        current = weight / (1 + (residual / spread) ** 2) ** 2
        new = weighted_similarity(source, target, current)
        moved = np.abs(new.matrix - fit.matrix).max()
        fit = new
        if moved < 1e-4:
            break
    return fit, np.linalg.norm(fit.apply(source) - target, axis=1)


def weighted_median(values: F64, weight: F64) -> float:
    """The value with half of the weight below it."""
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order[int(np.searchsorted(total, total[-1] / 2))]])


def head_angles(rotation: F64) -> tuple[float, float, float]:
    """Pitch, roll and yaw in degrees of the head in the scanner.

    Parameters
    ----------
    rotation : float64, shape (3, 3), patient LPS to head frame

    Returns
    -------
    pitch : positive with the chin up
    roll : positive with the head tilted to the patient's left (left ear down)
    yaw : positive with the face turned to the patient's left
    """
    nose = rotation.T @ (0.0, -1.0, 0.0)
    pitch = np.arctan2(nose[2], np.hypot(nose[0], nose[1]))
    yaw = np.arctan2(nose[0], -nose[1])
    # Roll is what remains about the nose's own axis, against the level direction to the head's left.
    level = np.cross((0.0, 0.0, 1.0), nose)
    level /= max(float(np.linalg.norm(level)), 1e-12)
    up = np.cross(nose, level)
    left = rotation.T @ (1.0, 0.0, 0.0)
    roll = np.arctan2(-(left @ up), left @ level)
    return tuple(float(v) for v in np.degrees((pitch, roll, yaw)))  # type: ignore[return-value]


def rotation_from_angles(pitch: float, roll: float, yaw: float) -> F64:
    """Inverse of `head_angles`: the rotation patient LPS to head frame, shape (3, 3); degrees in."""
    p, r, y = np.radians((pitch, roll, yaw))
    # Head to patient: tilt about the nose, then lift the chin, then turn the face.
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_y = np.array([[np.cos(r), 0, np.sin(r)], [0, 1, 0], [-np.sin(r), 0, np.cos(r)]])
    about_z = np.array([[np.cos(y), -np.sin(y), 0], [np.sin(y), np.cos(y), 0], [0, 0, 1]])
    head_to_patient: F64 = about_z @ about_x @ about_y
    return head_to_patient.T
