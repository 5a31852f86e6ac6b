"""Where veins and dural sinuses run: pure data.

Waypoints are ``(lateral, y, z)`` in MNI152 millimetres, lateral positive away from the midline. They were
placed on the cisterns, grooves and fissures of an average head; what lies on the skull or on the brain is
brought there by :mod:`lvo.phantom.vessels.veins`.

Diameters are mm in an average adult, from a route's first point to its last. Transverse sinus 6.7 mm on the
right, 5.4 on the left by contrast-enhanced MRV (J Transl Neurosci 2024;9:15-25); superior sagittal sinus
widening from 4 mm in front to 9 mm behind, straight sinus 3 to 6, internal cerebral and basal veins 1.5 to
2.5, vein of Galen 3 to 6, superficial Sylvian vein 2 to 4, ophthalmic vein up to 2.5 mm (Rhoton,
Neurosurgery 2002;51(4 Suppl):159-205; handbooks of neuroradiology).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lvo.anatomy import Side

BOTH, MIDLINE = (Side.LEFT, Side.RIGHT), (Side.MIDLINE,)


@dataclass(frozen=True, slots=True)
class VeinRoute:
    """One unbranched vein or sinus.

    Attributes
    ----------
    structure : a name of `lvo.phantom.vessels.labels.VEIN_STRUCTURES`.
    start, end : the vein that it leaves or joins, ``"name@fraction"``, or several to try in turn, divided by
        ``|``; empty where its end is a waypoint.
    diameters : mm, at equal distances along it, at least two.
    clings : to the bone (it touches it), to the brain's surface, or to nothing.
    triangular : a sinus with a flat base on the bone.
    wander : how far it strays from its route, relative to the others.
    presence : name of the `VeinRanges` probability that a patient has it; empty where all do.
    hangs : it is absent where what it starts from is; others then begin at their first waypoint.
    """

    name: str
    structure: str
    start: str
    waypoints: tuple[tuple[float, float, float], ...]
    diameters: tuple[float, ...]
    end: str = ""
    sides: tuple[Side, ...] = BOTH
    clings: Literal["", "bone", "brain"] = ""
    triangular: bool = False
    wander: float = 1.0
    presence: str = ""
    hangs: bool = False


SSS, TS, SIGMOID, IJV = (
    "superior sagittal sinus",
    "transverse sinus",
    "sigmoid sinus",
    "internal jugular vein",
)
CAVERNOUS, STRAIGHT, GALEN = "cavernous sinus", "straight sinus", "vein of Galen"
SYLVIAN = "superficial Sylvian vein"

VEIN_ROUTES: tuple[VeinRoute, ...] = (
    VeinRoute(SSS, SSS, "", ((0, 60, -18), (0, 66, 3), (0, 62, 26), (0, 50, 47), (0, 25, 69), (0, 0, 80),
        (0, -30, 82), (0, -58, 74), (0, -78, 57), (0, -92, 35), (0, -98, 10), (0, -95, -10), (0, -92, -19)),
        (2.6, 4.0, 5.5, 7.0, 8.0, 8.8), sides=MIDLINE, clings="bone", triangular=True, wander=0.5),
    VeinRoute(TS, TS, f"{SSS}@1", ((16, -91, -21), (30, -84, -23), (42, -74, -25), (52, -63, -27), (57.5,
        -56, -31)), (7.0, 6.4, 6.2, 6.8, 7.4), clings="bone", triangular=True, wander=0.9),
    VeinRoute(SIGMOID, SIGMOID, f"{TS}@1", ((58, -49.5, -38), (56, -45.5, -45), (52.5, -43.5, -52), (46,
        -41.5, -57)), (7.4, 7.2, 7.0, 7.2), clings="bone", wander=0.5),
    VeinRoute(IJV, IJV, f"{SIGMOID}@1",
        ((38.5, -36.5, -57), (34.5, -33, -52.5), (33.5, -31.5, -58), (34.5, -32, -67), (36.5, -31.5, -80),
        (37.5, -29, -98), (37.5, -25, -118), (35.5, -18, -143), (33.5, -11, -178), (33.5, -7, -213),
        (34, -4, -253), (32, 0, -283)),
        (7.2, 9.5, 7.6, 7.6, 8.2, 9.0, 9.6, 10.0, 10.8, 11.6, 12.4, 13.0, 12.0), wander=0.8),
    VeinRoute("left brachiocephalic vein", IJV, f"{IJV}@1",
        ((19, 10, -295), (5, 16, -301), (-9, 17, -307), (-22, 12, -313), (-33, 7, -317)),
        (12.0, 13.0, 13.0), sides=(Side.LEFT,)),
    VeinRoute("right brachiocephalic vein", IJV, f"{IJV}@1",
        ((32, 4, -303), (38, 4, -323), (43, 0, -348), (46, -2, -378)), (12.5, 16.0, 19.0),
        sides=(Side.RIGHT,)),
    VeinRoute("subclavian vein", IJV, f"{IJV}@1",
        ((52, -9, -279), (76, -6, -287), (100, -2, -295)), (11.0, 9.0)),
    VeinRoute(GALEN, GALEN, "", ((0, -30, 5), (0, -37, 4), (0, -42, 9), (0, -45, 16)), (3.4, 4.4, 4.2),
        sides=MIDLINE, wander=0.5),
    VeinRoute(STRAIGHT, STRAIGHT, f"{GALEN}@1", ((0, -52, 14), (0, -60, 8), (0, -70, 0), (0, -80, -9), (0,
        -88, -17)), (3.8, 4.2, 4.8), end=f"{SSS}@1", sides=MIDLINE, wander=0.5),
    VeinRoute("inferior sagittal sinus", "inferior sagittal sinus", "", ((0, 18, 33), (0, -4, 39), (0, -24,
        37), (0, -38, 29), (0, -44, 20)), (0.9, 1.4, 1.8), end=f"{STRAIGHT}@0", sides=MIDLINE,
        presence="inferior_sagittal"),
    VeinRoute("internal cerebral vein", "internal cerebral vein", "", ((2.6, 1, 11.5), (2.2, -6, 14), (2,
        -14, 13), (2, -24, 10)), (1.5, 1.8, 2.1), end=f"{GALEN}@0", wander=0.5),
    VeinRoute("thalamostriate vein", "internal cerebral vein", "internal cerebral vein@0", ((6, -1, 14),
        (11, -5, 18), (16, -12, 20), (20, -21, 19), (23, -30, 13)), (1.6, 1.3, 0.9), wander=0.7),
    VeinRoute("septal vein", "internal cerebral vein", "internal cerebral vein@0", ((2.6, 8, 9), (3.5, 17,
        9), (6, 24, 10)), (1.1, 0.7), wander=0.6),
    VeinRoute("basal vein", "basal vein", "", ((16, 2, -15), (13, -5, -14), (14, -11, -13), (19, -21, -8),
        (18, -31, -2), (9, -36, 3)), (1.2, 1.7, 2.2), end=f"{GALEN}@0.35", wander=0.7, presence="basal"),
    VeinRoute("deep Sylvian vein", "Sylvian vein", "basal vein@0", ((20, 1, -17), (30, 3, -19), (38, 4,
        -13), (40, -4, -4), (38, -14, 4)), (1.4, 1.1, 0.8), presence="deep_sylvian"),
    VeinRoute(CAVERNOUS, CAVERNOUS, "", ((17, 14, -31.5), (17.5, 4, -35), (16.5, -6, -39), (13, -9, -37)),
        (2.8, 4.0, 3.8), wander=0.4),
    VeinRoute("cavernous sinus, medial", CAVERNOUS, f"{CAVERNOUS}@0", ((11, 9, -30.5), (9, 3, -32), (9.5,
        -4, -34)), (2.4, 3.2, 3.0), end=f"{CAVERNOUS}@1", wander=0.4),
    VeinRoute("cavernous sinus, inferior", CAVERNOUS, f"{CAVERNOUS}@0",
        ((15.5, 9, -40), (15.5, 2, -44), (16.5, -4, -44)), (2.4, 3.6, 3.0), end=f"{CAVERNOUS}@1", wander=0.4),
    VeinRoute("cavernous sinus, upper", CAVERNOUS, f"{CAVERNOUS}@0", ((15.5, 6, -30), (15, 0, -31.5), (13.5,
        -5, -33)), (2.0, 2.6, 2.4), end=f"{CAVERNOUS}@1", wander=0.4),
    VeinRoute("intercavernous sinus", CAVERNOUS, "cavernous sinus, medial@0.35", ((5, 8, -36.5), (0, 7,
        -38)), (2.0, 1.4), wander=0.3, presence="intercavernous"),
    VeinRoute("superior petrosal sinus", "petrosal sinus", f"{CAVERNOUS}@1", ((17, -13, -31), (25, -21,
        -29), (37, -31, -27), (49, -43, -27)), (1.4, 1.9, 2.4), end=f"{TS}@0.97|{SIGMOID}@0", wander=0.5,
        presence="superior_petrosal"),
    VeinRoute("inferior petrosal sinus", "petrosal sinus", f"{CAVERNOUS}@1", ((13, -15, -43), (17, -22,
        -49), (23, -28, -54)), (2.2, 2.8, 2.6), end=f"{IJV}@0.07", wander=0.5,
        presence="inferior_petrosal"),
    VeinRoute("sphenoparietal sinus", "Sylvian vein", f"{CAVERNOUS}@0", ((20, 13, -26), (29, 17.5, -22),
        (38, 20, -20), (46, 19, -17)), (2.2, 2.0), wander=0.6, presence="superficial_sylvian"),
    VeinRoute(SYLVIAN, "Sylvian vein", "sphenoparietal sinus@1", ((53, 14, -10), (59, 7, -3), (62, -5, 5),
        (64, -18, 12), (62, -31, 20)), (2.6, 2.2, 1.6), clings="brain", wander=1.8, hangs=True),
    VeinRoute("superior ophthalmic vein", "ophthalmic vein", f"{CAVERNOUS}@0", ((18, 20, -31), (24, 28,
        -28.5), (27, 38, -27), (23, 50, -26), (18, 60, -28)), (2.0, 1.9, 1.5), wander=0.6),
    VeinRoute("inferior ophthalmic vein", "ophthalmic vein", f"{CAVERNOUS}@0", ((19, 20, -38), (25, 34,
        -44), (27, 48, -46)), (1.3, 0.9), wander=0.8, presence="inferior_ophthalmic"),
    VeinRoute("mastoid emissary vein", SIGMOID, f"{SIGMOID}@0.35", ((60, -53, -46), (65, -58, -48), (67,
        -64, -55)), (2.0, 1.6), wander=0.6, presence="mastoid_emissary"),
    VeinRoute("occipital sinus", TS, f"{TS}@0.02", ((1.5, -84, -38), (2, -72, -53), (8, -60, -64), (17, -46,
        -65)), (2.2, 1.8), wander=0.6, presence="occipital", hangs=True),
)  # fmt: skip
"""Parents before their children."""
