"""A released model on disk: weights, exports, preprocessing, calibration, thresholds, parity cases.

A bundle is a folder::

    configs/metadata.json   what it is, its calibration and thresholds
    models/vessels.onnx     the network for ONNX Runtime
    models/vessels.safetensors   the same weights for torch
    models/tissue.onnx      the network that looks at the brain, for ONNX Runtime
    models/tissue.safetensors    the same weights for torch
    models/reader.safetensors    the second stage, which reads what both say
    models/pose.onnx        the head-pose network
    parity/cases.npz        inputs and the answers they must give
    docs/README.md          the model card
    SHA256SUMS              every file above but the model card; its own hash is the bundle's digest

Nothing in it is executed: no pickle, no configuration that is evaluated.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lvo.anatomy import Segment
from lvo.errors import BundleInvalid

CHECKSUMS = "SHA256SUMS"
_MODEL_VARIABLE = "LVO_MODEL"
_DEFAULT = "lao-cta"
_ROOMS = ("configs", "models", "parity")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkConfig(_Strict):
    """Size of the vessel network; what it sees and says is fixed."""

    filters: int = 16
    blocks_down: tuple[int, ...] = (1, 1, 2, 2)
    blocks_up: tuple[int, ...] = (1, 1, 1)


class Calibration(_Strict):
    """Logit p = ``slope`` × logit + ``offset`` (Platt 1999), fitted on patients that trained nothing."""

    slope: float = 1.0
    offset: float = 0.0


class Metadata(_Strict):
    """``configs/metadata.json``.

    Attributes
    ----------
    mirrored_view : whether the network is also shown the mirrored image, and the mean is read.
    study, thrombectomy, sites : calibration of the study's two answers and of each segment's.
    study_threshold, thrombectomy_threshold : calibrated probability of any occlusion, and of one for which
        thrombectomy is established, from either of which a study is `suspected`.
    site_thresholds : by segment, from which a further site is listed beside the first.
    operating_point : what the thresholds were set for, in words.
    equivocal_margin : log odds on either side of the thresholds within which an answer is `equivocal`.
    novelty_unusual, novelty_strange : novelty (`Reader.novelty`) from which an image is cautioned about, and
        refused.
    """

    name: str
    version: str
    intended_use: str
    trained_on: str
    input_format: str
    network: NetworkConfig
    mirrored_view: bool = True
    study: Calibration
    thrombectomy: Calibration
    sites: dict[Segment, Calibration]
    study_threshold: float
    thrombectomy_threshold: float
    site_thresholds: dict[Segment, float]
    operating_point: str
    equivocal_margin: float
    novelty_unusual: float
    novelty_strange: float


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose files were found to be what they were when it was released."""

    path: Path
    metadata: Metadata
    digest: str

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.metadata.name

    @property
    def version(self) -> str:
        """Its semantic version."""
        return self.metadata.version

    @property
    def intended_use(self) -> str:
        """What it may be used for, and what it was trained on, in words."""
        return self.metadata.intended_use

    @property
    def pose_path(self) -> Path:
        """The head-pose network."""
        return self.path / "models" / "pose.onnx"


def load_bundle(path: Path | None = None) -> Bundle:
    """Open a bundle and check every file against its checksum.

    Parameters
    ----------
    path : the bundle's folder; None takes ``$LVO_MODEL``, then the one released with this software.

    Raises
    ------
    BundleInvalid
        A file is missing, was altered or is not listed, or the metadata does not fit this software.
    """
    folder = path or default_path()
    try:
        listing = (folder / CHECKSUMS).read_text(encoding="utf-8")
        expected = {name: digest for digest, name in (line.split("  ", 1) for line in listing.splitlines())}
    except (OSError, ValueError) as error:
        raise BundleInvalid(f"({folder} has no readable {CHECKSUMS})") from error
    for name, digest in expected.items():
        file = folder / name
        if not file.is_file() or _sha256(file) != digest:
            raise BundleInvalid(f"({name} in {folder} is missing or altered)")
    for file in (p for room in _ROOMS for p in (folder / room).rglob("*") if p.is_file()):
        if file.relative_to(folder).as_posix() not in expected:
            raise BundleInvalid(
                f"({file.relative_to(folder).as_posix()} in {folder} is not listed in {CHECKSUMS})"
            )
    try:
        metadata = Metadata.model_validate(json.loads((folder / "configs/metadata.json").read_text("utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise BundleInvalid(f"(configs/metadata.json in {folder} cannot be used: {error})") from error
    return Bundle(folder, metadata, hashlib.sha256(listing.encode()).hexdigest())


def seal(folder: Path) -> str:
    """Write the checksums of a finished bundle; returns its digest.

    The model card is left out: it quotes what was measured with this very digest.
    """
    files = sorted(p for room in _ROOMS for p in (folder / room).rglob("*") if p.is_file())
    listing = "".join(f"{_sha256(p)}  {p.relative_to(folder).as_posix()}\n" for p in files)
    (folder / CHECKSUMS).write_text(listing, encoding="utf-8")
    return hashlib.sha256(listing.encode()).hexdigest()


def default_path() -> Path:
    """The bundle named by ``$LVO_MODEL``, else the released one in a checkout or an installed package."""
    named = os.environ.get(_MODEL_VARIABLE)
    if named:
        return Path(named)
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "models" / _DEFAULT
    return checkout if checkout.is_dir() else package / "_models" / _DEFAULT


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
