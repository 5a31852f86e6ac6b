"""What a composed patient is made of: a real head in HU and a real arterial tree, read from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from lvo.dicom import read_study
from lvo.errors import PathNotFound
from lvo.study import HeadPose, Volume

Framer = Callable[[Volume], HeadPose]


class AnatomyUnusable(ValueError):
    """A head or tree from which no patient can be composed; the message says what is missing."""


def read_nifti(path: Path) -> Volume:
    """A NIfTI image in LPS mm, whatever its orientation on file.

    Raises
    ------
    PathNotFound
        There is no such file.
    AnatomyUnusable
        It is no three-dimensional image.
    """
    if not path.is_file():
        raise PathNotFound(str(path))
    try:
        image = sitk.ReadImage(str(path), sitk.sitkFloat32)
    except RuntimeError as error:
        raise AnatomyUnusable(f"{path.name} cannot be read as an image") from error
    if image.GetDimension() != 3:
        raise AnatomyUnusable(f"{path.name} has {image.GetDimension()} dimensions, not 3")
    affine = np.eye(4)
    steps = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, :3] = steps[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return Volume(sitk.GetArrayFromImage(image), affine)


def read_head(path: Path) -> Volume:
    """A head CT in HU: a NIfTI file, or a folder of DICOM.

    Raises
    ------
    PathNotFound
        There is no such file or folder.
    AnatomyUnusable
        The folder has no unenhanced head CT, or the file is not in HU.
    """
    if path.is_dir():
        found = read_study(path)
        if found.ncct is None:
            said = "; ".join(r.message for r in found.reasons)
            raise AnatomyUnusable(f"{path} has no unenhanced head CT. {said}".strip())
        return found.ncct
    volume = read_nifti(path)
    if volume.array.min() > -500:
        raise AnatomyUnusable(f"{path.name} has no air below -500 HU, so it is no CT in HU")
    return volume


def pose_of(volume: Volume, framer: Framer, name: str) -> HeadPose:
    """The head's pose.

    Raises
    ------
    AnatomyUnusable
        The pose is not to be trusted.
    """
    pose = framer(volume)
    if not pose.accepted:
        raise AnatomyUnusable(
            f"no head was found in {name}: residual {pose.residual_mm:.1f} mm, support {pose.support:.2f}"
        )
    return pose
