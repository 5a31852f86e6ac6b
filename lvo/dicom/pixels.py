"""Pixel data to Hounsfield units, one image at a time, every image on its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import SimpleITK as sitk
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    RLELossless,
)

from lvo.dicom.headers import Instance

AIR_HU = -1024
_MAX_HU = 32767
_PADDING_IS_AIR_BELOW_HU = -900.0

Stored = npt.NDArray[np.integer[Any]]

# The order of decoders is fixed, and Pillow is in no list: it alters 16-bit JPEG 2000.
_OPENJPEG = {JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K}
_DECODER = dict.fromkeys(_OPENJPEG, "pylibjpeg") | {RLELossless: "pydicom"}


def decode_hu(instance: Instance) -> npt.NDArray[np.int16]:
    """Decode one image.

    Returns
    -------
    int16, shape (rows, columns), HU: rescaled with the image's own slope and intercept, padding and
    everything below air set to air (-1024). MONOCHROME1 is not inverted, because HU follow from the
    rescale alone.

    Raises
    ------
    ValueError
        If the pixel data cannot be decoded or do not have the shape the header gives.
    """
    try:
        stored = _stored(instance)
    except Exception as error:  # every decoder has its own exceptions; callers need one
        raise ValueError(f"pixel data cannot be decoded: {type(error).__name__}") from error
    if stored.shape != (instance.rows, instance.columns):
        raise ValueError("pixel data do not have the shape the header gives")
    padded = _padding_mask(stored, instance)
    if instance.slope == 1 and instance.intercept == int(instance.intercept):
        hu = stored.astype(np.int32) + int(instance.intercept)
    else:
        hu = np.rint(stored * np.float64(instance.slope) + instance.intercept).astype(np.int32)
    np.clip(hu, AIR_HU, _MAX_HU, out=hu)
    if padded is not None:
        hu[padded] = AIR_HU
    return hu.astype(np.int16)


def decode_many(
    instances: Sequence[Instance], *, workers: int | None = None
) -> tuple[npt.NDArray[np.int16], list[int]]:
    """Decode images of one matrix side by side.

    Returns
    -------
    array : int16, shape (number of images, rows, columns), HU
        Images that could not be decoded are air.
    failed : list of int
        Their places.
    """
    first = instances[0]
    array = np.full((len(instances), first.rows or 0, first.columns or 0), AIR_HU, dtype=np.int16)

    def fill(place: int) -> int | None:
        try:
            array[place] = decode_hu(instances[place])
        except ValueError:
            return place
        return None

    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        failed = [place for place in pool.map(fill, range(len(instances))) if place is not None]
    return array, failed


def _stored(instance: Instance) -> Stored:
    plugin = _DECODER.get(pydicom.uid.UID(instance.transfer_syntax), "")
    if not plugin and pydicom.uid.UID(instance.transfer_syntax).is_compressed:
        plugin = "gdcm"
    with instance.path.open("rb") as stream:
        if instance.transfer_syntax == DeflatedExplicitVRLittleEndian:
            ds = pydicom.dcmread(stream)
            return np.asarray(pixel_array(ds, raw=True, index=instance.frame))
        return np.asarray(pixel_array(stream, raw=True, index=instance.frame, decoding_plugin=plugin))


def _padding_mask(stored: Stored, instance: Instance) -> npt.NDArray[np.bool_] | None:
    if instance.padding is None:
        return None
    low, high = instance.padding
    mask = (stored >= low) & (stored <= high)
    if high * instance.slope + instance.intercept <= _PADDING_IS_AIR_BELOW_HU:
        return np.asarray(mask)
    # A padding value that is also tissue (0 HU, say) is trusted only outside the patient.
    return _touching_border(np.asarray(mask))


def _touching_border(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    if not mask.any():
        return mask
    # Padding joined by a frame of one pixel round the image is one component.
    framed = np.pad(mask, 1, constant_values=True)
    grown = sitk.ConnectedThreshold(sitk.GetImageFromArray(framed.astype(np.uint8)), [(0, 0)], 1, 1)
    return np.asarray(sitk.GetArrayFromImage(grown)[1:-1, 1:-1] > 0)
