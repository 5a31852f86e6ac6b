"""A cheap look at a dozen slices: is it a head, and is there contrast in it? Names and tags can lie.

Shifted arrays do all the work: starting an image library takes longer than the whole look.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvo.dicom.pixels import Hu, decode_many
from lvo.dicom.stacks import Group

_SLICES = 14
_RANGE_MM = 170.0
_PIXEL_MM = 1.0
_BRAIN_HU = (-20, 110)
_BONE_HU = 250
_BRAIN_CM2 = (40.0, 280.0)
_RINGED = 0.65
"""Share of the brain's edge that must have bone behind it; less than 1 for craniectomies and foramina."""
_CONTRAST_HU = (150, 500)
_VESSEL_MM2 = 3.0
_CALCIUM_HU, _RIM_MM = 700, 1.5
"""Denser than any artery; and how far from it its own blurred rim reaches."""
_MIN_BRAIN_SLICES = 3
_HAIR_MM = 1e-5
"""Steps outwards stop this short of their reach, steps inwards do not: a pixel just there stays out."""

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.intp]
Spacing = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Probe:
    """What the pixels say.

    Attributes
    ----------
    head : at least three of the slices show brain within a ring of bone.
    contrast_cm2 : area per slice of 150 to 500 HU inside the brain and away from its edge, averaged over
        the second to the fourth highest slice (a calcification lies on one slice, arteries on many).
    lumen_hu : how bright that is: the upper fifth of its values begins here. Highest at the arterial peak,
        because the bolus thins out on its way to the veins; 0 where nothing is lit.
    decoded : whether any slice could be decoded.
    """

    head: bool
    contrast_cm2: float
    lumen_hu: float
    decoded: bool


def probe(group: Group) -> Probe:
    """Decode slices spread over the upper part of a stack and measure them."""
    depths = group.depths
    if depths[-1] < depths[0]:
        depths = -depths
    targets = np.linspace(max(depths[0], depths[-1] - _RANGE_MM), depths[-1], _SLICES)
    chosen = sorted({int(np.argmin(np.abs(depths - t))) for t in targets})
    array, report = decode_many([group.instances[n] for n in chosen])
    kept = [n for n in range(len(chosen)) if n not in report.failed]
    spacing = group.first.pixel_spacing or (1.0, 1.0)
    lit = [found for n in kept if (found := lumen(array[n], spacing)) is not None]
    if len(lit) < _MIN_BRAIN_SLICES:
        return Probe(head=False, contrast_cm2=0.0, lumen_hu=0.0, decoded=bool(kept))
    areas = sorted(one.area_cm2 for one in lit)
    values = np.concatenate([one.hu for one in lit])
    bright = float(np.percentile(values, 80)) if len(values) else 0.0
    return Probe(head=True, contrast_cm2=float(np.mean(areas[-4:-1])), lumen_hu=bright, decoded=True)


@dataclass(frozen=True, slots=True)
class Lumen:
    """Lit vessels inside the brain on one slice: their area, and the HU of their pixels."""

    area_cm2: float
    hu: npt.NDArray[np.float32]


def lumen(hu: Hu, pixel_spacing: Spacing) -> Lumen | None:
    """Lit vessels inside the brain on one axial slice, or None where there is no brain.

    Parameters
    ----------
    hu : shape (rows, columns)
    pixel_spacing : (row, column) in mm
    """
    image, spacing = _coarse(hu, pixel_spacing)
    image = _within_bone(image)
    brain = _brain(image, spacing)
    if brain is None:
        return None
    # Vessels are holes and bays of the brain; bone at its edge is kept out by the last step inwards.
    whole = _filled(_near(brain, 4.0 - _HAIR_MM, spacing))
    inside = ~_near(~whole, 4.0 + 3.0, spacing)
    lit = inside & (image >= _CONTRAST_HU[0]) & (image <= _CONTRAST_HU[1])
    pixel_mm2 = spacing[0] * spacing[1]
    if lit.any():
        labels = _components(lit)
        lit &= np.bincount(labels.ravel())[labels] >= round(_VESSEL_MM2 / pixel_mm2)
        # The rim of a bone that the slice cuts as an island, or of calcium in the falx, is no vessel.
        rims = np.unique(labels[lit & _near(inside & (image > _CALCIUM_HU), _RIM_MM, spacing)])
        lit &= ~np.isin(labels, rims)
    return Lumen(float(lit.sum()) * pixel_mm2 / 100, image[lit])


def _brain(image: Image, spacing: Spacing) -> Mask | None:
    """The largest soft-tissue region, if it has the size of a brain and lies within a ring of bone."""
    if image.size == 0:
        return None
    # Noise of 25 HU and more would riddle the brain with holes; the median closes them.
    soft = _most(image > _BRAIN_HU[0]) & _most(image < _BRAIN_HU[1])
    # Cut thin bridges (foramina, orbits) before asking what hangs together.
    core = ~_near(~soft, 2.5, spacing)
    pixel_cm2 = spacing[0] * spacing[1] / 100
    if float(core.sum()) * pixel_cm2 < _BRAIN_CM2[0] / 2:
        return None
    labels = _components(core)
    largest = labels == np.bincount(labels[core]).argmax()
    brain = _filled(_near(largest, 2.5 - _HAIR_MM, spacing))
    if not _BRAIN_CM2[0] <= float(brain.sum()) * pixel_cm2 <= _BRAIN_CM2[1]:
        return None
    pixel = max(spacing)
    edge = _near(brain, 1.5 * pixel, spacing) & ~brain
    behind = _near(image > _BONE_HU, 4.0 + pixel, spacing)[edge]
    return brain if behind.size and float(behind.mean()) >= _RINGED else None


def _coarse(hu: Hu, spacing: Spacing) -> tuple[Image, Spacing]:
    """Mean over blocks of about 1 mm, which takes the noise of sharp kernels down."""
    by = max(1, round(_PIXEL_MM / spacing[0]))
    bx = max(1, round(_PIXEL_MM / spacing[1]))
    rows, columns = hu.shape[0] // by * by, hu.shape[1] // bx * bx
    lines = hu[:rows, :columns].reshape(rows // by, by, columns).sum(axis=1, dtype=np.float32)
    blocks = np.zeros((rows // by, columns // bx), np.float32)
    for x in range(bx):
        blocks += lines[:, x::bx]
    blocks /= by * bx
    return blocks, (spacing[0] * by, spacing[1] * bx)


def _within_bone(image: Image) -> Image:
    """The part of the slice that bone encloses, framed by air: the skull is a small part of a wide field."""
    bone = image > _BONE_HU
    if not bone.any():
        return image[:0, :0]
    rows, columns = np.flatnonzero(bone.any(axis=1)), np.flatnonzero(bone.any(axis=0))
    part = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.pad(part, 2, constant_values=-1000.0)


def _most(mask: Mask) -> Mask:
    """Whether most of the nine pixels in and around each one are set; beyond the border none is."""
    count = np.pad(mask, 1).astype(np.uint8)
    count = count[:-2] + count[1:-1] + count[2:]
    return np.asarray(count[:, :-2] + count[:, 1:-1] + count[:, 2:] > 4)


def _near(mask: Mask, reach: float, spacing: Spacing) -> Mask:
    """Pixels whose middle is at most `reach` (mm) from the middle of a pixel of the mask."""
    rows, columns = mask.shape
    reach += 1e-6  # a distance of just that is near, however it is rounded
    heights = np.arange(min(rows, int(reach / spacing[0]) + 1))
    widths = np.minimum(np.sqrt(reach**2 - (heights * spacing[0]) ** 2) // spacing[1], columns - 1)
    near, wide = mask.copy(), mask.copy()
    # The disc is laid down line by line, the shortest lines (those farthest up and down) first.
    for width in range(int(widths[0]) + 1):
        wide[:, width:] |= mask[:, : columns - width]
        wide[:, : columns - width] |= mask[:, width:]
        for height in heights[widths == width]:
            near[height:] |= wide[: rows - height]
            near[: rows - height] |= wide[height:]
    return near


def _filled(mask: Mask) -> Mask:
    """The mask and its holes: what does not hang together with a frame drawn round the image."""
    labels = _components(np.pad(~mask, 1, constant_values=True))
    return np.asarray(labels != labels[0, 0])[1:-1, 1:-1]


def _components(mask: Mask) -> Labels:
    """A number for each region whose pixels hang together by their sides; 0 outside the mask.

    Pixels that follow each other in a row are a run. Runs that touch take the lower number until all agree.
    """
    before = np.zeros_like(mask)
    before[:, 1:] = mask[:, :-1]
    runs = np.cumsum(mask & ~before).reshape(mask.shape) * mask
    touch = mask[1:] & mask[:-1]
    touch[:, 1:] &= ~touch[:, :-1]
    above, below = runs[:-1][touch], runs[1:][touch]
    lowest = np.arange(runs.max(initial=0) + 1)
    while True:
        one, other = lowest[above], lowest[below]
        if np.array_equal(one, other):
            return np.asarray(lowest[runs])
        np.minimum.at(lowest, np.maximum(one, other), np.minimum(one, other))
        while (lowest[lowest] != lowest).any():
            lowest = lowest[lowest]
