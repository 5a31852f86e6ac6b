"""An analytic head (and a chest), and the ways a scanner may lay slices through it.

Everything here is a formula: what lies at a point in the patient, and where each slice lies. No file, no
resampling. What a reader returns can be held against it point by point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
HuAt = Callable[[Floats], Floats]

MARKER_LPS = (40.0, -20.0, 10.0)
"""Centre of the metal marker: on the patient's left, in front of the middle and above it."""
_MARKER_HALF = (7.0, 7.0, 6.0)
_ARTERIES_X = (-30.0, -15.0, 15.0, 30.0)
_VESSEL_RADIUS = 6.0


@dataclass(frozen=True, slots=True)
class Head:
    """An ellipsoid head with scalp, skull, brain and vertical vessels; called with points, it gives HU.

    The marker tells left from right, the nose (in front, low) front from back and head from feet. The brain
    grows denser upwards and leftwards, so that no two slices are alike; linear interpolation keeps that.
    Vessels without HU of their own look like brain.
    """

    artery_hu: float | None = 320.0
    vein_hu: float | None = 90.0

    def __call__(self, points_lps: Floats) -> Floats:
        """HU at LPS points in mm, shape (n, 3) to (n,)."""
        x, y, z = points_lps.T
        radius = np.sqrt((x / 78) ** 2 + (y / 95) ** 2 + (z / 110) ** 2)
        nose = (x / 14) ** 2 + ((y + 95) / 18) ** 2 + ((z + 24) / 16) ** 2
        hu = np.full(x.shape, -1000.0)
        hu[(radius < 1.0) | (nose < 1.0)] = 20
        hu[radius < 0.93] = 1100
        brain, inner = radius < 0.8, radius < 0.7
        hu[brain] = (35 + 0.35 * z + 0.15 * x)[brain]
        vessels = [(across, 0.0, self.artery_hu) for across in _ARTERIES_X] + [(0.0, 45.0, self.vein_hu)]
        for vessel_x, vessel_y, lumen in vessels:
            if lumen is not None:
                hu[inner & (np.hypot(x - vessel_x, y - vessel_y) < _VESSEL_RADIUS)] = lumen
        hu[_marker(points_lps)] = 2500
        return hu


@dataclass(frozen=True, slots=True)
class Chest:
    """A trunk with lungs, broken ribs, a spine and a lit aorta: no head, whatever its name."""

    def __call__(self, points_lps: Floats) -> Floats:
        """HU at LPS points in mm, shape (n, 3) to (n,)."""
        x, y, _ = points_lps.T
        radius = np.hypot(x / 155, y / 105)
        hu = np.where(radius < 1.0, 45.0, -1000.0)
        hu[(radius > 0.88) & (radius < 0.95) & (np.sin(7 * np.arctan2(y, x)) > 0.3)] = 700
        hu[np.hypot((np.abs(x) - 70) / 55, y / 75) < 1.0] = -850
        hu[np.hypot(x, y - 75) < 18] = 500
        hu[np.hypot(x - 8, y - 35) < 14] = 320
        hu[_marker(points_lps)] = 2500
        return hu


def _marker(points_lps: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray((np.abs(points_lps - MARKER_LPS) < _MARKER_HALF).all(axis=1))


CTA = Head()
NATIVE = Head(artery_hu=None, vein_hu=None)
VENOUS = Head(artery_hu=180.0, vein_hu=240.0)


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """Where the slices of one stack lie, as a scanner states it.

    Attributes
    ----------
    positions : (n, 3), centre of the first pixel of every slice, LPS mm.
    orientation : (6,), direction of increasing column index, then of increasing row index.
    spacing : (row, column) in mm.
    thickness : (n,), nominal slice thickness in mm.
    """

    positions: Floats
    orientation: Floats
    spacing: tuple[float, float]
    rows: int
    columns: int
    thickness: Floats

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        return len(self.positions), self.rows, self.columns

    def points(self) -> Floats:
        """Centre of every pixel, shape (n * rows * columns, 3), LPS mm."""
        across = np.arange(self.columns)[:, None] * self.orientation[:3] * self.spacing[1]
        down = np.arange(self.rows)[:, None] * self.orientation[3:] * self.spacing[0]
        grid = self.positions[:, None, None] + down[None, :, None] + across[None, None, :]
        return np.asarray(grid.reshape(-1, 3))

    def take(self, slices: Iterable[int]) -> Scan:
        """Only these slices."""
        kept = list(slices)
        return replace(self, positions=self.positions[kept], thickness=self.thickness[kept])

    def without(self, *slices: int) -> Scan:
        """All slices but these."""
        return self.take(k for k in range(len(self.positions)) if k not in slices)

    def thick(self, thickness: float) -> Scan:
        """The same slices under another nominal thickness."""
        return replace(self, thickness=np.full(len(self.positions), float(thickness)))


def acquire(scan: Scan, hu_at: HuAt, grain: float = 0.0) -> Floats:
    """HU of every pixel, shape (n, rows, columns), with noise of ``grain`` HU that is always the same."""
    hu = hu_at(scan.points()).reshape(scan.shape)
    if grain:
        hu = hu + np.random.default_rng(7).normal(0, grain, hu.shape)
    return np.asarray(np.rint(hu))


def regular(affine: Floats, shape: tuple[int, int, int]) -> Scan:
    """An even stack from an affine (index (k, j, i) to LPS mm) and a shape; a shear becomes a tilt."""
    step, down, across = affine[:3, :3].T
    spacing = float(np.linalg.norm(down)), float(np.linalg.norm(across))
    row_to_row, column_to_column = down / spacing[0], across / spacing[1]
    distance = abs(float(step @ np.cross(column_to_column, row_to_row)))
    return Scan(
        positions=affine[:3, 3] + np.arange(shape[0])[:, None] * step,
        orientation=np.concatenate([column_to_column, row_to_row]),
        spacing=spacing,
        rows=shape[1],
        columns=shape[2],
        thickness=np.full(shape[0], distance),
    )


def axial_affine(
    shape: tuple[int, int, int] = (56, 48, 48),
    step: float = 1.5,
    pixel: tuple[float, float] = (4.5, 4.5),
    middle_z: float = 0.0,
) -> Floats:
    """Affine of slices from feet to head round a point on the LPS z axis."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = step, *pixel, 1.0
    affine[:3, 3] = (0, 0, middle_z) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def axial(
    count: int = 56,
    step: float = 1.5,
    *,
    matrix: tuple[int, int] = (48, 48),
    pixel: tuple[float, float] = (4.5, 4.5),
    middle_z: float = 0.0,
) -> Scan:
    """An even axial stack from feet to head."""
    shape = (count, *matrix)
    return regular(axial_affine(shape, step, pixel, middle_z), shape)


def at_heights(heights: Iterable[float], thickness: float | Floats = 1.5) -> Scan:
    """An axial stack with slices at any heights (LPS z, mm)."""
    z = np.array(list(heights), dtype=np.float64)
    base = axial(len(z))
    positions = base.positions.copy()
    positions[:, 2] = z
    return replace(
        base, positions=positions, thickness=np.broadcast_to(thickness, z.shape).astype(np.float64)
    )


def tilted(scan: Scan, degrees: float) -> Scan:
    """The same table positions under a tilted gantry: slices turn about the patient's left-right axis.

    The table still moves along z, so successive slices slide over each other. This is how scanners state
    it: ImageOrientationPatient turns, and ImagePositionPatient moves along z alone.
    """
    angle = np.radians(degrees)
    across = np.array([1.0, 0.0, 0.0])
    down = np.array([0.0, np.cos(angle), -np.sin(angle)])
    height, width = (scan.rows - 1) * scan.spacing[0], (scan.columns - 1) * scan.spacing[1]
    positions = -down * height / 2 - across * width / 2 + np.outer(scan.positions[:, 2], [0, 0, 1])
    return replace(scan, positions=positions, orientation=np.concatenate([across, down]))


def oblique(scan: Scan, nod: float, turn: float) -> Scan:
    """The whole stack turned in the patient: ``nod`` degrees about x, then ``turn`` degrees about z."""
    a, b = np.radians([nod, turn])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    rotation = about_z @ about_x
    orientation = (rotation @ scan.orientation.reshape(2, 3).T).T.ravel()
    return replace(scan, positions=scan.positions @ rotation.T, orientation=orientation)


def turned(
    affine: Floats, shape: tuple[int, int, int], axes: tuple[int, ...], signs: tuple[int, ...]
) -> Scan:
    """The same box of the patient cut along other axes, in other directions."""
    permuted = affine[:, [*axes, 3]].copy()
    new_shape = (shape[axes[0]], shape[axes[1]], shape[axes[2]])
    for axis, sign in enumerate(signs):
        if sign < 0:
            permuted[:3, 3] += permuted[:3, axis] * (new_shape[axis] - 1)
            permuted[:3, axis] *= -1
    return regular(permuted, new_shape)
