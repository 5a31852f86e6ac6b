"""A site's boxes as pools, and mixed with phantoms for the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import IterableDataset

from lvo.detector.detect import Detector
from lvo.detector.evidence import Evidence
from lvo.detector.features import site_features
from lvo.detector.reader import STUDY_ANSWERS
from lvo.training.boxed import DataConfig
from lvo.training.data import make_dataset
from lvo.training.reader import study_truth
from lvo.training.site_boxes import Box, clot_in_box
from lvo.training.site_labels import Labels, label_box
from lvo.training.site_manifest import SiteStudy

Item = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class SiteCase:
    """A study that can be used: what the site says of it, and its box."""

    study: SiteStudy
    box: Box


@dataclass(frozen=True, slots=True)
class SiteReadings:
    """What the detector sees of a site's studies.

    Attributes
    ----------
    features : float32 (n, sites, FEATURES).
    truth : float32 (n, sites + STUDY_ANSWERS) 1 occluded, 0 patent, -1 not known; of the study's answers,
        any occlusion is always known.
    patients : whose each study is.
    """

    features: npt.NDArray[np.float32]
    truth: npt.NDArray[np.float32]
    patients: tuple[str, ...]

    @property
    def occluded(self) -> npt.NDArray[np.bool_]:
        """Whether any artery of each study is, (n,)."""
        return np.asarray(self.truth[:, -STUDY_ANSWERS] > 0)


def read_site(detector: Detector, cases: Sequence[SiteCase]) -> SiteReadings:
    """Look at studies, each with its NCCT where it has one."""
    features = [site_features(look(detector, case)) for case in cases]
    sites = np.array([case.study.labels for case in cases], np.float32)
    answers = study_truth(sites)
    answers[:, 0] = [case.study.occluded for case in cases]
    truth = np.concatenate([sites, answers], axis=1)
    return SiteReadings(np.stack(features), truth, tuple(case.study.patient for case in cases))


def look(detector: Detector, case: SiteCase) -> Evidence:
    """What the network says of a study."""
    ncct = case.box.ncct
    plain = None if ncct is None else ncct.astype(np.float32).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    return detector.look(case.box.cta.astype(np.float32), plain)


def write_pool(pool: Path, cases: Sequence[SiteCase], maps: Sequence[tuple[Labels, Labels]]) -> None:
    """Write studies as pool files, ``sites`` -1 where unknown.

    Parameters
    ----------
    maps : vessel and state of each.
    """
    pool.mkdir(parents=True, exist_ok=True, mode=0o700)
    for n, (case, (vessel, state)) in enumerate(zip(cases, maps, strict=True)):
        ncct = np.zeros(vessel.shape, np.int16) if case.box.ncct is None else case.box.ncct
        np.savez(
            pool / f"{n:06d}.npz", cta=case.box.cta, ncct=ncct, vessel=vessel, state=state,
            sites=np.array(case.study.labels, np.int8), about=np.array("{}"),
        )  # fmt: skip


def label_case(detector: Detector, case: SiteCase) -> tuple[Labels, Labels] | None:
    """Vessel and state maps of a study, or None where one of its clots lies where no artery is seen."""
    clots = [(o.site, clot_in_box(o, case.box.pose)) for o in case.study.occlusions]
    return label_box(look(detector, case), clots)


class MixedDataset(IterableDataset[Item]):
    """Views of a site's studies among phantoms; validation shows phantoms only, to see what is forgotten.

    Parameters
    ----------
    site : one pool of studies with an NCCT and one of those without, or either.
    share : of training views that are the site's.
    """

    def __init__(
        self,
        phantoms: DataConfig,
        site: Sequence[DataConfig],
        share: float,
        *,
        split: str,
        seed: int,
        rank: int,
        world: int,
    ) -> None:
        super().__init__()
        place: dict[str, Any] = {"split": split, "seed": seed, "rank": rank, "world": world}
        self.phantoms = make_dataset(phantoms, **place)
        self.site = [make_dataset(data, **place) for data in site]
        self.weight = np.array([data.patients for data in site], dtype=np.float64)
        self.share, self.split, self.seed = share, split, seed

    def __iter__(self) -> Iterator[Item]:
        if self.split == "validation" or not self.site:
            yield from self.phantoms
            return
        rng = np.random.default_rng([self.seed, *self.phantoms.share(), 5])
        phantoms, site = iter(self.phantoms), [iter(part) for part in self.site]
        while True:
            if rng.random() >= self.share:
                yield next(phantoms)
            else:
                yield next(site[int(rng.choice(len(site), p=self.weight / self.weight.sum()))])
