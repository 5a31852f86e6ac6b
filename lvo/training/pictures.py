"""What the network sees and says of one validation patient, as pictures for TensorBoard."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lvo.detector.evidence import STEP, VESSEL_CLASSES
from lvo.training.boxed import CLOT
from lvo.training.feed import Batch

_WINDOW_HU = (-20.0, 480.0)
_VIEWS = {"axial": 0, "coronal": 1}
"""The axis of (z, y, x) along which each view looks."""
_TRUTH = (0.2, 1.0, 0.2)
_CLOT = (1.0, 0.25, 0.1)
_ARTERY = (0.2, 0.7, 1.0)


def pictures(outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Maximum intensity projections of the first patient of a batch who has a clot.

    Each shows the CTA in grey, and over it, in colour: the true clot (green), the probability of clot on an
    artery (red), or the probability of an artery, lit or not (blue). Head is up, and the patient's right is
    on the picture's left.

    Parameters
    ----------
    outputs : (b, OUTPUTS, z, y, x) logits at 2 mm
    batch : ``cta`` (b, 1, 2 z, 2 y, 2 x) HU at 1 mm; ``state`` int64 (b, z, y, x)

    Returns
    -------
    dict
        By view and content, float32 (3, rows, columns) in 0..1; empty where no patient has a clot.
    """
    clots = (batch["state"] & CLOT) > 0
    with_clot = clots.flatten(1).any(dim=1).nonzero().flatten().tolist()
    if not with_clot:
        return {}
    n = with_clot[0]
    logits = outputs[n].detach().float()
    arteries = logits[:VESSEL_CLASSES].softmax(0)[1:-1].sum(0)
    clot = arteries * logits[VESSEL_CLASSES:-1].softmax(0)[2]
    low, high = _WINDOW_HU
    cta = ((batch["cta"][n, 0].float() - low) / (high - low)).clamp(0, 1)
    overlays = {
        "cta and true clot": (clots[n].float(), _TRUTH),
        "clot": (clot, _CLOT),
        "arteries": (arteries, _ARTERY),
    }
    return {
        f"{view}/{name}": _drawn(cta, layer, colour, axis)
        for view, axis in _VIEWS.items()
        for name, (layer, colour) in overlays.items()
    }


def _drawn(cta: Tensor, layer: Tensor, colour: tuple[float, float, float], axis: int) -> Tensor:
    """One projection: grey below, a coloured layer at half its resolution above."""
    grey = cta.amax(axis)
    weight = interpolate(layer.amax(axis)[None, None], scale_factor=float(STEP), mode="nearest")[0]
    paint = torch.tensor(colour, device=grey.device)[:, None, None]
    picture = grey[None] * (1 - 0.8 * weight) + paint * 0.8 * weight
    # The first slice of the box is the lowest; the first row of a picture is the highest.
    return picture.flip(1).clamp(0, 1) if axis == 1 else picture.clamp(0, 1)
