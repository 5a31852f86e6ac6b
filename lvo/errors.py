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


class GeometryInconsistent(NotAnalysable):
    """Slices lie beside each other as in no scan; the series is damaged, send it again from the scanner."""

    code = "geometry-inconsistent"


class PassesMixed(NotAnalysable):
    """Several passes over the same places lie in one series and nothing tells them apart; send one phase."""

    code = "passes-mixed"


class SeriesTooLarge(NotAnalysable):
    """The series is larger than can be held in memory; send the thin head CTA alone."""

    code = "series-too-large"


class TooManyFiles(NotAnalysable):
    """The folder holds more files than any study; send one study at a time."""

    code = "too-many-files"


class SlicesTooThick(NotAnalysable):
    """The slices are too thick to follow the arteries; send the thin CTA series."""

    code = "slices-too-thick"


class LossyBeyondUse(NotAnalysable):
    """The images were compressed with too much loss; send the original series."""

    code = "lossy-beyond-use"


class BurnedInPixels(NotAnalysable):
    """Text is burned into the images; send the original series."""

    code = "burned-in-pixels"


class NotHounsfield(NotAnalysable):
    """The values of the images are not Hounsfield units; send the plain CT series."""

    code = "not-hounsfield"


class UnderAge(NotAnalysable):
    """The patient is under 18; the software was made for adults."""

    code = "under-18"


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


class VenousPhase(NotAnalysable):
    """The scan was taken in the venous phase: the arteries have faded. Repeat it or read it by eye now."""

    code = "venous-phase"


class StrongMotion(NotAnalysable):
    """The patient moved during the scan; the arteries cannot be followed. Repeat it or read it by eye now."""

    code = "motion"


class MetalOverVessels(NotAnalysable):
    """Metal and its streaks hide the arteries of the circle of Willis; read the study by eye now."""

    code = "metal-over-vessels"


class OutOfDistribution(NotAnalysable):
    """The image is unlike anything the model was made for; read the study by eye now."""

    code = "out-of-distribution"


class InternalFault(LvoError):
    """A fault inside the software stopped the analysis; read the study by eye now and report the fault."""

    code = "internal-fault"


class ConfigInvalid(UsageError):
    """The settings file does not fit; correct the keys named here."""

    code = "config-invalid"


class CheckpointInvalid(LvoError):
    """There is no usable checkpoint to resume from; start without --resume, or in another folder."""

    code = "checkpoint-invalid"


class PhantomScoringFailed(LvoError):
    """Scoring of the phantoms stopped; run the command again to go on."""

    code = "phantom-scoring-failed"


class TrainingDiverged(LvoError):
    """The loss is no longer a number; resume from the last checkpoint with a lower learning rate."""

    code = "training-diverged"


class TruthInvalid(UsageError):
    """The truth table or a result beside it cannot be used; correct what is named here."""

    code = "truth-invalid"
