"""Courses of the arteries from the aortic arch to the terminus of the carotid and the end of the vertebral.

Placed on the vessels' known relations (Gray's Anatomy; Osborn, Diagnostic Cerebral Angiography, 2nd ed.):
carotid bifurcation at C4, vertebral artery through the transverse foramina of C6 to C1 and over the arch of
C1, internal carotid through the petrous canal, over the foramen lacerum, beside the sella and back above it.
Diameters: Krejza J et al. Stroke 2006;37:1103 (carotids), and the CTA series that `docs/phantom.md` lists.
"""

from __future__ import annotations

from lvo.phantom.vessels.routes import Route

AORTA: tuple[Route, ...] = (
    Route(
        "aorta",
        "aorta",
        "",
        (
            (-22, 8, -372), (-21, 6, -350), (-12, 0, -328), (4, -11, -318), (17, -25, -322),
            (26, -35, -338), (28, -39, -372),
        ),
        (29.0, 28.0, 26.0, 25.0, 24.0),
        paired=False,
        spread=0.1,
    ),
)  # fmt: skip

RIGHT_ARCH: tuple[Route, ...] = (
    Route(
        "brachiocephalic",
        "subclavian",
        "aorta@0.34",
        ((12, 0, -304), (18, -7, -286)),
        (12.5, 11.0),
        spread=0.1,
    ),
    Route(
        "subclavian",
        "subclavian",
        "brachiocephalic@1",
        ((28, -18, -264), (44, -24, -258), (66, -20, -268), (96, -12, -286)),
        (8.6, 8.4, 7.8, 7.2),
        spread=0.1,
    ),
)

LEFT_ARCH: tuple[Route, ...] = (
    Route(
        "subclavian",
        "subclavian",
        "aorta@0.66",
        ((21, -27, -295), (26, -28, -272), (40, -27, -260), (64, -20, -268), (96, -12, -286)),
        (9.4, 8.8, 8.4, 7.8, 7.2),
        spread=0.1,
    ),
)

CCA_START = {"left": "aorta@0.5", "right": "brachiocephalic@1", "bovine": "right brachiocephalic@0.45"}
"""Where the common carotid leaves: by side, and the left one in a bovine arch."""
CCA_FIRST = {
    "left": ((11, -10, -295), (17, -12, -266)),
    "right": ((20, -9, -266),),
    "bovine": ((6, -12, -284), (16, -13, -258)),
}
"""Its first waypoints by side, and those of the left one in a bovine arch."""
VA_START = {"left": "subclavian@0.3", "right": "subclavian@0.2", "arch": "aorta@0.58"}
"""Where the vertebral artery leaves: by side, and the left one when it comes from the arch."""

CAROTID: tuple[Route, ...] = (
    Route(
        "CCA",
        "CCA",
        "",
        ((21, -12, -236), (21, -13, -202), (22, -13, -168), (24, -13, -138)),
        (7.0, 6.6, 6.5, 6.5, 6.6, 7.2),
        wander=1.6,
        spread=0.11,
    ),
    Route(
        "ICA-C",
        "ICA-C",
        "CCA@1",
        ((26.5, -18, -126), (28.5, -23, -110), (29, -25.5, -92), (29, -25.5, -76), (29, -24.5, -62)),
        (7.3, 7.55, 6.25, 5.15, 4.85, 4.75, 4.65, 4.65, 4.65),
        wander=1.3,
        spread=0.108,
        wider=True,
        group="ICA",
    ),
    Route(
        "ECA",
        "ECA",
        "CCA@1",
        ((25.5, -9, -126), (32, -8, -106), (41, -13, -86), (47, -18, -70), (52, -20, -58)),
        (4.4, 4.0, 3.2, 2.6),
        wander=1.2,
    ),
    Route(
        "superior thyroid", "ECA", "ECA@0.06", ((22, 0, -132), (18, 4, -146), (15, 4, -160)), (1.8, 1.2)
    ),
    Route("lingual", "ECA", "ECA@0.22", ((24, 4, -112), (17, 14, -112), (12, 28, -106)), (2.0, 1.2)),
    Route(
        "facial",
        "ECA",
        "ECA@0.32",
        ((36, 4, -104), (44, 18, -104), (48, 32, -94), (38, 52, -78), (24, 62, -60)),
        (2.3, 2.0, 1.2),
    ),
    Route(
        "occipital",
        "ECA",
        "ECA@0.4",
        ((38, -22, -92), (44, -46, -76), (42, -74, -64), (40, -94, -44), (38, -100, -20)),
        (2.1, 1.7, 1.1),
        wander=1.6,
    ),
    Route(
        "maxillary",
        "ECA",
        "ECA@0.97",
        ((48, -12, -59), (41, 0, -59), (34, 12, -56), (28, 20, -50)),
        (2.6, 2.3, 1.8),
    ),
    Route(
        "middle meningeal",
        "ECA",
        "maxillary@0.35",
        ((34, -9, -55), (32, -10, -48)),
        (1.2, 1.1),
    ),
    Route(
        "meningeal convexity",
        "ECA",
        "middle meningeal@1",
        ((40, -2, -42), (52, 2, -34), (60, 4, -20), (62, 0, 0), (60, -8, 22)),
        (1.0, 0.8, 0.6),
        surface=True,
    ),
    Route(
        "superficial temporal",
        "ECA",
        "ECA@1",
        ((66, -16, -50), (75, -13, -34), (79, -10, -10), (79, -6, 12), (76, 2, 34)),
        (2.0, 1.7, 1.2),
        wander=1.5,
    ),
    Route(
        "ICA-I",
        "ICA-I",
        "ICA-C@1",
        (
            (28.5, -22.5, -56), (26, -19, -50.5), (20.5, -12.5, -49), (15.5, -6.5, -47), (13, -2.8, -43.5),
            (12.5, -0.5, -39.5), (12.5, 4, -37.4), (12.5, 9, -37), (12.2, 13, -34.2), (11.6, 11.8, -30.2),
            (11.4, 8, -27.4), (12.2, 5.6, -24.2),
        ),
        (4.7, 4.7, 4.8, 4.97, 4.97, 4.6, 4.2, 3.9),
        wander=0.6,
        spread=0.108,
        wider=True,
        group="ICA",
    ),
    Route(
        "ophthalmic",
        "ophthalmic",
        "ICA-I@0.82",
        ((12.3, 17, -29), (15, 25, -31.5), (20, 33, -33), (23, 41, -34)),
        (1.4, 1.3, 0.9),
        wander=0.5,
    ),
    Route(
        "ICA-T",
        "ICA-T",
        "ICA-I@1",
        ((13, 4.8, -21.4), (13.2, 4.6, -19.3)),
        (3.8, 3.6, 3.5),
        wander=0.5,
        spread=0.108,
        group="ICA",
    ),
    Route(
        "anterior choroidal",
        "anterior choroidal",
        "ICA-T@0.2",
        ((15, 1, -20), (18.5, -5, -18.5), (22.5, -12, -14), (24, -18, -10.5)),
        (0.9, 0.8, 0.6),
    ),
)  # fmt: skip

VERTEBRAL: tuple[Route, ...] = (
    Route(
        "VA",
        "VA",
        "",
        (
            (26, -25, -236), (21, -31, -207), (18, -34, -186), (17.5, -35, -167), (17.5, -35, -149),
            (18, -35, -131), (21.5, -35, -113), (29, -35.5, -97), (29.5, -42, -91), (25, -48, -88),
            (18.5, -49.5, -85),
        ),
        (3.9, 3.8, 3.8, 3.9),
        wander=0.5,
        spread=0.18,
        group="vertebral",
    ),
)  # fmt: skip

TRIGEMINAL = Route(
    "persistent trigeminal",
    "persistent trigeminal",
    "ICA-I@0.52",
    ((14, -8, -38), (9, -13, -36)),
    (2.4, 2.2),
    end="BA@0.6",
)
"""The commonest carotid-basilar connection of the embryo that may persist."""
