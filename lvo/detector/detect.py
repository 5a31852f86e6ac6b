"""Head-box volumes in, located findings out, by whichever backend the site has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lvo.anatomy import SITES, Segment, Side
from lvo.detector.bundle import Bundle, Metadata, load_bundle
from lvo.detector.evidence import EVIDENCE_GRID, Evidence, locate, network_input, site_features
from lvo.detector.reader import Reader, calibrated, load_reader
from lvo.errors import BundleInvalid, DeviceUnavailable
from lvo.imaging.resample import Grid
from lvo.study import FloatArray, Point

PARITY_TOLERANCE = {"fp32": 1e-3}
"""Largest difference of any probability from the bundle's stored answers."""


class Backend(Protocol):
    """Runs the network of a bundle."""

    name: str

    def __call__(self, inputs: dict[str, FloatArray]) -> FloatArray:
        """Logits, float32 (VESSEL_CLASSES + STATE_CHANNELS, z, y, x)."""
        ...


@dataclass(frozen=True, slots=True)
class HeadFinding:
    """A suspected occlusion in the head frame; position is (x, y, z) mm."""

    segment: Segment
    side: Side
    probability: float
    position: Point


@dataclass(frozen=True, slots=True)
class Detection:
    """The detector's answer.

    Attributes
    ----------
    segments : probability of every site, in reporting order.
    findings : most proximal first; none unless `suspected`.
    heatmap, arteries : float32 (z, y, x) on `grid`: probability of clot, and of an artery.
    """

    probability: float
    suspected: bool
    segments: tuple[tuple[Segment, Side, float], ...]
    findings: tuple[HeadFinding, ...]
    heatmap: FloatArray
    arteries: FloatArray
    grid: Grid = EVIDENCE_GRID


@dataclass(frozen=True, slots=True)
class Detector:
    """A bundle, a backend that runs its network, and the reader of what that says."""

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
        cta, ncct : float32 HU on HEAD_BOX, shape (96, 112, 112); the NCCT may be missing.
        """
        evidence = Evidence.from_network(self.network(network_input(cta, ncct)), cta)
        sites, study = calibrated(self.reader.logits(site_features(evidence)), self.bundle.metadata)
        chosen = suspicious_sites(sites, study, self.bundle.metadata)
        findings = tuple(HeadFinding(*SITES[i], float(sites[i]), locate(evidence, i)) for i in chosen)
        segments = tuple((*site, float(p)) for site, p in zip(SITES, sites, strict=True))
        return Detection(
            study, bool(chosen), segments, findings, evidence.arteries * evidence.clot, evidence.arteries
        )

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
                worst = max(worst, abs(answer.probability - float(stored["study"][n])))
                worst = max(worst, float(np.abs(p - stored["sites"][n]).max()))
                if answer.suspected != bool(stored["suspected"][n]):
                    raise BundleInvalid(f"(parity case {n} is decided differently by {self.backend})")
        if worst > PARITY_TOLERANCE["fp32"]:
            raise BundleInvalid(
                f"(probabilities by {self.backend} differ by {worst:.1e} from the stored ones)"
            )
        return worst


def suspicious_sites(sites: npt.NDArray[np.float64], study: float, metadata: Metadata) -> tuple[int, ...]:
    """The policy: which sites are findings, in reporting order; empty means not suspected.

    A study is suspected from its own probability. It then has at least one finding, its likeliest
    site; others are listed from `site_threshold`.
    """
    if study < metadata.study_threshold:
        return ()
    first = int(np.argmax(sites))
    return tuple(i for i in range(len(sites)) if i == first or sites[i] >= metadata.site_threshold)


def load_detector(model: Path | None = None, device: str = "auto", *, threads: int | None = None) -> Detector:
    """Load a bundle for a device.

    Parameters
    ----------
    model : bundle folder; None takes the released one.
    device : ``cpu`` runs ONNX Runtime; ``cuda`` runs torch on the GPU; ``auto`` takes the GPU where
        torch and one are there.
    threads : for the CPU; None takes the cores this process may use.

    Raises
    ------
    BundleInvalid
    DeviceUnavailable
        ``cuda`` was asked for and is not there.
    """
    bundle = load_bundle(model)
    reader = load_reader(bundle.path / "models" / "reader.safetensors")
    if device not in ("auto", "cpu", "cuda"):
        raise DeviceUnavailable(f"(there is no device {device!r})")
    if device != "cpu" and (network := _on_gpu(bundle, required=device == "cuda")) is not None:
        return Detector(bundle, network, reader)
    from lvo.detector.onnx_backend import OnnxBackend

    return Detector(bundle, OnnxBackend(bundle, threads or len(os.sched_getaffinity(0))), reader)


def _on_gpu(bundle: Bundle, *, required: bool) -> Backend | None:
    try:
        from lvo.detector.torch_backend import TorchBackend, cuda_available
    except ModuleNotFoundError as error:
        if required:
            raise DeviceUnavailable(
                "(torch and monai are not installed: pip install 'lvo[torch]')"
            ) from error
        return None
    if not cuda_available():
        if required:
            raise DeviceUnavailable("(torch sees no CUDA device)")
        return None
    return TorchBackend(bundle, "cuda")
