"""Phantoms beside real heads and a real arterial tree: the same measurements and the same pictures of both.

``scripts/compare_phantom.py --real ../shared/real --phantoms DIR --out runs/compare``
``scripts/compare_phantom.py --phantoms DIR --out docs/pictures --columns 3``

DIR holds studies written by ``lvo phantom --truth``. OUT gets ``comparison.md`` and pictures; without --real,
pictures alone. Real images are read where they lie and are never copied into the project.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components, dijkstra

from lvo.detector.bundle import default_path
from lvo.dicom import read_study
from lvo.imaging.head_frame import HeadFramer, refused
from lvo.imaging.resample import Grid, to_head
from lvo.phantom.head.atlas import SELLA_MNI
from lvo.study import Volume

F32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
REAL_HEADS = {"GE head": "ge-head-tilt/dicom", "head and neck": "head-neck-ncct"}
HEAD = Grid((200, 240, 200), 1.0, (-99.5, -109.5, -79.5))
LEVELS = {"skull base": -12.0, "circle of Willis": 15.0, "ventricles": 45.0, "convexity": 85.0}
BAND_MM = 2.0
MRA_STEPS = (0.648, 0.521, 0.519)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--phantoms", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--columns", type=int, default=3, help="phantoms in each picture")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    framer = HeadFramer(default_path() / "models" / "pose.onnx")
    heads: dict[str, F32] = {}
    trees: dict[str, Mask] = {}
    if arguments.real:
        for name, path in REAL_HEADS.items():
            heads[name] = _head(arguments.real / path, framer)
        heads["average of many"] = _average_head(arguments.real / "scct-2mm-hu.nii.gz")
        trees["real MRA"] = _real_tree(arguments.real / "mra-arteries.nii.gz")
    folders = sorted(p for p in arguments.phantoms.iterdir() if (p / "truth").is_dir())
    heads |= {f.name: _head(f, framer) for f in folders[: arguments.columns]}
    save_slices(arguments.out / "heads-brain.png", heads, 0, 80)
    save_slices(arguments.out / "heads-bone.png", heads, -200, 1200)
    save_mips(
        arguments.out / "cta.png", {f.name: _head(f, framer, cta=True) for f in folders[: arguments.columns]}
    )
    trees |= {f.name: _phantom_tree(f) for f in folders}
    save_trees(arguments.out / "trees.png", dict(list(trees.items())[: arguments.columns + 1]))
    if arguments.real:
        sections = [
            _table("Heads (NCCT in the head frame)", {n: measure_head(h) for n, h in heads.items()}),
            _table("Arterial trees", {n: measure_tree(m) for n, m in trees.items()}),
        ]
        (arguments.out / "comparison.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")
        print("\n\n".join(sections))


# ----------------------------------------------------------------------------- heads


def _head(folder: Path, framer: HeadFramer, cta: bool = False) -> F32:
    """The unenhanced head (or the CTA) of a study, 1 mm, in the head frame."""
    own = folder / ("cta" if cta else "ncct")  # of a phantom
    study = read_study(own if own.is_dir() else folder)
    volume = study.cta if cta else study.ncct or study.cta
    assert volume is not None, f"{folder} has no such series"
    pose = framer(volume)
    assert pose.accepted, f"{folder}: no pose"
    return np.asarray(to_head(volume, pose, HEAD), np.float32)


def _average_head(path: Path) -> F32:
    """The population average, which is in MNI space already."""
    image = nibabel.load(path)
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    to_lps[:3, 3] -= np.array(SELLA_MNI) * (-1, -1, 1)
    array = np.asarray(image.dataobj, np.float32).transpose(2, 1, 0)
    volume = Volume(array, to_lps[:, [2, 1, 0, 3]])
    upright = refused().model_copy(update={"matrix": tuple(map(tuple, np.eye(4).tolist()))})
    return np.asarray(to_head(volume, upright, HEAD), np.float32)


def measure_head(hu: F32) -> dict[str, str]:
    """Shares of bone and of inner air along z, and the histogram of brain and of bone."""
    z = HEAD.origin[2] + np.arange(HEAD.shape[0])
    body = ndimage.binary_fill_holes(ndimage.binary_opening(hu > -300, iterations=2))
    for k in range(len(body)):
        body[k] = ndimage.binary_fill_holes(body[k])
    out = {}
    for low, high in ((-60, -40), (-40, -20), (-20, 0), (0, 20), (20, 50), (50, 80)):
        part = (z >= low) & (z < high)
        area = max(int(body[part].sum()), 1)
        out[f"bone share, z {low} to {high}"] = f"{100 * (body[part] & (hu[part] > 300)).sum() / area:.1f} %"
        if high <= 20:
            out[f"inner air, z {low} to {high}"] = (
                f"{100 * (body[part] & (hu[part] < -300)).sum() / area:.1f} %"
            )
    upper = (z >= 20) & (z < 80)
    skull = hu[upper] > 300
    within = np.stack([ndimage.binary_fill_holes(ndimage.binary_closing(s, iterations=3)) for s in skull])
    inner = ndimage.binary_erosion(within & ~ndimage.binary_dilation(skull, iterations=3), iterations=2)
    smooth = ndimage.uniform_filter(hu[upper], (5, 1, 1))
    brain = smooth[inner & (smooth > -20) & (smooth < 100)]
    quantiles = np.percentile(brain, [5, 25, 50, 75, 95])
    out["brain HU, 5 25 50 75 95 %"] = " ".join(f"{q:.0f}" for q in quantiles)
    out["CSF share (HU < 15)"] = f"{100 * (brain < 15).mean():.1f} %"
    bone = hu[upper][skull]
    out["vault HU, 25 50 75 95 %"] = " ".join(f"{q:.0f}" for q in np.percentile(bone, [25, 50, 75, 95]))
    base = hu[(z >= -30) & (z < 0)]
    bone = base[base > 300]
    out["base HU, 25 50 75 95 %"] = " ".join(f"{q:.0f}" for q in np.percentile(bone, [25, 50, 75, 95]))
    return out


def save_slices(path: Path, heads: dict[str, F32], low: float, high: float) -> None:
    """A row per level, a column per head, left of the patient on the right of the picture."""
    z = HEAD.origin[2] + np.arange(HEAD.shape[0])
    tiles = []
    for level in LEVELS.values():
        k = int(np.abs(z - level).argmin())
        tiles.append([_gray(h[k - 1 : k + 2].mean(0), low, high) for h in heads.values()])
    _mosaic(tiles, list(heads), list(LEVELS)).save(path, optimize=True)


def save_mips(path: Path, scans: dict[str, F32]) -> None:
    """CTA: skull base and circle of Willis, thick axial, coronal and sagittal projections."""
    z = HEAD.origin[2] + np.arange(HEAD.shape[0])
    y, x = (HEAD.origin[a] + np.arange(HEAD.shape[2 - a]) for a in (1, 0))
    cranium = z >= -40
    rows = [
        [_gray(h[int(np.abs(z + 8).argmin())], -100, 600) for h in scans.values()],
        [_gray(h[(z >= 5) & (z < 30)].max(0), 0, 500) for h in scans.values()],
        [_gray(h[cranium][:, (y >= -30) & (y < 5)].max(1)[::-1], 0, 500) for h in scans.values()],
        [_gray(h[cranium][:, :, np.abs(x) < 9].max(2)[::-1], 0, 500) for h in scans.values()],
    ]
    names = ["skull base", "25 mm MIP", "35 mm coronal MIP", "18 mm sagittal MIP"]
    _mosaic(rows, list(scans), names).save(path, optimize=True)


# ----------------------------------------------------------------------------- trees


def _real_tree(path: Path) -> Mask:
    array = np.asarray(nibabel.load(path).dataobj).transpose(2, 1, 0)[:, ::-1, ::-1]  # RAS to LPS
    labels, _ = ndimage.label(array > 50, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())
    keep = np.flatnonzero(sizes >= 200)
    return np.isin(labels, keep[keep > 0])


def _phantom_tree(folder: Path) -> Mask:
    """Arterial lumen of the truth at the MRA's resolution, cropped as the MRA is round the ICA termini."""
    image = nibabel.load(folder / "truth" / "vessels.nii.gz")
    labels = np.asarray(image.dataobj).transpose(2, 1, 0)
    from lvo.anatomy import Segment, Side
    from lvo.phantom.vessels.labels import LABELS, SITE_INDEX

    steps = np.array(image.header.get_zooms()[::-1])
    lumen = np.isin(labels, [b.number for b in LABELS if not b.vein])
    tops = [
        np.argwhere(labels == SITE_INDEX[Segment.ICA_TERMINUS, s]).mean(0) * steps
        for s in (Side.LEFT, Side.RIGHT)
    ]
    centre = np.mean(tops, axis=0)
    size = np.array([120, 256, 200]) * MRA_STEPS
    first = centre - np.array([0.47, 0.42, 0.5]) * size
    index = np.stack(
        np.meshgrid(
            *(np.arange(n) * s for n, s in zip((120, 256, 200), MRA_STEPS, strict=True)), indexing="ij"
        )
    )
    at = (index + first.reshape(3, 1, 1, 1)) / steps.reshape(3, 1, 1, 1)
    found = ndimage.map_coordinates(lumen.astype(np.float32), at, order=1) > 0.5
    parts, _ = ndimage.label(found, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel())
    keep = np.flatnonzero(sizes >= 200)
    return np.isin(parts, keep[keep > 0])


def band_tree(
    mask: Mask,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """A mask as a tree: bands of equal path length from its lowest points, one node per connected piece.

    Returns
    -------
    nodes (n, 3) mm; index of each node's parent, -1 at roots; radius of a cylinder of the same volume, mm.
    """
    steps = np.array(MRA_STEPS)
    voxels = np.argwhere(mask)
    number = np.full(mask.shape, -1)
    number[tuple(voxels.T)] = np.arange(len(voxels))
    rows, columns, lengths = [], [], []
    for offset in np.ndindex(3, 3, 3):
        step = np.array(offset) - 1
        if tuple(step) <= (0, 0, 0):
            continue
        near = voxels + step
        fits = ((near >= 0) & (near < mask.shape)).all(1)
        found = np.full(len(voxels), -1)
        found[fits] = number[tuple(near[fits].T)]
        hit = np.flatnonzero(found >= 0)
        rows.append(hit)
        columns.append(found[hit])
        lengths.append(np.full(len(hit), np.linalg.norm(step * steps)))
    a, b, w = map(np.concatenate, (rows, columns, lengths))
    graph = sparse.coo_matrix((w, (a, b)), (len(voxels),) * 2).tocsr()
    _, piece = connected_components(graph, directed=False)
    lowest = ndimage.minimum(voxels[:, 0], piece, np.arange(piece.max() + 1))
    distance = dijkstra(
        graph + graph.T, indices=np.flatnonzero(voxels[:, 0] <= lowest[piece] + 1), min_only=True
    )
    band = (distance / BAND_MM).astype(int)
    same = band[a] == band[b]
    count, node = connected_components(
        sparse.coo_matrix((np.ones(same.sum()), (a[same], b[same])), (len(voxels),) * 2), directed=False
    )
    size = np.bincount(node)
    places = np.stack([np.bincount(node, voxels[:, k] * steps[k]) / size for k in range(3)], axis=1)
    parent = np.full(count, -1)
    up = np.where((band[a] < band[b])[:, None], np.stack([a, b], 1), np.stack([b, a], 1))[~same]
    parent[node[up[:, 1]]] = node[up[:, 0]]
    return places, parent, np.sqrt(size * steps.prod() / np.pi / BAND_MM)


def measure_tree(mask: Mask) -> dict[str, str]:
    """Length by calibre, tortuosity over 20 mm, branch points."""
    places, parent, radius = band_tree(mask)
    length = np.where(parent >= 0, np.linalg.norm(places - places[parent], axis=1), 0.0)
    depth, level = np.zeros(len(places)), np.zeros(len(places), int)
    tortuosity = []
    for i in range(len(places)):
        j, along = i, 0.0
        while parent[j] >= 0:
            along += length[j]
            j, level[i] = parent[j], level[i] + 1
            if level[i] == 10:
                tortuosity.append((radius[i], along / np.linalg.norm(places[i] - places[j])))
    for i in np.argsort(-level):
        if parent[i] >= 0:
            depth[parent[i]] = max(depth[parent[i]], depth[i] + length[i])
    long = np.bincount(parent[(parent >= 0) & (depth + length >= 8)], minlength=len(places))
    edges = (0, 0.6, 0.9, 1.2, 1.6, 2.2, 9)
    out = {f"length, radius {a} to {b} mm": f"{length[(radius >= a) & (radius < b)].sum():.0f} mm"
           for a, b in itertools.pairwise(edges)}  # fmt: skip
    out["length in all"] = f"{length.sum():.0f} mm"
    out["volume"] = f"{mask.sum() * np.prod(MRA_STEPS) / 1000:.1f} ml"
    r, t = np.array(tortuosity).T
    for name, part in (
        ("thin (< 0.9 mm)", r < 0.9),
        ("middle", (r >= 0.9) & (r < 1.4)),
        ("wide (> 1.4 mm)", r >= 1.4),
    ):
        out[f"arc / chord over 20 mm, {name}"] = " ".join(
            f"{q:.2f}" for q in np.percentile(t[part], [25, 50, 75])
        )
    out["branch points per 100 mm"] = f"{100 * (long >= 2).sum() / length.sum():.2f}"
    return out


def save_trees(path: Path, trees: dict[str, Mask]) -> None:
    """Depth-shaded projections of the lumen along the three axes."""
    tiles = []
    for axis in (1, 2, 0):
        row = []
        for mask in trees.values():
            depth = np.arange(mask.shape[axis], dtype=np.float32).reshape(
                [-1 if a == axis else 1 for a in range(3)]
            )
            shade = (mask * (1 - 0.6 * depth / mask.shape[axis])).max(axis)
            row.append(_gray(shade if axis == 0 else shade[::-1], 0, 1))
        tiles.append(row)
    _mosaic(tiles, list(trees), ["from the front", "from the side", "from above"]).save(path, optimize=True)


# ----------------------------------------------------------------------------- pages


def _gray(values: F32, low: float, high: float) -> Image.Image:
    scaled = np.clip((values - low) / (high - low), 0, 1) * 255
    return Image.fromarray(scaled.astype(np.uint8))


def _mosaic(
    rows: list[list[Image.Image]], columns: list[str], names: list[str], size: int = 260
) -> Image.Image:
    heights = [max(int(t.height * size / max(t.size)) for t in row) for row in rows]
    page = Image.new("L", (size * len(columns), sum(heights)))
    draw = ImageDraw.Draw(page)
    for j, row in enumerate(rows):
        top = sum(heights[:j])
        for i, tile in enumerate(row):
            factor = size / max(tile.size)
            scaled = tile.resize((int(tile.width * factor), int(tile.height * factor)))
            page.paste(scaled, (size * i, top))
            draw.text((size * i + 4, top + 4), f"{columns[i]}, {names[j]}", fill=255)
    return page


def _table(title: str, columns: dict[str, dict[str, str]]) -> str:
    rows: Callable[[str], str] = lambda key: " | ".join(c[key] for c in columns.values())  # noqa: E731
    keys = next(iter(columns.values()))
    lines = [f"## {title}", "", f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    return "\n".join(lines + [f"| {key} | {rows(key)} |" for key in keys])


if __name__ == "__main__":
    main()
