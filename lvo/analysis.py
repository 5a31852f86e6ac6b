"""An analysis: the result of a study, and what its pictures are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lvo.imaging.resample import Grid, to_head
from lvo.report.view import HeadView, Mark, Overlay
from lvo.study import HeadPose, StudyResult, Volume

PICTURE_GRID = Grid(shape=(258, 312, 230), spacing=0.7, origin=(-80.15, -104.0, -62.0))
"""What pictures are drawn from: the whole head, symmetric about the midline."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A posed head, what is to be marked in it and what the detector saw."""

    volume: Volume
    pose: HeadPose
    modality: Literal["CTA", "NCCT"]
    marks: tuple[Mark, ...] = ()
    overlay: Overlay | None = None


@dataclass(frozen=True, slots=True)
class Analysis:
    """A result, and what its pictures are drawn from (None where no head was found).

    Pictures come after the answer: the head is resampled for them only when `view` is called.
    """

    result: StudyResult
    scene: Scene | None = None

    def view(self) -> HeadView | None:
        """Resample the head for the pictures."""
        if self.scene is None:
            return None
        array = to_head(self.scene.volume, self.scene.pose, PICTURE_GRID)
        grid = PICTURE_GRID
        scene = self.scene
        return HeadView(array, grid.origin, grid.spacing, scene.modality, scene.marks, scene.overlay)
