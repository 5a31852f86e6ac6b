"""Courses of the vertebrobasilar arteries inside the dura and of the posterior cerebral arteries.

The basilar and intradural vertebral arteries have no fixed waypoints: `basilar` lays them along
`BRAINSTEM`, from the height at which the vertebral arteries unite to that at which the basilar divides, both
of which differ much between people.
"""

from __future__ import annotations

import numpy as np

from lvo.phantom.vessels.routes import Route

BRAINSTEM = np.array(
    [
        (-74, -38.5), (-66, -36), (-62, -33.5), (-58, -31), (-54, -28.3), (-50, -24.5), (-46, -20),
        (-42, -16.5), (-38, -14), (-34, -12.8), (-30, -12.2), (-26, -11.8), (-22, -11), (-18, -10),
    ],
    dtype=np.float64,
)  # fmt: skip
"""(z, y) in MNI mm of the arteries' bed in front of medulla and pons, in the midline."""
DURA = (13.0, -43.0, -73.0)
"""Where the vertebral artery pierces the dura, (lateral, y, z) in MNI mm."""

BASILAR = Route("BA", "BA", "", (), (3.64, 3.42, 3.15, 3.1, 3.0), paired=False, wander=0.6, spread=0.16)
V4 = Route(
    "V4",
    "V4",
    "VA@1",
    (),
    (3.95, 3.6, 3.1, 2.65),
    end="BA@0",
    wander=0.6,
    spread=0.18,
    wider=True,
    group="vertebral",
)

CEREBELLAR: tuple[Route, ...] = (
    Route(
        "PICA",
        "PICA",
        "V4@0.4",
        (
            (11.5, -39, -66), (12, -46, -70), (10, -53, -65), (8, -55, -57), (6, -60, -54), (5, -67, -60),
            (6, -74, -53),
        ),
        (1.6, 1.4, 1.0, 0.8),
        wander=1.3,
    ),
    Route(
        "lateral PICA", "PICA", "PICA@0.6", ((16, -62, -60), (24, -70, -56), (28, -76, -48)), (1.0, 0.7)
    ),
    Route(
        "AICA",
        "AICA",
        "BA@0.3",
        ((7, -15.5, -43), (16, -21, -43), (25, -30, -44), (30, -38, -48), (38, -48, -50), (42, -58, -48)),
        (1.2, 1.0, 0.8),
        wander=1.2,
    ),
    Route(
        "SCA",
        "SCA",
        "BA@0.92",
        ((6, -12, -23.5), (14, -19.5, -24.5), (18.5, -29, -23), (16, -38, -17), (12, -46, -11),
         (10, -58, -8)),
        (1.6, 1.4, 1.1, 0.8),
    ),
    Route(
        "lateral SCA",
        "SCA",
        "SCA@0.42",
        ((22, -36, -23), (29, -46, -21), (35, -56, -22), (38, -66, -26)),
        (1.1, 0.9, 0.7),
        wander=1.2,
    ),
    Route("pontine 1", "AICA", "BA@0.45", ((4, -15.5, -38), (9, -17.5, -38)), (0.55, 0.4)),
    Route("pontine 2", "AICA", "BA@0.65", ((4, -14.5, -34), (10, -17, -34)), (0.55, 0.4)),
)  # fmt: skip

PCA: tuple[Route, ...] = (
    Route(
        "P1",
        "P1",
        "BA@1",
        ((4, -9.8, -19.8), (8.5, -9.8, -18.5), (12.8, -12, -18)),
        (2.25, 2.2, 2.15),
        lateral=0.6,
        spread=0.15,
    ),
    Route(
        "P2",
        "P2",
        "P1@1|PComA@1",
        ((16, -16.5, -17), (18, -22, -14.8), (17.3, -27.5, -12.8), (14.3, -32, -10.8), (11.8, -37, -9)),
        (2.15, 2.0, 1.8),
        wander=0.9,
        wider=True,
    ),
    Route(
        "anterior temporal P2",
        "P3",
        "P2@0.35",
        ((22, -20, -18.5), (27, -22, -25), (35, -24, -31), (45, -24, -33)),
        (1.1, 0.9, 0.7),
        wander=1.2,
    ),
    Route(
        "posterior temporal P2",
        "P3",
        "P2@0.62",
        ((21, -32, -14.5), (27, -42, -17), (33, -53, -19.5), (40, -64, -20), (45, -74, -17)),
        (1.4, 1.2, 0.8),
        wander=1.2,
    ),
    Route("P3", "P3", "P2@1", ((11.3, -43, -7.5), (11, -50, -6), (10.3, -57, -3)), (1.8, 1.6)),
    Route(
        "calcarine",
        "P3",
        "P3@1",
        ((9.5, -64, 1), (7.5, -72, 4), (6.5, -80, 5), (7, -89, 3), (9, -96, 1)),
        (1.4, 1.1, 0.8),
    ),
    Route(
        "parieto-occipital",
        "P3",
        "P3@0.85",
        ((9, -60, 5), (7, -66, 13), (6, -73, 22), (7, -79, 30), (11, -83, 37)),
        (1.4, 1.1, 0.8),
        lateral=0.7,
    ),
    Route("splenial", "P3", "P3@0.3", ((8, -44, 2), (5, -43, 10), (4, -38, 19)), (0.9, 0.6), lateral=0.6),
)

CARRIED: dict[str, tuple[float, ...]] = {
    "P1": (0.8, 0.6, 0.45),
    "P2": (0.35, 0.25, 0.15, 0.05),
    "SCA": (0.7, 0.5, 0.3, 0.1),
}
"""Share of the height of the basilar artery's top, above or below the average, that a route's first waypoints
go along with: where it divides low, the first segments rise to their cisterns. Shares of our own."""

PCOMA = Route(
    "PComA",
    "PComA",
    "ICA-I@0.955",
    ((12.3, 0.5, -23), (12.7, -6, -20.3)),
    (1.0, 1.0),
    end="P1@1",
    wander=0.8,
    spread=0.0,
)
LOST_P1 = (12.8, -12.0, -18.0)
"""Where a posterior cerebral artery without P1 begins to be called P2, (lateral, y, z) in MNI mm."""
