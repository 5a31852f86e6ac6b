"""One exception tree. Every leaf has a stable reason code and its docstring is its message."""

from __future__ import annotations

import inspect
from typing import ClassVar


class LvoError(Exception):
    """The study could not be processed."""

    code: ClassVar[str] = "error"

    def __init__(self, detail: str = "") -> None:
        self.detail = detail
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The docstring of the class, on one line, followed by what is particular to this case."""
        text = " ".join(inspect.cleandoc(type(self).__doc__ or "").split())
        return f"{text} {self.detail}".strip()


class UsageError(LvoError):
    """The request cannot be carried out as given."""

    code = "usage"


class PathNotFound(UsageError):
    """There is no such file or folder; check the path."""

    code = "path-not-found"


class OutputUnwritable(UsageError):
    """The output folder cannot be written; name another with --out."""

    code = "output-unwritable"


class BundleInvalid(LvoError):
    """The model bundle is missing, incomplete or altered; reinstall it or name another with --model."""

    code = "model-bundle-invalid"


class DeviceUnavailable(UsageError):
    """The requested device is not available here; use --device cpu."""

    code = "device-unavailable"


class NotAnalysable(LvoError):
    """The study cannot be analysed; read it by eye now."""

    code = "not-analysable"


class NoDicom(NotAnalysable):
    """No DICOM file was found; give the folder that holds the study's DICOM files."""

    code = "no-dicom"


class NoCt(NotAnalysable):
    """The study holds no CT image; send the CT angiogram."""

    code = "no-ct"


class MixedPatients(NotAnalysable):
    """The files belong to more than one patient or study; send one study at a time."""

    code = "mixed-studies"


class NoSuitableSeries(NotAnalysable):
    """No CT series is a thin axial stack of the head; send the thin soft-tissue CTA series."""

    code = "no-suitable-series"


class SlicesMissing(NotAnalysable):
    """Slices are missing from the series where the vessels are; send the complete series again."""

    code = "slices-missing"


class PixelsUnreadable(NotAnalysable):
    """Pixel data of the series cannot be decoded; send the series again, uncompressed if possible."""

    code = "pixels-unreadable"


class NotAHead(NotAnalysable):
    """No head was found in the series; check the body part and send the head CTA."""

    code = "not-a-head"


class PoseFailed(NotAnalysable):
    """The position of the head could not be determined with confidence."""

    code = "pose-failed"


class CoverageIncomplete(NotAnalysable):
    """The circle of Willis is not fully covered by the scan."""

    code = "coverage-incomplete"


class NoArterialContrast(NotAnalysable):
    """There is no arterial contrast in the head: a non-contrast scan, or the bolus was missed."""

    code = "no-arterial-contrast"


class InternalFault(LvoError):
    """A fault inside the software stopped the analysis; read the study by eye now and report the fault."""

    code = "internal-fault"


class ConfigInvalid(UsageError):
    """The settings file does not fit; correct the keys named here."""

    code = "config-invalid"


class CheckpointInvalid(LvoError):
    """There is no usable checkpoint to resume from; start without --resume, or in another folder."""

    code = "checkpoint-invalid"


class TrainingDiverged(LvoError):
    """The loss is no longer a number; resume from the last checkpoint with a lower learning rate."""

    code = "training-diverged"


class TruthInvalid(UsageError):
    """The truth table or a result beside it cannot be used; correct what is named here."""

    code = "truth-invalid"
