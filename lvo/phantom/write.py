"""Write synthetic volumes as legal CT Image Storage instances.

The geometry of the affine goes into ImagePositionPatient and ImageOrientationPatient as it is, so a
sheared affine becomes a gantry tilt and a permuted or mirrored one becomes a rotated or reversed stack.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import DSfloat

from lvo.study import Affine, Volume

RESCALE_INTERCEPT = -1024
_IMPLEMENTATION = "2.25.202611220001"
_RAW = {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian}
_DEFLATED = UID("1.2.840.10008.1.2.1.99")


def uid_from(*parts: object) -> str:
    """A DICOM UID that depends only on its parts (a name-based UUID under the 2.25 root)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, '/'.join(map(str, parts))).int}"


@dataclass(frozen=True, slots=True)
class StudyIdentity:
    """Who and when of a synthetic study. Dates are ``YYYYMMDD``, times ``HHMMSS``."""

    patient_id: str
    patient_name: str
    study_instance_uid: str
    frame_of_reference_uid: str
    study_date: str = "20260101"
    study_time: str = "080000"
    acquisition_time: str = "080500"
    study_description: str = "SYNTHETIC CODE STROKE"

    @classmethod
    def from_seed(cls, seed: object, **times: str) -> StudyIdentity:
        """An identity that depends only on the seed and is plainly synthetic."""
        study = uid_from("study", seed)
        return cls(
            patient_id=f"PHANTOM-{int(study.removeprefix('2.25.')) % 10**8:08d}",
            patient_name=f"PHANTOM^{seed}",
            study_instance_uid=study,
            frame_of_reference_uid=uid_from("frame", seed),
            **times,
        )


def write_series(
    folder: Path,
    volume: Volume,
    *,
    identity: StudyIdentity,
    series_number: int,
    description: str,
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL"),
    kernel: str = "H30f",
    kvp: float = 120.0,
    slice_thickness_mm: float | None = None,
    contrast_agent: str | None = None,
    body_part: str = "HEAD",
    transfer_syntax: str = ExplicitVRLittleEndian,
    seed: object = 0,
) -> tuple[str, ...]:
    """Write one volume as one CT series, one file for each slice along the first array axis.

    Parameters
    ----------
    folder : Path
        Created where missing. File names are ``<series number>-<instance number>.dcm``.
    volume : Volume
        HU in ``(z, y, x)`` order; any affine (permuted, mirrored, sheared by a tilt).
    slice_thickness_mm : float, optional
        What the header says; by default the distance between slices along their normal.
    contrast_agent : str, optional
        Written as Contrast/Bolus Agent where given.
    transfer_syntax : UID
        JPEG-LS and JPEG 2000 need the encoders of the extra ``cases``.
    seed : object
        Together with the study, series number and slice it determines every UID.

    Returns
    -------
    tuple of str
        SOP Instance UIDs in the order of the slices.
    """
    if slice_thickness_mm is None:
        slice_thickness_mm = _slice_distance(volume.affine)
    template = _template(
        identity,
        series_number,
        description,
        image_type,
        uid_from(identity.study_instance_uid, series_number, seed),
    )
    template.ConvolutionKernel = kernel
    template.KVP = _ds(kvp)
    template.SliceThickness = _ds(slice_thickness_mm)
    template.BodyPartExamined = body_part
    if contrast_agent is not None:
        template.ContrastBolusAgent = contrast_agent
    return _write_slices(Path(folder), template, volume.array, volume.affine, UID(transfer_syntax))


def write_topogram(
    folder: Path,
    volume: Volume,
    *,
    identity: StudyIdentity,
    series_number: int = 1,
    description: str = "Topogram",
    lateral: bool = False,
    series_instance_uid: str | None = None,
    seed: object = 0,
) -> tuple[str, ...]:
    """Write the frontal (or lateral) projection of a volume as a LOCALIZER image.

    ``series_instance_uid`` puts it inside another series, as some scanners do.
    """
    uid = series_instance_uid or uid_from(identity.study_instance_uid, series_number, seed, "topogram")
    image_type = ("ORIGINAL", "PRIMARY", "LOCALIZER")
    template = _template(identity, series_number, description, image_type, uid)
    template.KVP = _ds(120.0)
    template.SliceThickness = _ds(1.0)
    template.ConvolutionKernel = "T20f"
    template.BodyPartExamined = "HEAD"
    pixels, affine = _project(volume, lateral)
    return _write_slices(Path(folder), template, pixels, affine, ExplicitVRLittleEndian, prefix="topogram-")


def _project(volume: Volume, lateral: bool) -> tuple[npt.NDArray[np.float32], Affine]:
    """One projection image as (1, rows, columns) in HU, rows from head to feet, and its affine."""
    axes = volume.affine[:3, :3]
    # Array axis of each LPS direction: the assignment of the largest cosines.
    cosines = np.abs(axes / np.linalg.norm(axes, axis=0))
    along_z = int(np.argmax(cosines[2]))
    depth_direction, across_direction = (0, 1) if lateral else (1, 0)
    rest = [a for a in range(3) if a != along_z]
    along_depth = max(rest, key=lambda a: cosines[depth_direction, a])
    along_columns = next(a for a in rest if a != along_depth)
    order = (along_depth, along_z, along_columns)
    array = np.transpose(volume.array, order)
    affine = np.eye(4)
    affine[:3, :3] = axes[:, order]
    affine[:3, 3] = volume.affine[:3, 3]
    affine[:3, 3] += affine[:3, 0] * (array.shape[0] - 1) / 2
    for axis, direction, wanted in ((1, 2, -1.0), (2, across_direction, 1.0)):
        if affine[direction, axis] * wanted < 0:
            array = np.flip(array, axis)
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
    mean = array.mean(axis=0, dtype=np.float32)[None]
    return np.asarray(mean, dtype=np.float32), affine


def _template(
    identity: StudyIdentity,
    series_number: int,
    description: str,
    image_type: tuple[str, ...],
    series_uid: str,
) -> Dataset:
    """Everything the instances of a series share, save what depends on the pixels."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = list(image_type)
    ds.SOPClassUID = CTImageStorage
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = identity.study_date
    ds.StudyTime = identity.study_time
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = identity.acquisition_time
    ds.AccessionNumber = ""
    ds.Modality = "CT"
    ds.Manufacturer = "SYNTHETIC"
    ds.ManufacturerModelName = "lvo phantom"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = identity.study_description
    ds.SeriesDescription = description
    ds.PatientName = identity.patient_name
    ds.PatientID = identity.patient_id
    ds.PatientBirthDate = ""
    ds.PatientSex = "O"
    ds.PatientPosition = "HFS"
    ds.StudyInstanceUID = identity.study_instance_uid
    ds.SeriesInstanceUID = series_uid
    ds.StudyID = "1"
    ds.SeriesNumber = series_number
    ds.AcquisitionNumber = 1
    ds.FrameOfReferenceUID = identity.frame_of_reference_uid
    ds.PositionReferenceIndicator = ""
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelRepresentation = 1
    ds.BurnedInAnnotation = "NO"
    ds.RescaleIntercept = _ds(RESCALE_INTERCEPT)
    ds.RescaleSlope = _ds(1)
    ds.RescaleType = "HU"
    return ds


def _write_slices(
    folder: Path,
    template: Dataset,
    array: npt.NDArray[np.generic],
    affine: Affine,
    syntax: UID,
    prefix: str = "",
) -> tuple[str, ...]:
    """Write every slice; only the tags that differ between slices are set anew."""
    folder.mkdir(parents=True, exist_ok=True)
    row_step, column_step = affine[:3, 1], affine[:3, 2]
    spacing = float(np.linalg.norm(row_step)), float(np.linalg.norm(column_step))
    template.ImageOrientationPatient = [_ds(v) for v in (*column_step / spacing[1], *row_step / spacing[0])]
    template.PixelSpacing = [_ds(v) for v in spacing]
    template.Rows, template.Columns = array.shape[1:]
    template = _encoded(template) if syntax == ExplicitVRLittleEndian else template
    uids = []
    for number, (position, stored) in enumerate(_stored_slices(array, affine), start=1):
        uid = uid_from(template.SeriesInstanceUID, prefix, number)
        template.SOPInstanceUID = uid
        template.InstanceNumber = number
        template.ImagePositionPatient = [_ds(v) for v in position]
        path = folder / f"{prefix}{int(template.SeriesNumber):03d}-{number:05d}.dcm"
        _save(template, stored, path, syntax)
        uids.append(uid)
    return tuple(uids)


def _encoded(template: Dataset) -> Dataset:
    """The same data set with its elements as bytes: they are written many times and encoded once."""
    buffer = BytesIO()
    dcmwrite(buffer, template, implicit_vr=False, little_endian=True)
    buffer.seek(0)
    return dcmread(buffer, force=True)


def _stored_slices(
    array: npt.NDArray[np.generic], affine: Affine
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.int16]]]:
    limits = np.iinfo(np.int16)
    for k, plane in enumerate(array):
        stored = np.clip(np.rint(plane.astype(np.float32)) - RESCALE_INTERCEPT, limits.min, limits.max)
        yield affine[:3, 0] * k + affine[:3, 3], stored.astype(np.int16)


def _save(template: Dataset, stored: npt.NDArray[np.int16], path: Path, syntax: UID) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = template.SOPInstanceUID
    meta.ImplementationClassUID = UID(_IMPLEMENTATION)
    meta.TransferSyntaxUID = syntax
    little = syntax != ExplicitVRBigEndian
    if syntax in _RAW or syntax == _DEFLATED:
        template.file_meta = meta
        template.PixelData = stored.astype("<i2" if little else ">i2").tobytes()
        template["PixelData"].VR = "OW"
        template.save_as(path, enforce_file_format=True)
        return
    compressed = deepcopy(template)
    compressed.file_meta = meta
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    compressed.compress(syntax, stored, generate_instance_uid=False)
    compressed.save_as(path, enforce_file_format=True)


def _slice_distance(affine: Affine) -> float:
    normal = np.cross(affine[:3, 2], affine[:3, 1])
    return float(abs(affine[:3, 0] @ normal) / np.linalg.norm(normal))


def _ds(value: float) -> DSfloat:
    """A decimal string of at most 16 characters."""
    return DSfloat(float(value) + 0.0, auto_format=True)  # no minus zero
