"""Is this scan fit to be analysed? Checks in the head frame, each answering with reasons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lvo.errors import CoverageIncomplete, NoArterialContrast, SlicesMissing, VenousPhase
from lvo.imaging.resample import HEAD_BOX, SKULL_BOX, Grid, grid_index_to_patient, grid_to_index
from lvo.study import FloatArray, HeadPose, Reason, Volume

F32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Range = tuple[float, float]

CORE: tuple[Range, Range, Range] = ((-45.0, 45.0), (-35.0, 45.0), (-30.0, 35.0))
"""Head-frame x, y, z ranges, mm, that hold the circle of Willis, ICA-T, M1 and the basilar artery."""
CORE_SHARE = 0.98
CAROTIDS: tuple[Range, Range, Range] = (
    (-45.0, 45.0),
    (-40.0, 40.0),
    (HEAD_BOX.origin[2], SKULL_BOX.origin[2]),
)
"""The same, mm, that hold both carotids and vertebral arteries below the skull, as far down as is looked."""
NECK_SHARE = 0.9
UNSCANNED_HU = -1200.0
"""Scanners fill what lies outside the reconstruction circle with values below air."""
LUMEN_HU = 130.0
MIN_LUMEN_MM3 = 900.0
"""Synthetic CTA, occluded or not, shows 2500 mm3 and more; non-contrast scans up to 700, all of it bone."""
WEAK_HU = 180.0
VENOUS_RATIO = 0.75
FADED_RATIO = 1.25
"""While a bolus passes, arteries outshine veins; once it has mixed, both are alike; then only do veins lead.
None of 90 phantoms of any phase (veins up to 1.1 of the arteries) reaches it, nor any of 10 at 1.2; of 20
with veins of 1.5 and 2 times the arteries, 15 do, and the others are told as late."""


def check_coverage(volume: Volume, pose: HeadPose, box: Grid = SKULL_BOX) -> tuple[Reason, ...]:
    """Check that the circle of Willis lies within the scanned volume.

    Parameters
    ----------
    volume : HU
    pose : patient LPS to head frame
    box : what the detector will be given

    Returns
    -------
    tuple of Reason
        Empty when the whole box was scanned; a rejection when the core was not; else a caution.
    """
    lattice = _sparse(box)
    scanned = _scanned(volume, pose, lattice)
    core = region(lattice, CORE)
    share = float(scanned[core].mean())
    if share < CORE_SHARE:
        detail = f"Only {share:.0%} of the region was scanned."
        return (_reason(CoverageIncomplete.code, CoverageIncomplete(detail).message, "rejection"),)
    whole = float(scanned.mean())
    if whole < CORE_SHARE:
        text = f"The edge of the analysed region was not scanned: {1 - whole:.0%} of it is missing."
        return (_reason("coverage-partial", text, "caution"),)
    return ()


def check_neck(volume: Volume, pose: HeadPose) -> tuple[Reason, ...]:
    """Tell where the upper neck was not scanned: what lies there is neither blocked nor open.

    Parameters
    ----------
    volume : HU
    pose : patient LPS to head frame
    """
    lattice = _sparse(HEAD_BOX)
    share = float(_scanned(volume, pose, lattice)[region(lattice, CAROTIDS)].mean())
    if share >= NECK_SHARE:
        return ()
    text = f"{1 - share:.0%} of the upper neck was not scanned: an occlusion of a carotid there is not seen."
    return (_reason("neck-unscanned", text, "information"),)


def _sparse(box: Grid) -> Grid:
    """Every third voxel of a box along each axis."""
    z, y, x = (n // 3 for n in box.shape)
    i, j, k = (o + box.spacing for o in box.origin)
    return Grid(shape=(z, y, x), spacing=box.spacing * 3, origin=(i, j, k))


def check_gaps(volume: Volume, pose: HeadPose, box: Grid = SKULL_BOX) -> tuple[Reason, ...]:
    """Check that no slice is missing where the detector looks.

    The DICOM room refuses gaps in the part of the scan that can hold the vessels; here the pose says which
    part does.

    Parameters
    ----------
    volume : with its gaps, and the stack along whose normal they are measured
    pose : patient LPS to head frame
    box : what the detector will be given

    Returns
    -------
    tuple of Reason
        A rejection where a gap crosses the box, else empty.
    """
    if not volume.gaps or volume.stack is None:
        return ()
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(box.shape) - 1)
    depths = grid_index_to_patient(pose, box, corners) @ volume.stack.normal
    low, high = float(depths.min()), float(depths.max())
    crossing = [gap for gap in volume.gaps if gap[0] < high and gap[1] > low]
    if not crossing:
        return ()
    detail = f"({len(crossing)} gap(s) in the region of the arteries)"
    return (_reason(SlicesMissing.code, SlicesMissing(detail).message, "rejection"),)


def _reason(code: str, message: str, kind: str) -> Reason:
    return Reason.model_validate({"code": code, "message": message, "kind": kind})


def _scanned(volume: Volume, pose: HeadPose, grid: Grid) -> Mask:
    """Which grid points lie within the volume and hold no padding."""
    step = grid_to_index(volume, pose, grid)
    index = np.indices(grid.shape).reshape(3, -1)
    nearest = np.rint(step[:3, :3] @ index + step[:3, 3:]).astype(int)
    size = np.array(volume.array.shape)[:, None]
    ok = ((nearest >= 0) & (nearest < size)).all(0)
    values = volume.array[tuple(np.clip(nearest, 0, size - 1))]
    return np.asarray(ok & (values > UNSCANNED_HU)).reshape(grid.shape)


def region(grid: Grid, ranges: tuple[Range, Range, Range]) -> Mask:
    """Voxels of a grid within head-frame x, y, z ranges in mm."""
    inside = np.ones(grid.shape, bool)
    for axis, (low, high) in enumerate(ranges):
        place = grid.origin[axis] + np.arange(grid.shape[2 - axis]) * grid.spacing
        shape = [1, 1, 1]
        shape[2 - axis] = -1
        inside &= ((place >= low) & (place <= high)).reshape(shape)
    return inside


# ----------------------------------------------------------------------------- contrast

# Where ICA-T, M1, A1, the basilar tip and the proximal M2 run, clear of the petrous bone.
_ARTERIES: tuple[Range, Range, Range] = ((-50.0, 50.0), (-35.0, 42.0), (-2.0, 45.0))
# Vein of Galen and straight sinus, well behind the pineal gland, whose calcium would pass for contrast.
_GALEN: tuple[Range, Range, Range] = ((-8.0, 8.0), (38.0, 62.0), (28.0, 54.0))
# The internal cerebral veins. On 73 phantoms their brightness follows that of the veins (correlation 0.95;
# 0.61 about the vein of Galen alone, where the falx calcifies); being thin, they show about 0.8 of it.
_INTERNAL_CEREBRAL: tuple[Range, Range, Range] = ((-7.0, 7.0), (0.0, 32.0), (34.0, 54.5))
_THIN_SHARE = 0.8
# Where hardly a vein runs: M1 of either side, anterior cerebral, basilar artery. One of them always fills.
_TRUNKS: tuple[tuple[Range, Range, Range], ...] = (
    ((10.0, 34.0), (-14.0, 0.0), (9.0, 20.0)),
    ((-34.0, -10.0), (-14.0, 0.0), (9.0, 20.0)),
    ((-7.0, 7.0), (-35.0, -5.0), (8.0, 40.0)),
    ((-6.0, 6.0), (4.0, 20.0), (-12.0, 14.0)),
)


@dataclass(frozen=True, slots=True)
class Contrast:
    """How bright the vessels are.

    Attributes
    ----------
    lumen_mm3 : volume of arterial region brighter than brain and not bone, mm3
    artery_hu : brightness of the brightest 300 mm3 of it, median HU
    trunk_hu : the same of the brightest 60 mm3 of the brightest trunk, free of veins; NaN if none can be told
    vein_hu : the same about the vein of Galen or the internal cerebral veins, whichever is less: calcium of
        the falx and the tentorium passes for contrast, but hardly in both places
    brain_hu : median of the brain there, HU
    """

    lumen_mm3: float
    artery_hu: float
    trunk_hu: float
    vein_hu: float
    brain_hu: float


def measure_contrast(head: FloatArray, grid: Grid = SKULL_BOX) -> Contrast:
    """Measure vessel brightness in a volume in the head frame.

    Parameters
    ----------
    head : float32, shape `grid.shape`, HU
    grid : of the head frame
    """
    inner = cavity(head, grid)
    voxel = grid.spacing**3
    arteries = head[region(grid, _ARTERIES) & inner]
    galen = _brightest(head[region(grid, _GALEN) & inner], round(60 / voxel))
    deep = _brightest(head[region(grid, _INTERNAL_CEREBRAL) & inner], round(40 / voxel))
    trunks = [_brightest(head[region(grid, trunk) & inner], round(60 / voxel)) for trunk in _TRUNKS]
    soft = arteries[(arteries > 0) & (arteries < 100)]
    brain = float(np.median(soft)) if len(soft) else float("nan")
    return Contrast(
        lumen_mm3=float((arteries >= LUMEN_HU).sum() * voxel),
        artery_hu=_brightest(arteries, round(300 / voxel)),
        trunk_hu=max((hu for hu in trunks if not np.isnan(hu)), default=float("nan")),
        vein_hu=min(galen, brain + (deep - brain) / _THIN_SHARE),
        brain_hu=brain,
    )


def cavity(head: FloatArray, grid: Grid = SKULL_BOX) -> Mask:
    """Brain, its fluid and the vessels between, clear of bone by some millimetres.

    Brain is the largest connected soft thing of the box. Closing it takes in vessels, which are thin; what
    is near thick bone, above all the skull base, is left out.

    Parameters
    ----------
    head : float32, shape `grid.shape`, HU, every side even
    grid : of the head frame, of about 1 mm

    Returns
    -------
    bool, shape `grid.shape`
    """
    z, y, x = (n // 2 for n in head.shape)
    half = head[: 2 * z, : 2 * y, : 2 * x].reshape(z, 2, y, 2, x, 2).mean((1, 3, 5))
    soft = ndimage.binary_erosion((half > 0) & (half < 100))
    labels, count = ndimage.label(soft)
    if not count:
        return np.zeros(head.shape, bool)
    sizes = np.bincount(labels.ravel())
    brain = ndimage.binary_dilation(labels == 1 + int(np.argmax(sizes[1:])))
    padded = np.pad(brain, 3, mode="edge")  # closing must not shrink at the faces of the box
    closed = ndimage.binary_closing(padded, iterations=2)[3:-3, 3:-3, 3:-3]
    inner = ndimage.binary_erosion(closed, border_value=1)
    thick = ndimage.binary_opening(half > 250)
    inner &= ~ndimage.binary_dilation(thick, iterations=2)
    fine = inner.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    pad = [(0, n - m) for n, m in zip(head.shape, fine.shape, strict=True)]
    return np.pad(fine, pad)


def _brightest(values: F32, count: int) -> float:
    """Median of the brightest `count` values, NaN when there are too few."""
    if len(values) < 4 * count:
        return float("nan")
    return float(np.median(np.partition(values, -count)[-count:]))


def check_contrast(head: FloatArray, grid: Grid = SKULL_BOX) -> tuple[Reason, ...]:
    """Check that the arteries of the head are enhanced, and the veins not more than they.

    Parameters
    ----------
    head : float32, shape `grid.shape`, HU, in the head frame
    grid : of the head frame

    Returns
    -------
    tuple of Reason
        A rejection without arterial contrast or in the venous phase, a caution when it is weak or late,
        else empty.
    """
    contrast = measure_contrast(head, grid)
    if not contrast.lumen_mm3 >= MIN_LUMEN_MM3:
        detail = (
            f"Only {contrast.lumen_mm3:.0f} mm3 of the arterial region is brighter than {LUMEN_HU:.0f} HU."
        )
        return (_reason(NoArterialContrast.code, NoArterialContrast(detail).message, "rejection"),)
    arteries = contrast.artery_hu if np.isnan(contrast.trunk_hu) else contrast.trunk_hu
    measured = f"(Veins {contrast.vein_hu:.0f} HU, arteries {arteries:.0f} HU.)"
    share = (contrast.vein_hu - contrast.brain_hu) / (arteries - contrast.brain_hu)
    if share > FADED_RATIO and contrast.vein_hu > LUMEN_HU:
        return (_reason(VenousPhase.code, VenousPhase(measured).message, "rejection"),)
    if contrast.artery_hu < WEAK_HU:
        text = f"Arteries are only weakly enhanced ({contrast.artery_hu:.0f} HU)."
        return (_reason("weak-arterial-contrast", text, "caution"),)
    if share > VENOUS_RATIO:
        text = "The veins are nearly as bright as the arteries: collaterals may hide an occlusion."
        return (_reason("late-phase", f"{text} {measured}", "caution"),)
    return ()
