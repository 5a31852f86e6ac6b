"""What a scanner shows of an ideal image: blur, beam hardening, metal streaks and noise of one case."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from lvo.phantom.image import Lattice
from lvo.phantom.patient import Case
from lvo.phantom.real.head import draw_any
from lvo.phantom.scanner.artefacts import artefact_maps
from lvo.phantom.scanner.kernels import Steps
from lvo.phantom.scanner.metal import metal_streaks
from lvo.phantom.scanner.recon import Exposure, add_table, develop
from lvo.phantom.scanner.xray import scale_calcium
from lvo.study import Affine

DRAWN_MM = (0.4, 0.4, 0.4)
"""Standard deviation of the blur that drawing on a 1 mm lattice amounts to."""
_COARSE_MM = 4.0


def expose(
    hu: Tensor,
    affine: Affine,
    case: Case,
    exposure: Exposure,
    rng: np.random.Generator,
    *,
    scan_mm: Steps | None = None,
) -> None:
    """Turn an ideal image of a case into what the scanner shows, in place.

    Parameters
    ----------
    hu : float32 (z, y, x).
    affine : its index (k, j, i) to gantry mm.
    exposure : of the case's scan; its NCCT or one of its CTAs.
    scan_mm : pixel size (z, y, x) of the scan, if the lattice is another to which it is brought.
    """
    scan, patient = case.scan, case.patient
    plain = exposure is scan.ncct
    pose, beam = (scan.ncct_pose, scan.ncct_beam) if plain else (scan.pose, scan.beam)
    coarse, shape = scan.beam_lattice(_COARSE_MM)
    body = Lattice(np.linalg.inv(pose) @ coarse, shape)
    low = draw_any(patient.head, body.affine, body.shape, hu.device, draft=True).hu
    scale_calcium(low, exposure.kvp)
    if scan.table is not None:
        add_table(low, coarse, scan.table)
    metal = patient.disease.metal
    streaks = metal_streaks(metal, pose, low, coarse, beam, rng) if metal else []
    maps = artefact_maps(low, coarse, beam)
    develop(hu, affine, exposure, rng, maps, streaks, scan_mm=scan_mm, drawn_mm=DRAWN_MM)
