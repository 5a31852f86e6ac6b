"""Metal: what it looks like, and the bright and dark streaks that it throws through its slices."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from lvo.phantom.scanner.artefacts import Affine, Beam, Rays, Shape, sample_maps
from lvo.phantom.scanner.xray import spectrum, split

_DARK = 2e-5  # signal that a detector shows without any, relative to the open beam


class MetalRanges(BaseModel):
    """How strongly metal disturbs a scan; each drawn uniformly.

    Attributes
    ----------
    strength : share of the streaks left: metal artefact reduction takes some, 0 to 1
    noise : noise of a typical ray, in its logarithm
    step_mm, slice_mm : lattice on which the streaks are computed
    angles : number of views over 180 degrees
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    strength: tuple[float, float] = (0.35, 1.0)
    noise: tuple[float, float] = (0.005, 0.02)
    step_mm: float = 1.75
    slice_mm: float = 1.5
    angles: int = 128


@dataclass(frozen=True, slots=True, eq=False)
class MetalObject:
    """A thing of metal: a ball, or balls strung along a line.

    Attributes
    ----------
    name : "clip", "coil", "filling", "stent", "electrode", "shunt" ...
    points : float64 (n, 3), head-frame mm; one for a ball
    radius_mm : in the head frame
    material : "titanium", "steel" or "gold" (for platinum and amalgam)
    fill : share of the volume that is metal: a coil ball is about 0.3
    hu : what the scanner shows; above 3071 where it stores more than twelve bits
    """

    name: str
    points: npt.NDArray[np.float64]
    radius_mm: float
    material: str
    fill: float = 1.0
    hu: float = 8000.0


def draw_metal(hu: Tensor, affine: Affine, objects: Sequence[MetalObject], edge_mm: float = 0.6) -> None:
    """Put metal into an image in place.

    Parameters
    ----------
    hu : float32 (z, y, x)
    affine : its index (k, j, i) to head-frame mm
    edge_mm : width of the blurred edge besides the voxel
    """
    for thing in objects:
        value = -1000 + (thing.hu + 1000) * thing.fill
        for box, share in _strokes(thing, affine, tuple(hu.shape), edge_mm, hu.device):
            part = hu[box]
            part += share * torch.clamp(value - part, min=0)


def _strokes(
    thing: MetalObject, affine: Affine, shape: tuple[int, ...], edge_mm: float, device: torch.device
) -> list[tuple[tuple[slice, slice, slice], Tensor]]:
    """Boxes round the pieces of an object, and the share of it in their voxels."""
    inverse, steps = np.linalg.inv(affine), np.linalg.norm(affine[:3, :3], axis=0)
    edge = float(np.hypot(edge_mm, steps.mean()))
    ends = thing.points if len(thing.points) > 1 else np.repeat(thing.points, 2, axis=0)
    whole = _undiluted(thing.radius_mm / edge, ball=len(thing.points) == 1)
    found = []
    for a, b in itertools.pairwise(ends):
        corners = (np.stack([a, b]) @ inverse[:3, :3].T) + inverse[:3, 3]
        reach = (thing.radius_mm + edge) * np.linalg.norm(inverse[:3, :3], axis=1)
        low = np.maximum(np.floor(corners.min(0) - reach), 0).astype(int)
        high = np.minimum(np.ceil(corners.max(0) + reach) + 1, shape).astype(int)
        if (high <= low).any():
            continue
        k, j, i = (
            torch.arange(m, n, device=device, dtype=torch.float32).reshape(
                [-1 if r == s else 1 for s in range(3)]
            )
            for r, (m, n) in enumerate(zip(low, high, strict=True))
        )
        away = [
            k * float(r[0]) + j * float(r[1]) + i * float(r[2]) + float(r[3] - c)
            for r, c in zip(affine[:3], a, strict=True)
        ]
        line = b - a
        along = sum((v * float(c) for v, c in zip(away, line, strict=True)), torch.zeros_like(away[0]))
        along = torch.clamp(along / max(float(line @ line), 1e-9), 0, 1)
        square = sum(
            ((v - along * float(c)) ** 2 for v, c in zip(away, line, strict=True)), torch.zeros_like(along)
        )
        share = torch.clamp((thing.radius_mm - square.sqrt()) / edge + 0.5, 0, 1) * whole
        found.append(((slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])), share))
    return found


def _undiluted(radius: float, *, ball: bool) -> float:
    """What the soft profile of a ball or a wire is multiplied with to hold as much metal as the hard one.

    `radius` is in widths of the edge, over which the profile falls from 1 to 0.
    """
    if radius >= 0.5:
        return radius**2 / (radius**2 + (1 / 4 if ball else 1 / 12))
    reach = radius + 0.5  # a cone, as high as it is wide
    return 4 * radius**3 / reach**4 if ball else 3 * radius**2 / reach**3


def metal_streaks(
    objects: Sequence[MetalObject],
    pose: Affine,
    hu: Tensor,
    affine: Affine,
    beam: Beam,
    rng: np.random.Generator,
    ranges: MetalRanges | None = None,
) -> list[tuple[Affine, Tensor]]:
    """Streaks of metal, as HU to add on lattices that end in empty slices: ``[(index to gantry mm, hu)]``.

    Parameters
    ----------
    pose : head frame to gantry mm
    hu, affine : the body without metal, as for :func:`lvo.phantom.scanner.artefacts.artefact_maps`
    """
    ranges = ranges or MetalRanges()
    strength, noise = (float(rng.uniform(*v)) for v in (ranges.strength, ranges.noise))
    tube, out = spectrum(beam.kvp), []
    for group in _groups(objects, pose, ranges.slice_mm):
        lattice, shape = _fine(group, pose, hu.shape, affine, ranges)
        body = sample_maps(hu[None, None], np.linalg.inv(affine) @ lattice, shape)[0]
        rays = Rays.of(shape[1], shape[2], ranges.step_mm, ranges.angles, str(hu.device))
        water, bone = (rays.project(part) for part in split(body, tube))
        metal = {}
        for material in {o.material for o in group}:
            share = torch.zeros_like(body)
            for thing in (o for o in group if o.material == material):
                for box, part in _strokes(thing, np.linalg.inv(pose) @ lattice, shape, 0.0, hu.device):
                    share[box] = torch.maximum(share[box], part * thing.fill)
            metal[material] = rays.project(share)
        maps = rays.reconstruct(_misread(water, bone, metal, beam, noise, rng)) * (1000 * strength)
        maps[0], maps[-1] = 0, 0
        out.append((lattice, maps))
    return out


def _misread(
    water: Tensor,
    bone: Tensor,
    metal: Mapping[str, Tensor],
    beam: Beam,
    noise: float,
    rng: np.random.Generator,
) -> Tensor:
    """Mm of water that the scanner errs by in each ray because of metal, mm of which are given."""
    tube = spectrum(beam.kvp)
    body = ((tube.water, water), (tube.bone, bone))
    clean = tube.signal(body)
    signal = tube.signal((*body, *((tube.metals[m], length) for m, length in metal.items())))
    shadow = (clean < 0.6).float()
    floor = beam.scatter * (clean * shadow).sum((0, 1)) / shadow.sum((0, 1)).clamp(min=1) + _DARK
    through = sum(metal.values(), torch.zeros_like(water))
    # A starved ray is noisier by the root of what it lost; the image's own noise is added elsewhere.
    grains = torch.from_numpy(rng.standard_normal(signal.shape, dtype=np.float32)).to(water.device)
    typical = float(np.exp(-tube.water * 165.0 - tube.bone * 12.0) @ tube.weight)
    spread = noise * (torch.sqrt(typical / (signal + floor)) - torch.sqrt(typical / (clean + floor)))
    seen = (signal + floor) * torch.exp(torch.clamp(grains * spread, -1.5, 1.5))
    error = tube.read(seen) - tube.read(clean + floor)
    # What grows in step with the metal is the metal itself, and drawn as such.
    linear = (error * through).sum() / (through * through).sum().clamp(min=1e-6)
    return torch.where(through > 0, error - linear * through, 0.0)


def add_streaks(hu: Tensor, affine: Affine, streaks: Sequence[tuple[Affine, Tensor]]) -> None:
    """Add streaks to an image in place; affine maps its index to gantry mm."""
    for lattice, found in streaks:
        to_index = np.linalg.inv(lattice) @ affine
        ends = np.array([[0.0, n - 1.0] for n in hu.shape])
        corners = np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1)
        height = to_index[0, 1:3] @ corners[1:] + to_index[0, 3]
        first = int(np.floor(max(0.0, (0 - height.max()) / to_index[0, 0])))
        last = int(np.ceil(min(hu.shape[0] - 1.0, (found.shape[0] - 1 - height.min()) / to_index[0, 0]))) + 1
        if last > first:
            start = to_index.copy()
            start[:3, 3] += to_index[:3, 0] * first
            hu[first:last] += sample_maps(found[None, None], start, (last - first, *hu.shape[1:]))[0]


def _groups(objects: Sequence[MetalObject], pose: Affine, gap_mm: float) -> list[list[MetalObject]]:
    """Objects that share slices, together."""
    spans = sorted((*_span(o, pose), n) for n, o in enumerate(objects))
    groups: list[list[MetalObject]] = []
    top = -np.inf
    for low, high, n in spans:
        if low > top + 2 * gap_mm:
            groups.append([])
        groups[-1].append(objects[n])
        top = max(top, high)
    return groups


def _span(thing: MetalObject, pose: Affine) -> tuple[float, float]:
    """Lowest and highest gantry z of an object, mm."""
    z = thing.points @ pose[2, :3] + pose[2, 3]
    reach = thing.radius_mm * float(np.linalg.norm(pose[2, :3]))
    return float(z.min()) - reach, float(z.max()) + reach


def _fine(
    group: Sequence[MetalObject], pose: Affine, shape: tuple[int, ...], affine: Affine, ranges: MetalRanges
) -> tuple[Affine, Shape]:
    """A lattice of the coarse one's width over the slices of some objects, empty slices at its ends."""
    spans = np.array([_span(o, pose) for o in group])
    low, high = spans[:, 0].min(), spans[:, 1].max()
    fine = np.zeros((4, 4))
    fine[2, 0], fine[1, 1], fine[0, 2], fine[3, 3] = ranges.slice_mm, ranges.step_mm, ranges.step_mm, 1.0
    fine[:2, 3], fine[2, 3] = affine[:2, 3], low - 1.5 * ranges.slice_mm
    wide = [
        int((n - 1) * affine[r, c] / ranges.step_mm) + 1 for n, r, c in ((shape[1], 1, 1), (shape[2], 0, 2))
    ]
    return fine, (int(np.ceil((high - low) / ranges.slice_mm)) + 4, wide[0], wide[1])
