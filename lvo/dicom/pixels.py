"""Pixel data to Hounsfield units, one image at a time, every image on its own."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lvo.dicom.codecs import READABLE, Stored, decode_frame
from lvo.dicom.elements import BIG_ENDIAN, DEFLATED, IMPLICIT, data_set_start, inflated
from lvo.dicom.instance import Instance

AIR_HU = -1024
MAX_SLICE_PIXELS = 4096 * 4096
_PADDING_IS_AIR_BELOW_HU = -900.0
_NATIVE = frozenset({IMPLICIT, BIG_ENDIAN, DEFLATED, "1.2.840.10008.1.2.1"})
_INT16 = np.iinfo(np.int16)

Hu = npt.NDArray[np.int16] | npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Report:
    """How decoding went.

    Attributes
    ----------
    failed : places of images that could not be decoded
    notes : what had to be done, and to how many images: ``high-bits-masked``, ``values-clipped``
    """

    failed: tuple[int, ...]
    notes: Counter[str]


def hu_type(instances: Iterable[Instance]) -> np.dtype[np.int16] | np.dtype[np.float32]:
    """What holds the HU of all images exactly: int16, or float32 where a rescale is not whole."""
    return np.dtype(np.int16) if all(map(_is_whole, instances)) else np.dtype(np.float32)


def decode_many(instances: Sequence[Instance], *, exact: bool = False) -> tuple[Hu, Report]:
    """Decode images of one matrix side by side.

    Parameters
    ----------
    exact : keep HU as they are: float32 where a rescale is not whole, and values below air. Otherwise they
        are rounded, and what is below air (-1024, filling outside the reconstruction circle) is air.

    Returns
    -------
    array : shape (images, rows, columns), HU; images that could not be decoded are air
    report : Report
    """
    first = instances[0]
    dtype = hu_type(instances) if exact else np.dtype(np.int16)
    array: Hu = np.empty((len(instances), first.rows or 0, first.columns or 0), dtype=dtype)

    def floor(place: int, plane: Hu) -> None:
        if not exact:
            np.maximum(plane, AIR_HU, out=plane)

    report = decode_each(instances, lambda place: array[place], floor)
    array[list(report.failed)] = AIR_HU
    return array, report


def decode_each(
    instances: Sequence[Instance], buffer: Callable[[int], Hu], done: Callable[[int, Hu], None]
) -> Report:
    """Decode images side by side, each into a buffer of its own, and hand it on.

    Parameters
    ----------
    buffer : gives the array, shape (rows, columns), into which the image at a place is decoded
    done : takes it, in any order and from several threads
    """

    def one(place: int) -> tuple[str, ...] | None:
        out = buffer(place)
        try:
            notes = decode_into(out, instances[place])
        except ValueError:
            return None
        done(place, out)
        return notes

    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        results = list(pool.map(one, range(len(instances))))
    failed = tuple(place for place, notes in enumerate(results) if notes is None)
    return Report(failed, Counter(note for notes in results for note in notes or ()))


def decode_hu(instance: Instance) -> Hu:
    """Decode one image with its own slope and intercept; padding is air (-1024).

    MONOCHROME1 is not inverted, because HU follow from the rescale alone (PS3.3 C.11.1).

    Returns
    -------
    int16 (float32 where the rescale is not whole), shape (rows, columns), HU

    Raises
    ------
    ValueError
        If the pixel data cannot be decoded or do not have the shape the header gives.
    """
    out: Hu = np.empty((instance.rows or 0, instance.columns or 0), dtype=hu_type((instance,)))
    decode_into(out, instance)
    return out


def decode_into(out: Hu, instance: Instance) -> tuple[str, ...]:
    """As `decode_hu`, into an array of the right shape; returns notes (see `Report`)."""
    try:
        raw, bits = _raw(instance)
    except Exception as error:  # every decoder has its own exceptions; callers need one
        raise ValueError(f"pixel data cannot be decoded: {type(error).__name__}") from error
    if raw.shape != out.shape:
        raise ValueError("pixel data do not have the shape the header gives")
    stored, notes = _significant(raw, bits, instance)
    padded = None
    if instance.padding is not None:
        # Both ways: some senders fill with values that do not fit into the bits they say are stored.
        padded = _padding_mask(raw.view(_signed(raw.dtype)) if instance.signed else raw, instance)
        padded = padded if stored is raw else padded | _padding_mask(stored, instance)
    if _rescale(stored, instance, out, padded):
        notes = (*notes, "values-clipped")
    if padded is not None:
        out[padded] = AIR_HU
    return notes


# ----------------------------------------------------------------------------- bytes to stored values


def _raw(instance: Instance) -> tuple[Stored, int]:
    """What is stored for each pixel, before its bits are interpreted, and how many of them count."""
    rows, columns, span = instance.rows or 0, instance.columns or 0, instance.pixels
    if span is None or not 0 < rows * columns <= MAX_SLICE_PIXELS or instance.samples != 1:
        raise ValueError("no pixel data of a grey-scale image")
    if instance.bits_allocated not in (8, 16, 32) or not 0 < instance.bits_stored <= instance.bits_allocated:
        raise ValueError("bits allocated and stored make no sense")
    with instance.path.open("rb", buffering=0) as stream:
        if instance.transfer_syntax in _NATIVE:
            return _native(stream, instance, rows, columns), instance.bits_stored
        if instance.transfer_syntax not in READABLE:
            raise ValueError("the transfer syntax is not supported")
        from pydicom.encaps import get_frame  # only where something is compressed: starting takes 0.2 s

        if instance.frames > 1:
            _check_offsets(stream, span.offset, instance.frames)
        stream.seek(span.offset)
        frame = get_frame(stream, instance.frame, number_of_frames=instance.frames)
    raw, bits = decode_frame(frame, instance.transfer_syntax, rows, columns, instance.bits_allocated)
    short = bits < instance.bits_stored and raw.dtype.kind == "u"
    if instance.signed and short and (raw >> (bits - 1)).any():
        # Either the header's sign or the codestream's precision is wrong: bone may be bone, or below air.
        raise ValueError("it cannot be known which compressed values are negative")
    return raw, min(bits, instance.bits_stored)


def _check_offsets(stream: io.FileIO, start: int, frames: int) -> None:
    """Refuse a table of frame offsets (PS3.5 annex A.4) that contradicts the order of the frames.

    Frames follow each other in the file; a table that says otherwise would put slices in each other's places.
    """
    stream.seek(start + 4)  # behind the tag of the item that holds the table
    length = int.from_bytes(stream.read(4), "little")
    if length == 0:
        return
    offsets = np.frombuffer(stream.read(min(length, 4 * frames)), "<u4").astype(np.int64)
    if length != 4 * frames or offsets[0] != 0 or (np.diff(offsets) <= 0).any():
        raise ValueError("the offsets of the frames are not in order")


def _native(stream: io.FileIO, instance: Instance, rows: int, columns: int) -> Stored:
    assert instance.pixels is not None  # _raw has checked
    size = instance.bits_allocated // 8
    kind = "i" if instance.signed else "u"
    order = ">" if instance.transfer_syntax == BIG_ENDIAN else "<"
    image = rows * columns * size
    # Rows or columns that do not fit the length would shear every line; one byte makes odd lengths even.
    if instance.pixels.length not in (whole := image * instance.frames, whole + 1):
        raise ValueError("the length of the pixel data does not fit the size the header gives")
    start = instance.pixels.offset + instance.frame * image
    if instance.transfer_syntax == DEFLATED:
        data = inflated(stream, data_set_start(stream))
        flat = np.frombuffer(data, f"{order}{kind}{size}", rows * columns, start)
        return flat.reshape(rows, columns)
    flat = np.empty(rows * columns, f"{order}{kind}{size}")
    stream.seek(start)
    if stream.readinto(flat.data.cast("B")) != image:
        raise ValueError("the file ends within the pixel data")
    return flat.astype(flat.dtype.newbyteorder("="), copy=False).reshape(rows, columns)


def _significant(raw: Stored, bits: int, instance: Instance) -> tuple[Stored, tuple[str, ...]]:
    """Stored values: the significant bits alone, with the sign of the pixels (PS3.5 section 8.1.1)."""
    signed = _signed(raw.dtype)
    size = raw.dtype.itemsize * 8
    if bits >= size:
        wanted = signed if instance.signed else np.dtype(f"u{raw.dtype.itemsize}")
        return raw.view(wanted), ()
    if instance.signed:
        stored: Stored = (raw.view(signed) << (size - bits)) >> (size - bits)
        # Sign bits carried upwards are as good as none.
        clean = raw.view(signed)
        changed = bool(((stored != clean) & (clean & ((1 << bits) - 1) != clean)).any())
    else:
        stored = raw.view(f"u{raw.dtype.itemsize}") & ((1 << bits) - 1)
        changed = bool((stored != raw).any())
    return stored, ("high-bits-masked",) if changed and not _codec_sign(raw, instance) else ()


def _codec_sign(raw: Stored, instance: Instance) -> bool:
    """Whether the sign bits are a codec's, which says nothing about the file."""
    return raw.dtype.kind == "i" and instance.transfer_syntax not in _NATIVE


def _signed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"i{dtype.itemsize}")


# ----------------------------------------------------------------------------- stored values to HU


def _is_whole(instance: Instance) -> bool:
    slope, intercept = _line(instance)
    return slope == int(slope) and intercept == int(intercept)


def _line(instance: Instance) -> tuple[float, float]:
    return (
        1.0 if instance.slope is None else instance.slope,
        0.0 if instance.intercept is None else instance.intercept,
    )


def _rescale(stored: Stored, instance: Instance, out: Hu, padded: Mask | None) -> bool:
    """Fill `out` with HU; returns whether values that are no padding had to be clipped to its range."""
    slope, intercept = _line(instance)
    if slope == 0:
        raise ValueError("the rescale slope is zero")
    if out.dtype == np.float32:
        out[...] = stored * np.float64(slope) + intercept
        return False
    real = stored if padded is None or padded.all() else stored[~padded]
    ends = sorted((int(real.min()) * slope + intercept, int(real.max()) * slope + intercept))
    fits = ends[0] >= _INT16.min and ends[1] <= _INT16.max
    if slope == 1 and fits and intercept == int(intercept) and abs(intercept) <= _INT16.max:
        # Arithmetic modulo 65536 gives the right answer, because the answer fits (padding is overwritten).
        out[...] = stored
        out += np.int16(int(intercept))
        return False
    hu = np.rint(stored * np.float64(slope) + intercept)
    out[...] = np.clip(hu, _INT16.min, _INT16.max)
    return not fits


def _padding_mask(stored: Stored, instance: Instance) -> Mask:
    assert instance.padding is not None  # decode_into has checked
    low, high = instance.padding
    slope, intercept = _line(instance)
    mask = np.asarray((stored >= low) & (stored <= high))
    if high * slope + intercept <= _PADDING_IS_AIR_BELOW_HU:
        return mask
    # A padding value that is also tissue (0 HU, say) is trusted only outside the patient.
    return _touching_border(mask)


def _touching_border(mask: Mask) -> Mask:
    if not mask.any():
        return mask
    import SimpleITK as sitk  # only here: starting takes 0.1 s

    # Padding joined by a frame of one pixel round the image is one component.
    framed = np.pad(mask, 1, constant_values=True)
    grown = sitk.ConnectedThreshold(sitk.GetImageFromArray(framed.astype(np.uint8)), [(0, 0)], 1, 1)
    return np.asarray(sitk.GetArrayFromImage(grown)[1:-1, 1:-1] > 0)
