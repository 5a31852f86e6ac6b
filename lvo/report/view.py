"""What the pictures are drawn from: a head in the head frame and the places to mark."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lvo.anatomy import Segment, Side
from lvo.study import FloatArray, Point


@dataclass(frozen=True, slots=True)
class Mark:
    """A place to ring.

    Attributes
    ----------
    position : Point
        (x, y, z) in the head frame, mm: left, posterior and up are positive.
    """

    segment: Segment
    side: Side
    probability: float
    position: Point

    @property
    def label(self) -> str:
        """What stands beside the ring: ``M1 left 97 %``."""
        side = "" if self.side is Side.MIDLINE else f" {self.side.value}"
        return f"{self.segment.label}{side} {self.probability:.0%}"


@dataclass(frozen=True, slots=True)
class Layer:
    """Values of places in the head.

    Attributes
    ----------
    values : float32, shape (z, y, x), 0 to 1
    origin : Point
        Head-frame (x, y, z) of the centre of the first voxel, mm.
    spacing : float
        Edge of a voxel, mm.
    """

    values: FloatArray
    origin: Point
    spacing: float


@dataclass(frozen=True, slots=True)
class Overlay:
    """What the detector saw, to be laid over the scan.

    Attributes
    ----------
    arteries, clot : Layer
        Probability of an artery, lit or not, and of clot in one.
    deficit : Layer
        Share of its contrast that the brain lacks beyond what the other side does.
    """

    arteries: Layer
    clot: Layer
    deficit: Layer


@dataclass(frozen=True, slots=True)
class HeadView:
    """A scan resampled into the head frame, fine enough to look at.

    Attributes
    ----------
    array : float32, shape (z, y, x), HU
        Axes point up, to the back and to the patient's left; voxels are cubes.
    origin : Point
        Head-frame (x, y, z) of the centre of the first voxel, mm.
    spacing : float
        Edge of a voxel, mm.
    modality : {"CTA", "NCCT"}
        Decides the grey-scale window.
    marks : tuple of Mark
        In the order of the result's findings.
    overlay : Overlay, optional
        None where the detector was not asked.
    """

    array: FloatArray
    origin: Point
    spacing: float
    modality: Literal["CTA", "NCCT"]
    marks: tuple[Mark, ...] = ()
    overlay: Overlay | None = None

    def indices(self, axis: Literal["x", "y", "z"], low: float, high: float) -> slice:
        """Array indices along one axis from ``low`` to ``high`` mm, at least one voxel, inside the array."""
        dimension = "zyx".index(axis)
        size = self.array.shape[dimension]
        first = self.origin["xyz".index(axis)]
        start = int(np.clip(np.ceil((low - first) / self.spacing), 0, size - 1))
        stop = int(np.clip(np.floor((high - first) / self.spacing) + 1, start + 1, size))
        return slice(start, stop)

    def cut(self, axis: Literal["x", "y", "z"], low: float, high: float) -> HeadView:
        """The part between two planes, mm along one axis; the marks stay."""
        part = self.indices(axis, low, high)
        dimension, place = "zyx".index(axis), "xyz".index(axis)
        array = np.take(self.array, range(part.start, part.stop), axis=dimension)
        origin = list(self.origin)
        origin[place] += part.start * self.spacing
        return replace(self, array=array, origin=(origin[0], origin[1], origin[2]))
