"""The network by torch, on a GPU (or a CPU, to compare)."""

from __future__ import annotations

from typing import Literal

import torch
from safetensors.torch import load_file

from lvo.detector.bundle import Bundle
from lvo.detector.torch_network import make_network
from lvo.study import FloatArray

Precision = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchBackend:
    """One network for the life of the process.

    Parameters
    ----------
    precision : of the convolutions; windowing, normalisation and what follows the network stay in fp32.
    """

    def __init__(self, bundle: Bundle, device: Literal["cpu", "cuda"], precision: Precision = "fp32") -> None:
        self.precision: Precision = precision
        self.name = f"torch-{device}" + ("" if precision == "fp32" else f"-{precision}")
        self._device = torch.device(device)
        network = make_network(bundle.metadata.network)
        weights = load_file(bundle.path / "models" / "vessels.safetensors")
        network.load_state_dict({k: v.float() for k, v in weights.items()})
        self._network = network.eval().to(self._device)
        if device == "cuda":  # TF32 would cost more of the tolerance than it saves time
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False

    def __call__(self, inputs: dict[str, FloatArray]) -> FloatArray:
        """Logits, float32 (OUTPUTS, z, y, x)."""
        reduced = torch.autocast(
            self._device.type, dtype=_DTYPES[self.precision], enabled=self.precision != "fp32"
        )
        with torch.inference_mode(), reduced:
            out = self._network(
                *(torch.from_numpy(inputs[k]).to(self._device) for k in ("cta", "ncct", "has_ncct"))
            )
        array: FloatArray = out[0].float().cpu().numpy()
        return array


def cuda_available() -> bool:
    """Whether torch sees a usable GPU."""
    return torch.cuda.is_available()
