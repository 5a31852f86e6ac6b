"""A cheap look at a dozen slices: is it a head, and is there contrast in it? Names and tags can lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from lvo.dicom.pixels import decode_many
from lvo.dicom.stacks import Group

_SLICES = 14
_RANGE_MM = 170.0
_PIXEL_MM = 1.0
_LEVELS_MM = (30.0, 105.0)
"""Below the vertex: from the Sylvian branches to the circle of Willis, above most of the skull base."""
_CONTRAST_HU = (150, 500)
_VESSEL_MM2 = 3.0

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Probe:
    """What the pixels say.

    Attributes
    ----------
    head : at least three slices have the size and the share of bone of a head.
    contrast_cm2 : mean area per slice of 150 to 500 HU inside the head and away from bone.
    decoded : whether any slice could be decoded.
    """

    head: bool
    contrast_cm2: float
    decoded: bool


def probe(group: Group) -> Probe:
    """Decode slices spread over the upper part of a stack and measure them."""
    depths = group.depths
    if depths[-1] < depths[0]:
        depths = -depths
    targets = np.linspace(max(depths[0], depths[-1] - _RANGE_MM), depths[-1], _SLICES)
    chosen = sorted({int(np.argmin(np.abs(depths - t))) for t in targets})
    array, failed = decode_many([group.instances[n] for n in chosen])
    kept = [n for n in range(len(chosen)) if n not in failed]
    if not kept:
        return Probe(head=False, contrast_cm2=0.0, decoded=False)
    spacing = group.first.pixel_spacing or (1.0, 1.0)
    looks = [_look(array[n], spacing, depths[chosen[n]]) for n in kept]
    skull = [look for look in looks if look.is_head]
    if len(skull) < 3:
        return Probe(head=False, contrast_cm2=_mean(looks), decoded=True)
    vertex = max(look.depth for look in looks if look.area_cm2 > 20)
    level = [s for s in skull if _LEVELS_MM[0] <= vertex - s.depth <= _LEVELS_MM[1]]
    return Probe(head=True, contrast_cm2=_mean(level or skull), decoded=True)


@dataclass(frozen=True, slots=True)
class _Look:
    depth: float
    area_cm2: float
    is_head: bool
    contrast_cm2: float


def _mean(looks: list[_Look]) -> float:
    return float(np.mean([look.contrast_cm2 for look in looks])) if looks else 0.0


def _look(hu: npt.NDArray[np.int16], spacing: tuple[float, float], depth: float) -> _Look:
    image, spacing = _coarse(hu, spacing)
    pixel_cm2 = spacing[0] * spacing[1] / 100
    body = _largest_filled(image > -300)
    area = float(body.sum()) * pixel_cm2
    if area < 20:
        return _Look(depth, area, False, 0.0)
    bone = float((image[body] > 300).mean())
    air = float((image[body] < -500).mean())
    is_head = 90 <= area <= 420 and bone >= 0.08 and air <= 0.2
    return _Look(depth, area, is_head, _contrast(image, body, spacing) if is_head else 0.0)


def _contrast(image: Image, body: Mask, spacing: tuple[float, float]) -> float:
    inside = _distance(~body, spacing) > 12.0
    dense = image > 700
    away = _distance(dense, spacing) > 3.5 if dense.any() else np.ones_like(body)
    lit = (image >= _CONTRAST_HU[0]) & (image <= _CONTRAST_HU[1]) & inside & away
    pixel_mm2 = spacing[0] * spacing[1]
    labels = sitk.RelabelComponent(
        sitk.ConnectedComponent(sitk.GetImageFromArray(lit.astype(np.uint8))),
        minimumObjectSize=max(1, round(_VESSEL_MM2 / pixel_mm2)),
    )
    return float((sitk.GetArrayFromImage(labels) > 0).sum()) * pixel_mm2 / 100


def _coarse(hu: npt.NDArray[np.int16], spacing: tuple[float, float]) -> tuple[Image, tuple[float, float]]:
    """Mean over blocks of about 1 mm, which takes the noise of sharp kernels down."""
    by = max(1, round(_PIXEL_MM / spacing[0]))
    bx = max(1, round(_PIXEL_MM / spacing[1]))
    rows, columns = hu.shape[0] // by * by, hu.shape[1] // bx * bx
    blocks = hu[:rows, :columns].reshape(rows // by, by, columns // bx, bx)
    return blocks.mean(axis=(1, 3), dtype=np.float32), (spacing[0] * by, spacing[1] * bx)


def _largest_filled(mask: Mask) -> Mask:
    # Opened, so that a head rest that touches the skin is no part of the head.
    opened = sitk.BinaryMorphologicalOpening(sitk.GetImageFromArray(mask.astype(np.uint8)), (1, 1))
    labels = sitk.RelabelComponent(sitk.ConnectedComponent(opened))
    return np.asarray(sitk.GetArrayFromImage(sitk.BinaryFillhole(labels == 1)) > 0)


def _distance(mask: Mask, spacing: tuple[float, float]) -> Image:
    """Distance to the nearest pixel of the mask, mm; negative or zero inside it."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing((spacing[1], spacing[0]))
    distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return np.asarray(sitk.GetArrayFromImage(distance), dtype=np.float32)
