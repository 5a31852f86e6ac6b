"""A site's studies brought to the detector's box, by the same route as a study that is scored.

Boxes are kept in a folder, so that DICOM is read once. They are patients' images: the folder is made for its
owner alone, and nothing of it goes into a bundle.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from lvo.detector.evidence import EVIDENCE_GRID, blocks
from lvo.dicom import read_study
from lvo.errors import LvoError
from lvo.imaging.box import boxes_of, check_pose
from lvo.imaging.head_frame import HeadFramer
from lvo.imaging.resample import HEAD_BOX, points_to_head, to_head
from lvo.study import HeadPose, Study, Volume
from lvo.training.site_manifest import SiteOcclusion, SiteStudy

log = logging.getLogger(__name__)
_HU = (-1024, 3071)
_POINT_MM = 4.0


@dataclass(frozen=True, slots=True)
class Box:
    """A study as the detector sees it.

    Attributes
    ----------
    cta : int16 (128, 112, 144) HU on HEAD_BOX.
    ncct : int16 (64, 56, 72) HU, or None.
    pose : patient LPS to head frame.
    """

    cta: npt.NDArray[np.int16]
    ncct: npt.NDArray[np.int16] | None
    pose: HeadPose


def box_of(study: Study, framer: HeadFramer) -> Box | tuple[str, ...]:
    """The box of a decoded study, or the reason codes for which it cannot be analysed."""
    refused = tuple(r.code for r in study.reasons if r.kind == "rejection")
    cta = study.cta
    if cta is None or refused:
        return refused or ("no-suitable-series",)
    pose = framer(cta)
    if unsure := check_pose(pose):
        return tuple(r.code for r in unsure)
    boxes = boxes_of(study, cta, pose)
    if boxes.rejected:
        return tuple(r.code for r in boxes.reasons if r.kind == "rejection")
    plain = None if boxes.ncct is None else _whole(blocks(boxes.ncct).mean(axis=(1, 3, 5)))
    return Box(_whole(boxes.cta), plain, pose)


def read_box(study: SiteStudy, framer: HeadFramer, kept: Path, pose_model: str) -> Box | tuple[str, ...]:
    """The box of a study of the manifest, from the folder of kept ones where its files have not changed.

    Parameters
    ----------
    pose_model : digest of the framer's model.
    """
    path = kept / f"{_fingerprint(study.folder, pose_model)}.npz"
    if path.is_file():
        return _load(path)
    try:
        box = box_of(read_study(study.folder), framer)
    except LvoError as fault:
        box = (fault.code,)
    kept.mkdir(parents=True, exist_ok=True, mode=0o700)
    about: dict[str, Any] = {"refused": [], "pose": None}
    arrays: dict[str, Any] = {}
    if isinstance(box, Box):
        arrays = {"cta": box.cta} | ({} if box.ncct is None else {"ncct": box.ncct})
        about["pose"] = box.pose.model_dump(mode="json")
    else:
        about["refused"] = list(box)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)
    partial.rename(path)
    return box


def clot_in_box(occlusion: SiteOcclusion, pose: HeadPose) -> npt.NDArray[np.bool_]:
    """Where a clot may lie, (64, 56, 72): under its mask, or within 4 mm of its point."""
    found = np.zeros(EVIDENCE_GRID.shape, np.bool_)
    if occlusion.mask is not None:
        mask = to_head(_read_mask(occlusion.mask), pose, fill=0.0, smooth=False)
        return np.asarray(blocks(mask).max(axis=(1, 3, 5)) > 0.5)
    if occlusion.point is None:
        return found
    centre = points_to_head(pose, [occlusion.point])[0]
    k, j, i = np.indices(found.shape)
    # The head frame is canonical in size; 4 mm of a patient are 4 / scale there.
    reach = _POINT_MM / pose.scale
    away = np.stack([i, j, k], axis=-1) * EVIDENCE_GRID.spacing + EVIDENCE_GRID.origin - centre
    return np.asarray((away**2).sum(-1) <= reach**2)


def _read_mask(path: Path) -> Volume:
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    direction = np.asarray(image.GetDirection()).reshape(3, 3) * np.asarray(image.GetSpacing())
    affine[:3, :3], affine[:3, 3] = direction[:, ::-1], image.GetOrigin()
    array = (sitk.GetArrayFromImage(image) > 0).astype(np.float32)
    return Volume(array, affine)


def _whole(hu: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int16]:
    out: npt.NDArray[np.int16] = np.clip(np.rint(hu), *_HU).astype(np.int16)
    return out


def _load(path: Path) -> Box | tuple[str, ...]:
    with np.load(path, allow_pickle=False) as kept:
        about = json.loads(str(kept["about"]))
        if about["refused"]:
            return tuple(about["refused"])
        return Box(kept["cta"], kept.get("ncct"), HeadPose.model_validate(about["pose"]))


def _fingerprint(folder: Path, pose_model: str) -> str:
    """Of a study's place and files, without reading them."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    facts = [(str(p.relative_to(folder)), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    text = json.dumps([str(folder.resolve()), pose_model, str(HEAD_BOX), facts])
    return hashlib.sha256(text.encode()).hexdigest()[:24]
