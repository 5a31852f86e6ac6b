"""Where the brain lacks contrast, laid over its slices."""

from __future__ import annotations

import numpy as np

from lvo.report.panels import Panel, Rgb, draw_panel, projected, tint
from lvo.report.view import HeadView, Layer

DARK: Rgb = (190, 110, 255)
"""Neither the red of clot nor the blue of arteries, and told apart from both without seeing red."""
_FROM, _OPAQUE = 0.15, 0.6
_WHITE = 230
_SLAB = 16.0
_CENTRES = (-2.0, 14.0, 30.0, 46.0)
"""Of the slabs, head-frame mm: from the pons to above the ventricles, two voxels of the deficit in each."""
_ACROSS, _DEPTH = (-72.0, 72.0), (-50.0, 62.0)
"""Of the detector's box, beyond which nothing was looked at."""


def brain_map_panels(view: HeadView, deficit: Layer, width: int) -> list[Panel]:
    """Axial slabs in a brain's window, what is darker than on the other side tinted; `width` pixels each."""
    panels = []
    for centre in _CENTRES:
        panel = draw_panel(
            view,
            "axial",
            centre=centre,
            thickness=_SLAB,
            width=width,
            crop=(_ACROSS, _DEPTH),
            windowed="brain",
        )
        lack, pixels = projected(panel, deficit, "mean"), np.asarray(panel.image).astype(np.float32)
        grey = pixels.mean(axis=2)
        brain = (grey > 0) & (grey < _WHITE)  # what is white is bone or a vessel, what is black air
        tint(panel, pixels, np.where(brain & (lack >= _FROM), np.clip(lack, 0, 1) * _OPAQUE, 0), DARK)
        panels.append(panel)
    return panels
