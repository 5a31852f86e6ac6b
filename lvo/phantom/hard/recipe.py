"""What a hard case is, what is true of it, and how one is written from its recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from lvo.phantom.hard.head import CTA, MARKER_LPS, Floats, HuAt, Scan, acquire, axial
from lvo.phantom.hard.write import RAW, Encoding, Image, Storage, Tags, images, save

Outcome = Literal["exact", "resampled", "refused", "other"]
AXIAL = axial()
"""56 slices of 48 x 48 pixels, 1.5 mm apart: one of them may be missing without a gap."""
QUICK = axial(44, 1.9)
"""The fewest thin slices that pass for a head."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is true of a case, known from the formulas and not from any reader.

    Attributes
    ----------
    outcome
        ``exact``: the volume's voxels are ``array``, each at its own place. ``resampled``: the volume is
        upright and evenly spaced, and agrees with ``hu_at`` at its own voxel centres away from edges.
        ``refused``: no volume, and a rejection with one of the codes (any, where there are none).
        ``other``: no volume, but a series listed under one of the ``roles``.
    codes : reason codes that must be among those of the study or its series.
    array : HU as acquired, shape (n, rows, columns), slices in the order of ``positions``; padding is air.
    volume : which volume of the study is meant; ``any`` where the reader may call it either.
    quiet : no repair, caution or rejection may be given but those of ``codes``.
    position_mm, hu : how far a right reader may be off; ``marker_mm`` for the middle of the marker.
    """

    hu_at: HuAt
    positions: Floats
    orientation: Floats
    pixel_spacing: tuple[float, float]
    array: Floats
    outcome: Outcome = "exact"
    codes: frozenset[str] = frozenset()
    volume: Literal["cta", "ncct", "any"] = "cta"
    roles: frozenset[str] = frozenset()
    quiet: bool = False
    position_mm: float = 1e-3
    hu: float = 0.0
    marker_mm: float = 3.0
    marker_lps: tuple[float, float, float] = MARKER_LPS

    @property
    def points(self) -> Floats:
        """LPS of every acquired pixel, (n, rows, columns, 3): equation C.7.6.2.1-1 of DICOM PS3.3."""
        _, rows, columns = self.array.shape
        i, j = np.meshgrid(np.arange(columns), np.arange(rows))
        x, y = self.orientation[:3], self.orientation[3:]
        row_spacing, column_spacing = self.pixel_spacing
        plane = i[..., None] * x * column_spacing + j[..., None] * y * row_spacing
        points: Floats = self.positions[:, None, None] + plane
        return points


@dataclass(frozen=True, slots=True)
class HardCase:
    """One case: ``write`` puts its files into a folder and says what is true of them.

    Attributes
    ----------
    row : the hard case of the field that it stands for, in few words.
    """

    name: str
    row: str
    write: Callable[[Path], Truth]
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Other:
    """Another stack in the same study; in the same series unless its tags say otherwise."""

    tags: Tags
    body: HuAt = CTA
    scan: Scan | None = None


class _Save(Protocol):
    def __call__(self, folder: Path, series: list[Image], encoding: Encoding, /) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a case is written. Called with a folder, it writes the files and returns the truth.

    Attributes
    ----------
    storages : used in turn from slice to slice.
    tags : set on every image of the stack; None removes.
    others : further stacks, written before this one.
    edit, edit_all : change, drop or add images of this stack, or of all, before they are written.
    files : spoils the written files.
    lost : slices that ``files`` or ``edit`` make unusable; the truth is without them.
    truth : what of `Truth` is not its default.
    """

    name: str
    body: HuAt = CTA
    scan: Scan = QUICK
    grain: float = 0.0
    storages: tuple[Storage, ...] = (Storage(),)
    tags: Tags = field(default_factory=dict)
    others: tuple[Other, ...] = ()
    edit: Callable[[list[Image]], list[Image]] | None = None
    edit_all: Callable[[list[Image]], list[Image]] | None = None
    encoding: Encoding = RAW
    save: _Save = save
    folder: str = "."
    files: Callable[[Path], None] | None = None
    lost: tuple[int, ...] = ()
    truth: Tags = field(default_factory=dict)

    def __call__(self, folder: Path) -> Truth:
        """Write the case."""
        series = [image for n, other in enumerate(self.others) for image in self._stack(other, n)]
        main = self._stack(None, 0)
        hu = np.stack([image.storage.hu(image.stored) for image in main])
        series.extend(main if self.edit is None else self.edit(main))
        series = series if self.edit_all is None else self.edit_all(series)
        target = folder / self.folder
        self.save(target, series, self.encoding)
        if self.files is not None:
            self.files(target)
        kept = self.scan.without(*self.lost)
        return Truth(
            hu_at=self.body,
            positions=kept.positions,
            orientation=kept.orientation,
            pixel_spacing=kept.spacing,
            array=np.delete(hu, self.lost, axis=0),
            **self.truth,
        )

    def _stack(self, other: Other | None, number: int) -> list[Image]:
        body, scan, tags, seed = self.body, self.scan, self.tags, self.name
        if other is not None:
            body, scan = other.body, other.scan or self.scan
            tags, seed = {**tags, **other.tags}, f"{self.name}/{number}"
        hu = acquire(scan, body, self.grain)
        stored = [self.storages[k % len(self.storages)].stored(plane) for k, plane in enumerate(hu)]
        return images(scan, stored, self.storages, seed, tags)


def case(
    name: str,
    row: str,
    *codes: str,
    outcome: Outcome = "exact",
    slow: bool = False,
    truth: Tags | None = None,
    **recipe: Any,
) -> HardCase:
    """A case from the keywords of `Recipe`; ``truth`` holds further fields of `Truth`."""
    facts = {"outcome": outcome, "codes": frozenset(codes), **(truth or {})}
    return HardCase(name, row, Recipe(name=name, truth=facts, **recipe), slow)


def each(change: Callable[[int, Image], None], only: Iterable[int] | None = None) -> Any:
    """An edit that changes every image (or some) in place."""
    places = None if only is None else frozenset(only)

    def edit(series: list[Image]) -> list[Image]:
        for k, image in enumerate(series):
            if places is None or k in places:
                change(k, image)
        return series

    return edit
