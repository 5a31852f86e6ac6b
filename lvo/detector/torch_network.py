"""The detector's 3D CNN: a MONAI SegResNet between our own stem and heads."""

from __future__ import annotations

import torch
from monai.networks.nets.segresnet import SegResNet
from torch import nn
from torch.nn.functional import interpolate

from lvo.detector.bundle import NetworkConfig
from lvo.detector.evidence import EVIDENCE_GRID, OUTPUTS, STEP, VESSEL_CLASSES
from lvo.imaging.resample import SKULL_BOX

PRIOR_STEP = 2
"""Output voxels per voxel of the prior, along each axis."""


class VesselNet(nn.Module):
    """Which vessel runs where, whether its lumen is lit, missing or clot, and where contrast stops at one.

    Windowing, mirroring and the change from 1 mm to 2 mm happen inside, so that every exported copy
    repeats them exactly. Fine detail is kept by folding each 2 by 2 by 2 block into channels.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.prior: torch.Tensor
        self.body = SegResNet(
            spatial_dims=3,
            init_filters=config.filters,
            in_channels=4 * 8 + 2 + 3,
            out_channels=OUTPUTS,
            blocks_down=config.blocks_down,
            blocks_up=config.blocks_up,
            # Group norm's backward pass alone took a third of a training step on a CPU.
            norm=("instance", {"affine": True}),
        )
        # Log of how often each vessel runs through each place, coarse: left and right, front and back
        # are told apart from the first step on, and the network learns only what differs.
        shape = tuple(n // PRIOR_STEP for n in EVIDENCE_GRID.shape)
        self.register_buffer("prior", torch.zeros(1, VESSEL_CLASSES, *shape))

    def forward(
        self,
        cta: torch.Tensor,
        ncct: torch.Tensor,
        has_ncct: torch.Tensor,
        corner: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits of the vessel classes, of the states and of the cut-off.

        Parameters
        ----------
        cta : (b, 1, z, y, x) HU at 1 mm in the head-frame box, x running to the patient's left
        ncct : (b, 1, z/2, y/2, x/2) HU at 2 mm; zeros where there is none
        has_ncct : (b, 1) 1 or 0
        corner : (b, 2) first (z, y) voxel of a part of the box at 2 mm, full width, as training shows it;
            None for the whole box

        Returns
        -------
        Tensor
            (b, OUTPUTS, z/2, y/2, x/2)
        """
        fine = self.windows(cta)
        flag = has_ncct.reshape(-1, 1, 1, 1, 1)
        plain = torch.cat([(ncct / 60).clamp(-1.0, 3.0) * flag, flag.expand_as(ncct)], dim=1)
        place = self.place(ncct, corner)
        out: torch.Tensor = self.body(torch.cat([fold(fine), plain, place[:, :3]], dim=1))
        vessel = out[:, :VESSEL_CLASSES] + place[:, 3:].to(out.dtype)
        return torch.cat([vessel, out[:, VESSEL_CLASSES:]], dim=1)

    def windows(self, cta: torch.Tensor) -> torch.Tensor:
        """The CTA as the body sees it, (b, 4, z, y, x): soft, wide, soft and mirrored, narrow."""
        soft = (cta / 300).clamp(-0.5, 2.0)
        wide = (cta / 1000).clamp(-1.0, 2.0)
        # Clot, brain and the fluid that arteries run in lie within 60 HU of one another.
        narrow = (cta / 60).clamp(-1.0, 2.0)
        return torch.cat([soft, wide, soft.flip(-1), narrow], dim=1)

    def place(self, like: torch.Tensor, corner: torch.Tensor | None) -> torch.Tensor:
        """Coordinates and prior where the input lies, (b, 3 + VESSEL_CLASSES, z, y, x)."""
        here = _coordinates(like)
        prior = interpolate(self.prior, scale_factor=float(PRIOR_STEP), mode="trilinear", align_corners=False)
        place = torch.cat([here, prior.to(here.dtype)], dim=1)
        if corner is None:
            return place.expand(like.shape[0], -1, -1, -1, -1)
        z, y = like.shape[2:4]
        return torch.cat([place[:, :, k : k + z, j : j + y] for k, j in corner.tolist()])


def make_network(config: NetworkConfig) -> VesselNet:
    """A network with fresh weights."""
    return VesselNet(config)


def fold(x: torch.Tensor) -> torch.Tensor:
    """(b, c, z, y, x) to (b, 8 c, z/2, y/2, x/2), each block's voxels side by side in the channels."""
    b, c, z, y, w = x.shape
    split = x.reshape(b, c, z // 2, 2, y // 2, 2, w // 2, 2)
    return split.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(b, c * 8, z // 2, y // 2, w // 2)


def _coordinates(like: torch.Tensor) -> torch.Tensor:
    """Where each voxel is, -1 to 1 along z, y and x within SKULL_BOX and less below it, (1, 3, z, y, x)."""
    inside = (n // STEP for n in SKULL_BOX.shape)
    ends = [(1 - 2 * (n - 1) / (m - 1), n) for n, m in zip(EVIDENCE_GRID.shape, inside, strict=True)]
    axes = [torch.linspace(low, 1, n, dtype=like.dtype, device=like.device) for low, n in ends]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
