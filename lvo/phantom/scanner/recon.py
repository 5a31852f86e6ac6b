"""The series that a scanner makes of one scan: kernels, slabs, reformats, padding, and the table in view.

Everything here works on an image as ``(hu, affine)``: a float32 tensor (z, y, x), and its index (k, j, i) to
gantry mm, whose axes are LPS for a patient on the back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lvo.phantom.scanner.artefacts import ArtefactMaps, enlarge
from lvo.phantom.scanner.kernels import Kernel, Steps, blur
from lvo.phantom.scanner.metal import add_streaks
from lvo.phantom.scanner.noise import Grain, NoiseTile, add_noise, scan_sigma
from lvo.study import Volume

Affine = npt.NDArray[np.float64]
Image = tuple[Tensor, Affine]
How = Literal["mean", "max"]
_PIECE = 48
_FAINT = 0.25  # streak noise below this share of the plain noise is not drawn


@dataclass(frozen=True, slots=True)
class Exposure:
    """How one scan was taken and its thin images reconstructed.

    Attributes
    ----------
    kvp, mas : tube voltage, effective mAs
    kernel : of the images
    thickness_mm, increment_mm : width of the slice profile, distance between slices
    noise_hu : standard deviation in the middle of a typical head
    edge : how far a sharp kernel overshoots at edges, 0 for none
    """

    kvp: float
    mas: float
    kernel: Kernel
    thickness_mm: float
    increment_mm: float
    noise_hu: float
    edge: float = 0.0

    def grain(self, scan_mm: Steps | None = None, streaks: bool = False) -> Grain:
        """The texture of its noise."""
        return Grain(self.kernel, self.thickness_mm, scan_mm, streaks)


def develop(
    hu: Tensor,
    affine: Affine,
    exposure: Exposure,
    rng: np.random.Generator,
    maps: ArtefactMaps | None = None,
    streaks: Sequence[tuple[Affine, Tensor]] = (),
    *,
    scan_mm: Steps | None = None,
    drawn_mm: Steps = (0.0, 0.0, 0.0),
) -> None:
    """Turn an ideal image into what the scanner shows, in place: blur, artefacts, noise.

    Parameters
    ----------
    scan_mm : pixel size (z, y, x) of the scan where the lattice is another to which it is resampled
    drawn_mm : standard deviation of the blur that the image was drawn with, along (z, y, x)
    maps, streaks : of `artefacts.artefact_maps` and `metal.metal_streaks`
    """
    z, y, x = (float(v) for v in np.linalg.norm(affine[:3, :3], axis=0))
    steps = (z, y, x)
    grain = exposure.grain(scan_mm)
    blur(hu, steps, scan_sigma(grain, steps), drawn_mm)
    if exposure.edge > 0:
        sharpen(hu, steps, exposure.edge, 1.6 * exposure.kernel.sigma_mm)
    add_streaks(hu, affine, streaks)
    if maps is None:
        add_noise(hu, steps, exposure.noise_hu, grain, rng)
        return
    shape = (hu.shape[0], hu.shape[1], hu.shape[2])
    plain = NoiseTile.of(shape, steps, exposure.noise_hu, grain, hu.device)
    starved: NoiseTile | None = None
    streaky = float(maps.streaks.max()) > _FAINT
    key = np.random.default_rng(
        int(rng.integers(2**32))
    )  # how often streaks are drawn must not matter to `rng`
    for first in range(0, shape[0], plain.depth):
        last = min(first + plain.depth, shape[0])
        found = maps.on(affine, shape, first, last, streaks=streaky)
        hu[first:last] += found[0]
        plain.add(hu[first:last], rng, found[1])
        if streaky and float(found[2].max()) > _FAINT:
            texture = exposure.grain(scan_mm, streaks=True)
            starved = starved or NoiseTile.of(shape, steps, exposure.noise_hu, texture, hu.device)
            starved.add(hu[first:last], key, found[2])


def sharpen(hu: Tensor, steps_mm: Steps, amount: float, sigma_mm: float) -> None:
    """Unsharp masking in plane, in place."""
    for first in range(0, hu.shape[0], _PIECE):
        part = hu[first : first + _PIECE]
        soft = part.clone()
        blur(soft, steps_mm, (0.0, sigma_mm, sigma_mm))
        part += amount * (part - soft)


# ----------------------------------------------------------------------------- derived series


def slabs(
    image: Image, thickness_mm: float, increment_mm: float, how: How = "mean", start_mm: float | None = None
) -> Image:
    """Mean or maximum over slabs across axis 0.

    Parameters
    ----------
    start_mm : middle of the first slab, mm from the middle of the first slice; by default the first slab
        starts where the volume does
    """
    hu, affine = image
    step = float(np.linalg.norm(affine[:3, 0]))
    start = (thickness_mm - step) / 2 if start_mm is None else start_mm
    count = max(
        1, int(((hu.shape[0] - 1) * step - start - (thickness_mm - step) / 2) / increment_mm + 1e-6) + 1
    )
    out = torch.empty(count, *hu.shape[1:], dtype=hu.dtype, device=hu.device)
    for n in range(count):
        middle = (start + n * increment_mm) / step
        # Share of each slice that lies within the slab; where there is no slice its neighbour goes on.
        edges = np.clip(
            np.array([-0.5, 0.5]) * max(thickness_mm / step, 1e-3) + middle, -0.5, hu.shape[0] - 0.5
        )
        first, last = int(np.floor(edges[0] + 0.5)), int(np.ceil(edges[1] + 0.5))
        k = np.arange(first, max(last, first + 1))
        share = np.clip(np.minimum(edges[1], k + 0.5) - np.maximum(edges[0], k - 0.5), 0, 1)
        part = hu[k[0] : k[-1] + 1]
        if how == "max":
            out[n] = part[torch.from_numpy(share > 0.4 * share.max()).to(hu.device)].amax(0)
        else:
            out[n] = torch.tensordot(
                torch.from_numpy((share / share.sum()).astype(np.float32)).to(hu.device), part, 1
            )
    moved = affine.copy()
    moved[:3, 3] += affine[:3, 0] * (start / step)
    moved[:3, 0] *= increment_mm / step
    return out, moved


def reformat(
    image: Image,
    plane: Literal["coronal", "sagittal"],
    thickness_mm: float,
    increment_mm: float,
    how: How = "mean",
) -> Image:
    """Coronal or sagittal slabs with square pixels, head up, and the affine of their permuted axes."""
    hu, affine = image
    order = (1, 0, 2) if plane == "coronal" else (2, 0, 1)
    turned = affine[:, [*order, 3]].copy()
    turned[:3, 3] += turned[:3, 1] * (hu.shape[0] - 1)
    turned[:3, 1] *= -1
    out, turned = slabs((hu.permute(order).flip(1), turned), thickness_mm, increment_mm, how)
    tall, wide = (float(np.linalg.norm(turned[:3, n])) for n in (1, 2))
    rows = int((out.shape[1] - 1) * tall / wide) + 1
    squared = enlarge(out[None], (out.shape[0], rows, out.shape[2]), (1, tall / wide, 1))[0]
    turned[:3, 1] *= wide / tall
    return squared, turned


def two_spacings(image: Image, split_mm: float, low_mm: float, high_mm: float) -> tuple[Image, Image]:
    """Thin slices through the base and thick ones above it, which join at gantry z `split_mm`."""
    hu, affine = image
    n = int(np.clip(round((split_mm - affine[2, 3]) / affine[2, 0]), 1, hu.shape[0] - 1))
    above = affine.copy()
    above[:3, 3] += affine[:3, 0] * n
    return slabs((hu[:n], affine), low_mm, low_mm), slabs((hu[n:], above), high_mm, high_mm)


def crop(image: Image, low_mm: float, high_mm: float) -> Image:
    """The slices whose first pixel lies between two gantry z."""
    hu, affine = image
    z = affine[2, 3] + affine[2, 0] * np.arange(hu.shape[0])
    kept = np.flatnonzero((z >= low_mm - 1e-6) & (z <= high_mm + 1e-6))
    if len(kept) == 0:
        raise ValueError("no slice lies within the coverage")
    moved = affine.copy()
    moved[:3, 3] += affine[:3, 0] * kept[0]
    return hu[kept[0] : kept[-1] + 1], moved


# ----------------------------------------------------------------------------- what surrounds the head


@dataclass(frozen=True, slots=True)
class Table:
    """A head holder over a table, in gantry coordinates.

    Attributes
    ----------
    middle : gantry (x, y) of the axis of the holder, mm
    radius_mm, wall_mm : of the trough's inner face, and its shell
    opening_deg : how far the trough reaches round the head on either side, from straight below
    shell_hu, foam_hu : of shell and filling; foam is `foam_mm` thick between two shells
    end_z : the holder ends here and the table's flat top goes on below it, gantry z in mm
    """

    middle: tuple[float, float]
    radius_mm: float = 125.0
    wall_mm: float = 2.0
    foam_mm: float = 12.0
    opening_deg: float = 70.0
    shell_hu: float = 50.0
    foam_hu: float = -940.0
    end_z: float = -1e4


def add_table(hu: Tensor, affine: Affine, table: Table, air_hu: float = -700.0) -> None:
    """Draw the head holder, and the table below `end_z`, where there is air; in place.

    Parameters
    ----------
    affine : index to gantry mm of slices that may lean about x.
    """
    j = torch.arange(hu.shape[1], device=hu.device, dtype=torch.float32)[:, None]
    i = torch.arange(hu.shape[2], device=hu.device, dtype=torch.float32)
    x, y = (
        float(r[1]) * j + float(r[2]) * i + float(r[3] - m)
        for r, m in zip(affine, table.middle, strict=False)
    )
    soft = float(np.linalg.norm(affine[:3, 2]))
    trough, top = _trough(x, y, table, soft), _table_top(x, y, table, soft)
    for k in range(
        hu.shape[0]
    ):  # what lies behind the head is the same in every slice, but for where it ends
        z = affine[2, 0] * k + affine[2, 3] + affine[2, 1] * np.array([0, hu.shape[1] - 1])
        if z.min() >= table.end_z or z.max() < table.end_z:
            gain = trough if z.min() >= table.end_z else top
        else:
            low = float(affine[2, 1]) * j + float(affine[2, 0] * k + affine[2, 3]) < table.end_z
            gain = torch.where(low, top, trough)
        hu[k] += gain * (hu[k] < air_hu)


def _trough(x: Tensor, y: Tensor, table: Table, soft: float) -> Tensor:
    """HU to add to air for the head holder, (y, x)."""
    depth = torch.sqrt(x * x + y * y) - table.radius_mm
    around = torch.atan2(x.abs(), y) - float(np.radians(table.opening_deg))
    return torch.clamp(0.5 - around * table.radius_mm / soft, 0, 1) * _sandwich(depth, table, soft)


def _table_top(x: Tensor, y: Tensor, table: Table, soft: float) -> Tensor:
    """The same for the table: the same sandwich with an almost flat face, (y, x)."""
    depth = torch.sqrt(x * x + (y + 3 * table.radius_mm) ** 2) - 4.1 * table.radius_mm
    return (x.abs() < 1.7 * table.radius_mm) * _sandwich(depth, table, soft)


def _sandwich(depth: Tensor, table: Table, soft: float) -> Tensor:
    """HU to add to air for foam between two shells."""
    foam_end = table.wall_mm + table.foam_mm
    shell = _band(depth, 0.0, table.wall_mm, soft) + _band(depth, foam_end, foam_end + table.wall_mm, soft)
    foam = _band(depth, table.wall_mm, foam_end, soft)
    return shell * (table.shell_hu + 1000) + foam * (table.foam_hu + 1000)


def _band(depth: Tensor, low: float, high: float, soft: float) -> Tensor:
    """Share of a voxel between two depths."""
    return torch.clamp((depth - low) / soft + 0.5, 0, 1) * torch.clamp((high - depth) / soft + 0.5, 0, 1)


def pad_circle(hu: Tensor, value: float) -> None:
    """Give pixels outside the reconstruction circle the scanner's padding value, in place."""
    y, x = (torch.arange(n, device=hu.device) - (n - 1) / 2 for n in hu.shape[1:])
    outside = (y[:, None] ** 2 + x**2) > (min(hu.shape[1:]) / 2) ** 2
    hu.masked_fill_(outside, value)


def to_volume(image: Image, low_hu: float = -1024.0, high_hu: float = 3071.0) -> Volume:
    """Whole HU within what the scanner stores, int16, on the CPU."""
    hu, affine = image
    stored = torch.empty(hu.shape, dtype=torch.int16, device=hu.device)
    for first in range(0, hu.shape[0], _PIECE):
        part = hu[first : first + _PIECE]
        stored[first : first + _PIECE] = torch.clamp(part, low_hu, high_hu).round_().to(torch.int16)
    return Volume(stored.cpu().numpy(), affine)
