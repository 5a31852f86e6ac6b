"""Who feeds which part of the brain: pure data, in canonical head-frame mm unless said otherwise.

Written as (lateral, y, z) of MNI and converted; ellipsoids and cortex points were placed from standard
anatomy.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

TERRITORY_OF: dict[str, str] = {
    **dict.fromkeys(("M1", "M2", "M3", "M4"), "MCA"),
    **dict.fromkeys(("A1", "A2", "A3"), "ACA"),
    **dict.fromkeys(("P1", "P2", "P3"), "PCA"),
    "lenticulostriate": "lenticulostriate",
    "anterior choroidal": "anterior choroidal",
    "PComA": "PCA",
    "SCA": "SCA",
    "AICA": "AICA",
    "PICA": "PICA",
    "BA": "basilar",
    "V4": "vertebral",
}
"""Territory by structure."""

FEEDERS: tuple[dict[str, float], ...] = (
    {"M2": 12.0, "M3": 4.0, "M4": 0.0, "A2": 8.0, "A3": 5.0, "P2": 8.0, "P3": 0.0},  # 0: hemisphere
    {"SCA": 0.0, "AICA": 0.0, "PICA": 0.0},  # 1: cerebellum
    {"lenticulostriate": 0.0, "M1": 8.0},  # 2: lentiform nucleus, caudate nucleus, internal capsule
    {"anterior choroidal": 0.0, "ICA-T": 8.0},  # 3: posterior limb, uncus
    {"P1": 0.0, "P2": 0.0, "PComA": 4.0},  # 4: thalamus
    {"BA": 0.0, "SCA": 14.0, "AICA": 8.0, "PICA": 10.0, "V4": 0.0, "P1": 6.0},  # 5: brainstem
)
"""By part of the brain: the structures that may feed it, and the detour in mm that each counts as."""


def _head(points: npt.ArrayLike) -> Array:
    """(lateral, y, z) of MNI to the canonical head frame, left side."""
    lateral, y, z = np.asarray(points, dtype=np.float64).reshape(-1, 3).T
    return np.stack([lateral, -(y - 2.0), z + 33.0], axis=1)


def _ellipsoid(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> tuple[Array, Array]:
    return _head(centre)[0], np.array(radii)


DEEP: tuple[tuple[int, tuple[Array, Array]], ...] = (
    (5, _ellipsoid((0, -26, -14), (17, 15, 12))),  # midbrain
    (5, _ellipsoid((0, -28, -34), (19, 15, 17))),  # pons
    (5, _ellipsoid((0, -40, -58), (12, 12, 18))),  # medulla
    (4, _ellipsoid((11, -19, 7), (11, 16, 10))),
    (2, _ellipsoid((24, 3, 1), (10, 20, 14))),  # lentiform nucleus
    (2, _ellipsoid((13, 13, 6), (8, 11, 12))),  # head of the caudate nucleus
    (2, _ellipsoid((19, -2, 18), (9, 18, 8))),  # its body, and the capsule
    (3, _ellipsoid((22, -17, 5), (5, 9, 11))),
    (3, _ellipsoid((24, -8, -20), (8, 9, 8))),
)
"""Deep parts: their number in `FEEDERS`, and an ellipsoid (centre and radii, lateral y z); later ones win."""

ANCHORS: dict[str, Array] = {
    "ACA": _head(
        (
            (5, 60, 0), (5, 50, 25), (5, 35, 45), (5, 15, 60), (5, -10, 65), (5, -30, 60), (5, -45, 50),
            (5, 35, -15), (6, 20, 40), (6, -20, 45), (8, -55, 42), (15, 52, 28), (18, 35, 45), (18, 15, 60),
            (18, -5, 68), (18, -25, 68), (16, -42, 64), (12, -58, 55), (10, 30, -20), (10, 45, -15),
            (13, 62, 8), (6, 15, 28), (6, -15, 33),
        )
    ),
    "MCA": _head(
        (
            (45, 40, 5), (40, 50, 10), (35, 40, 30), (40, 25, 42), (48, 10, 38), (52, -5, 42), (40, 0, 55),
            (50, -25, 50), (42, -35, 58), (58, -30, 35), (48, -55, 42), (36, -60, 52), (55, -50, 20),
            (46, -70, 22), (60, -20, 12), (63, -30, 0), (60, -46, 0), (62, -10, -12), (58, -30, -16),
            (54, 5, -20), (45, 18, -28), (36, 12, -34), (38, 5, 0), (38, -12, 5), (35, 35, -12),
            (45, 30, -8), (28, 0, 30), (28, -25, 30), (28, 25, 22), (56, 10, 15), (44, -60, 8),
        )
    ),
    "PCA": _head(
        (
            (8, -75, 8), (10, -92, 0), (25, -94, 2), (26, -86, 18), (12, -84, 28), (8, -65, 20),
            (28, -45, -12),
            (40, -50, -20), (30, -25, -22), (44, -35, -25), (28, -70, -10), (42, -70, -10), (24, -32, -8),
            (48, -18, -32), (28, -20, -14), (18, -55, 2), (36, -84, 4),
        )
    ),
}  # fmt: skip
"""Points of the cortex of the left side by the cerebral artery that feeds them, (n, 3) head frame."""


def lies_under_tentorium(lateral: Array, y: Array, z: Array) -> npt.NDArray[np.bool_]:
    """Whether points (lateral, y, z) of the head frame lie below the average tentorium."""
    back, up = 2.0 - y, z - 33.0  # MNI
    roof = -3.0 - 0.42 * lateral - 0.25 * np.clip(-60.0 - back, 0, None)
    behind = (back < -32.0 - 0.2 * np.clip(lateral - 20, 0, None)) & (up < roof)
    found: npt.NDArray[np.bool_] = behind | (up < -46.0)
    return found
