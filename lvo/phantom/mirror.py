"""The mirror image of a patient: what lies left lies right, and the truth says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lvo.phantom.disease.mimics import VesselDisease
from lvo.phantom.patient import Patient
from lvo.phantom.vessels.tree import Branch, Tree, mirrored_words

_FLIP = np.array([-1.0, 1.0, 1.0])


def mirrored(patient: Patient) -> Patient:
    """The same patient seen in a mirror, head-frame x to -x.

    Recipes of head and lesions stay as they are: `Head.flipped` says that they are seen in a mirror.
    """
    flow = patient.flow
    occlusions = tuple(replace(o, side=o.side.mirrored, points=o.points * _FLIP) for o in flow.occlusions)
    return replace(
        patient,
        head=patient.head.mirrored(),
        disease=_disease(patient.disease),
        veins=patient.veins.mirrored(),
        flow=replace(flow, occlusions=occlusions),
    )


def _disease(d: VesselDisease) -> VesselDisease:
    return VesselDisease(
        tree=d.tree.mirrored(),
        calcium=replace(d.calcium, points=d.calcium.points * _FLIP),
        metal=tuple(replace(m, points=m.points * _FLIP) for m in d.metal),
        sacs=_branches(d.sacs),
        walls=tuple(replace(w, branch=_branches((w.branch,))[0]) for w in d.walls),
        shunts=tuple(replace(s, side=s.side.mirrored, centre=s.centre * _FLIP) for s in d.shunts),
        mimics=tuple(map(mirrored_words, d.mimics)),
    )


def _branches(branches: tuple[Branch, ...]) -> tuple[Branch, ...]:
    return Tree(branches).mirrored().branches
