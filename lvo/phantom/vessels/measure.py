"""Measure an arterial tree as a reader of CTA would: calibres, lengths, tortuosity, circle of Willis.

All in mm of an average adult (head-frame mm over MNI_SCALE).
"""

from __future__ import annotations

import numpy as np

from lvo.anatomy import Side
from lvo.phantom.vessels.routes import MNI_SCALE
from lvo.phantom.vessels.tree import Branch, Tree

COMPLETE_MM = 1.0
"""A circle of Willis is complete if every one of its seven arteries is at least so wide."""
CALIBRES: dict[str, tuple[str, float]] = {
    "distal cervical ICA": ("ICA-C", 0.9),
    "cavernous ICA": ("ICA-I", 0.5),
    "ICA-T": ("ICA-T", 0.5),
    "M1": ("M1", 0.5),
    "M2 superior": ("M2s", 0.15),
    "M2 inferior": ("M2i", 0.15),
    "M2 middle": ("M2m", 0.15),
    "A1": ("A1", 0.5),
    "A2": ("A2", 0.4),
    "P1": ("P1", 0.5),
    "P2": ("P2", 0.3),
    "PComA": ("PComA", 0.5),
    "V4 proximal": ("V4", 0.08),
    "V4 distal": ("V4", 0.92),
    "BA proximal": ("BA", 0.1),
    "BA mid": ("BA", 0.5),
    "BA distal": ("BA", 0.9),
    "AComA": ("AComA", 0.5),
}
"""Where a calibre is taken: branch, and fraction of its length."""
LENGTHS = ("M1", "A1", "V4", "BA", "P1", "ICA-C", "CCA", "VA")
TRUNKS = ("M2s", "M2i", "M2m")
_BULB_MM = 18.0
_CAVERNOUS_Z = -39.0 + 33.0
"""Head-frame height at which the artery enters the cavernous sinus on average."""
_SIDES = (Side.LEFT, Side.RIGHT)


def measure_tree(tree: Tree) -> dict[str, float]:
    """Measure one tree in the canonical head frame.

    Returns
    -------
    dict
        ``"M1 diameter left"``, ``"BA length"``, ``"cavernous to ICA-T left"`` (mm; absent vessels are left
        out, but a communicating artery that is absent counts as 0), ``"M4 tortuosity"`` (mean arc / chord),
        ``"M4 count"``, ``"M4 mean length"`` by structure, ``"complete circle"`` (0 or 1), ``"variant: ..."``
        (1 for each).
    """
    out: dict[str, float] = {f"variant: {name}": 1.0 for name in tree.variants}
    where = {(b.name, b.side): b for b in tree.branches}
    for side in (*_SIDES, Side.MIDLINE):
        word = "" if side is Side.MIDLINE else f" {side}"
        for name, (branch, fraction) in CALIBRES.items():
            if (branch, side) in where:
                out[f"{name} diameter{word}"] = _diameter(where[branch, side], fraction)
        for name in LENGTHS:
            if (name, side) in where:
                out[f"{name} length{word}"] = where[name, side].length / MNI_SCALE
        if side is not Side.MIDLINE:
            out |= {f"{k}{word}": v for k, v in _side(where, side).items()}
            out.setdefault(f"PComA diameter{word}", 0.0)
    out.setdefault("AComA diameter", 0.0)
    out["complete circle"] = float(_complete(out))
    return out | _generations(tree)


def _diameter(branch: Branch, fraction: float) -> float:
    n = len(branch.points)
    at = round(fraction * (n - 1))
    near = branch.radius[max(0, at - 2) : at + 3]
    return float(2 * near.mean() / MNI_SCALE)


def _side(where: dict[tuple[str, Side], Branch], side: Side) -> dict[str, float]:
    out = {}
    cervical, carotid = where.get(("ICA-C", side)), where.get(("ICA-I", side))
    if cervical is not None:
        bulb = cervical.radius[cervical.arc < _BULB_MM * MNI_SCALE]
        out["carotid bulb diameter"] = float(2 * np.quantile(bulb, 0.8) / MNI_SCALE)
    if carotid is not None and ("ICA-T", side) in where:
        z = carotid.points[:, 2]
        enters = int(np.argmax(z > _CAVERNOUS_Z))
        siphon = carotid.arc[-1] - carotid.arc[enters]
        out["cavernous to ICA-T"] = (siphon + where["ICA-T", side].length) / MNI_SCALE
    trunks = [where[t, side] for t in TRUNKS if (t, side) in where]
    if trunks:
        out["M2 trunks"] = float(len(trunks))
    return out


def _complete(out: dict[str, float]) -> bool:
    names = [f"{n} diameter {s}" for n in ("A1", "P1", "PComA") for s in _SIDES]
    return all(out.get(name, 0.0) >= COMPLETE_MM for name in [*names, "AComA diameter"])


def _generations(tree: Tree) -> dict[str, float]:
    """Number, mean length and mean tortuosity of the branches of each structure."""
    found: dict[str, list[Branch]] = {}
    for b in tree.branches:
        found.setdefault(b.structure, []).append(b)
    out = {}
    for structure, members in found.items():
        length = np.array([b.length for b in members])
        chord = np.array([np.linalg.norm(b.points[-1] - b.points[0]) for b in members])
        out[f"{structure} count"] = float(len(members))
        out[f"{structure} mean length"] = float(length.mean() / MNI_SCALE)
        out[f"{structure} tortuosity"] = float(np.mean(length / np.maximum(chord, 1.0)))
    return out
