"""The network by torch, on a GPU (or a CPU, to compare)."""

from __future__ import annotations

from typing import Literal

import torch
from safetensors.torch import load_file
from torch import nn

from lvo.detector.bundle import Bundle
from lvo.detector.evidence import VESSEL_CLASSES
from lvo.detector.torch_network import VesselNet, make_network
from lvo.study import FloatArray


class Probabilities(nn.Module):
    """The network with its logits turned into probabilities: what is exported and what is served."""

    def __init__(self, network: VesselNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, cta: torch.Tensor, ncct: torch.Tensor, has_ncct: torch.Tensor) -> torch.Tensor:
        """Softmax over the vessel classes and over the states; shapes as in VesselNet."""
        out = self.network(cta, ncct, has_ncct)
        return torch.cat([out[:, :VESSEL_CLASSES].softmax(1), out[:, VESSEL_CLASSES:].softmax(1)], dim=1)


class TorchBackend:
    """One network for the life of the process, in full precision."""

    def __init__(self, bundle: Bundle, device: Literal["cpu", "cuda"]) -> None:
        self.name = f"torch-{device}"
        self._device = torch.device(device)
        network = make_network(bundle.metadata.network)
        weights = load_file(bundle.path / "models" / "vessels.safetensors")
        network.load_state_dict({k: v.float() for k, v in weights.items()})
        self._network = Probabilities(network).eval().to(self._device)
        if device == "cuda":  # TF32 would cost more of the tolerance than it saves time
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False

    def __call__(self, inputs: dict[str, FloatArray]) -> FloatArray:
        """Probabilities, float32 (VESSEL_CLASSES + STATE_CHANNELS, z, y, x)."""
        with torch.inference_mode():
            out = self._network(
                *(torch.from_numpy(inputs[k]).to(self._device) for k in ("cta", "ncct", "has_ncct"))
            )
        array: FloatArray = out[0].cpu().numpy()
        return array


def cuda_available() -> bool:
    """Whether torch sees a usable GPU."""
    return torch.cuda.is_available()
