"""Side by side with dcm2niix: ``scripts/compare_dcm2niix.py [--study DIR ...] [--cases NAME ...]``.

Every hard case that has a volume is read by both and held against its own truth, which neither knows; studies
given with ``--study`` have no truth and are compared with each other: grid, HU, and bone on one grid. Prints
Markdown. dcm2niix is given the benefit of the doubt: of the volumes it writes, the best counts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lvo.dicom import ingest
from lvo.phantom.hard.cases import HARD_CASES, Truth

F64 = npt.NDArray[np.float64]
BONE_HU = 250
SAME_MM = 0.01
DCM2NIIX = (
    shutil.which("dcm2niix", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or ""
)


@dataclass(frozen=True)
class Image:
    """HU as (z, y, x), and the map from index (k, j, i) to LPS mm."""

    name: str
    array: npt.NDArray[np.float32]
    affine: F64

    def at(self, points: F64, order: int = 1) -> F64:
        """HU at LPS points (n, 3); NaN outside."""
        index = np.linalg.solve(self.affine[:3, :3], (points - self.affine[:3, 3]).T)
        return ndimage.map_coordinates(self.array, index, order=order, cval=np.nan)


def load(folder: Path) -> list[Image]:
    """Every three-dimensional NIfTI of a folder."""
    images = []
    for path in sorted(folder.glob("*.nii")):
        nifti = nibabel.load(path)
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ nifti.affine
        data = np.asarray(nifti.get_fdata(dtype=np.float32))
        volumes = [data] if data.ndim == 3 else list(np.moveaxis(data, -1, 0)) if data.ndim == 4 else []
        images += [Image(path.name, volume.T, affine[:, [2, 1, 0, 3]]) for volume in volumes]
    return images


def read_both(study: Path) -> tuple[list[Image], list[Image]]:
    """What this software and dcm2niix make of a study."""
    with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
        ingest(study, Path(ours))
        command = [DCM2NIIX, "-z", "n", "-b", "n", "-f", "%s_%d_%t", "-o", theirs, str(study)]
        subprocess.run(
            command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300
        )
        return load(Path(ours)), load(Path(theirs))


# ----------------------------------------------------------------------------- against the truth


def verdict(images: list[Image], truth: Truth) -> str:
    """How the best of the volumes stands against the truth."""
    if not images:
        return "no volume"
    judge = exact if truth.outcome == "exact" else resampled
    return min((judge(image, truth) for image in images), key=lambda v: (not v.startswith("right"), len(v)))


def exact(image: Image, truth: Truth) -> str:
    points = truth.points.reshape(-1, 3)
    index = np.linalg.solve(image.affine[:3, :3], (points - image.affine[:3, 3]).T).T
    nearest = np.rint(index)
    if nearest.min() < 0 or (nearest > np.array(image.array.shape) - 1).any():
        return "wrong: pixels lie outside the volume"
    away = np.linalg.norm((index - nearest) @ image.affine[:3, :3].T, axis=1).max()
    if away > max(SAME_MM, truth.position_mm):
        return f"wrong: {away:.2f} mm off the grid"
    found = image.array[tuple(nearest.astype(int).T)]
    off = np.abs(found - truth.array.ravel())
    share = float((off > max(0.01, truth.hu)).mean())
    return "right" if share == 0 else f"wrong: {share:.1%} of pixels by up to {off.max():.0f} HU"


def resampled(image: Image, truth: Truth) -> str:
    index = np.indices(image.array.shape).reshape(3, -1).T
    points = index @ image.affine[:3, :3].T + image.affine[:3, 3]
    within = np.random.default_rng(0).permutation(len(points))[:200_000]
    wanted = truth.hu_at(points[within]) > BONE_HU
    found = image.array.reshape(-1)[within] > BONE_HU
    dice = 2 * (wanted & found).sum() / max(1, wanted.sum() + found.sum())
    marker = points[image.array.reshape(-1) > 1800]
    if len(marker) == 0:
        return "wrong: the marker is lost"
    away = float(np.linalg.norm(marker.mean(axis=0) - truth.marker_lps))
    right = dice > 0.9 and away <= truth.marker_mm and marker[:, 0].mean() > 0
    return f"{'right' if right else 'wrong'}: bone Dice {dice:.3f}, marker {away:.1f} mm off"


# ----------------------------------------------------------------------------- against each other


def same_grid(a: Image, b: Image) -> float:
    """Largest distance in mm between voxels of two volumes that would be one under flips; inf if none are."""
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(a.array.shape) - 1)
    points = corners @ a.affine[:3, :3].T + a.affine[:3, 3]
    index = np.linalg.solve(b.affine[:3, :3], (points - b.affine[:3, 3]).T).T
    nearest = np.rint(index)
    if sorted(a.array.shape) != sorted(b.array.shape) or (nearest < 0).any():
        return float("inf")
    if (nearest > np.array(b.array.shape) - 1).any():
        return float("inf")
    return float(np.linalg.norm((index - nearest) @ b.affine[:3, :3].T, axis=1).max())


def differing(a: Image, b: Image) -> int:
    """Voxels of two volumes on one grid whose HU differ."""
    turn = np.rint(np.linalg.solve(b.affine[:3, :3], a.affine[:3, :3])).astype(int)
    axes = np.abs(turn).argmax(axis=0)  # which axis of b each axis of a runs along
    other = b.array.transpose(axes)
    backwards = [k for k, axis in enumerate(axes) if turn[axis, k] < 0]
    return int((a.array != np.flip(other, backwards)).sum())


def bone(a: Image, b: Image, step: float = 1.0) -> tuple[float, float, float]:
    """Bone of two volumes on one upright grid, where both have voxels.

    Returns Dice, the distance between the centres, and the largest difference of the outermost points
    (left, right, front, back, feet, head: where 0.1 % of the bone lies beyond), mm.
    """
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(a.array.shape) - 1)
    points = corners @ a.affine[:3, :3].T + a.affine[:3, 3]
    axes = [np.arange(low, high, step) for low, high in zip(points.min(0), points.max(0), strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    one, two = a.at(grid), b.at(grid)
    both = np.isfinite(one) & np.isfinite(two)
    first, second = (grid[both][(hu > BONE_HU)[both]] for hu in (one, two))
    shared = ((one > BONE_HU) & (two > BONE_HU) & both).sum()
    centres = float(np.linalg.norm(first.mean(0) - second.mean(0)))
    ends = [np.percentile(p, (0.1, 99.9), axis=0) for p in (first, second)]
    return 2 * float(shared) / (len(first) + len(second)), centres, float(np.abs(ends[0] - ends[1]).max())


def compare_study(study: Path) -> None:
    ours, theirs = read_both(study)
    print(f"\n### {study.parent.name if study.name == 'dicom' else study.name}\n")
    for image in theirs:
        for own in ours:
            distance = same_grid(own, image)
            if distance <= SAME_MM:
                print(f"- {image.name}: one grid ({distance:.4f} mm), {differing(own, image)} voxels differ")
            else:
                dice, centre, ends = bone(own, image)
                print(
                    f"- {image.name} {image.array.shape} against {own.name} {own.array.shape}: other grids; "
                    f"bone Dice {dice:.4f}, centres {centre:.2f} mm and outermost points {ends:.2f} mm apart"
                )


def compare_cases(names: list[str]) -> None:
    cases = [c for c in HARD_CASES if not c.slow and (not names or c.name in names)]
    identical, agree, rows = 0, 0, []
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            truth = case.write(Path(folder))
            if truth.outcome in ("refused", "other"):
                continue
            ours, theirs = read_both(Path(folder))
        own, other = verdict(ours, truth), verdict(theirs, truth)
        pairs = [(a, b) for a in ours for b in theirs if same_grid(a, b) <= SAME_MM]
        identical += any(differing(a, b) == 0 for a, b in pairs)
        if own == other == "right":
            agree += 1
        else:
            rows.append(f"| {case.name} | {own} | {other} |")
    print(
        f"{agree + len(rows)} cases with a volume; in {agree} both are right, in {identical} both wrote the"
    )
    print("same grid (0.01 mm) with the same HU. The others:\n")
    print("| case | lvo | dcm2niix |\n|---|---|---|")
    print("\n".join(rows))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--study", type=Path, nargs="*", default=[])
    parser.add_argument("--cases", nargs="*", default=[], help="names of hard cases; all by default")
    arguments = parser.parse_args()
    for study in arguments.study:
        compare_study(study)
    if arguments.cases or not arguments.study:
        compare_cases(arguments.cases)
    return 0


if __name__ == "__main__":
    sys.exit(main())
