"""Image a patient on a lattice: HU as a scanner would measure them, and the truth in the same voxels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from lvo.anatomy import SITES
from lvo.phantom.head import HeadModel
from lvo.phantom.patient import Patient
from lvo.phantom.tree import STEP_MM, Branch

F32 = npt.NDArray[np.float32]
Affine = npt.NDArray[np.float64]

OTHER_ARTERY = len(SITES) + 1
VEIN = len(SITES) + 2
SITE_INDEX = {site: i + 1 for i, site in enumerate(SITES)}
"""Label of every reportable site in `Truth.vessel`; 0 is background."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """Where voxels are: affine maps array index (k, j, i) to head-frame mm, orthogonal axes."""

    affine: Affine
    shape: tuple[int, int, int]

    def local(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Fractional array indices (k, j, i) of head-frame points, (n, 3)."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(points @ inverse[:3, :3].T + inverse[:3, 3])

    @property
    def steps(self) -> npt.NDArray[np.float64]:
        """Head-frame mm per voxel along (z, y, x) array axes."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))


@dataclass(frozen=True, slots=True)
class Truth:
    """What is in every voxel, arrays (z, y, x).

    Attributes
    ----------
    cover : share of the voxel that is vessel lumen, 0 to 1.
    vessel : uint8, SITE_INDEX of the vessel with the largest share, OTHER_ARTERY, VEIN or 0.
    fill : share of arterial contrast in it, 0 to 1 (1 outside arteries).
    clot : True where the lumen is clot.
    """

    cover: F32
    vessel: npt.NDArray[np.uint8]
    fill: F32
    clot: npt.NDArray[np.bool_]


def image_patient(
    patient: Patient,
    lattice: Lattice,
    rng: np.random.Generator,
    *,
    contrast: bool = True,
    psf_mm: float = 0.8,
    noise_hu: float = 12.0,
    noise_grain_mm: float = 0.8,
) -> tuple[F32, Truth]:
    """HU and truth of a CTA (or, without contrast, an NCCT) on a lattice.

    Parameters
    ----------
    psf_mm : width over which a vessel's edge is blurred, besides the voxel itself.
    noise_hu, noise_grain_mm : standard deviation of the noise and its correlation length.

    Returns
    -------
    hu : float32, shape ``lattice.shape``
    truth : in the same voxels
    """
    hu = tissue_on(patient.head, lattice)
    truth = _draw_vessels(patient, lattice, hu, contrast=contrast, psf_mm=psf_mm)
    for cover, value in _stamps(
        patient.plaque.points, patient.plaque.radius, patient.plaque.hu, lattice, psf_mm
    ):
        box, share = cover
        hu[box] += share * (value - hu[box])
    add_noise(hu, rng, noise_hu, noise_grain_mm / lattice.steps)
    return hu, truth


def tissue_on(head: HeadModel, lattice: Lattice, channel: F32 | None = None, fill: float = -1000.0) -> F32:
    """The head's unenhanced HU (or another of its maps) on a lattice, trilinear."""
    source = head.hu if channel is None else channel
    to_source = np.linalg.inv(head.affine) @ lattice.affine  # lattice index -> source index, (k, j, i) order
    flip = np.eye(3)[::-1]
    image = sitk.GetImageFromArray(source)
    move = sitk.AffineTransform(3)
    move.SetMatrix((flip @ to_source[:3, :3] @ flip).ravel().tolist())
    move.SetTranslation((flip @ to_source[:3, 3]).tolist())
    size = [int(n) for n in lattice.shape[::-1]]
    out = sitk.Resample(
        image, size, move, sitk.sitkLinear, (0, 0, 0), (1, 1, 1), np.eye(3).ravel().tolist(), fill
    )
    return sitk.GetArrayFromImage(out).astype(np.float32, copy=False)


def _draw_vessels(patient: Patient, lattice: Lattice, hu: F32, *, contrast: bool, psf_mm: float) -> Truth:
    """Paint veins, then arteries, into `hu` in place."""
    shape = lattice.shape
    cover, fill = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    vessel, clot = np.zeros(shape, np.uint8), np.zeros(shape, bool)
    lumen = np.zeros(shape, np.float32)
    bolus = patient.bolus
    for b in patient.veins.branches:
        level = bolus.cavernous if b.name == "cavernous sinus" else bolus.vein
        value = np.full(len(b.points), level if contrast else bolus.blood + 8)
        for box, won, pick, share in _strokes(b, lattice, psf_mm, cover):
            cover[box][won], lumen[box][won], vessel[box][won] = share, value[pick], VEIN
    for b, filled, blocked in zip(
        patient.arteries.branches, patient.flow.fill, patient.flow.clot, strict=True
    ):
        label = SITE_INDEX[b.segment, b.side] if b.segment is not None else OTHER_ARTERY
        lit = bolus.artery if contrast else bolus.blood
        value = np.where(blocked, patient.clot_hu, bolus.blood + filled * (lit - bolus.blood))
        for box, won, pick, share in _strokes(b, lattice, psf_mm, cover):
            cover[box][won], lumen[box][won], vessel[box][won] = share, value[pick], label
            fill[box][won], clot[box][won] = filled[pick], blocked[pick]
    hu += cover * (lumen - hu)
    return Truth(cover, vessel, fill, clot)


Box = tuple[slice, slice, slice]


def _strokes(
    b: Branch, lattice: Lattice, psf_mm: float, cover: F32
) -> Iterator[tuple[Box, npt.NDArray[np.bool_], npt.NDArray[np.intp], F32]]:
    """Paint one tube in pieces: (box, voxels it wins there, nearest point of each, their share)."""
    index = lattice.local(b.points)
    steps = lattice.steps
    edge = np.hypot(psf_mm, float(steps.mean()))
    reach = (b.radius.max() + edge) / steps
    piece = max(8, int(24 * steps.mean()))
    stride = max(1, int(steps.mean() / STEP_MM))  # a coarse lattice needs no finer centreline
    for first in range(0, len(index), piece):
        part = slice(first, min(first + piece, len(index)))
        low = np.maximum(np.floor(index[part].min(0) - reach), 0).astype(int)
        high = np.minimum(np.ceil(index[part].max(0) + reach) + 1, lattice.shape).astype(int)
        if (high <= low).any():
            continue
        box: Box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
        axes = [np.arange(a, z, dtype=np.float32) for a, z in zip(low, high, strict=True)]
        best = np.zeros(tuple(high - low), np.float32)
        pick = np.zeros(best.shape, np.intp)
        for n in range(part.start, part.stop, stride):
            d = [((a - c) * s) ** 2 for a, c, s in zip(axes, index[n], steps, strict=True)]
            near = [np.flatnonzero(q < (b.radius[n] + edge) ** 2) for q in d]
            if min(map(len, near)) == 0:
                continue
            sub = tuple(slice(q[0], q[-1] + 1) for q in near)
            square = d[0][sub[0], None, None] + d[1][None, sub[1], None] + d[2][None, None, sub[2]]
            share = np.clip((b.radius[n] - np.sqrt(square)) / edge + 0.5, 0, 1) * min(
                1.0, 2.2 * b.radius[n] / edge
            )
            better = share > best[sub]
            best[sub][better] = share[better]
            pick[sub][better] = n
        won = best > cover[box]
        yield box, won, pick[won], best[won]


def _stamps(
    points: npt.NDArray[np.float64],
    radius: npt.NDArray[np.float64],
    hu: npt.NDArray[np.float64],
    lattice: Lattice,
    psf_mm: float,
) -> Iterator[tuple[tuple[Box, F32], float]]:
    """Small balls: ((box, share of each voxel), HU)."""
    steps = lattice.steps
    edge = float(np.hypot(psf_mm, steps.mean()))
    for c, r, value in zip(lattice.local(points), radius, hu, strict=True):
        reach = (r + edge) / steps
        low = np.maximum(np.floor(c - reach), 0).astype(int)
        high = np.minimum(np.ceil(c + reach) + 1, lattice.shape).astype(int)
        if (high <= low).any():
            continue
        grid = np.ix_(*(np.arange(a, z) for a, z in zip(low, high, strict=True)))
        square = sum(((g - m) * s) ** 2 for g, m, s in zip(grid, c, steps, strict=True))
        share = np.clip((r - np.sqrt(square)) / edge + 0.5, 0, 1).astype(np.float32)
        yield ((slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])), share), float(value)


_NOISE = np.random.default_rng(20261122).normal(size=(72, 288, 288)).astype(np.float32)


def add_noise(hu: F32, rng: np.random.Generator, sd: float, grain: npt.NDArray[np.float64]) -> None:
    """Add correlated noise in place; `grain` is its correlation length in voxels along (z, y, x).

    A fixed block is smoothed, shifted, flipped and tiled: fresh noise for 600 slices of 512² costs
    more than the rest of the scan.
    """
    size = [min(n, 2 * m) for n, m in zip(_NOISE.shape, hu.shape, strict=True)]
    block = _NOISE[tuple(slice(0, n) for n in size)]
    block = ndimage.gaussian_filter(block, np.minimum(grain, 4) / 2.355 * 1.2, mode="wrap", truncate=2.5)
    block *= sd / block.std()
    block = np.roll(block, tuple(int(v) for v in rng.integers(0, 72, 3)), (0, 1, 2))
    for k in range(0, hu.shape[0], block.shape[0]):
        for j in range(0, hu.shape[1], block.shape[1]):
            for i in range(0, hu.shape[2], block.shape[2]):
                part = hu[k : k + block.shape[0], j : j + block.shape[1], i : i + block.shape[2]]
                signs = rng.choice([-1, 1], 3)
                part += block[:: signs[0], :: signs[1], :: signs[2]][tuple(slice(0, n) for n in part.shape)]
