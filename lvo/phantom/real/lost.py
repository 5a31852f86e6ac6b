"""Trunks that an angiogram does not show, or loses on their way, from a phantom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lvo.phantom.real.grafts import Growing, at_end, bent_from
from lvo.phantom.vessels.tree import Tree
from lvo.phantom.vessels.variants import BOTH

BEND_MM, LEAST_POINTS = 12.0, 8
"""Over which length what is added bends to meet the real; the fewest points of which anything is made."""
_SHORTENED = ("M2s", "M2i")
"""Trunks that go on with the phantom's where the angiogram loses them."""
_SHORT_MM = 10.0


def lost_trunks(state: Growing, around: Tree) -> list[str]:
    """Trunks that the angiogram does not show, from the phantom; in words."""
    words = []
    for name in ("A1", "A2", "P1", "P2"):
        for side in BOTH:
            if state.of(name, side) < 0:
                b = around.branches[around.find(name, side)]
                parent = state.of(around.branches[b.parent].name, side)
                start = state.branches[parent].points[-1]
                points = bent_from(b.points, start, BEND_MM)
                at = len(state.branches[parent].points) - 1
                state.add(replace(b, points=points, parent=parent, parent_point=at))
                words.append(f"{name} {side} from the phantom")
    return words


def short_trunks(state: Growing, around: Tree) -> list[str]:
    """Go on with trunks that end where the phantom's run on; in words.

    Slow and turning flow fades in time-of-flight angiograms. A trunk that ended there, and with it all that
    it feeds, would be an occlusion in a patient who has none.
    """
    words = []
    for name in _SHORTENED:
        for side in BOTH:
            n = state.of(name, side)
            if n < 0 or any(
                b.parent == n and at_end(b.parent_point, state.branches[n]) for b in state.branches
            ):
                continue  # none, or a real branch goes on with it
            own, drawn = state.branches[n], around.branches[around.find(name, side)]
            cut = int(np.argmin(np.linalg.norm(drawn.points - own.points[-1], axis=1)))
            if drawn.length - drawn.arc[cut] < _SHORT_MM or len(drawn.points) - cut <= LEAST_POINTS:
                continue
            points = bent_from(drawn.points[cut:], own.points[-1], BEND_MM)[1:]
            wide = drawn.radius[cut + 1 :] * min(1.0, float(own.radius[-6:].mean() / drawn.radius[cut]))
            state.branches[n] = replace(
                own, points=np.concatenate([own.points, points]), radius=np.concatenate([own.radius, wide])
            )
            words.append(f"{name} {side} from {own.length:.0f} mm on from the phantom")
    return words
