"""A cheap look at a dozen slices: is it a head, and is there contrast in it? Names and tags can lie."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

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
_MIN_BRAIN_SLICES = 3

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
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
    pixels = decode_many([group.instances[n] for n in chosen])
    kept = [n for n in range(len(chosen)) if n not in pixels.failed]
    spacing = group.first.pixel_spacing or (1.0, 1.0)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        lit = [values for values in pool.map(lambda n: lumen(pixels.array[n], spacing), kept) if values]
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
    whole = _filled(_distance(brain, spacing) < 4.0)
    inside = _distance(~whole, spacing) > 4.0 + 3.0
    lit = inside & (image >= _CONTRAST_HU[0]) & (image <= _CONTRAST_HU[1])
    pixel_mm2 = spacing[0] * spacing[1]
    labels = sitk.RelabelComponent(
        sitk.ConnectedComponent(_itk(lit)), minimumObjectSize=max(1, round(_VESSEL_MM2 / pixel_mm2))
    )
    kept = sitk.GetArrayFromImage(labels) > 0
    return Lumen(float(kept.sum()) * pixel_mm2 / 100, image[kept])


def _brain(image: Image, spacing: Spacing) -> Mask | None:
    """The largest soft-tissue region, if it has the size of a brain and lies within a ring of bone."""
    if image.size == 0:
        return None
    # Noise of 25 HU and more would riddle the brain with holes; the median closes them.
    calm = sitk.GetArrayFromImage(sitk.Median(sitk.GetImageFromArray(image), [1, 1]))
    soft = (calm > _BRAIN_HU[0]) & (calm < _BRAIN_HU[1])
    # Cut thin bridges (foramina, orbits) before asking what hangs together.
    core = _distance(~soft, spacing) > 2.5
    pixel_cm2 = spacing[0] * spacing[1] / 100
    if float(core.sum()) * pixel_cm2 < _BRAIN_CM2[0] / 2:
        return None
    labels = sitk.GetArrayFromImage(sitk.RelabelComponent(sitk.ConnectedComponent(_itk(core))))
    from_largest = _distance(labels == 1, spacing)
    brain = _filled(from_largest < 2.5)
    if not _BRAIN_CM2[0] <= float(brain.sum()) * pixel_cm2 <= _BRAIN_CM2[1]:
        return None
    bone = image > _BONE_HU
    pixel = max(spacing)
    outwards = _distance(brain, spacing)
    edge = (outwards > 0) & (outwards <= 1.5 * pixel)
    ringed = float((_distance(bone, spacing)[edge] <= 4.0 + pixel).mean())
    return brain if ringed >= _RINGED else None


def _coarse(hu: Hu, spacing: Spacing) -> tuple[Image, Spacing]:
    """Mean over blocks of about 1 mm, which takes the noise of sharp kernels down."""
    by = max(1, round(_PIXEL_MM / spacing[0]))
    bx = max(1, round(_PIXEL_MM / spacing[1]))
    rows, columns = hu.shape[0] // by * by, hu.shape[1] // bx * bx
    blocks = hu[:rows, :columns].reshape(rows // by, by, columns // bx, bx)
    return blocks.mean(axis=(1, 3), dtype=np.float32), (spacing[0] * by, spacing[1] * bx)


def _within_bone(image: Image) -> Image:
    """The part of the slice that bone encloses, framed by air: the skull is a small part of a wide field."""
    bone = image > _BONE_HU
    if not bone.any():
        return image[:0, :0]
    rows, columns = np.flatnonzero(bone.any(axis=1)), np.flatnonzero(bone.any(axis=0))
    part = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.pad(part, 2, constant_values=-1000.0)


def _itk(mask: Mask) -> sitk.Image:
    return sitk.GetImageFromArray(mask.astype(np.uint8))


def _filled(mask: Mask) -> Mask:
    return np.asarray(sitk.GetArrayFromImage(sitk.BinaryFillhole(_itk(mask))) > 0)


def _distance(mask: Mask, spacing: Spacing) -> Image:
    """Distance to the nearest pixel of the mask, mm; zero or negative inside it."""
    image = _itk(mask)
    image.SetSpacing((spacing[1], spacing[0]))
    distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return np.asarray(sitk.GetArrayFromImage(distance), dtype=np.float32)
