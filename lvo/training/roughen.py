"""Training patients made less like phantoms: what a phantom has too regular is disturbed before it is imaged.

A network that sees only phantoms comes to rely on what all of them share: bone that keeps its distance from
the arteries, calibres that change smoothly, twigs everywhere, tissue with sharp edges. Real heads beside a
real arterial tree have none of this. Each disturbance is drawn by itself for every patient, is wider than
life, and leaves what the labels say true.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from torch.nn import functional

from lvo.phantom.image import Lattice, Tubes
from lvo.phantom.paint import paint
from lvo.phantom.scanner.kernels import blur
from lvo.phantom.vessels.tree import STEP_MM, Branch

Array = npt.NDArray[np.float64]
Span = tuple[float, float]
_KNOTS = (5, 6, 7)
"""Places (z, y, x) between which tissue is shifted smoothly: every 24 mm of the box."""
_CORNERS = (2, 2, 2)
"""The same for the head as a whole: its shift, tilt and stretch."""
_BEAD_MM = 3.0
"""Standard deviation of the smoothing of calibre noise along a vessel."""
_IN_BONE = frozenset({"ICA-I", "V4", "VA", "ophthalmic"})
_CORTICAL = frozenset({"M2", "M3", "M4", "A3", "P3"})
_STEM_MM = 1.0
"""Head-frame radius from which on a cortical branch is a trunk, which everybody has."""
_BONE_HU, _SOFT_HU = 120.0, (25.0, 65.0)


class RoughRanges(BaseModel):
    """How far patients are disturbed; with `chance` 0 they are what the phantom draws.

    Attributes
    ----------
    chance : of each disturbance by itself, in every patient.
    shift_mm : standard deviation of the shift of tissue against vessels, along each axis.
    slip_mm : the same of the head as a whole, at the corners of the box: arteries lie elsewhere in it.
    blur_mm : standard deviation of a blur of tissue alone: heads of thick slices, or the mean of many heads.
    canal_mm : soft tissue round the arteries in bone, where it was bone; the phantom has 0.9 mm.
    calibre_sd : standard deviation of the logarithm of an artery's radius along its course.
    thinnest_mm : head-frame radius below which open arteries end.
    absent : chance of every open cortical branch to be missing with all that it feeds. They leave the middle
        cerebral artery singly or by common stems (Umansky et al. 1984), in the phantom nearly always alike.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    chance: float = Field(default=0.0, ge=0, le=1)
    shift_mm: Span = (0.5, 3.0)
    slip_mm: Span = (1.0, 6.0)
    blur_mm: Span = (0.5, 3.5)
    canal_mm: Span = (0.9, 4.5)
    calibre_sd: Span = (0.05, 0.3)
    thinnest_mm: Span = (0.3, 0.8)
    absent: Span = (0.1, 0.6)


@dataclass(frozen=True, slots=True, eq=False)
class Roughness:
    """One patient's draw.

    Attributes
    ----------
    shift, slip : (3, *_KNOTS) and (3, *_CORNERS) mm along the box's x, y, z.
    blur_mm, canal_mm, thinnest_mm, absent : as in `RoughRanges`; 0 for none.
    canal_hu : of the soft tissue round arteries in bone.
    calibre_sd : 0 leaves radii alone.
    seed : of the calibres, and of which branches are missing.
    """

    shift: Array
    slip: Array
    blur_mm: float
    canal_mm: float
    canal_hu: float
    calibre_sd: float
    thinnest_mm: float
    absent: float
    seed: int


def draw_roughness(rng: np.random.Generator, ranges: RoughRanges) -> Roughness:
    """How one patient is disturbed."""
    drawn = {
        name: float(rng.uniform(*getattr(ranges, name))) * float(rng.random() < ranges.chance)
        for name in ("shift_mm", "slip_mm", "blur_mm", "canal_mm", "calibre_sd", "thinnest_mm", "absent")
    }
    return Roughness(
        shift=rng.normal(0, 1, (3, *_KNOTS)) * drawn.pop("shift_mm"),
        slip=rng.normal(0, 1, (3, *_CORNERS)) * drawn.pop("slip_mm"),
        canal_hu=float(rng.uniform(*_SOFT_HU)),
        seed=int(rng.integers(2**31)),
        **drawn,
    )


def roughen_tissue(hu: Tensor, lattice: Lattice, arteries: tuple[Branch, ...], rough: Roughness) -> None:
    """Shift and blur tissue, and widen the canals of arteries in bone; in place, before vessels are drawn.

    Parameters
    ----------
    hu : (z, y, x) on a lattice whose axes are the box's.
    """
    if rough.shift.any() or rough.slip.any():
        hu[:] = _shifted(hu, lattice, rough.shift, rough.slip)
    if rough.blur_mm:
        z, y, x = lattice.steps.tolist()
        blur(hu, (z, y, x), (rough.blur_mm,) * 3)
    if rough.canal_mm:
        chosen = [b for b in arteries if b.structure in _IN_BONE]
        edge = float(np.hypot(1.0, lattice.steps.mean()))
        found = paint(chosen, lattice.affine, lattice.shape, hu.device, edge_mm=edge, widen_mm=rough.canal_mm)
        flat = hu.view(-1)
        was = flat[found.voxel]
        soft = was + found.share * (rough.canal_hu - was)
        flat[found.voxel] = torch.where(was > _BONE_HU, soft, was)


def roughen_arteries(lumina: Tubes, rough: Roughness) -> Tubes:
    """Make calibres uneven, leave cortical branches out, and end open arteries where they become too thin.

    A clot, its branch up to it, and the branches that it blocks stay.
    """
    rng = np.random.default_rng(rough.seed)
    missing = _missing(lumina, rough)
    kept: list[Branch] = []
    chosen = np.zeros(len(lumina.clot), bool)
    start = 0
    for b, gone in zip(lumina.arteries, missing, strict=True):
        count = len(b.points)
        own = slice(start, start + count)
        start += count
        radius = b.radius
        if rough.calibre_sd:
            radius = radius * np.exp(rough.calibre_sd * _beads(rng, count))
        stay = (b.radius >= rough.thinnest_mm) | lumina.clot[own]
        end = int(np.flatnonzero(stay)[-1]) + 1 if stay.any() else 0
        if end < 2 or gone:
            continue
        chosen[own.start : own.start + end] = True
        kept.append(replace(b, points=b.points[:end], radius=radius[:end]))
    return replace(
        lumina,
        arteries=tuple(kept),
        artery_hu=lumina.artery_hu[chosen],
        fill=lumina.fill[chosen],
        clot=lumina.clot[chosen],
    )


def _missing(lumina: Tubes, rough: Roughness) -> list[bool]:
    """Which branches are left out: neither on the way to a clot nor beyond one."""
    rng = np.random.default_rng([rough.seed, 1])
    bounds = np.cumsum([len(b.points) for b in lumina.arteries])[:-1]
    clotted = [bool(part.any()) for part in np.split(lumina.clot, bounds)]
    leads, beyond = list(clotted), list(clotted)
    for n, b in reversed(list(enumerate(lumina.arteries))):
        if b.parent >= 0:
            leads[b.parent] |= leads[n]
    gone: list[bool] = []
    for n, b in enumerate(lumina.arteries):
        beyond[n] |= b.parent >= 0 and beyond[b.parent]
        orphan = b.parent >= 0 and gone[b.parent]
        thin = b.structure in _CORTICAL and b.radius[0] < _STEM_MM
        gone.append(orphan or (bool(rng.random() < rough.absent) and thin and not leads[n] and not beyond[n]))
    return gone


def _beads(rng: np.random.Generator, count: int) -> Array:
    """Smooth noise along a vessel, of variance 1."""
    sigma = _BEAD_MM / STEP_MM
    noise = gaussian_filter1d(rng.normal(0, 1, count), sigma, mode="reflect")
    return np.asarray(noise * np.sqrt(2 * sigma * np.sqrt(np.pi)))


def _shifted(hu: Tensor, lattice: Lattice, *shifts: Array) -> Tensor:
    """Tissue moved by the sum of shifts, each (3, z, y, x) between places spread evenly over the box."""
    size = tuple(lattice.shape)
    moved = torch.zeros((3, *size), device=hu.device)
    for shift in shifts:
        knots = torch.from_numpy(shift.astype(np.float32)).to(hu.device)[None]
        moved += functional.interpolate(knots, size, mode="trilinear", align_corners=True)[0]
    axes = [torch.linspace(-1, 1, n, device=hu.device) for n in size]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    half = [0.5 * (n - 1) * float(s) for n, s in zip(size, lattice.steps, strict=True)]
    where = torch.stack([x + moved[0] / half[2], y + moved[1] / half[1], z + moved[2] / half[0]], -1)
    return functional.grid_sample(hu[None, None], where[None], padding_mode="border", align_corners=True)[
        0, 0
    ]
