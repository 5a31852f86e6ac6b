"""Patients of a real head and a real arterial tree; flow, clots, bolus and scanner are the phantom's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lvo.phantom.config import PhantomConfig
from lvo.phantom.patient import Case, Order, patient_age
from lvo.phantom.patient import sample_case as sample_plain
from lvo.phantom.real.branches import RealTree, real_tree
from lvo.phantom.real.complete import completed
from lvo.phantom.real.fit import Seat, seat
from lvo.phantom.real.guide import PLAIN, find_guide
from lvo.phantom.real.head import Tissue, real_head, tissue_of
from lvo.phantom.real.lumen import find_lumen
from lvo.phantom.real.sources import Framer, pose_of, read_head, read_nifti
from lvo.phantom.scanner.scan import Scan
from lvo.phantom.vessels.arteries import sample_arteries
from lvo.phantom.vessels.tree import Tree

_ANATOMY, _HEAD, _CHOICE = 1, 2, 21
_CALIBRE_SD = 0.05
_MARGIN_MM = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """Real anatomy that is read once and used for many patients.

    Attributes
    ----------
    heads : one or more, of which each patient has one.
    tree : of all patients.
    seats : per head, where the tree lies in it, and where its mirror image does.
    """

    heads: tuple[Tissue, ...]
    tree: RealTree
    seats: tuple[tuple[Seat, Seat], ...]

    def only(self, head: int) -> Sources:
        """The same with one of the heads."""
        return Sources((self.heads[head],), self.tree, (self.seats[head],))


def load_sources(heads: tuple[Path, ...], tree: Path, framer: Framer) -> Sources:
    """Read heads and a tree, pose the heads, find and name the arteries.

    Parameters
    ----------
    heads : NIfTI in HU, or folders of DICOM of an unenhanced head CT.
    tree : NIfTI of an angiogram with its background removed.
    framer : finds the head frame, as `lvo.imaging.head_frame.HeadFramer` does.

    Raises
    ------
    PathNotFound
        There is no such file.
    AnatomyUnusable
        A head or the tree cannot be used; the message says why.
    """
    lumen = find_lumen(read_nifti(tree))
    arteries = real_tree(lumen, find_guide(lumen.centres()))
    tissues = []
    for path in heads:
        volume = read_head(path)
        pose = pose_of(volume, framer, path.name)
        tissues.append(tissue_of(volume, np.array(pose.matrix), path.name))
    return join(tuple(tissues), arteries)


def join(heads: tuple[Tissue, ...], tree: RealTree) -> Sources:
    """Put a tree into heads."""
    there, mirror = tree.branches, Tree(tree.branches).mirrored().branches
    return Sources(heads, tree, tuple((seat(there, head), seat(mirror, head)) for head in heads))


def sample_case(seed: int, config: PhantomConfig, order: Order | None, sources: Sources) -> Case:
    """Draw a patient of real anatomy and a scan; as `lvo.phantom.patient.sample_case`.

    Head and tree are each seen in a mirror half of the time. The seed also draws the head (of several), its
    small deformation, calibre, and all that a phantom draws.

    Raises
    ------
    ValueError
        If the tree has not the segment that is to be occluded.
    """
    rng = np.random.default_rng([seed, _CHOICE])
    number = int(rng.integers(len(sources.heads)))
    turned, other = (bool(v) for v in rng.random(2) < 0.5)
    calibre = float(np.exp(_CALIBRE_SD * rng.normal()))
    tissue = sources.heads[number]
    age = patient_age(seed, config)
    ranges = config.arteries.model_copy(update=PLAIN)
    drawn = sample_arteries(np.random.default_rng([seed, _ANATOMY]), ranges, age)
    tree = completed(sources.tree, drawn)
    tree = sources.seats[number][other](tree.mirrored() if other else tree)
    tree = tree.mirrored() if turned else tree
    tree = replace(tree, branches=tuple(replace(b, radius=b.radius * calibre) for b in tree.branches))
    words = (*tree.variants, f"head {tissue.name}{' mirrored' if turned else ''}",
             *(["tree mirrored"] if turned != other else []))  # fmt: skip
    head = real_head(tissue, np.random.default_rng([seed, _HEAD]), config.head, age, turned)
    case = sample_plain(seed, config, order, head=head, arteries=replace(tree, variants=words))
    return replace(case, scan=_within(case.scan, tissue))


def _within(scan: Scan, tissue: Tissue) -> Scan:
    """A scan that covers no more than the real head's own."""
    low, high = (
        float((scan.pose @ np.array([0.0, 0.0, z, 1.0]))[2]) + sign * _MARGIN_MM
        for z, sign in zip(tissue.covered, (1, -1), strict=True)
    )
    coverage, plain = ((max(a, low), min(b, high)) for a, b in (scan.coverage, scan.ncct_coverage))
    return replace(scan, coverage=coverage, ncct_coverage=plain)
