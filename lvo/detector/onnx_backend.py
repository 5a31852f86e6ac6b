"""The networks on a CPU, by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime

from lvo.detector.bundle import Bundle
from lvo.detector.evidence import Tissue
from lvo.errors import BundleInvalid
from lvo.study import FloatArray

_TISSUE_OUTPUTS = ["starved", "deficit"]


class OnnxBackend:
    """One session for each network for the life of the process; their input shapes never change."""

    name = "onnxruntime-cpu"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"

    def __init__(self, bundle: Bundle, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # The memory arena stays on: the input shape never changes, so it does not grow (onnxruntime #11627).
        self._vessels, self._tissue = (
            _session(bundle.path / "models" / name, options) for name in ("vessels.onnx", "tissue.onnx")
        )
        told = {output.name for output in self._tissue.get_outputs()}
        if missing := ", ".join(name for name in _TISSUE_OUTPUTS if name not in told):
            raise BundleInvalid(f"(tissue.onnx, of another version, does not tell {missing})")

    def __call__(self, inputs: dict[str, FloatArray]) -> FloatArray:
        """Logits of the vessel network, float32 (OUTPUTS, z, y, x)."""
        (out,) = self._vessels.run(None, inputs)
        return np.asarray(out[0], dtype=np.float32)

    def tissue(self, inputs: dict[str, FloatArray]) -> Tissue:
        """What the tissue network says."""
        starved, deficit = self._tissue.run(_TISSUE_OUTPUTS, inputs)
        return Tissue(starved[0], deficit[0])


def _session(path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises types of its own, which share no base
        raise BundleInvalid(f"({path.name} cannot be loaded: {type(error).__name__})") from error
