"""Image a patient on a lattice: HU as a perfect scanner would measure them, and the truth beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from lvo.phantom.disease.lesions import draw_lesions
from lvo.phantom.flow.bolus import Bolus
from lvo.phantom.head.canvas import Canvas, Where
from lvo.phantom.paint import Painted, label_of, paint, paint_balls
from lvo.phantom.patient import Patient
from lvo.phantom.real.head import draw_any
from lvo.phantom.scanner.metal import draw_metal
from lvo.phantom.scanner.xray import scale_calcium
from lvo.phantom.vessels.tree import Branch

Affine = npt.NDArray[np.float64]
Array = npt.NDArray[np.float64]
Shape = tuple[int, int, int]
_CISTERN_MM, _CANAL_MM = 1.3, 0.9
"""Width of fluid round the arteries of the base, and of soft tissue round an artery in bone."""
_CISTERNS = frozenset({"ICA-I", "ICA-T", "M1", "A1", "A2", "P1", "P2", "BA", "V4", "PComA", "AComA"})
_CANALS = frozenset({"ICA-I", "V4", "VA", "ophthalmic"})
_CSF_HU, _WALL_HU, _VEIN_EXCESS_HU = 8.0, 45.0, 6.0


@dataclass(frozen=True, slots=True)
class Lattice:
    """Where voxels are: affine maps array index (k, j, i) to head-frame mm, orthogonal axes."""

    affine: Affine
    shape: Shape

    @property
    def steps(self) -> Array:
        """Head-frame mm per voxel along (z, y, x) array axes."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    def slab(self, first: int, last: int) -> Lattice:
        """Slices first to last."""
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, 0] * first
        return Lattice(affine, (last - first, *self.shape[1:]))

    def coarser(self, step_mm: float) -> Lattice:
        """A lattice between the same corners with steps of about `step_mm`; no finer than this one."""
        counts = [
            max(2, min(n, int(np.ceil((n - 1) * s / step_mm)) + 1))
            for n, s in zip(self.shape, self.steps, strict=True)
        ]
        affine = self.affine.copy()
        affine[:3, :3] *= [(n - 1) / (c - 1) for n, c in zip(self.shape, counts, strict=True)]
        return Lattice(affine, (counts[0], counts[1], counts[2]))


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is in every voxel; tensors (z, y, x).

    Attributes
    ----------
    cover : float32, share of the voxel that is lumen of an artery or vein, 0 to 1.
    vessel : uint8, number in `lvo.phantom.vessels.labels.LABELS`, or 0.
    fill : float32, contrast relative to the artery's usual, 0 to 1; 1 outside arteries.
    clot : bool, where the lumen is clot.
    """

    cover: Tensor
    vessel: Tensor
    fill: Tensor
    clot: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Tubes:
    """All lumina of a patient and what is in them, point by point.

    Attributes
    ----------
    arteries, veins : branches to paint; aneurysms are among the arteries.
    artery_hu, vein_hu : (points,) of all points of the branches, counted through.
    fill : (points,) contrast of the arteries' points relative to what they would have without a clot.
    clot : (points,) where the arteries' lumen is clot.
    """

    arteries: tuple[Branch, ...]
    veins: tuple[Branch, ...]
    artery_hu: Array
    vein_hu: Array
    fill: Array
    clot: npt.NDArray[np.bool_]


def tubes(patient: Patient, bolus: Bolus | None) -> Tubes:
    """The lumina of a patient.

    Parameters
    ----------
    bolus : at the moment of the scan; None without contrast.
    """
    flow, sacs = patient.flow, patient.disease.sacs
    blood = patient.bolus.blood
    seen = patient.bolus if bolus is None else bolus
    delay, usual, clot = (
        np.concatenate([*parts, *(np.full(len(s.points), parts[s.parent][s.parent_point]) for s in sacs)])
        for parts in (flow.delay_s, flow.patent_s, flow.clot)
    )
    gained, normal = (seen.artery_hu(d) - blood for d in (delay, usual))
    fill = np.clip(gained / np.maximum(normal, 1e-6), 0, 1)
    artery = blood + (gained if bolus is not None else 0.0)
    artery = np.broadcast_to(artery, delay.shape).copy()
    arteries = patient.arteries.branches
    sizes = sum(len(b.points) for b in arteries)
    for o in sorted(flow.occlusions, key=lambda o: -sum(int(b.sum()) for b in o.beyond)):
        own = np.zeros(len(delay), bool)
        own[:sizes] = np.concatenate(o.beyond) & np.concatenate(flow.clot)
        artery[own] = o.hu + o.lumen * (artery[own] - o.hu)
    fill[clot] = 0.0
    veins = patient.veins.branches
    levels = [blood + _VEIN_EXCESS_HU if bolus is None else _vein_hu(patient, bolus, b) for b in veins]
    vein = np.repeat(levels, [len(b.points) for b in veins])
    return Tubes((*arteries, *sacs), veins, artery, vein, fill, clot.astype(bool))


def _vein_hu(patient: Patient, bolus: Bolus, b: Branch) -> float:
    level = bolus.vein_hu(b.structure)
    for s in patient.disease.shunts:
        if s.vein == b.structure and b.side in (s.side, b.side.MIDLINE):
            level = max(level, bolus.blood + s.fill * (bolus.artery - bolus.blood))
    return level


def draw_tissue(
    patient: Patient, lattice: Lattice, device: torch.device, head: tuple[Canvas, Where] | None = None
) -> Canvas:
    """Head and lesions, arteries' cisterns and canals cleared, without vessels.

    Parameters
    ----------
    head : the patient's head as it has been drawn on this lattice, and where that is; it is drawn on.
    """
    place = lattice.affine, lattice.shape, device
    canvas = head[0] if head else draw_any(patient.head, *place)
    if patient.lesions:
        draw_lesions(patient.lesions, head[1] if head else patient.head.where(*place), canvas)
    _clear(patient, lattice, canvas, device)
    return canvas


def _clear(patient: Patient, lattice: Lattice, canvas: Canvas, device: torch.device) -> None:
    """Fluid round the arteries of the base instead of brain, soft tissue round those in bone."""
    edge = float(np.hypot(1.0, lattice.steps.mean()))
    branches = patient.arteries.branches
    for names, widen, hu, parts in (
        (_CISTERNS, _CISTERN_MM, _CSF_HU, ("grey", "white")),
        (_CANALS, _CANAL_MM, _WALL_HU, ("bone",)),
    ):
        chosen = [b for b in branches if b.structure in names]
        found = paint(chosen, lattice.affine, lattice.shape, device, edge_mm=edge, widen_mm=widen)
        at = found.voxel
        flat = {name: getattr(canvas, name).view(-1) for name in ("hu", "uptake", *parts)}
        share = found.share * torch.stack([flat[name][at] for name in parts]).sum(0).clamp(max=1)
        flat["hu"][at] += share * (hu - flat["hu"][at])
        flat["uptake"][at] *= 1 - share
        for name in parts:
            flat[name][at] *= 1 - found.share


def image_patient(
    patient: Patient,
    lattice: Lattice,
    bolus: Bolus | None,
    *,
    kvp: float = 120.0,
    psf_mm: float = 0.8,
    tissue_mm: float = 1.0,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Truth]:
    """HU and truth on a lattice, without noise and artefacts.

    Parameters
    ----------
    bolus : at the moment of the scan; None without contrast.
    psf_mm : width over which a vessel's edge is blurred, besides the voxel itself.
    tissue_mm : step of the lattice on which tissue is drawn, if this one is finer.

    Returns
    -------
    hu : float32 tensor (z, y, x).
    truth : in the same voxels.
    """
    where = torch.device(device)
    hu = tissue_hu(patient, lattice, bolus, kvp, tissue_mm=tissue_mm, device=where)
    lumina = tubes(patient, bolus)
    return hu, truth_of(lumina, draw_vessels(hu, patient, lattice, lumina, psf_mm))


def tissue_hu(
    patient: Patient,
    lattice: Lattice,
    bolus: Bolus | None,
    kvp: float,
    *,
    tissue_mm: float,
    device: torch.device,
) -> Tensor:
    """HU of everything but vessels at a tube voltage, float32 (z, y, x)."""
    coarse = lattice.coarser(tissue_mm)
    hu = canvas_hu(draw_tissue(patient, coarse, device), bolus, kvp)
    if coarse.shape != lattice.shape:
        hu = functional.interpolate(hu[None, None], lattice.shape, mode="trilinear", align_corners=True)[0, 0]
    return hu


def canvas_hu(canvas: Canvas, bolus: Bolus | None, kvp: float) -> Tensor:
    """HU of drawn tissue at a tube voltage, with or without contrast; the canvas' own tensor, changed."""
    hu = canvas.hu
    scale_calcium(hu, kvp)
    if bolus is not None:
        mean = 0.5 * (bolus.artery + bolus.vein)
        hu += canvas.uptake * (mean - bolus.blood)
    return hu


@dataclass(frozen=True, slots=True, eq=False)
class Lumina:
    """Veins and arteries as they were painted."""

    veins: Painted
    arteries: Painted


def draw_vessels(hu: Tensor, patient: Patient, lattice: Lattice, lumina: Tubes, psf_mm: float) -> Lumina:
    """Paint walls, veins, arteries, calcium and metal into `hu` (z, y, x), in place."""
    edge = float(np.hypot(psf_mm, lattice.steps.mean()))
    flat = hu.view(-1)

    def painted(branches: Sequence[Branch]) -> Painted:
        return paint(branches, lattice.affine, lattice.shape, hu.device, edge_mm=edge)

    def fill(found: Painted, values: Array) -> None:
        level = torch.from_numpy(values.astype(np.float32)).to(hu.device)
        flat[found.voxel] += found.share * (level[found.point] - flat[found.voxel])

    for wall in patient.disease.walls:
        fill(painted([wall.branch]), np.full(len(wall.branch.points), wall.hu))
    drawn = Lumina(painted(lumina.veins), painted(lumina.arteries))
    fill(drawn.veins, lumina.vein_hu)
    fill(drawn.arteries, lumina.artery_hu)
    stones = patient.disease.calcium
    place = lattice.affine, lattice.shape, hu.device
    fill(paint_balls(stones.points, stones.radius, *place, edge_mm=edge), stones.hu)
    draw_metal(hu, lattice.affine, patient.disease.metal)
    return drawn


def truth_of(lumina: Tubes, drawn: Lumina) -> Truth:
    """What is in every voxel."""
    arteries, device = drawn.arteries, drawn.arteries.voxel.device
    lit, blocked = (torch.from_numpy(a).to(device) for a in (lumina.fill.astype(np.float32), lumina.clot))
    return Truth(
        torch.maximum(drawn.veins.cover, arteries.cover),
        label_of((arteries, lumina.arteries), (drawn.veins, lumina.veins)),
        arteries.spread(lit[arteries.point], 1.0),
        arteries.spread(blocked[arteries.point] & arteries.within, False),
    )


def lumen_truth(
    patient: Patient, lattice: Lattice, lumina: Tubes, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Vessel labels (uint8) and clot (bool) on a lattice, sharp edged, (z, y, x)."""
    edge = float(lattice.steps.mean())
    veins, arteries = (
        paint(branches, lattice.affine, lattice.shape, device, edge_mm=edge)
        for branches in (lumina.veins, lumina.arteries)
    )
    blocked = torch.from_numpy(lumina.clot).to(device)
    labels = label_of((arteries, lumina.arteries), (veins, lumina.veins))
    return labels, arteries.spread(blocked[arteries.point] & arteries.within, False)
