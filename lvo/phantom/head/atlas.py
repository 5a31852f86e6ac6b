"""SPM's tissue probability map, read from the ``spm-runtime`` package where it is installed.

The map is GPL-2 data and no part of this software. It serves the making of synthetic heads only: nothing
that analyses a study needs it.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

SPM_RUNTIME = "spm-runtime==25.1.2.post4"
CLASSES = ("grey", "white", "csf", "bone", "soft", "air")
SELLA_MNI = (0.0, 2.0, -33.0)
_ARCHIVE = Path("_spm") / "_spm.ctf"
_MEMBER = "fsroot/_spm/cleaned/spm/tpm/TPM.nii"
_NIFTI_FLOAT32 = 16


class AtlasMissing(RuntimeError):
    """The head atlas is not installed: ``pip install --no-deps spm-runtime==25.1.2.post4``."""


@dataclass(frozen=True, slots=True, eq=False)
class Atlas:
    """Tissue probabilities of an average head, in the head frame.

    Attributes
    ----------
    probability : float32, shape (6, z, y, x), in the order of `CLASSES`, summing to 1 at every voxel.
    affine : float64, shape (4, 4), array index (k, j, i) to head-frame (x, y, z), mm.
    bone_depth : float32, shape (z, y, x): mm inside the average bone, 0 outside it.
    skin_depth : float32, shape (z, y, x): mm from the nearest air, 0 in air.
    """

    probability: npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64]
    bone_depth: npt.NDArray[np.float32]
    skin_depth: npt.NDArray[np.float32]

    @property
    def bottom(self) -> float:
        """Head-frame z of the lowest slice, mm."""
        return float(self.affine[2, 3])


def atlas_path() -> Path | None:
    """The archive inside the installed package, found without importing it; None where it is absent."""
    spec = importlib.util.find_spec("spm_runtime")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / _ARCHIVE
        if path.is_file():
            return path
    return None


@functools.lru_cache(maxsize=1)
def load_atlas() -> Atlas:
    """Read the map from the installed package and bring it to the head frame.

    Returns
    -------
    Atlas

    Raises
    ------
    AtlasMissing
        When the package is not installed or holds no such map.

    Notes
    -----
    Ashburner J, Friston KJ. Unified segmentation. NeuroImage 2005;26:839-851; the map is ``TPM.nii`` of SPM.
    """
    path = atlas_path()
    if path is None:
        raise AtlasMissing(f"The head atlas is not installed. Run: pip install --no-deps {SPM_RUNTIME}")
    try:
        with zipfile.ZipFile(path) as archive:
            raw = archive.read(_MEMBER)
    except (KeyError, zipfile.BadZipFile) as error:
        raise AtlasMissing(
            f"The installed spm-runtime has no readable tissue map. Run: pip install --no-deps {SPM_RUNTIME}"
        ) from error
    values, mni = read_nifti_float32(raw)
    return _to_head_frame(values, mni)


def read_nifti_float32(raw: bytes) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Read a little-endian NIfTI-1 file of float32, the only kind the map comes in.

    Returns
    -------
    values : shape (t, z, y, x)
    affine : shape (4, 4), voxel (i, j, k) to RAS mm, from the sform.

    Raises
    ------
    AtlasMissing
        When the bytes are anything else.
    """
    if len(raw) < 352 or struct.unpack_from("<i", raw, 0)[0] != 348 or raw[344:347] != b"n+1":
        raise AtlasMissing("The tissue map is not a NIfTI-1 file.")
    dims = struct.unpack_from("<8h", raw, 40)
    datatype = struct.unpack_from("<h", raw, 70)[0]
    (offset,) = struct.unpack_from("<f", raw, 108)
    if datatype != _NIFTI_FLOAT32 or struct.unpack_from("<h", raw, 254)[0] <= 0:
        raise AtlasMissing("The tissue map is not float32 with an sform.")
    shape = dims[1:5]
    values = np.frombuffer(io.BytesIO(raw).getbuffer(), "<f4", int(np.prod(shape)), max(int(offset), 352))
    affine = np.eye(4)
    affine[:3] = np.array(struct.unpack_from("<12f", raw, 280)).reshape(3, 4)
    return values.reshape(shape[::-1]), affine


def _to_head_frame(values: npt.NDArray[np.float32], mni: npt.NDArray[np.float64]) -> Atlas:
    """Turn MNI RAS into the head frame: x_head = -x, y_head = -(y - 2), z_head = z + 33."""
    if len(values) != len(CLASSES) or np.abs(mni[:3, :3] - np.diag(np.diag(mni)[:3])).max() > 1e-3:
        raise AtlasMissing("The tissue map has not the six classes or the axes that are expected.")
    scale = np.diag(mni)[:3] * (-1, -1, 1)
    first = (mni[:3, 3] - np.array(SELLA_MNI)) * (-1, -1, 1)
    for axis in range(3):  # make every axis ascend in LPS
        if scale[axis] < 0:
            values = np.flip(values, axis=3 - axis)
            first[axis] += scale[axis] * (values.shape[3 - axis] - 1)
    scale = np.abs(scale)
    affine = np.zeros((4, 4))
    affine[0, 2], affine[1, 1], affine[2, 0] = scale
    affine[:3, 3], affine[3, 3] = first, 1.0
    probability = np.clip(values, 0, 1).astype(np.float32)
    probability /= np.maximum(probability.sum(axis=0, keepdims=True), 1e-6)
    sampling = tuple(scale[::-1])
    bone_depth = ndimage.distance_transform_edt(probability[3] > 0.45, sampling).astype(np.float32)
    skin_depth = ndimage.distance_transform_edt(probability[5] < 0.5, sampling).astype(np.float32)
    return Atlas(probability, affine, bone_depth, skin_depth)
