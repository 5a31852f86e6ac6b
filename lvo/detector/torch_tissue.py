"""The network that looks at the brain, not at its arteries: which part of it lacks contrast.

Beyond an occlusion that collaterals do not make up for, the brain itself stays darker in a CTA (Schramm et
al., Stroke 2002; Coutts et al., Stroke 2004). That shows when the artery does not: where a thin branch was
never seen, or where bone hides the clot.
"""

from __future__ import annotations

import torch
from monai.networks.nets.segresnet import SegResNet
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d, max_pool3d

from lvo.anatomy import SITES
from lvo.detector.evidence import DEFICIT_GRID, EVIDENCE_GRID
from lvo.detector.torch_network import fold

CELL_STEP = 2
"""Voxels of the evidence grid per cell along each axis: 4 mm."""
CELL_CHANNELS = 5
FOLD = 2
"""Cells per voxel of the deficit along each axis: 8 mm, for `fold` puts so many side by side."""
CELL_SHAPE = tuple(n // CELL_STEP for n in EVIDENCE_GRID.shape)
_BRAIN_HU, _VOXEL_HU = (18.0, 75.0), (-20.0, 110.0)
_OTHER_HU = (-60.0, 130.0)
"""Air, fat, bone and vessels lie beyond; what touches them is not looked at."""
_USUAL_HU = 37.0
"""Level of the brain in a CTA, to which all are brought."""
_LEVEL_REACH = (40.0, 15.0, 12.0)
"""HU around the level found last, the usual one first, within which the next is the mean."""
_LEAST = 0.15
"""Of a cell or voxel that must be brain to count."""
_FILTERS = 32


class DeficitNet(nn.Module):
    """From what is known of the brain in each cell to the contrast that it lacks.

    Noise is averaged away in cells, and what remains is anatomy, which the other side and the NCCT show, too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = SegResNet(
            spatial_dims=3,
            init_filters=_FILTERS,
            in_channels=2 * FOLD**3 * CELL_CHANNELS + 3,
            out_channels=1,
            blocks_down=(1, 4),
            blocks_up=(1,),
        )

    def forward(self, cells: Tensor) -> Tensor:
        """Logit of the share of its contrast that the brain in each voxel lacks, (b, z, y, x) of 8 mm.

        Parameters
        ----------
        cells : (b, CELL_CHANNELS, z, y, x), see `brain_cells`.
        """
        brain, hu, both, gain, plain = cells.unbind(1)
        seen = torch.stack(
            [_mean(hu, brain, 42, 8), brain, _mean(gain, both, 6, 6), both, _mean(plain, both, 33, 8)], dim=1
        )
        fine = torch.cat([fold(seen), fold(seen.flip(-1))], dim=1)
        place = _place(fine).expand(len(cells), -1, -1, -1, -1)
        out: Tensor = self.body(torch.cat([fine, place], dim=1))
        return out[:, 0]


class TissueNet(nn.Module):
    """How much of what each artery feeds lacks contrast.

    Cells are made and mirrored inside, so that every exported copy repeats that exactly.
    """

    def __init__(self) -> None:
        super().__init__()
        self.territory: Tensor
        self.deficit = DeficitNet()
        # How much each place lacks on average beyond an occlusion of each site.
        self.register_buffer("territory", torch.zeros(len(SITES), *DEFICIT_GRID.shape))

    def forward(self, cta: Tensor, ncct: Tensor, has_ncct: Tensor) -> tuple[Tensor, Tensor]:
        """Share of its contrast that what each site feeds lacks, (b, sites), and that each place lacks.

        The latter is (b, z, y, x) on `lvo.detector.evidence.DEFICIT_GRID`, 0 where no brain is seen.

        Parameters
        ----------
        cta, ncct, has_ncct : as `lvo.detector.torch_network.VesselNet.forward` takes them.
        """
        cells = brain_cells(cta, ncct, has_ncct)
        mirrored = self.deficit(cells.flip(-1)).sigmoid().flip(-1)
        seen = visible(cells)
        deficit = (self.deficit(cells).sigmoid() + mirrored) / 2 * seen
        feeds = self.territory.flatten(1).T
        starved = (deficit.flatten(1) @ feeds) / (seen.flatten(1) @ feeds + 1e-3)
        return starved, deficit


def brain_cells(cta: Tensor, ncct: Tensor, has_ncct: Tensor) -> Tensor:
    """What is known of the brain in cells of 4 mm, (b, CELL_CHANNELS, z, y, x).

    Both scans are brought to the usual level of a brain in the CTA first: brains differ in it, by age and
    scanner, by more than what tells brain from fluid. Then the share of a cell that is brain, and its HU
    times that; the share that the NCCT shows as brain, too, and what the CTA has there more than the NCCT,
    and the NCCT, both times that.

    Parameters
    ----------
    cta, ncct, has_ncct : as `lvo.detector.torch_network.VesselNet.forward` takes them.
    """
    seen = has_ncct.reshape(-1, 1, 1, 1, 1)
    soft = avg_pool3d(cta, 2)
    smooth = avg_pool3d(soft, 3, 1, 1, count_include_pad=False)
    beyond = _level(smooth) - _USUAL_HU
    soft, smooth, ncct = soft - beyond, smooth - beyond, ncct - beyond * seen
    brain = _within(smooth, _BRAIN_HU) * _within(soft, _VOXEL_HU)
    brain = brain * (1 - max_pool3d(1 - _within(soft, _OTHER_HU), 3, 1, 1))
    both = brain * _within(ncct, (0.0, _BRAIN_HU[1])) * seen
    parts = [brain, soft * brain, both, (soft - ncct) * both, ncct * both]
    return avg_pool3d(torch.cat(parts, dim=1), CELL_STEP)


def _level(smooth: Tensor) -> Tensor:
    """HU of most of the brain, (b, 1, 1, 1, 1), from smoothed HU; the usual level where there is none.

    A mean that is drawn to where most values lie, so that fluid, vessels and bone hardly count.
    """
    exact = smooth.double()  # sums of so many in float32 would differ between backends
    level = torch.full_like(exact[:, :, :1, :1, :1], _USUAL_HU)
    for reach in _LEVEL_REACH:
        near = ((exact - level).abs() < reach).to(exact.dtype)
        count = near.sum(dim=(1, 2, 3, 4), keepdim=True)
        mean = (exact * near).sum(dim=(1, 2, 3, 4), keepdim=True) / count.clamp(min=1)
        level = torch.where(count >= 1, mean, level)
    return level.to(smooth.dtype)


def visible(cells: Tensor) -> Tensor:
    """1 for each voxel of the deficit with brain to be seen, (b, z, y, x)."""
    return (avg_pool3d(cells[:, :1], FOLD)[:, 0] > _LEAST).to(cells.dtype)


def _within(hu: Tensor, limits: tuple[float, float]) -> Tensor:
    return ((hu > limits[0]) & (hu < limits[1])).to(hu.dtype)


def _mean(total: Tensor, share: Tensor, usual: float, spread: float) -> Tensor:
    """Standardised mean over the part of a cell that counts; nothing where too little does."""
    mean = (total / share.clamp(min=0.05) - usual) / spread
    return torch.where(share > _LEAST, mean.clamp(-3.0, 3.0), torch.zeros_like(mean))


def _place(like: Tensor) -> Tensor:
    """Where each voxel is, -1 to 1 along z and y, and how far from the midline, (1, 3, z, y, x)."""
    axes = [torch.linspace(-1, 1, n, dtype=like.dtype, device=like.device) for n in like.shape[2:]]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([z, y, x.abs()])[None]
