"""What the answer will hang on: the strongest evidence of an occlusion on every site, right or wrong.

Voxel by voxel a patent patient with one bright false clot is as good as perfect, and is a false alarm all the
same. Here such a maximum weighs as much as a clot that was missed.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from lvo.anatomy import SITES
from lvo.detector.evidence import VESSEL_CLASSES
from lvo.detector.reader import EDGE, SHARPNESS
from lvo.training.losses import compute_loss, cutoffs, state_classes

_CLOT_VOXELS, _CUTOFF_VOXELS = 4, 2
"""How many of the strongest voxels of a site are averaged; see `lvo.detector.features.site_features`."""
_NOWHERE = 0.02
"""Probability of every site below which a voxel is not looked at; nine in ten are not."""
_UNASKED = 1e4
"""Logit of a site of which nothing is asked: not infinite, which would have no gradient if all were so."""
_BESIDE = 3
"""Voxels from a clot within which a site is not asked whether it is free of one."""


def compute_losses(
    weight: float, outputs: torch.Tensor, batch: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, float]]:
    """`lvo.training.losses.compute_loss`, and so much of `occlusion_loss`; the parts of both."""
    loss, parts = compute_loss(outputs, batch)
    if not weight:
        return loss, parts
    more, of_sites = occlusion_loss(outputs, batch)
    return loss + weight * more, parts | of_sites


def occlusion_loss(
    outputs: torch.Tensor, batch: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, float]]:
    """Logistic loss of the strongest clot and the strongest cut-off on the sites, mean over patients.

    Of every patient: that of the strongest true voxels of each occluded site, and that of the strongest
    voxels of the loudest free site (multiple-instance learning with maxima, Maron and Lozano-Perez 1998).
    Where the sites run is taken from the network, and not taught.

    Parameters
    ----------
    outputs : (b, OUTPUTS, z, y, x) logits
    batch : ``vessel`` and ``state`` int64 (b, z, y, x)
    """
    state = state_classes(batch["state"])
    course = outputs[:, :VESSEL_CLASSES].float().softmax(1)
    near = _spread(course[:, 1 : len(SITES) + 1].detach(), 1)
    clot = outputs[:, VESSEL_CLASSES:-1].float().softmax(1)[:, 2] * course[:, 1:-1].sum(1)
    cutoff = outputs[:, -1].float().sigmoid()
    kinds = (
        ("site_clot", clot, state == 2, _CLOT_VOXELS),
        ("site_cutoff", cutoff, cutoffs(state) > 0, _CUTOFF_VOXELS),
    )
    parts = {}
    for name, evidence, truth, voxels in kinds:
        beside = _spread(truth[:, None].float(), _BESIDE)[:, 0] > 0
        cases = zip(near, evidence, batch["vessel"], truth, beside, strict=True)
        each = [_missed(n, e, v, t, voxels) + _false(n, e, v, b, voxels) for n, e, v, t, b in cases]
        parts[name] = torch.stack(each).mean()
    return sum(parts.values(), outputs.new_zeros(())), {k: float(v.detach()) for k, v in parts.items()}


def _missed(
    near: torch.Tensor, evidence: torch.Tensor, vessel: torch.Tensor, truth: torch.Tensor, voxels: int
) -> torch.Tensor:
    """What is said too little of the occluded sites of a patient: the mean over them."""
    said = []
    for label in torch.unique(vessel[truth]).tolist():
        if 1 <= label <= len(SITES):
            here = truth & (vessel == label)
            strongest = (near[label - 1][here] * evidence[here]).topk(min(voxels, int(here.sum()))).values
            said.append(F.softplus(-_log_odds(strongest.mean())))
    return torch.stack(said).mean() if said else evidence.new_zeros(())


def _false(
    near: torch.Tensor, evidence: torch.Tensor, vessel: torch.Tensor, beside: torch.Tensor, voxels: int
) -> torch.Tensor:
    """What is said too much of the loudest site of a patient near which there is none of it."""
    close = torch.bincount(vessel[beside], minlength=VESSEL_CLASSES)[1 : len(SITES) + 1] > 0
    where = near.amax(0) > _NOWHERE
    where.view(-1)[:voxels] = True  # so that there are enough of them
    strongest = (near[:, where] * evidence[where]).topk(voxels, dim=1).values.mean(1)
    logits = (SHARPNESS * _log_odds(strongest)).masked_fill(close, -_UNASKED)
    return F.softplus(torch.logsumexp(logits, 0) / SHARPNESS)


def _log_odds(p: torch.Tensor) -> torch.Tensor:
    """As the reader's: nobody is asked to be surer than it can read."""
    return torch.log((p + EDGE) / (1 + EDGE - p))


def _spread(x: torch.Tensor, voxels: int) -> torch.Tensor:
    """Maximum over the cube of so many voxels to every side; one axis at a time, which is much faster."""
    for axis in (-3, -2, -1):
        n = x.shape[axis]
        spread = x.clone()
        for step in range(1, voxels + 1):
            for there, here in ((0, step), (step, 0)):
                part = spread.narrow(axis, here, n - step)
                torch.maximum(part, x.narrow(axis, there, n - step), out=part)
        x = spread
    return x
