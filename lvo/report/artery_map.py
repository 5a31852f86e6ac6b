"""What the detector saw, laid over the scan: arteries outlined, clot coloured."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage

from lvo.report.panels import Panel, Plane, Rgb, draw_panel, projected, tint, without_bulky_bone
from lvo.report.view import HeadView, Overlay

Axis = Literal["x", "y", "z"]
Span = tuple[float, float]
ARTERY: Rgb = (90, 200, 255)
CLOT: Rgb = (255, 60, 20)
_ARTERY_FROM = 0.5
_CLOT_FROM = 0.15
_OPAQUE = 0.75
_DIMMED = 0.6
_BLUR_REACH = 8.0
_MARGIN = 12.0
# Head-frame mm: the detector's box, cut below where the skull base would hide what is outlined.
_ACROSS, _DEPTH, _HEIGHT = (-58.0, 58.0), (-52.0, 64.0), (-42.0, 56.0)
_AXIAL, _CORONAL = (-8.0, 48.0), (-24.0, 16.0)


def artery_map_panels(view: HeadView, overlay: Overlay, width: int) -> list[Panel]:
    """An axial and a coronal MIP with the artery map outlined and clot coloured, each `width` pixels wide.

    The coronal one reaches down to a finding in the neck, and back as far as that lies.
    """
    drawn = []
    neck = [mark.position for mark in view.marks if mark.position[2] < _HEIGHT[0]]
    height = (min([_HEIGHT[0], *(z - _MARGIN for _, _, z in neck)]), _HEIGHT[1])
    coronal = (_CORONAL[0], max([_CORONAL[1], *(y + _MARGIN for _, y, _ in neck)]))
    planes: tuple[tuple[Plane, Axis, Span, Axis, Span], ...] = (
        ("axial", "z", _AXIAL, "y", _DEPTH),
        ("coronal", "y", coronal, "z", height),
    )
    for plane, axis, (low, high), vertical, down in planes:
        # Only what is shown is blurred: the whole head would take several times as long.
        part = view.cut("x", *_ACROSS).cut(vertical, *down)
        slim = without_bulky_bone(part.cut(axis, low - _BLUR_REACH, high + _BLUR_REACH))
        middle, thickness, crop = (low + high) / 2, high - low, (_ACROSS, down)
        panel = draw_panel(
            slim, plane, centre=middle, thickness=thickness, width=width, crop=crop, projection="maximum"
        )
        _lay_over(panel, overlay)
        drawn.append(panel)
    return drawn


def _lay_over(panel: Panel, overlay: Overlay) -> None:
    """Outline the arteries and colour the clot in a panel, in place."""
    artery, clot = (projected(panel, layer) for layer in (overlay.arteries, overlay.clot))
    pixels = np.asarray(panel.image).astype(np.float32) * _DIMMED
    inside = artery >= _ARTERY_FROM
    outline = inside & ~ndimage.binary_erosion(inside, iterations=max(1, panel.image.width // 270))
    pixels[outline] = ARTERY
    tint(panel, pixels, np.where(clot >= _CLOT_FROM, np.clip(clot, 0, 1) * _OPAQUE, 0), CLOT)
