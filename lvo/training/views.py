"""A patient's image as the network is shown it: another view every time.

Mirrored or not, bent, moved, in other intensities, with or without the NCCT, cut short as scans are, whole
or in part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lvo.anatomy import SITES
from lvo.phantom.vessels.labels import OTHER_ARTERY, SITE_INDEX, VEIN
from lvo.training.boxed import CLOT, LABEL_STEP, LIT, MISSING, UNSCANNED_HU, DataConfig
from lvo.training.warp import warp

Arrays = dict[str, npt.NDArray[Any]]
Item = dict[str, torch.Tensor]
MIRRORED_SITE = np.array(
    [0, *(SITE_INDEX[seg, side.mirrored] for seg, side in SITES), OTHER_ARTERY, VEIN], dtype=np.uint8
)
"""Label of the same vessel in a mirrored head."""
_DEEPEST_CUT, _TILT = (23, 7), 0.15
"""Label voxels at the middle of the edge, from the bottom and from the top, and standard deviation of its
slope from front to back. A scan that lacks much more of the box is refused (`lvo.imaging.acceptance`)."""


def varied(item: Arrays, rng: np.random.Generator, config: DataConfig) -> Arrays:
    """Another view of a patient, which this changes: mirrored or not, bent, moved, in other intensities."""
    if rng.random() < 0.5:
        for name in ("cta", "ncct", "state"):
            item[name] = item[name][..., ::-1]
        item["vessel"] = MIRRORED_SITE[item["vessel"][..., ::-1]]
        item["sites"] = item["sites"][MIRRORED_SITE[1 : len(SITES) + 1] - 1]
    if rng.random() < config.warped.chance:
        warp(item, rng, config.warped)
    if config.moved:
        move(item, rng.integers(-config.moved, config.moved + 1, 3))
    cta = item["cta"].astype(np.float32)
    cta = 35 + (cta - 35) * np.float32(rng.uniform(0.88, 1.12)) + np.float32(rng.normal(0, 5))
    if rng.random() < 0.5:
        cta += np.float32(rng.uniform(0, 15)) * rng.standard_normal(cta.shape, dtype=np.float32)
    item["cta"] = cta
    if rng.random() < config.cut_short:
        cut_short(item, rng)
    if config.crop is not None:
        part(item, rng, config.crop)
    item["has_ncct"] = np.asarray(rng.random() >= config.ncct_dropped, dtype=np.float32)
    return item


def move(item: Arrays, by: npt.NDArray[np.integer]) -> None:
    """Move a view by whole label voxels (z, y, x); what was beyond the box is its border, with no vessel."""
    whole = item["state"].shape
    for name in ("cta", "ncct", "vessel", "state"):
        step = item[name].shape[0] // whole[0]
        pad = [(max(step * n, 0), max(-step * n, 0)) for n in by.tolist()]
        image = name in ("cta", "ncct")
        wide = np.pad(item[name], pad, mode="edge") if image else np.pad(item[name], pad)
        item[name] = wide[tuple(slice(b, b + n) for (_, b), n in zip(pad, item[name].shape, strict=True))]


def cut_short(item: Arrays, rng: np.random.Generator) -> None:
    """Let the scan end inside the box, at the bottom or, one time in four, at the top; the edge is tilted.

    Beyond it there is neither image nor vessel.
    """
    z, y, x = item["ncct"].shape
    rise, lean = (
        rng.normal(0, _TILT) * (np.arange(y) - y / 2),
        rng.normal(0, _TILT / 3) * (np.arange(x) - x / 2),
    )
    above = rng.random() < 0.25
    gone = np.arange(z)[:, None, None] < rng.uniform(1, _DEEPEST_CUT[above]) + rise[:, None] + lean
    if above:
        gone = gone[::-1]
    fine = gone
    for axis in range(3):
        fine = fine.repeat(LABEL_STEP, axis)
    for name, where, nothing in (
        ("cta", fine, UNSCANNED_HU), ("ncct", gone, UNSCANNED_HU), ("vessel", gone, 0), ("state", gone, 0),
    ):  # fmt: skip
        item[name] = item[name].copy()
        item[name][where] = nothing


def part(item: Arrays, rng: np.random.Generator, size: tuple[int, int]) -> None:
    """Leave a part of a view, at its full width because left is compared with right."""
    state, whole = item["state"], item["state"].shape[:2]
    chance = rng.random()
    artery = (state & (LIT | MISSING | CLOT)) > 0
    wanted = (state & CLOT) > 0 if chance < 0.5 else artery
    places = np.argwhere(wanted if wanted.any() else artery)
    if chance < 0.85 and len(places):
        centre = places[rng.integers(len(places))][:2] + rng.integers(-5, 6, 2)
    else:
        centre = rng.integers(0, whole)
    keep(item, np.clip(centre - np.array(size) // 2, 0, np.subtract(whole, size)), size)


def keep(item: Arrays, first: npt.NDArray[np.integer], size: tuple[int, int]) -> None:
    """Leave the part of a view that begins at a label voxel (z, y)."""
    whole = item["state"].shape[:2]
    for name in ("cta", "ncct", "vessel", "state"):
        step = item[name].shape[0] // whole[0]
        z, y = (slice(a * step, (a + n) * step) for a, n in zip(first, size, strict=True))
        item[name] = item[name][z, y]
    item["corner"] = first


def tensors(item: Arrays) -> Item:
    """An item of a dataset; see `lvo.training.data`."""
    has = float(np.asarray(item.get("has_ncct", 1.0)))
    return {
        "corner": torch.from_numpy(np.asarray(item.get("corner", (0, 0)), dtype=np.int64)),
        "cta": torch.from_numpy(np.ascontiguousarray(item["cta"], dtype=np.float32))[None],
        "ncct": torch.from_numpy(np.ascontiguousarray(item["ncct"], dtype=np.float32))[None] * has,
        "has_ncct": torch.tensor([has]),
        "vessel": torch.from_numpy(np.ascontiguousarray(item["vessel"], dtype=np.int64)),
        "state": torch.from_numpy(np.ascontiguousarray(item["state"], dtype=np.int64)),
        "sites": torch.from_numpy(np.asarray(item["sites"], dtype=np.float32)),
    }
