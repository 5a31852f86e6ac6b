"""Voxel labels for a site's study: what the present network is sure of, and the clot as the site says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lvo.detector.evidence import VESSEL_CLASSES, Evidence
from lvo.training.boxed import CLOT, LIT, MISSING

UNKNOWN = 8
"""Bit of the state map: nothing is known of this voxel, and nothing is asked there."""
_SURE = 0.8
_MAYBE = 0.3
"""Probability of an artery from which a voxel in a clot's place is taken to be clot: filled with clot, an
artery is harder to see than lit."""

Labels = npt.NDArray[np.uint8]
Place = npt.NDArray[np.bool_]


def label_box(evidence: Evidence, clots: Sequence[tuple[int, Place]]) -> tuple[Labels, Labels] | None:
    """Vessel and state maps of a study whose every clot has a known place; a patent one has none.

    What the network takes for clot outside those places is not: in a patent study it is taught as lit lumen.
    In an occluded one it may be the clot's own continuation, and is not asked. Nor is missing lumen in a
    patent study, where there is none, but perhaps a vessel that is not there at all.

    Parameters
    ----------
    evidence : of the present network.
    clots : site, index into `lvo.anatomy.SITES`, and where its clot may lie, (z, y, x).

    Returns
    -------
    vessel, state : uint8 (z, y, x), as `lvo.training.boxed.label_maps` gives them, with UNKNOWN; or None when
        the network sees no artery at one of the clots' places.
    """
    vessel = evidence.vessel.argmax(axis=0).astype(np.uint8)
    known = evidence.vessel.max(axis=0) >= _SURE
    states = np.stack([evidence.lit, evidence.missing, evidence.clot])
    answer, sure = states.argmax(axis=0), states.max(axis=0) >= _SURE
    artery = known & (vessel > 0) & (vessel < VESSEL_CLASSES - 1)
    asked = artery & sure
    lit = asked & (answer == 0) if clots else asked & (answer != 1)
    state = lit * np.uint8(LIT) + (asked & (answer == 1) & bool(clots)) * np.uint8(MISSING)
    for site, place in clots:
        here = place & (evidence.arteries >= _MAYBE)
        if not here.any():
            return None
        fresh = here & ~artery
        vessel[fresh], known = site + 1, known | here
        state[here] = CLOT
    state[~known] = UNKNOWN
    vessel[~known] = 0
    return vessel, np.asarray(state, dtype=np.uint8)
