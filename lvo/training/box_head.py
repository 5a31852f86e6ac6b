"""A head drawn in the detector's box, which patients may share, and how the scanner shows it there."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lvo.phantom.head.canvas import Canvas, Where
from lvo.phantom.head.individual import Head, draw_head
from lvo.phantom.image import Lattice
from lvo.phantom.patient import Case
from lvo.phantom.scanner.artefacts import artefact_maps, sample_maps
from lvo.phantom.scanner.kernels import Steps
from lvo.phantom.scanner.metal import metal_streaks
from lvo.phantom.scanner.recon import Exposure, add_table, develop
from lvo.phantom.scanner.xray import scale_calcium

Affine = npt.NDArray[np.float64]
_BODY_MM = 5.0
_BODY_LOW, _BODY_HIGH = (-110.0, -125.0, -115.0), (110.0, 145.0, 145.0)
"""What of a head lies in the beam while the box is scanned in any pose: head-frame x, y, z, mm."""
_BEAM_MM = 260.0
_AIR_HU = -1000.0


@dataclass(frozen=True, slots=True, eq=False)
class BoxHead:
    """A head without lesions and vessels.

    Attributes
    ----------
    head : whose it is.
    lattice : the box in which it is drawn, as an imperfect pose would place it.
    canvas, where : tissue and canonical coordinates in the lattice's voxels; never drawn on.
    body, body_affine : HU of a draft of the head, (z, y, x), in coarse voxels of the head frame, for rays.
    """

    head: Head
    lattice: Lattice
    canvas: Canvas
    where: Where
    body: Tensor
    body_affine: Affine

    def fresh(self) -> tuple[Canvas, Where]:
        """A canvas to draw lesions on."""
        return Canvas(*(getattr(self.canvas, f.name).clone() for f in fields(Canvas))), self.where


def draw_box_head(head: Head, lattice: Lattice, device: torch.device) -> BoxHead:
    """Draw a head in a box, and coarsely as a whole."""
    canvas = draw_head(head, lattice.affine, lattice.shape, device)
    where = head.where(lattice.affine, lattice.shape, device)
    affine = np.zeros((4, 4))
    affine[0, 2] = affine[1, 1] = affine[2, 0] = _BODY_MM
    affine[:3, 3], affine[3, 3] = _BODY_LOW, 1.0
    x, y, z = (int((b - a) / _BODY_MM) + 1 for a, b in zip(_BODY_LOW, _BODY_HIGH, strict=True))
    body = draw_head(head, affine, (z, y, x), device, draft=True).hu
    return BoxHead(head, lattice, canvas, where, body, affine)


def develop_in_box(
    hu: Tensor,
    affine: Affine,
    case: Case,
    exposure: Exposure,
    head: BoxHead,
    rng: np.random.Generator,
    drawn_mm: Steps,
) -> None:
    """As `lvo.phantom.expose.expose`, but only for the slices that show the box; in place.

    Parameters
    ----------
    hu : float32 (z, y, x), a lattice in the box.
    affine : its index (k, j, i) to gantry mm.
    exposure : the case's CTA or NCCT.
    drawn_mm : standard deviation of the blur that the image was drawn with, along (z, y, x).
    """
    scan = case.scan
    plain = exposure is scan.ncct
    pose, beam = (scan.ncct_pose, scan.ncct_beam) if plain else (scan.pose, scan.beam)
    lattice = _slices(affine, hu.shape, scan.centre)
    to_body = np.linalg.inv(head.body_affine) @ np.linalg.inv(pose) @ lattice.affine
    low = _in_air(head.body, to_body, lattice.shape)
    scale_calcium(low, exposure.kvp)
    if scan.table is not None:
        add_table(low, lattice.affine, scan.table)
    bottom, top = lattice.affine[2, 3], lattice.affine[2, 3] + lattice.affine[2, 0] * (lattice.shape[0] - 1)
    height = [thing.points @ pose[2, :3] + pose[2, 3] for thing in case.patient.disease.metal]
    metal = [
        thing
        for thing, z in zip(case.patient.disease.metal, height, strict=True)
        if z.max() > bottom and z.min() < top
    ]
    streaks = metal_streaks(metal, pose, low, lattice.affine, beam, rng) if metal else []
    maps = artefact_maps(low, lattice.affine, beam)
    pixel = scan.fov_mm / scan.matrix
    scan_mm = (exposure.increment_mm, pixel, pixel)
    develop(hu, affine, exposure, rng, maps, streaks, scan_mm=scan_mm, drawn_mm=drawn_mm)


def _slices(affine: Affine, shape: torch.Size, centre: tuple[float, float]) -> Lattice:
    """Coarse slices in the gantry's plane that hold a lattice, in gantry mm."""
    ends = np.array(np.meshgrid(*([0.0, n - 1.0] for n in shape), indexing="ij")).reshape(3, -1)
    z = affine[2, :3] @ ends + affine[2, 3]
    count, wide = int(np.ceil((z.max() - z.min()) / _BODY_MM)) + 2, int(_BEAM_MM / _BODY_MM)
    found = np.zeros((4, 4))
    found[2, 0] = found[1, 1] = found[0, 2] = _BODY_MM
    half = _BODY_MM * (wide - 1) / 2
    found[:, 3] = centre[0] - half, centre[1] - half, z.min() - 0.5 * _BODY_MM, 1.0
    return Lattice(found, (count, wide, wide))


def _in_air(body: Tensor, to_index: Affine, shape: tuple[int, int, int]) -> Tensor:
    """HU of a head on another lattice, air round it but below."""
    edged = torch.nn.functional.pad(body, (1, 1, 1, 1, 0, 1), value=_AIR_HU)
    moved = to_index.copy()
    moved[1:3, 3] += 1.0
    return sample_maps(edged[None, None], moved, shape)[0]
