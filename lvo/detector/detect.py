"""Head-box volumes in, located findings out, by whichever backend the site has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from lvo.anatomy import SITES, Segment, Side
from lvo.detector.bundle import Bundle, Metadata, load_bundle
from lvo.detector.cause import Cause, cause_of
from lvo.detector.evidence import EVIDENCE_GRID, MIRROR, Evidence, Tissue, locate, network_input
from lvo.detector.features import STARVED, site_features
from lvo.detector.reader import Answer, Reader, calibrated, load_reader
from lvo.errors import BundleInvalid, DeviceUnavailable, InternalFault
from lvo.imaging.resample import Grid
from lvo.study import FloatArray, Point

PARITY_TOLERANCE = {"fp32": 1e-3, "bf16": 1e-2, "fp16": 1e-2}
"""Largest difference of any probability from the bundle's stored answers, by precision."""
Doubt = Literal["none", "equivocal", "unusual", "strange"]
_BESIDE = 0.6
"""Share of the likeliest site's probability that a further finding has at least. On the reader's pool, out
of fold: 72 % of what is listed is right (56 % at a third), the first of the list in 81 % of studies (70 %),
and 85 % of the occluded sites are listed (89 %)."""
DEVICES = ("auto", "cpu", "torch-cpu", "cuda", "cuda-bf16", "cuda-fp16")
"""What `load_detector` may be asked for."""
Precision = Literal["fp32", "bf16", "fp16"]
_PRECISIONS: dict[str, Precision] = {"cuda-bf16": "bf16", "cuda-fp16": "fp16"}


class Backend(Protocol):
    """Runs the networks of a bundle."""

    name: str
    precision: Precision

    def __call__(self, inputs: dict[str, FloatArray]) -> FloatArray:
        """Logits of the vessel network, float32 (OUTPUTS, z, y, x)."""
        ...

    def tissue(self, inputs: dict[str, FloatArray]) -> Tissue:
        """What the tissue network says."""
        ...


@dataclass(frozen=True, slots=True)
class HeadFinding:
    """A suspected occlusion in the head frame.

    Attributes
    ----------
    position : (x, y, z) mm
    cause : what it looks like
    brain_deficit, brain_deficit_other_side : share of its contrast that the brain which it feeds lacks, and
        that of the other side, where there is one.
    """

    segment: Segment
    side: Side
    probability: float
    position: Point
    cause: Cause | None = None
    brain_deficit: float | None = None
    brain_deficit_other_side: float | None = None


@dataclass(frozen=True, slots=True)
class Detection:
    """The detector's answer.

    Attributes
    ----------
    probability, thrombectomy : of any occlusion, and of one for which thrombectomy is established.
    segments : probability of every site, in reporting order.
    findings : most proximal first; none unless `suspected`.
    heatmap, arteries : float32 (z, y, x) on `grid`: probability of clot, and of an artery.
    evidence : what it was concluded from, on `grid`.
    by_brain : the study is suspected for what its brain lacks, and would not be for its arteries.
    doubt : whether the answer is close to the threshold, or the image at the edge of or beyond what the
        model was made for.
    """

    probability: float
    thrombectomy: float
    suspected: bool
    segments: tuple[tuple[Segment, Side, float], ...]
    findings: tuple[HeadFinding, ...]
    heatmap: FloatArray
    arteries: FloatArray
    evidence: Evidence
    grid: Grid = EVIDENCE_GRID
    by_brain: bool = False
    doubt: Doubt = "none"


@dataclass(frozen=True, slots=True)
class Detector:
    """A bundle, a backend that runs its networks, and the reader of what these say."""

    bundle: Bundle
    network: Backend
    reader: Reader

    @property
    def backend(self) -> str:
        """onnxruntime-cpu, torch-cpu or torch-cuda."""
        return self.network.name

    def detect(self, cta: FloatArray, ncct: FloatArray | None = None) -> Detection:
        """Answer for one study.

        Parameters
        ----------
        cta, ncct : float32 HU on HEAD_BOX, shape (128, 112, 144); the NCCT may be missing.

        Raises
        ------
        InternalFault
            A probability is no number: compared with a threshold it would read as a negative.
        """
        metadata = self.bundle.metadata
        evidence = self.look(cta, ncct)
        features = site_features(evidence)
        answer = calibrated(self.reader.logits(features), metadata)
        if not np.isfinite([answer.study, answer.thrombectomy, *answer.sites]).all():
            raise InternalFault("(the network's answer is not a number)")
        chosen = suspicious_sites(answer, metadata)
        sites = answer.sites
        findings = tuple(
            HeadFinding(
                *SITES[i],
                float(sites[i]),
                locate(evidence, i),
                cause_of(evidence, cta, ncct, i),
                *_deficits(evidence.tissue, i),
            )
            for i in chosen
        )
        segments = tuple((*site, float(p)) for site, p in zip(SITES, sites, strict=True))
        return Detection(
            answer.study,
            answer.thrombectomy,
            bool(chosen),
            segments,
            findings,
            evidence.arteries * evidence.clot,
            evidence.arteries,
            evidence,
            by_brain=bool(chosen) and not self._by_arteries(features),
            doubt=doubt_of(answer, self.reader.novelty(features), metadata),
        )

    def _by_arteries(self, features: npt.NDArray[np.float32]) -> bool:
        """Whether the study would be suspected if its brain lacked no more than the usual patient's."""
        usual = features.copy()
        usual[:, STARVED] = np.minimum(usual[:, STARVED], self.reader.mean[:, STARVED])
        metadata = self.bundle.metadata
        return margin(calibrated(self.reader.logits(usual), metadata), metadata) >= 0

    def look(self, cta: FloatArray, ncct: FloatArray | None = None) -> Evidence:
        """What the networks say of the image and, where the bundle asks for it, of its mirror image."""
        inputs = network_input(cta, ncct)
        tissue = self.network.tissue(inputs)
        seen = Evidence.from_networks(self.network(inputs), tissue, cta)
        if not self.bundle.metadata.mirrored_view:
            return seen
        flipped = inputs | {k: np.ascontiguousarray(inputs[k][..., ::-1]) for k in ("cta", "ncct")}
        other = Evidence.from_networks(self.network(flipped), tissue.mirrored, cta[..., ::-1])
        return seen.averaged(other)

    def check_parity(self) -> float:
        """Repeat the stored cases; returns the largest difference of a probability.

        Raises
        ------
        BundleInvalid
            A probability differs by more than the tolerance, or a decision differs.
        """
        worst = 0.0
        with np.load(self.bundle.path / "parity" / "cases.npz", allow_pickle=False) as stored:
            for n in range(len(stored["study"])):
                ncct = stored["ncct"][n].astype(np.float32) if stored["has_ncct"][n] else None
                answer = self.detect(stored["cta"][n].astype(np.float32), ncct)
                p = np.array([p for _, _, p in answer.segments])
                study = np.array([answer.probability, answer.thrombectomy])
                worst = max(worst, float(np.abs(study - stored["study"][n]).max()))
                worst = max(worst, float(np.abs(p - stored["sites"][n]).max()))
                if answer.suspected != bool(stored["suspected"][n]):
                    raise BundleInvalid(f"(parity case {n} is decided differently by {self.backend})")
        if worst > PARITY_TOLERANCE[self.network.precision]:
            raise BundleInvalid(
                f"(probabilities by {self.backend} differ by {worst:.1e} from the stored ones)"
            )
        return worst


def _deficits(tissue: Tissue, site: int) -> tuple[float, float | None]:
    """What the brain lacks that a site feeds, and that of the other side."""
    own, other = (float(tissue.starved[i]) for i in (site, MIRROR[site]))
    return own, None if site == MIRROR[site] else other


def suspicious_sites(answer: Answer, metadata: Metadata) -> tuple[int, ...]:
    """The policy: which sites are findings, in reporting order; empty means not suspected.

    A study is suspected from the study's own probabilities, of any occlusion or of one for which
    thrombectomy is established. It then has at least one finding, its likeliest site; others are listed
    from their segment's threshold, if they are not far less likely: what is listed first is read first.
    """
    if margin(answer, metadata) < 0:
        return ()
    first = int(np.argmax(answer.sites))
    least = [metadata.site_thresholds.get(segment, 1.0) for segment, _ in SITES]
    beside = _BESIDE * answer.sites[first]
    return tuple(i for i, p in enumerate(answer.sites) if i == first or p >= max(least[i], beside))


def doubt_of(answer: Answer, novelty: float, metadata: Metadata) -> Doubt:
    """Whether the image is unlike those of the reader's patients, or the answer close to the other."""
    if novelty >= metadata.novelty_strange:
        return "strange"
    if novelty >= metadata.novelty_unusual:
        return "unusual"
    return "equivocal" if abs(margin(answer, metadata)) < metadata.equivocal_margin else "none"


def margin(answer: Answer, metadata: Metadata) -> float:
    """Log odds by which the study is over one of its thresholds; negative under both."""
    return max(
        _logit(answer.study) - _logit(metadata.study_threshold),
        _logit(answer.thrombectomy) - _logit(metadata.thrombectomy_threshold),
    )


def _logit(p: float) -> float:
    p = min(max(p, 1e-9), 1 - 1e-9)
    return float(np.log(p / (1 - p)))


def load_detector(model: Path | None = None, device: str = "auto", *, threads: int | None = None) -> Detector:
    """Load a bundle for a device.

    Parameters
    ----------
    model : bundle folder; None takes the released one.
    device : ``cpu`` runs ONNX Runtime; ``cuda`` runs torch on the GPU in fp32, ``cuda-bf16`` and
        ``cuda-fp16`` with reduced precision; ``torch-cpu`` to compare; ``auto`` is ``cuda`` where torch
        and a GPU are there, else ``cpu``.
    threads : for the CPU; None takes the cores this process may use.

    Raises
    ------
    BundleInvalid
    DeviceUnavailable
        ``cuda`` was asked for and is not there.
    """
    if device not in DEVICES:
        raise DeviceUnavailable(f"(there is no device {device!r})")
    bundle = load_bundle(model)
    reader = load_reader(bundle.path / "models" / "reader.safetensors")
    if device != "cpu" and (network := _by_torch(bundle, device)) is not None:
        return Detector(bundle, network, reader)
    from lvo.detector.onnx_backend import OnnxBackend

    return Detector(bundle, OnnxBackend(bundle, threads or len(os.sched_getaffinity(0))), reader)


def _by_torch(bundle: Bundle, device: str) -> Backend | None:
    required = device != "auto"
    try:
        from lvo.detector.torch_backend import TorchBackend, cuda_available
    except ModuleNotFoundError as error:
        if required:
            raise DeviceUnavailable(
                "(torch and monai are not installed: pip install 'lvo[torch]')"
            ) from error
        return None
    if device == "torch-cpu":
        return TorchBackend(bundle, "cpu")
    if not cuda_available():
        if required:
            raise DeviceUnavailable("(torch sees no CUDA device)")
        return None
    return TorchBackend(bundle, "cuda", _PRECISIONS.get(device, "fp32"))
