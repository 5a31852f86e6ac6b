"""When in the passage of the contrast was this scan taken? Brightness of three arteries and of the torcula.

A scan at one moment shows levels, not times: the phase read from them says what the veins hold beside the
arteries, and no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lvo.imaging.acceptance import UNSCANNED_HU, WEAK_HU
from lvo.imaging.resample import Grid, to_head
from lvo.study import BolusPhase, BolusReport, FloatArray, HeadPose, Reason, Volume

BLOOD_HU = 42.0
"""Flowing blood without contrast: 40 to 43 HU on plain CT."""
EMPTY_VEIN_HU = 80.0
"""Ours: blood, and what noise and neighbouring bone add to it. A torcula below holds no contrast."""
LATE_RATIO = 0.67
"""Torcula over patent ICA. From two thirds on, a single-phase CTA is late enough to judge collaterals
(Youden's point 66.7 %, or 208 HU in the torcula; 105 patients; Interv Neuroradiol 2023, doi
10.1177/15910199231176310)."""
VENOUS_RATIO = 1.0
"""Ours: veins outshine arteries only once the bolus has left these."""
SIDE_SHARE = 0.7
"""Ours: of the other carotid's enhancement. One bolus fills both; they differ only where one is slow."""

CERTAIN = 0.8
"""Least probability that a voxel is lit lumen of the artery."""
_CORE = 60
_CELLS = 8
_LUMEN_HU = 80.0
_BONE_HU = 600.0
_SPREAD = 0.12
_AGREE = 0.35
# Of voxels a millimetre inside the lumen; of cells of the certain lumen, where it is thinner than that. Then
# the share of them that must lie within 12 % of their commonest value: a lumen is one plateau, while bone,
# plaque and partial volume spread. On phantoms shares were 0.5 and more where the level was right to 10 %.

TORCULA = Grid(shape=(40, 46, 46), spacing=1.0, origin=(-22.5, 68.0, -2.0))
"""Round the confluence of sinuses, behind the detector's box. In 12 phantoms, whose sinuses lie on their own
skulls, it is at x -3 to 5, y 87 to 98 and z 13 to 18 mm; 15 mm more hold sinuses that join elsewhere."""
_SCANNED_SHARE = 0.95
_SKULL_HU = 450.0
"""Above any sinus, and below most of the bone under which it lies."""
_CLEAR_MM = 2.5
_SINUS_VOXELS = 60


@dataclass(frozen=True, slots=True)
class Levels:
    """Brightness in HU; None where it could not be measured."""

    left_ica: float | None
    right_ica: float | None
    basilar: float | None
    torcula: float | None

    @property
    def artery(self) -> float | None:
        """The brightest of the arteries: one that is not blocked."""
        return max((v for v in (self.left_ica, self.right_ica, self.basilar) if v is not None), default=None)


def measure_bolus(
    volume: Volume, pose: HeadPose, box: FloatArray, lit: tuple[FloatArray, FloatArray, FloatArray]
) -> Levels:
    """Measure the arteries in the detector's box and the torcula behind it.

    Parameters
    ----------
    volume : HU
    pose : patient LPS to head frame
    box : float32 (128, 112, 144), HU on HEAD_BOX
    lit : of the left and right intracranial ICA and the basilar artery, each as for :func:`artery_hu`
    """
    part = to_head(volume, pose, TORCULA, fill=2 * UNSCANNED_HU)
    left, right, basilar = (artery_hu(box, certainty) for certainty in lit)
    return Levels(left, right, basilar, torcula_hu(part))


def artery_hu(cta: FloatArray, certainty: FloatArray) -> float | None:
    """Brightness of one artery's lumen.

    Parameters
    ----------
    cta : float32 (z, y, x), HU, in the head frame
    certainty : float32 (z / 2, y / 2, x / 2), probability that the artery runs here and is lit; each of its
        voxels is two by two by two of the CTA's

    Returns
    -------
    float or None
        HU of the plateau of the lumen; None where too little of it is certain, or where its values agree on
        none, as beside bone and within plaque.
    """
    cells = certainty >= CERTAIN
    core = ndimage.binary_erosion(cells.repeat(2, 0).repeat(2, 1).repeat(2, 2))
    if np.count_nonzero(core) >= _CORE:
        return plateau(cta[core], _CORE)
    # In a thin artery only the middle is free of partial volume. Of each cell the second brightest voxel: the
    # brightest is noise.
    bone = ndimage.binary_dilation(ndimage.binary_opening(cta > _BONE_HU), iterations=2)
    z, y, x = cells.shape
    blocks = np.where(bone, -np.inf, cta).reshape(z, 2, y, 2, x, 2).transpose(0, 2, 4, 1, 3, 5)
    bright = np.sort(blocks[cells].reshape(-1, 8), axis=1)[:, -2]
    return plateau(bright[np.isfinite(bright)], _CELLS)


def plateau(values: npt.NDArray[np.floating], least: int) -> float | None:
    """The value on which lumen voxels agree, HU; None for fewer than `least`, or if they agree on none."""
    lumen = np.sort(values[values > _LUMEN_HU])
    if len(lumen) < least:
        return None
    half = lumen
    while len(half) > 3:  # the half-sample mode (Robertson & Cryer, J Am Stat Assoc 1974;69:1012)
        n = (len(half) + 1) // 2
        first = int(np.argmin(half[n - 1 :] - half[: len(half) - n + 1]))
        half = half[first : first + n]
    near = np.abs(lumen - half.mean()) <= _SPREAD * half.mean()
    return float(lumen[near].mean()) if near.mean() >= _AGREE else None


def torcula_hu(part: FloatArray) -> float | None:
    """Brightness of the confluence of sinuses.

    Parameters
    ----------
    part : float32, shape `TORCULA.shape`, HU; below -1200 where nothing was scanned

    Returns
    -------
    float or None
        HU of the brightest 60 mm3 within the skull, clear of bone; None where not enough was scanned, or no
        brain is seen. Within 15 HU of the veins in 9 of 10 phantoms, lower in one with a narrow sinus.
        Sinuses brighter than 450 HU are taken for bone.
    """
    if float((part > UNSCANNED_HU).mean()) < _SCANNED_SHARE:
        return None
    calm = ndimage.median_filter(part, 3)
    soft = (calm > -20) & (calm < _SKULL_HU)
    labels, _ = ndimage.label(ndimage.binary_erosion(soft, border_value=1))
    front = labels[:, :4]
    if not front.any():
        return None
    # The brain is in front; marrow and scalp are cut off from it by the tables of the skull.
    brain = ndimage.binary_dilation(labels == np.bincount(front[front > 0]).argmax()) & soft
    clear = ndimage.distance_transform_edt(calm < _SKULL_HU) > _CLEAR_MM
    # What bone spills over is a thin sheet, a sinus is not: only blocks that are bright throughout count.
    # Else sinuses without contrast read 167 and 203 HU on two real plain scans of 3 and 4 mm; so, 77 and 84.
    values = ndimage.grey_erosion(calm, size=3)[brain & clear]
    if len(values) < 20 * _SINUS_VOXELS:
        return None
    return float(np.median(np.partition(values, -_SINUS_VOXELS)[-_SINUS_VOXELS:]))


def read_phase(levels: Levels) -> tuple[BolusPhase | None, str]:
    """The phase that the levels show, and why in a sentence.

    Early arterial: the torcula holds no contrast. Peak arterial: it holds less than two thirds of the
    arteries' HU. Late: it holds more, up to as much. Venous: it outshines them.
    """
    artery, vein = levels.artery, levels.torcula
    if artery is None or vein is None:
        missing = " and ".join(["the arteries"] * (artery is None) + ["the torcula"] * (vein is None))
        return None, f"The phase is not known: {missing} could not be measured."
    phase: BolusPhase
    if vein > VENOUS_RATIO * artery:
        phase = "venous"
    elif vein >= LATE_RATIO * artery:
        phase = "late"
    else:
        phase = "early-arterial" if vein < EMPTY_VEIN_HU else "peak-arterial"
    return phase, f"Torcula {vein:.0f} HU, {vein / artery:.0%} of the arteries' {artery:.0f} HU."


def report_bolus(levels: Levels) -> tuple[BolusReport, tuple[Reason, ...]]:
    """What is reported of the bolus, and the cautions that follow from it."""
    phase, why = read_phase(levels)
    cautions = _cautions(levels, phase, why)
    report = BolusReport(
        left_ica_hu=_rounded(levels.left_ica),
        right_ica_hu=_rounded(levels.right_ica),
        basilar_hu=_rounded(levels.basilar),
        torcula_hu=_rounded(levels.torcula),
        phase=phase,
        why=why,
        cautions=tuple(caution.code for caution in cautions),
    )
    return report, cautions


def _cautions(levels: Levels, phase: BolusPhase | None, why: str) -> tuple[Reason, ...]:
    found = []
    if levels.artery is not None and levels.artery < WEAK_HU:
        text = f"Arteries are only weakly enhanced ({levels.artery:.0f} HU)."
        found.append(Reason(code="weak-arterial-contrast", message=text, kind="caution"))
    if phase == "early-arterial":
        text = (
            "The scan is early, the veins hold no contrast yet: collaterals may be better than they look, and"
        )
        text = f"{text} an artery that fills slowly may look blocked. {why}"
        found.append(Reason(code="early-phase", message=text, kind="caution"))
    if phase in ("late", "venous"):
        text = f"The veins are nearly as bright as the arteries: collaterals may hide an occlusion. {why}"
        found.append(Reason(code="late-phase", message=text, kind="caution"))
    left, right = levels.left_ica, levels.right_ica
    if left is not None and right is not None:
        low, high = sorted((left - BLOOD_HU, right - BLOOD_HU))
        if low < SIDE_SHARE * high:
            side = "left" if left < right else "right"
            text = f"The {side} intracranial ICA is less enhanced than the other (left {left:.0f} HU, right"
            text = f"{text} {right:.0f} HU): look for a stenosis or an occlusion in the neck."
            found.append(Reason(code="carotid-contrast-differs", message=text, kind="caution"))
    return tuple(found)


def _rounded(hu: float | None) -> float | None:
    return None if hu is None else round(hu, 1)
