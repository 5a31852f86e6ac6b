"""Smooth differences of shape between one head and the canonical one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
_KNOT = 40.0
_LOW = np.array([-280.0, -280.0, -480.0])
_HIGH = np.array([280.0, 280.0, 240.0])


@dataclass(frozen=True, slots=True)
class Deformation:
    """A smooth map between one head and the canonical one.

    Canonical position of head point p: ``(p - shift) / stretch + s(p)``, with s a cubic B-spline of
    40 mm knots.

    Attributes
    ----------
    stretch : float64, shape (3,), size of this head along x, y, z relative to the canonical head.
    shift : float64, shape (3,), mm.
    knots : float64, shape (kz, ky, kx, 3), displacement coefficients (x, y, z), mm.
    """

    stretch: F64
    shift: F64
    knots: F64

    def on_grid(self, z: F64, y: F64, x: F64) -> F32:
        """Canonical (x, y, z) of every grid point, float32, shape (3, z, y, x)."""
        basis = [
            _basis((c - _LOW[a]) / _KNOT, n)
            for c, a, n in zip((z, y, x), (2, 1, 0), self.knots.shape[:3], strict=True)
        ]
        field = np.einsum("kz,zyxc->kyxc", basis[0], self.knots, optimize=True)
        field = np.einsum("jy,kyxc->kjxc", basis[1], field, optimize=True)
        out = np.einsum("ix,kjxc->ckji", basis[2].astype(np.float32), field.astype(np.float32), optimize=True)
        for axis, c in enumerate((x, y, z)):
            shape = [1, 1, 1]
            shape[2 - axis] = -1
            out[axis] += ((c - self.shift[axis]) / self.stretch[axis]).astype(np.float32).reshape(shape)
        return np.ascontiguousarray(out)

    def to_canonical(self, points: npt.ArrayLike) -> F64:
        """Canonical positions of head points, shape (n, 3), mm."""
        p = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        at = ((p - _LOW) / _KNOT + 1.0).T[::-1]  # the spline of knot n is centred on index n
        moved = np.stack(
            [
                ndimage.map_coordinates(self.knots[..., c], at, order=3, prefilter=False, mode="nearest")
                for c in range(3)
            ],
            axis=1,
        )
        canonical: F64 = (p - self.shift) / self.stretch + moved
        return canonical

    def from_canonical(self, points: npt.ArrayLike) -> F64:
        """Where canonical points lie in this head, shape (n, 3), mm; the inverse, to 0.01 mm."""
        target = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        p = target * self.stretch + self.shift
        for _ in range(12):
            step = (target - self.to_canonical(p)) * self.stretch
            p = p + step
            if len(step) == 0 or np.abs(step).max() < 0.005:
                break
        return p


def sample_deformation(
    rng: np.random.Generator, roughness_mm: float = 2.5, stretch: float = 0.06
) -> Deformation:
    """Draw anisotropic scaling of up to +-`stretch` and a smooth displacement of sd `roughness_mm`."""
    shape = np.ceil((_HIGH - _LOW) / _KNOT).astype(int)[::-1] + 4
    # A cubic B-spline of unit-variance coefficients has sd 0.35 on average in three dimensions.
    knots = rng.normal(0, roughness_mm / 0.35, (*shape, 3))
    limits = rng.uniform(-stretch, stretch, 3)
    return Deformation(1 + limits, np.zeros(3), knots)


def _basis(t: F64, count: int) -> F64:
    """Values of `count` uniform cubic B-splines at knot coordinates t, shape (len(t), count)."""
    t = np.clip(t, 0, count - 4 - 1e-6)
    first = np.floor(t).astype(int)
    f = t - first
    weights = np.stack(
        [(1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3], axis=1
    ) / 6  # fmt: skip
    out = np.zeros((len(t), count))
    np.put_along_axis(out, first[:, None] + np.arange(4), weights, axis=1)
    return out
