"""One panel: a slab of the head projected, windowed and labelled, in radiological convention.

The head frame's axes already run to the patient's left and back, so an axial or coronal panel whose
columns follow increasing x shows the patient's left on the right of the image without any flip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from lvo.report.view import HeadView, Layer, Mark
from lvo.study import FloatArray, Point

Plane = Literal["axial", "coronal", "sagittal"]
Projection = Literal["maximum", "mean"]
Rgb = tuple[int, int, int]

MARK: Rgb = (255, 214, 10)
LABEL: Rgb = (235, 235, 235)
BACKGROUND: Rgb = (0, 0, 0)

# Panel axes as (across, down, through): head-frame axis and direction.
_ACROSS: dict[Plane, str] = {"axial": "x", "coronal": "x", "sagittal": "y"}
_DOWN: dict[Plane, str] = {"axial": "y", "coronal": "z", "sagittal": "z"}
_THROUGH: dict[Plane, Literal["x", "y", "z"]] = {"axial": "z", "coronal": "y", "sagittal": "x"}
_EDGES: dict[Plane, tuple[str, str, str, str]] = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "", ""),
    "sagittal": ("A", "P", "", ""),
}

# (low, high) HU. Soft enough for contrast beside bone in a MIP; a brain window for plain scans.
WINDOWS: dict[str, tuple[float, float]] = {
    "mip": (-20.0, 520.0),
    "CTA": (-60.0, 340.0),
    "NCCT": (-10.0, 90.0),
    "brain": (5.0, 85.0),
}


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface, so that pictures look the same on every machine."""
    return ImageFont.load_default(size)


@dataclass(frozen=True, slots=True)
class Panel:
    """A drawn slab and how its pixels relate to millimetres.

    Attributes
    ----------
    corner : (across, down) of the centre of the first pixel, mm; down is −z where z runs up.
    slab : (low, high) along the direction of view, head-frame mm.
    """

    image: Image.Image
    plane: Plane
    corner: tuple[float, float]
    pixels_per_mm: float
    slab: tuple[float, float]

    def pixel(self, position: Point) -> tuple[float, float]:
        """Image (column, row) of a head-frame point."""
        point = dict(zip("xyz", position, strict=True))
        down = point[_DOWN[self.plane]] * (1.0 if self.plane == "axial" else -1.0)
        return (
            (point[_ACROSS[self.plane]] - self.corner[0]) * self.pixels_per_mm,
            (down - self.corner[1]) * self.pixels_per_mm,
        )

    def holds(self, position: Point) -> bool:
        """Whether a head-frame point lies in the slab and inside the picture."""
        column, row = self.pixel(position)
        through = position["xyz".index(_THROUGH[self.plane])]
        inside = 0 <= column < self.image.width and 0 <= row < self.image.height
        return inside and self.slab[0] - 1e-6 <= through <= self.slab[1] + 1e-6


# Clipping keeps a metal clip or a petrous edge from spreading over an artery nearby; HU.
_BRIGHT = 900.0
_BULKY = 330.0


def without_bulky_bone(view: HeadView) -> HeadView:
    """The view with thick bone turned down to the grey of brain, so that a MIP shows the arteries.

    Bone is what stays bright after a blur wider than an artery: no artery survives that, so none is
    taken away; thin plates and the outlines of bone stay.
    """
    image = sitk.GetImageFromArray(np.clip(view.array, -1000.0, _BRIGHT))
    image.SetSpacing((view.spacing,) * 3)
    blurred = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(image, 2.0))
    array = np.where((blurred > _BULKY) & (view.array > 150.0), np.float32(30.0), view.array)
    return replace(view, array=array)


def _flatten(
    view: HeadView,
    plane: Plane,
    slab: tuple[float, float],
    crop: tuple[tuple[float, float], tuple[float, float]],
) -> tuple[FloatArray, tuple[float, float]]:
    """The slab with the direction of view as first axis, and its corner; crop is (across, down-axis) mm."""
    spans = {_ACROSS[plane]: crop[0], _DOWN[plane]: crop[1], _THROUGH[plane]: slab}
    index = {axis: view.indices(axis, *spans[axis]) for axis in ("z", "y", "x")}
    block = view.array[index["z"], index["y"], index["x"]]
    block = np.moveaxis(block, "zyx".index(_THROUGH[plane]), 0)
    first = {axis: view.origin["xyz".index(axis)] + index[axis].start * view.spacing for axis in "xyz"}
    last = {axis: view.origin["xyz".index(axis)] + (index[axis].stop - 1) * view.spacing for axis in "xyz"}
    if plane == "axial":
        return block, (first["x"], first["y"])
    return block[:, ::-1, :], (first[_ACROSS[plane]], -last["z"])


def window(values: FloatArray, low: float, high: float) -> npt.NDArray[np.uint8]:
    """HU to grey, ``low`` black and ``high`` white."""
    grey: npt.NDArray[np.uint8] = (np.clip((values - low) / (high - low), 0.0, 1.0) * 255.0).astype(np.uint8)
    return grey


def draw_panel(
    view: HeadView,
    plane: Plane,
    *,
    centre: float,
    thickness: float,
    width: int,
    crop: tuple[tuple[float, float], tuple[float, float]],
    projection: Projection = "mean",
    windowed: str | None = None,
) -> Panel:
    """Project a slab and label it.

    Parameters
    ----------
    centre, thickness : float
        Of the slab along the direction of view, head-frame mm.
    width : int
        Of the panel in pixels; its height follows.
    crop : ((low, high), (low, high))
        What to show across and along the picture's vertical axis (y of an axial panel, else z), mm.
    projection : {"mean", "maximum"}
        Mean for a slice, maximum for a MIP.
    windowed : str, optional
        Which of `WINDOWS`; None takes that of the projection and modality.
    """
    slab = (centre - thickness / 2, centre + thickness / 2)
    block, corner = _flatten(view, plane, slab, crop)
    flat = block.max(axis=0) if projection == "maximum" else block.mean(axis=0)
    usual = "mip" if projection == "maximum" else view.modality
    grey = window(flat, *WINDOWS[windowed or usual])
    scale = width / grey.shape[1]
    size = (width, round(grey.shape[0] * scale))
    image = Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    panel = Panel(image, plane, corner, scale / view.spacing, slab)
    _label(panel)
    return panel


def projected(panel: Panel, layer: Layer, projection: Projection = "maximum") -> FloatArray:
    """What a layer has along the line of sight in the panel's slab, in the panel's pixels."""
    dimension = 0 if panel.plane == "axial" else 1
    values, spacing, (x0, y0, z0) = layer.values, layer.spacing, layer.origin
    at = (z0 if panel.plane == "axial" else y0) + spacing * np.arange(values.shape[dimension])
    held = np.flatnonzero((at >= panel.slab[0]) & (at <= panel.slab[1]))
    through = np.take(values, held, axis=dimension)
    flat = through.max(axis=dimension) if projection == "maximum" else through.mean(axis=dimension)
    top = y0 if panel.plane == "axial" else -(z0 + spacing * (values.shape[0] - 1))
    if panel.plane == "coronal":
        flat = flat[::-1]
    step = 1 / (panel.pixels_per_mm * spacing)
    offset = ((panel.corner[1] - top) / spacing, (panel.corner[0] - x0) / spacing)
    size = (panel.image.height, panel.image.width)
    found: FloatArray = ndimage.affine_transform(flat, [step, step], offset, size, order=1, cval=0.0)
    return found


def tint(panel: Panel, pixels: FloatArray, share: FloatArray, colour: Rgb) -> None:
    """Put pixels (height, width, 3) into a panel, each with its share (height, width) of a colour."""
    tinted = pixels * (1 - share[..., None]) + np.array(colour, np.float32) * share[..., None]
    panel.image.paste(Image.fromarray(tinted.astype(np.uint8)))


def _label(panel: Panel) -> None:
    """Letters at the edges, what the picture shows, and a scale bar of 2 cm."""
    draw = ImageDraw.Draw(panel.image)
    width, height = panel.image.size
    size = max(20, width // 22)
    left, right, top, bottom = _EDGES[panel.plane]
    places = (
        (left, (size * 0.4, height / 2), "lm"),
        (right, (width - size * 0.4, height / 2), "rm"),
        (top, (width / 2, size * 0.3), "ma"),
        (bottom, (width / 2, height - size * 0.3), "md"),
    )
    for letter, place, anchor in places:
        if letter:
            text(draw, place, letter, round(size * 1.3), anchor=anchor)
    bar = 20 * panel.pixels_per_mm
    y = height - size * 0.6
    draw.line(
        [(width - size * 0.5 - bar, y), (width - size * 0.5, y)], fill=LABEL, width=max(2, width // 250)
    )
    text(draw, (width - size * 0.5 - bar / 2, y - 4), "2 cm", round(size * 0.6), anchor="md")
    name = f"{panel.plane}, {panel.slab[1] - panel.slab[0]:.0f} mm"
    text(draw, (size * 0.4, height - size * 0.3), name, round(size * 0.65), anchor="ld")


def text(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    words: str,
    size: int,
    *,
    anchor: str,
    fill: Rgb = LABEL,
    rim: bool = True,
) -> None:
    """Words, with a dark rim where they must be legible on any grey."""
    stroke = max(2, size // 10) if rim else 0
    draw.text(place, words, fill=fill, font=font(size), anchor=anchor, stroke_width=stroke, stroke_fill=0)


def ring(panel: Panel, mark: Mark, *, radius_mm: float = 8.0) -> bool:
    """Ring a mark and name it, if the panel holds it; says whether it does."""
    if not panel.holds(mark.position):
        return False
    draw = ImageDraw.Draw(panel.image)
    column, row = panel.pixel(mark.position)
    radius = radius_mm * panel.pixels_per_mm
    line = max(3, panel.image.width // 220)
    box = (column - radius, row - radius, column + radius, row + radius)
    draw.ellipse(box, outline=(0, 0, 0), width=line + 3)
    draw.ellipse(box, outline=MARK, width=line)
    size = max(20, panel.image.width // 26)
    # The name goes above the ring, or below it near the top edge, and never over the picture's sides.
    half = font(size).getlength(mark.label) / 2 + 6
    across = float(np.clip(column, half, panel.image.width - half))
    above = row - radius - size * 1.5 > 0
    y = row - radius - size * 0.3 if above else row + radius + size * 0.3
    text(draw, (across, y), mark.label, size, anchor="md" if above else "ma", fill=MARK)
    return True
