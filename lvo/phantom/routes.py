"""Where the vessels run: pure data.

Waypoints are ``(lateral, y, z)`` in MNI152 millimetres for one side (lateral is positive away
from the midline); :mod:`lvo.phantom.tree` mirrors and varies them. They were placed from standard
anatomy on the cisterns, canals and fissures of an average head; diameters are means of published
CTA series (``docs/phantom.md``).
"""

from __future__ import annotations

from dataclasses import dataclass

from lvo.anatomy import Segment

MNI_SCALE = 1.06
"""Millimetres of the head frame (MNI size) per millimetre of an average adult head."""


@dataclass(frozen=True, slots=True)
class Route:
    """One unbranched vessel.

    Attributes
    ----------
    start : where it leaves another route, ``"name@fraction"``; empty if the first waypoint is free.
    end : where it joins another route, in the same notation; empty if it ends at its last waypoint.
    waypoints : (lateral, y, z) in MNI mm between start and end.
    diameters : mm at start and end, in an average adult.
    paired : False for the one vessel of the midline.
    wander : how far this vessel strays from its route, relative to the others.
    """

    name: str
    segment: Segment | None
    start: str
    waypoints: tuple[tuple[float, float, float], ...]
    diameters: tuple[float, float]
    end: str = ""
    paired: bool = True
    wander: float = 1.0


S = Segment
ARTERIES: tuple[Route, ...] = (
    Route("CCA", None, "", ((20, -8, -210), (22, -10, -170), (24, -13, -142)), (6.5, 7.0)),
    Route(
        "ICA-C",
        S.ICA_CERVICAL,
        "CCA@1",
        ((27, -20, -126), (29, -25, -105), (29, -26, -84), (29, -25, -64)),
        (7.2, 4.8),
    ),
    Route(
        "ECA",
        None,
        "CCA@1",
        ((26, -8, -122), (34, -8, -102), (42, -14, -80), (44, -20, -62), (62, -18, -30)),
        (4.2, 1.6),
    ),
    Route(
        "ICA-I",
        S.ICA_INTRACRANIAL,
        "ICA-C@1",
        (
            (29, -23, -56),
            (26, -19, -51),
            (20, -12, -49.5),
            (14.5, -6, -47),
            (12.5, -2.5, -42),
            (12.5, 1, -37.5),
            (12.5, 7, -36),
            (12.5, 12, -33.5),
            (12, 13, -29),
            (11.5, 10, -25.5),
            (11.5, 7, -23),
        ),
        (5.0, 4.0),
        wander=0.7,
    ),
    Route("ICA-T", S.ICA_TERMINUS, "ICA-I@1", ((12, 5.5, -20), (13, 4.5, -17)), (3.8, 3.5), wander=0.6),
    Route(
        "M1", S.M1, "ICA-T@1", ((18, 5, -16.5), (25, 6.5, -18), (31, 7, -19), (35.5, 6, -18.5)), (3.1, 2.8)
    ),
    Route(
        "M2s",
        S.M2,
        "M1@1",
        ((39.5, 8, -15), (41.5, 9, -9), (42, 6, -1), (41, 0, 6), (40, -6, 10)),
        (2.5, 1.9),
        wander=1.4,
    ),
    Route(
        "M2i",
        S.M2,
        "M1@1",
        ((40, 3, -17.5), (43, -3, -12), (43, -11, -5), (41, -20, 1), (39, -27, 5)),
        (2.6, 1.9),
        wander=1.4,
    ),
    Route("M2a", S.M2, "M2s@0.22", ((41.5, 14, -7), (40.5, 19, -1), (39, 22, 5)), (1.9, 1.5), wander=1.4),
    Route(
        "M3s",
        S.M3,
        "M2s@1",
        ((45, -8, 12), (51, -8, 11), (57, -8, 16), (60, -12, 28)),
        (1.8, 1.1),
        wander=1.5,
    ),
    Route(
        "M3i",
        S.M3,
        "M2i@1",
        ((44, -31, 8), (51, -35, 9), (58, -40, 14), (57, -50, 24)),
        (1.8, 1.1),
        wander=1.5,
    ),
    Route(
        "M3a", S.M3, "M2a@1", ((43, 25, 7), (50, 25, 7), (54, 24, 14), (52, 26, 26)), (1.5, 1.0), wander=1.5
    ),
    Route(
        "M3p", S.M3, "M2s@0.75", ((44, 4, 9), (51, 3, 10), (57, 2, 18), (57, 0, 32)), (1.5, 1.0), wander=1.5
    ),
    Route(
        "M3t",
        S.M3,
        "M2i@0.35",
        ((48, -6, -9), (55, -8, -8), (61, -14, -12), (63, -22, -14)),
        (1.5, 1.0),
        wander=1.5,
    ),
    Route(
        "temporal", None, "M1@0.72", ((33, 9, -23), (38, 11, -29), (46, 10, -32), (53, 4, -32)), (1.4, 0.9)
    ),
    Route("lenticulostriate", None, "M1@0.35", ((21, 3, -11), (24, 3, -3), (26, 1, 6)), (0.6, 0.4)),
    Route("A1", S.A1, "ICA-T@1", ((10, 7.5, -15), (6.5, 10.5, -15.5), (3, 13, -16)), (2.3, 2.1)),
    Route(
        "A2",
        S.A2,
        "A1@1",
        ((2.4, 18, -15), (2.2, 25, -9), (2.2, 31, -1), (2.2, 34, 8), (2.4, 31, 17)),
        (2.1, 1.7),
    ),
    Route("pericallosal", None, "A2@1", ((2.5, 22, 25), (2.5, 8, 32), (2.5, -10, 34)), (1.6, 1.0)),
    Route(
        "callosomarginal", None, "A2@0.7", ((3, 39, 12), (4, 43, 22), (5, 38, 36), (5, 26, 48)), (1.5, 0.9)
    ),
    Route("frontopolar", None, "A2@0.3", ((3, 32, -12), (4, 44, -12), (5, 56, -6)), (1.2, 0.8)),
    Route("ophthalmic", None, "ICA-I@0.9", ((13.5, 18, -29), (17, 28, -30), (22, 38, -30)), (1.4, 0.9)),
    Route("choroidal", None, "ICA-T@0.4", ((15, 0, -18), (20, -7, -16), (24, -14, -13)), (0.9, 0.6)),
    Route(
        "V3",
        None,
        "",
        (
            (15, -10, -190),
            (21, -22, -150),
            (25, -26, -115),
            (32, -32, -96),
            (31, -40, -86),
            (20, -46, -80),
            (14, -43, -74),
        ),
        (3.6, 3.6),
    ),
    Route(
        "BA",
        S.BASILAR,
        "",
        ((0, -21, -53), (0, -15.5, -46), (0, -11, -38), (0, -8.5, -30), (0, -9, -22)),
        (3.4, 3.0),
        paired=False,
    ),
    Route("V4", S.V4, "V3@1", ((11, -36, -68), (8, -30, -62), (4, -25, -57)), (3.5, 2.8), end="BA@0"),
    Route("PICA", None, "V4@0.4", ((12, -40, -66), (13, -48, -62), (9, -56, -58), (6, -60, -50)), (1.5, 0.9)),
    Route(
        "AICA", None, "BA@0.3", ((7, -15, -45), (16, -20, -43), (26, -30, -44), (34, -42, -46)), (1.2, 0.8)
    ),
    Route(
        "SCA", None, "BA@0.92", ((7, -12, -25), (15, -20, -25), (21, -31, -23), (22, -44, -19)), (1.6, 1.0)
    ),
    Route("P1", S.P1, "BA@1", ((5, -8.5, -19.5), (9.5, -9.5, -17.5), (12.5, -12, -16.5)), (2.3, 2.1)),
    Route(
        "P2",
        S.P2,
        "P1@1",
        ((16, -16.5, -15), (19.5, -23.5, -13), (20.5, -31, -10.5), (17.5, -39, -8)),
        (2.1, 1.7),
    ),
    Route("P3", None, "P2@1", ((15, -48, -4), (13, -60, 0), (11, -72, 4), (9, -86, 6)), (1.6, 0.9)),
    Route("P3t", None, "P2@0.6", ((27, -34, -14), (32, -46, -14), (34, -58, -12)), (1.3, 0.8)),
    Route("PComA", None, "ICA-T@0.05", ((12, 1, -21.5), (12, -6, -19)), (1.3, 1.2), end="P1@1"),
    Route("AComA", None, "A1@1", (), (1.5, 1.5), end="A1@1"),
)
"""Parents before their children."""

VEINS: tuple[Route, ...] = (
    Route(
        "superior sagittal sinus",
        None,
        "",
        (
            (0, 66, 6),
            (0, 66, 32),
            (0, 48, 58),
            (0, 18, 76),
            (0, -20, 82),
            (0, -58, 70),
            (0, -88, 40),
            (0, -100, 8),
            (0, -100, -12),
        ),
        (3.5, 8.0),
        paired=False,
    ),
    Route(
        "transverse and sigmoid sinus",
        None,
        "superior sagittal sinus@1",
        (
            (18, -98, -18),
            (40, -84, -22),
            (55, -64, -26),
            (54, -52, -36),
            (45, -42, -52),
            (36, -35, -62),
            (32, -30, -76),
            (32, -24, -110),
            (34, -16, -190),
        ),
        (7.0, 9.0),
        wander=2.0,
    ),
    Route("internal cerebral vein", None, "", ((2, 2, 14), (2, -14, 13), (2, -30, 8)), (1.6, 2.0)),
    Route(
        "straight sinus",
        None,
        "",
        ((0, -31, 8), (0, -40, 4), (0, -48, 2), (0, -70, -4), (0, -92, -10), (0, -100, -12)),
        (4.0, 5.0),
        paired=False,
    ),
    Route(
        "basal vein",
        None,
        "",
        ((16, 2, -15), (14, -9, -13), (19, -21, -8), (18, -32, -2), (8, -38, 4), (1, -40, 5)),
        (1.2, 2.4),
    ),
    Route(
        "superficial Sylvian vein",
        None,
        "",
        ((54, -14, 12), (52, 2, 2), (48, 13, -8), (41, 19, -17), (31, 17, -26), (22, 10, -32), (15, 6, -34)),
        (1.4, 2.4),
        wander=2.0,
    ),
    Route(
        "deep Sylvian vein",
        None,
        "",
        ((40, -4, -4), (38, 4, -13), (30, 3, -19), (20, 1, -17), (16, 2, -15)),
        (0.9, 1.4),
        wander=1.6,
    ),
    Route(
        "cavernous sinus", None, "", ((15, 10, -33), (15.5, 3, -37), (15, -4, -40)), (4.5, 4.5), wander=0.6
    ),
    Route(
        "inferior petrosal sinus",
        None,
        "cavernous sinus@1",
        ((14, -10, -43), (18, -20, -50), (26, -30, -58)),
        (2.2, 3.0),
    ),
    Route(
        "frontal cortical vein",
        None,
        "superior sagittal sinus@0.4",
        ((12, 20, 74), (26, 18, 66), (38, 14, 52)),
        (2.4, 1.2),
        wander=3.0,
    ),
    Route(
        "parietal cortical vein",
        None,
        "superior sagittal sinus@0.6",
        ((14, -22, 78), (30, -22, 68), (46, -20, 50)),
        (2.6, 1.2),
        wander=3.0,
    ),
    Route(
        "vein of Labbé",
        None,
        "transverse and sigmoid sinus@0.25",
        ((60, -54, -12), (62, -38, 0), (60, -20, 6)),
        (2.4, 1.2),
        wander=3.0,
    ),
    Route("ophthalmic vein", None, "cavernous sinus@0", ((17, 24, -26), (20, 34, -24)), (1.6, 1.2)),
)
