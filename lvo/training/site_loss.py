"""The network's loss where some voxels have no label."""

from __future__ import annotations

from torch import Tensor

from lvo.training.losses import compute_loss
from lvo.training.site_labels import UNKNOWN


def known_loss(outputs: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    """`lvo.training.losses.compute_loss` over the voxels of which something is known.

    Parameters
    ----------
    outputs : (b, channels, z, y, x) logits
    batch : ``vessel`` and ``state`` int64 (b, z, y, x), the latter with `UNKNOWN`
    """
    known = (batch["state"] & UNKNOWN) == 0
    if bool(known.all()):
        return compute_loss(outputs, batch)
    labels = {name: batch[name][known][None] for name in ("vessel", "state")}
    return compute_loss(outputs.movedim(1, -1)[known].T[None], labels)
