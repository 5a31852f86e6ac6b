"""The network's loss where some voxels have no label."""

from __future__ import annotations

from torch import Tensor

from lvo.training.boxed import CLOT
from lvo.training.losses import compute_loss, cutoff_loss, lumen_loss
from lvo.training.site_labels import UNKNOWN


def known_loss(outputs: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    """`lvo.training.losses.compute_loss` over the voxels of which something is known.

    Cut-offs are taught by phantoms and by the site's patent studies: a point or a mask says where a clot is,
    but not exactly where it ends.

    Parameters
    ----------
    outputs : (b, OUTPUTS, z, y, x) logits
    batch : ``vessel`` and ``state`` int64 (b, z, y, x), the latter with `UNKNOWN`
    """
    known = (batch["state"] & UNKNOWN) == 0
    if bool(known.all()):
        return compute_loss(outputs, batch)
    labels = {name: batch[name][known][None] for name in ("vessel", "state")}
    loss, parts = lumen_loss(outputs[:, :-1].movedim(1, -1)[known].T[None], labels)
    whole = known.flatten(1).all(dim=1)
    patent = ~((batch["state"] & CLOT) > 0).flatten(1).any(dim=1)
    ends = cutoff_loss(outputs[:, -1], batch["state"], known & (whole | patent)[:, None, None, None])
    return loss + ends, parts | {"cutoff": float(ends.detach())}
