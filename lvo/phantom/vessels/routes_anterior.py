"""Courses of the middle and anterior cerebral arteries and of their named branches.

Segments as in Gibo H et al. J Neurosurg 1981;54:151 (M1 to M4) and Perlmutter D, Rhoton AL. J Neurosurg
1978;49:204 (A1 to A5, of which A3 here stands for A3 to A5). Each cortical branch of the middle cerebral
artery has an insular part (M2) up or down to the circular sulcus, an opercular part (M3) out of the Sylvian
fissure, and a cortical part (M4).
"""

from __future__ import annotations

from dataclasses import dataclass

from lvo.phantom.vessels.routes import Route, Waypoint

M1 = Route(
    "M1",
    "M1",
    "ICA-T@1",
    (
        (18, 5, -20.4), (24.5, 7, -21), (30.5, 8.5, -21), (36, 9, -18.5), (41, 9.5, -13.5),
        (43.8, 8.5, -8), (44.8, 6, -2.5),
    ),
    (3.35, 3.2, 3.05),
    wander=0.9,
    spread=0.13,
)  # fmt: skip
"""Its whole possible course; a patient's M1 ends on it where the artery divides."""
TRUNKS: tuple[Route, ...] = (
    Route(
        "M2s",
        "M2",
        "M1@1",
        ((42.3, 9.5, -12.5), (45, 8.5, -7), (45, 5.5, -1), (44.8, 0.5, 3.5), (43.5, -5, 8)),
        (2.6, 2.4, 2.0, 1.7),
        wander=1.1,
        spread=0.16,
    ),
    Route(
        "M2i",
        "M2",
        "M1@1",
        (
            (42, 4, -15.5),
            (44.3, -1.5, -10.5),
            (45, -7, -5.5),
            (44, -12.5, -0.5),
            (41.8, -18, 5.5),
            (40.3, -23, 11.5),
        ),
        (2.6, 2.4, 2.0, 1.6),
        wander=1.1,
        spread=0.16,
    ),
)
MIDDLE_TRUNK = Route(
    "M2m",
    "M2",
    "M1@1",
    ((43, 6.5, -13), (45.5, 2, -7), (45.5, -3, -1), (44.8, -9, 4.5), (42.7, -14, 9.5)),
    (2.2, 1.9, 1.6),
    wander=1.1,
)
"""The third trunk of a trifurcation."""


@dataclass(frozen=True, slots=True)
class Cortical:
    """A named cortical branch of the middle cerebral artery.

    Attributes
    ----------
    superior, inferior, middle : fraction along a trunk at which it leaves it, by trunk.
    share : probability that it belongs to the superior trunk when neither trunk dominates.
    insular, opercular, cortical : waypoints of M2, M3 and M4.
    calibre : mm at its beginning.
    """

    name: str
    superior: float
    inferior: float
    middle: float
    share: float
    insular: tuple[Waypoint, ...]
    opercular: tuple[Waypoint, ...]
    cortical: tuple[Waypoint, ...]
    calibre: float = 1.5


CORTICAL: tuple[Cortical, ...] = (
    Cortical(
        "orbitofrontal", 0.1, 0.05, 0.1, 1.0,
        ((42, 15, -8), (38.5, 20, -2)), ((42.5, 22, -7), (48, 24, -12), (52.5, 27, -12.5)),
        ((52, 33, -10), (48, 41, -9), (40, 50, -9)), 1.2,
    ),
    Cortical(
        "prefrontal", 0.28, 0.1, 0.2, 1.0,
        ((43, 12, -3), (39.5, 15, 2), (37.3, 16.5, 6)),
        ((41, 18, 1.5), (46, 18, -5.5), (52, 18, -6.5), (57, 19, -3.5)),
        ((56, 24, 14), (52, 30, 25), (45, 36, 35), (36, 40, 43)), 1.5,
    ),
    Cortical(
        "precentral", 0.5, 0.2, 0.3, 1.0,
        ((44.5, 5.5, 3), (40.8, 4, 8.5)), ((43, 4, 6.5), (48, 4, -0.5), (54, 4, -0.8), (61, 5, 2)),
        ((60, 8, 14), (58, 9, 26), (54, 8, 37), (46, 6, 47), (38, 4, 56)), 1.5,
    ),
    Cortical(
        "central", 0.78, 0.3, 0.45, 0.97,
        ((44, -3, 8), (40.8, -5, 12.5)), ((44, -6, 9.5), (50, -6, 4.5), (56, -6, 5.3), (64, -5, 6.5)),
        ((63, -6, 18), (61, -9, 30), (55, -13, 42), (48, -17, 51), (38, -21, 60)), 1.5,
    ),
    Cortical(
        "anterior parietal", 1.0, 0.55, 0.7, 0.75,
        ((43.3, -10, 10), (40.5, -12, 14)),
        ((45, -13, 12.5), (52, -13, 9.5), (58, -14, 9.8), (66, -15, 10.5)),
        ((65, -19, 21), (62, -23, 34), (55, -28, 45), (46, -32, 55), (38, -34, 62)), 1.4,
    ),
    Cortical(
        "posterior parietal", 1.0, 0.8, 1.0, 0.45,
        ((42, -16, 11.5), (40, -19, 15)),
        ((45, -21, 15), (54, -22, 13.5), (60, -24, 14.2), (67, -25.5, 16.5)),
        ((65, -32, 27), (60, -38, 39), (52, -46, 48), (42, -54, 54)), 1.5,
    ),
    Cortical(
        "angular", 1.0, 1.0, 1.0, 0.2,
        ((41.3, -27, 14),), ((45.5, -30.5, 15.7), (53, -34, 17.5), (61, -38, 20), (67, -42, 22.5)),
        ((64, -50, 27), (57, -59, 31), (50, -67, 34), (42, -74, 35)), 1.6,
    ),
    Cortical(
        "temporo-occipital", 1.0, 0.8, 1.0, 0.05,
        ((42.5, -22.5, 10.5),), ((46, -25, 12.5), (54, -28, 13.8), (61, -31, 15), (67, -34, 16)),
        ((68, -41, 9), (64, -50, 4), (58, -60, 0), (52, -70, -1), (46, -78, 1)), 1.5,
    ),
    Cortical(
        "posterior temporal", 1.0, 0.58, 0.9, 0.0,
        ((44.8, -15.5, 5),), ((48.5, -17.5, 9), (54, -19, 11), (60, -20, 12), (67, -21, 12)),
        ((69, -26, 3), (69, -33, -6), (66, -41, -14), (60, -50, -17)), 1.4,
    ),
    Cortical(
        "middle temporal", 1.0, 0.36, 0.7, 0.0,
        ((46.3, -7.8, -1.5),), ((50, -8.3, 3), (56, -9, 6), (65.5, -9, 6.5)),
        ((67, -12, -4), (67, -18, -12), (66, -24, -20), (62, -30, -26)), 1.2,
    ),
)  # fmt: skip
"""From front to back round the fissure; those that leave M1 early are in `EARLY`."""

EARLY: tuple[Route, ...] = (
    Route(
        "temporopolar",
        "M4",
        "M1@0.55|M2i@0.1",
        ((32.5, 12, -25), (37, 16, -28.5), (43, 17, -32), (49, 12, -34)),
        (1.2, 1.0, 0.8),
        wander=1.3,
    ),
    Route(
        "anterior temporal",
        "M4",
        "M1@0.8|M2i@0.1",
        ((42, 11, -19), (48, 12, -13), (54, 10, -8), (59, 4, -12), (61, -3, -21), (58, -11, -31)),
        (1.3, 1.2, 0.9),
        wander=1.3,
    ),
)
PERFORATORS: tuple[Route, ...] = tuple(
    Route(
        f"lenticulostriate {i + 1}",
        "lenticulostriate",
        f"M1@{at}",
        (
            (x, 4, -12),
            (x + spread, 2.5, -4),
            (x + 1.6 * spread, 1 - i, 6),
            (x + 1.3 * spread, -1 - 2 * i, 14),
        ),
        (0.6, 0.5, 0.35),
        wander=0.8,
    )
    for i, (at, x, spread) in enumerate(((0.2, 17, 1), (0.38, 20, 3), (0.55, 23, 4), (0.7, 26, 4)))
)

ACA: tuple[Route, ...] = (
    Route(
        "A1",
        "A1",
        "ICA-T@1",
        ((10.2, 7.2, -18.3), (6.7, 9.8, -20), (3.4, 11.8, -20.2)),
        (2.23, 2.17, 2.12),
        lateral=0.6,
        spread=0.17,
    ),
    Route(
        "Heubner", "lenticulostriate", "A1@0.92", ((7, 10.5, -17), (13, 8, -15.5), (19, 7, -11)), (0.6, 0.4)
    ),
    Route(
        "A2",
        "A2",
        "A1@1|AComA@1",
        ((2.1, 16, -18.5), (1.7, 22, -15), (1.6, 28, -9.5), (1.6, 33, -2), (1.7, 35.5, 5)),
        (2.05, 1.94, 1.84),
        lateral=0.4,
        wider=True,
    ),
    Route(
        "pericallosal",
        "A3",
        "A2@1",
        (
            (1.7, 34.5, 12), (1.8, 29, 20), (1.9, 19, 26), (2, 6, 31), (2.1, -9, 33), (2.2, -23, 31),
            (2.3, -36, 25),
        ),
        (1.8, 1.6, 1.3, 1.0),
        lateral=0.35,
        wander=1.2,
    ),
    Route(
        "callosomarginal",
        "A3",
        "A2@0.92",
        ((2.2, 39, 11), (2.5, 42, 20), (2.8, 37, 31), (3, 27, 40), (3.3, 13, 46), (3.5, 0, 51)),
        (1.7, 1.5, 1.2),
        lateral=0.4,
        wander=1.3,
    ),
    Route(
        "orbitofrontal A2",
        "A3",
        "A2@0.2",
        ((3, 22, -21.5), (4, 32, -24.5), (5, 42, -24), (6, 52, -20)),
        (1.0, 0.8, 0.6),
        lateral=0.5,
    ),
    Route(
        "frontopolar",
        "A3",
        "A2@0.5",
        ((2.2, 36, -10), (2.6, 47, -9), (3, 57, -5), (4, 65, 4)),
        (1.3, 1.1, 0.8),
        lateral=0.4,
    ),
    Route(
        "anterior internal frontal",
        "A3",
        "callosomarginal@0.2|pericallosal@0.06",
        ((2.6, 48, 22), (3.2, 56, 29), (7, 56, 39)),
        (1.2, 0.9),
        lateral=0.5,
    ),
    Route(
        "middle internal frontal",
        "A3",
        "callosomarginal@0.5|pericallosal@0.15",
        ((2.8, 40, 38), (3.4, 36, 49), (8, 30, 58)),
        (1.2, 0.9),
        lateral=0.5,
    ),
    Route(
        "posterior internal frontal",
        "A3",
        "callosomarginal@0.75|pericallosal@0.3",
        ((3, 20, 50), (3.4, 15, 61), (9, 10, 70)),
        (1.2, 0.9),
        lateral=0.5,
    ),
    Route(
        "paracentral",
        "A3",
        "callosomarginal@1|pericallosal@0.5",
        ((3, -9, 56), (3.4, -18, 65), (8, -25, 75)),
        (1.2, 0.8),
        lateral=0.5,
    ),
    Route(
        "superior precuneal",
        "A3",
        "pericallosal@0.75",
        ((2.5, -30, 37), (3, -42, 46), (3.4, -52, 55), (8, -61, 63)),
        (1.2, 0.8),
        lateral=0.5,
    ),
    Route(
        "inferior precuneal",
        "A3",
        "pericallosal@1",
        ((2.5, -46, 27), (3, -56, 34), (3.4, -67, 41)),
        (1.0, 0.7),
        lateral=0.5,
    ),
)  # fmt: skip

ACOMA = Route("AComA", "AComA", "left A1@1", (), (1.0, 1.0), end="right A1@1", paired=False, spread=0.0)
AZYGOS = Route(
    "A2",
    "A2",
    "AComA@0.5",
    ((0, 16, -18.5), (0, 22, -15), (0, 28, -9.5), (0, 33, -2), (0, 35.5, 5)),
    (2.7, 2.6, 2.5),
    paired=False,
    wider=True,
)
"""The one A2 of both hemispheres."""
