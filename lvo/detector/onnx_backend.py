"""The network on a CPU, by ONNX Runtime."""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnxruntime

from lvo.detector.bundle import Bundle
from lvo.errors import BundleInvalid
from lvo.study import FloatArray


class OnnxBackend:
    """One session for the life of the process; its input shape never changes."""

    name = "onnxruntime-cpu"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"

    def __init__(self, bundle: Bundle, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # The memory arena stays on: the input shape never changes, so it does not grow (onnxruntime #11627).
        path = bundle.path / "models" / "vessels.onnx"
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises types of its own, which share no base
            raise BundleInvalid(f"({path.name} cannot be loaded: {type(error).__name__})") from error

    def __call__(self, inputs: dict[str, FloatArray]) -> FloatArray:
        """Logits, float32 (OUTPUTS, z, y, x)."""
        (out,) = self._session.run(None, inputs)
        return np.asarray(out[0], dtype=np.float32)
