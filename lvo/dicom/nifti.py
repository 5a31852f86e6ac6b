"""One volume as a NIfTI-1 file.

Written by hand because the libraries that do it take longer to import than the file takes to write, or copy
the volume first; the tests read it back with two of them.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lvo.errors import OutputUnwritable
from lvo.study import Affine, Volume

_HEADER_BYTES = 352
_TYPES = {"int16": (4, 16), "float32": (16, 32)}
_SCANNER, _MM = 1, 2
_LEAST_SINE = 2e-3
"""A stack that leans less is one whose positions are rounded: readers that know no shear may take it as
upright. ITK, for one, does not open such a file without a quaternion."""


Put = Callable[[int, npt.NDArray[Any]], None]


def write_nifti(path: Path, volume: Volume) -> None:
    """Write a volume.

    Parameters
    ----------
    volume : int16 or float32, (z, y, x), HU

    Raises
    ------
    OutputUnwritable
        The disk is full, or the folder cannot be written.
    """
    array = volume.array
    with nifti_slices(path, array.shape, array.dtype, volume.affine) as put:
        for k, plane in enumerate(array):
            put(k, plane)


@contextmanager
def nifti_slices(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], affine: Affine) -> Iterator[Put]:
    """Write a volume slice by slice, in any order, from several threads.

    A volume that goes straight to the disk needs no memory of its own, and fresh memory is what costs most.

    Parameters
    ----------
    shape : voxels along (z, y, x)
    dtype : int16 or float32
    affine : index (k, j, i) to LPS mm

    Yields
    ------
    function of the slice's index and its HU, shape (y, x)

    Raises
    ------
    OutputUnwritable
        The disk is full, or the folder cannot be written. Nothing is left of the file.
    """
    size = shape[1] * shape[2] * dtype.itemsize
    try:
        with path.open("wb", buffering=0) as stream:
            handle = stream.fileno()

            def put(k: int, plane: npt.NDArray[Any]) -> None:
                # C order of (z, y, x) is NIfTI's order: x runs fastest.
                data = np.ascontiguousarray(plane, dtype=dtype).data.cast("B")
                if os.pwrite(handle, data, _HEADER_BYTES + k * size) != size:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            os.pwrite(handle, _header(shape, dtype, affine), 0)
            yield put
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OutputUnwritable(f"({error.strerror})") from error


def ras_affine(affine: Affine) -> Affine:
    """Index (i, j, k) to RAS mm, from index (k, j, i) to LPS mm."""
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine[:, [2, 1, 0, 3]])


def _header(shape: tuple[int, ...], dtype: np.dtype[Any], affine: Affine) -> bytes:
    """The 348 bytes of the NIfTI-1 standard (nifti1.h, 2007), and four that say: no extensions."""
    z, y, x = shape
    code, bits = _TYPES[dtype.name]
    matrix = ras_affine(affine)
    size = np.linalg.norm(matrix[:3, :3], axis=0)
    cosines = matrix[:3, :3] / size
    upright = bool(np.abs(cosines.T @ cosines - np.eye(3)).max() < _LEAST_SINE)
    handed = 1.0 if np.linalg.det(cosines) > 0 else -1.0
    header = bytearray(_HEADER_BYTES)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, x, y, z, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, code, bits)
    struct.pack_into("<8f", header, 76, handed, *size, 1, 1, 1, 1)
    struct.pack_into("<3f", header, 108, _HEADER_BYTES, 1.0, 0.0)
    struct.pack_into("<B", header, 123, _MM)
    struct.pack_into("<80s", header, 148, b"CT in Hounsfield units. Research use only.")
    struct.pack_into("<2h", header, 252, _SCANNER if upright else 0, _SCANNER)
    struct.pack_into("<3f", header, 256, *_quaternion(cosines * [1, 1, handed])[1:])
    struct.pack_into("<3f", header, 268, *matrix[:3, 3])
    struct.pack_into("<12f", header, 280, *matrix[:3].ravel())
    struct.pack_into("<4s", header, 344, b"n+1\0")
    return bytes(header)


def _quaternion(rotation: npt.NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Unit quaternion (a, b, c, d), a >= 0, of a rotation matrix (Bar-Itzhack, JGCD 2000;23:1085)."""
    r = rotation
    k = np.array(
        [
            [r[0, 0] + r[1, 1] + r[2, 2], 0, 0, 0],
            [r[2, 1] - r[1, 2], r[0, 0] - r[1, 1] - r[2, 2], 0, 0],
            [r[0, 2] - r[2, 0], r[0, 1] + r[1, 0], r[1, 1] - r[0, 0] - r[2, 2], 0],
            [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[2, 2] - r[0, 0] - r[1, 1]],
        ]
    )
    q = np.linalg.eigh(k, UPLO="L")[1][:, -1]
    a, b, c, d = (float(v) for v in (q if q[0] >= 0 else -q))
    return a, b, c, d
