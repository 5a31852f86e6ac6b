"""What the network is taught: the vessel in every voxel, and the state of the lumen along the arteries."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from lvo.detector.evidence import VESSEL_CLASSES
from lvo.training.boxed import CLOT, LIT, MISSING

_CLASS_WEIGHT = (0.25, *([2.0] * (VESSEL_CLASSES - 3)), 1.0, 1.0)
_STATE_WEIGHT = (1.0, 2.0, 4.0)
"""Of lit, missing and clot lumen; clot is 1 artery voxel in 40 and what the answer hangs on."""
_NO_ARTERY = -1


def compute_loss(
    outputs: torch.Tensor, batch: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, float]]:
    """Cross-entropy and Dice over the vessel classes everywhere, and over the states where arteries run.

    The state is asked only on the true course of the arteries: in the whole box clot would be one voxel
    in 5,000 and the network would spend its time on not seeing it.

    Parameters
    ----------
    outputs : (b, VESSEL_CLASSES + STATE_CHANNELS, z, y, x) logits
    batch : ``vessel`` and ``state`` int64 (b, z, y, x)
    """
    logits, states = outputs[:, :VESSEL_CLASSES].float(), outputs[:, VESSEL_CLASSES:].float()
    vessel, state = batch["vessel"], state_classes(batch["state"])
    entropy, vessel_dice = _entropy_and_dice(logits, vessel, logits.new_tensor(_CLASS_WEIGHT), first=1)
    artery = state != _NO_ARTERY
    inside = states.movedim(1, -1)[artery].T[None]
    weight = states.new_tensor(_STATE_WEIGHT)
    if bool(artery.any()):
        state_entropy, state_dice = _entropy_and_dice(inside, state[artery][None], weight, first=0)
    else:  # a part of the box without arteries teaches nothing of their lumen
        state_entropy = state_dice = inside.sum()
    loss = entropy + vessel_dice + state_entropy + state_dice
    parts = {
        "entropy": entropy,
        "dice": vessel_dice,
        "state_entropy": state_entropy,
        "state_dice": state_dice,
    }
    return loss, {k: float(v.detach()) for k, v in parts.items()}


def state_classes(state: torch.Tensor) -> torch.Tensor:
    """0 lit, 1 missing, 2 clot, -1 no artery, from the bits of the state map."""
    out = torch.full_like(state, _NO_ARTERY)
    for n, bit in enumerate((LIT, MISSING, CLOT)):
        out[(state & bit) > 0] = n
    return out


def _entropy_and_dice(
    logits: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor, first: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted cross-entropy, and one minus the mean Dice of the classes present from `first` on."""
    classes = logits.shape[1]
    entropy = F.cross_entropy(logits, truth, weight=weight)
    p = logits.softmax(1)
    flat = truth.flatten()
    count = torch.bincount(flat, minlength=classes).to(p.dtype)
    hit = p.gather(1, truth[:, None]).flatten()
    overlap = torch.zeros_like(count).index_add(0, flat, hit)
    share = (2 * overlap + 1) / (p.transpose(0, 1).flatten(1).sum(1) + count + 1)
    return entropy, 1 - share[first:][count[first:] > 0].mean()


def validation_metrics(outputs: torch.Tensor, batch: dict[str, torch.Tensor]) -> dict[str, float]:
    """Loss, share of artery voxels in the right class, and how probable the true clot is taken to be."""
    with torch.no_grad():
        loss, parts = compute_loss(outputs, batch)
        vessel, state = batch["vessel"], state_classes(batch["state"])
        best = outputs[:, :VESSEL_CLASSES].argmax(1)
        p = outputs[:, VESSEL_CLASSES:].float().softmax(1)
        inside = (vessel > 0) & (vessel < VESSEL_CLASSES - 2)
        out = {"loss": float(loss), **parts, "class_right": float((best == vessel)[inside].float().mean())}
        for n, name in enumerate(("lit", "missing", "clot")):
            if bool((state == n).any()):
                out[f"p_{name}"] = float(p[:, n][state == n].mean())
        out["p_clot_where_lit"] = float(p[:, 2][state == 0].mean())
    return out
