"""What the network is taught: the vessel in every voxel, and the state of its lumen."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from lvo.detector.evidence import VESSEL_CLASSES
from lvo.training.data import CLOT, LIT, MISSING

STATE_WEIGHT = (1.0, 2.0, 3.0)
"""Of lit, missing and clot lumen in the loss; clot is what the answer hangs on."""
_CLASS_WEIGHT = (0.25, *([2.0] * (VESSEL_CLASSES - 3)), 1.0, 1.0)


def compute_loss(
    outputs: torch.Tensor, batch: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, float]]:
    """Cross-entropy and Dice over vessel classes, and over each lumen state.

    Parameters
    ----------
    outputs : (b, VESSEL_CLASSES + 3, z, y, x) logits
    batch : ``vessel`` and ``state`` int64 (b, z, y, x)
    """
    logits, states = outputs[:, :VESSEL_CLASSES].float(), outputs[:, VESSEL_CLASSES:].float()
    vessel = batch["vessel"]
    weight = logits.new_tensor(_CLASS_WEIGHT)
    entropy = F.cross_entropy(logits, vessel, weight=weight)
    p = logits.softmax(1)
    count = torch.bincount(vessel.flatten(), minlength=VESSEL_CLASSES).to(p.dtype)
    hit = p.gather(1, vessel[:, None]).flatten()
    overlap = torch.zeros_like(count).index_add(0, vessel.flatten(), hit)
    share = (2 * overlap + 1) / (p.sum((0, 2, 3, 4)) + count + 1)
    vessel_dice = 1 - share[1:][count[1:] > 0].mean()
    target = state_targets(batch["state"]).to(states.dtype)
    each = F.binary_cross_entropy_with_logits(states, target, reduction="none")
    # A hard voxel is worth more than a thousand easy ones: clot is 1 voxel in 5,000.
    q = states.sigmoid()
    focal = (each * (target + (1 - target) * q**2) * (1 + 4 * target)).sum((2, 3, 4)) / (target.sum((2, 3, 4)) + 30)
    overlap = (q * target).sum((2, 3, 4))
    dice = 1 - (2 * overlap + 4) / (q.sum((2, 3, 4)) + target.sum((2, 3, 4)) + 4)
    importance = states.new_tensor(STATE_WEIGHT)
    state_loss = ((focal + dice).mean(0) * importance).sum() / importance.sum()
    loss = entropy + vessel_dice + 1.5 * state_loss
    parts = {"entropy": entropy, "vessel_dice": vessel_dice}
    parts |= {f"dice_{n}": d for n, d in zip(("lit", "missing", "clot"), dice.mean(0), strict=True)}
    return loss, {k: float(v.detach()) for k, v in parts.items()}


def state_targets(state: torch.Tensor) -> torch.Tensor:
    """Bits of the state map as channels: lit, missing, clot; (b, 3, z, y, x) bool."""
    return torch.stack([(state & bit) > 0 for bit in (LIT, MISSING, CLOT)], dim=1)


def validation_metrics(outputs: torch.Tensor, batch: dict[str, torch.Tensor]) -> dict[str, float]:
    """Dice of arteries as a whole, share of their voxels in the right class, and clot seen in occluded patients."""
    with torch.no_grad():
        loss, parts = compute_loss(outputs, batch)
        best = outputs[:, :VESSEL_CLASSES].argmax(1)
        vessel = batch["vessel"]
        inside = (vessel > 0) & (vessel < VESSEL_CLASSES - 1)
        clot = state_targets(batch["state"])[:, 2]
        peak = outputs[:, VESSEL_CLASSES + 2].sigmoid()
        out = {"loss": float(loss), **parts, "class_right": float((best == vessel)[inside].float().mean())}
        if bool(clot.any()):
            out["clot_peak_inside"] = float(peak[clot].amax())
        else:
            out["clot_peak_patent"] = float(peak.amax())
    return out
