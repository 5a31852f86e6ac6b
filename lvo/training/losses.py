"""What the network is taught: the vessel in every voxel, and the state of the lumen along the arteries."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional as F

from lvo.detector.evidence import VESSEL_CLASSES
from lvo.training.boxed import CLOT, LIT, MISSING

_CLASS_WEIGHT = (0.25, *([2.0] * (VESSEL_CLASSES - 3)), 1.0, 1.0)
_STATE_WEIGHT = (1.0, 2.0, 4.0)
"""Of lit, missing and clot lumen; clot is 1 artery voxel in 40 and what the answer hangs on."""
_NO_ARTERY = -1
_FEW_VOXELS = 8.0
"""Voxels of a cut-off of a middle-sized artery: what a patient without any is divided by."""
_CUTOFF_WEIGHT = 0.25
"""Without it the gradient of the cut-offs is four times as long as that of all the rest."""


def compute_loss(
    outputs: torch.Tensor, batch: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, float]]:
    """`lumen_loss` and `cutoff_loss`, and the parts of both.

    Parameters
    ----------
    outputs : (b, OUTPUTS, z, y, x) logits
    batch : ``vessel`` and ``state`` int64 (b, z, y, x)
    """
    loss, parts = lumen_loss(outputs[:, :-1], batch)
    ends = cutoff_loss(outputs[:, -1], batch["state"])
    return loss + ends, parts | {"cutoff": float(ends.detach())}


def lumen_loss(
    outputs: torch.Tensor, batch: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, float]]:
    """Cross-entropy and Dice over the vessel classes everywhere, and over the states where arteries run.

    The state is asked only on the true course of the arteries: in the whole box clot would be one voxel
    in 5,000 and the network would spend its time on not seeing it.

    Parameters
    ----------
    outputs : (b, VESSEL_CLASSES + STATE_CHANNELS, ...) logits
    batch : ``vessel`` and ``state`` int64 (b, ...)
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


def cutoffs(state: torch.Tensor) -> torch.Tensor:
    """Voxels where lit lumen and clot touch, 1 or 0, from `state_classes`, (b, z, y, x)."""
    lit, clot = ((state == n).float()[:, None] for n in (0, 2))
    beside = [F.max_pool3d(a, 3, stride=1, padding=1) for a in (lit, clot)]
    return (clot * beside[0] + lit * beside[1])[:, 0]


def cutoff_loss(logits: torch.Tensor, state: torch.Tensor, known: torch.Tensor | None = None) -> torch.Tensor:
    """Focal loss (Lin et al. 2017) of the cut-offs over the whole box, for each voxel of one.

    The dark course beyond a cut-off is hard to see, the end of the bright lumen is not. Voxels beside one
    are not asked: where exactly a partly filled voxel ends is nobody's question.

    Parameters
    ----------
    logits : (b, z, y, x)
    state : int64 (b, z, y, x), bits
    known : bool (b, z, y, x), where the question may be asked; None for everywhere
    """
    logits, truth = logits.float(), cutoffs(state_classes(state))
    near = F.max_pool3d(truth[:, None], 3, stride=1, padding=1)[:, 0]
    p = logits.sigmoid()
    wrong = torch.where(truth > 0, 1 - p, p)
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    asked = (truth > 0) | (near == 0)
    if known is not None:
        asked &= known
    return _CUTOFF_WEIGHT * (entropy * wrong**2 * asked).sum() / ((truth * asked).sum() + _FEW_VOXELS)


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
        p = outputs[:, VESSEL_CLASSES:-1].float().softmax(1)
        end, at = outputs[:, -1].float().sigmoid(), cutoffs(state) > 0
        inside = (vessel > 0) & (vessel < VESSEL_CLASSES - 2)
        out = {"loss": float(loss), **parts, "class_right": float((best == vessel)[inside].float().mean())}
        for n, name in enumerate(("lit", "missing", "clot")):
            if bool((state == n).any()):
                out[f"p_{name}"] = float(p[:, n][state == n].mean())
        if bool(at.any()):
            out["p_cutoff"] = float(end[at].mean())
        out["p_clot_where_lit"] = float(p[:, 2][state == 0].mean())
    return out
