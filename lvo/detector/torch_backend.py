"""The networks by torch, on a GPU (or a CPU, to compare)."""

from __future__ import annotations

from typing import Literal

import torch
from safetensors.torch import load_file

from lvo.detector.bundle import Bundle
from lvo.detector.evidence import Tissue
from lvo.detector.torch_network import make_network
from lvo.detector.torch_tissue import TissueNet
from lvo.study import FloatArray

Precision = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchBackend:
    """Both networks for the life of the process.

    Parameters
    ----------
    precision : of the vessel network's convolutions; windowing, normalisation, the tissue network, which is
        small, and what follows stay in fp32.
    """

    def __init__(self, bundle: Bundle, device: Literal["cpu", "cuda"], precision: Precision = "fp32") -> None:
        self.precision: Precision = precision
        self.name = f"torch-{device}" + ("" if precision == "fp32" else f"-{precision}")
        self._device = torch.device(device)
        network = make_network(bundle.metadata.network)
        weights = load_file(bundle.path / "models" / "vessels.safetensors")
        network.load_state_dict({k: v.float() for k, v in weights.items()})
        self._network = network.eval().to(self._device)
        tissue = TissueNet()
        weights = load_file(bundle.path / "models" / "tissue.safetensors")
        tissue.load_state_dict({k: v.float() for k, v in weights.items()})
        self._tissue = tissue.eval().to(self._device)
        if device == "cuda":  # TF32 would cost more of the tolerance than it saves time
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False

    def __call__(self, inputs: dict[str, FloatArray]) -> FloatArray:
        """Logits of the vessel network, float32 (OUTPUTS, z, y, x)."""
        reduced = torch.autocast(
            self._device.type, dtype=_DTYPES[self.precision], enabled=self.precision != "fp32"
        )
        with torch.inference_mode(), reduced:
            out = self._network(*self._tensors(inputs))
        array: FloatArray = out[0].float().cpu().numpy()
        return array

    def tissue(self, inputs: dict[str, FloatArray]) -> Tissue:
        """What the tissue network says."""
        with torch.inference_mode():
            starved, deficit = self._tissue(*self._tensors(inputs))
        return Tissue(starved[0].cpu().numpy(), deficit[0].cpu().numpy())

    def _tensors(self, inputs: dict[str, FloatArray]) -> list[torch.Tensor]:
        return [torch.from_numpy(inputs[k]).to(self._device) for k in ("cta", "ncct", "has_ncct")]


def cuda_available() -> bool:
    """Whether torch sees a usable GPU."""
    return torch.cuda.is_available()
