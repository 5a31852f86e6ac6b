"""The reader in training: more evidence on a site never makes its occlusion less likely."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("monai", reason="training needs monai: install the 'train' extra")

from lvo.anatomy import SITES
from lvo.detector.evidence import MIRROR
from lvo.detector.features import FEATURES, WEIGHED
from lvo.detector.reader import SEGMENT_CODE, STUDY_ANSWERS, reader_from
from lvo.training.boxed import DataConfig
from lvo.training.reader import ReaderConfig, Readings, fit_reader, study_truth, train_reader

CONFIG = ReaderConfig(patients=DataConfig())


def readings(seed: int) -> Readings:
    """Patients, half of them with an occlusion whose clot is seen, and with cut-offs everywhere else."""
    rng = np.random.default_rng(seed)
    occluded = np.zeros((160, len(SITES)), np.float32)
    occluded[np.arange(80), rng.integers(0, len(SITES), 80)] = 1
    features = rng.uniform(0, 0.4, (160, len(SITES), FEATURES)).astype(np.float32)
    features[..., 5] = np.clip(features[..., 5] + 0.5 * occluded, 0, 1)
    # What goes together in these patients, and must not be learnt the wrong way round.
    features[..., 8] *= 1 - occluded
    return Readings(features, occluded, np.arange(160))


def test_the_truth_is_learnt_and_but_for_its_twin_nothing_that_is_seen_lowers_an_answer() -> None:
    known = readings(0)
    reader = reader_from(train_reader(known, CONFIG))
    logits = np.stack([reader.logits(f) for f in known.features])
    study = logits[:, -STUDY_ANSWERS]
    assert (study[:80, None] > study[None, 80:]).mean() > 0.9
    found = logits[:80, : len(SITES)].argmax(axis=1)
    assert (found == known.sites[:80].argmax(axis=1)).mean() > 0.8
    alone = replace(reader, twin=np.zeros(1, np.float32))
    rng = np.random.default_rng(1)
    for _ in range(200):
        patient, site = (int(rng.integers(n)) for n in known.sites.shape)
        before = alone.logits(known.features[patient])
        more = known.features[patient].copy()
        more[site, int(rng.integers(WEIGHED.start, WEIGHED.stop))] += 0.3
        assert (alone.logits(more)[-STUDY_ANSWERS:] >= before[-STUDY_ANSWERS:] - 1e-5).all()


def test_what_is_odd_on_both_sides_alike_is_told_from_an_occlusion() -> None:
    known = readings(0)
    odd = np.random.default_rng(1).normal(0, 1.5, known.features.shape)
    logits = odd + odd[:, MIRROR] - 3 + 2 * known.sites[..., None]
    known = replace(known, features=(1 / (1 + np.exp(-logits))).astype(np.float32))
    found = {}
    for share in (0.0, 0.6):
        reader = reader_from(
            train_reader(known, CONFIG.model_copy(update={"twin": share, "tissue_twin": share}))
        )
        study = np.array([reader.logits(f)[-STUDY_ANSWERS] for f in known.features])
        found[share] = (study[:80, None] > study[None, 80:]).mean()
    assert found[0.6] > found[0.0] + 0.02


def test_a_segment_that_is_seldom_occluded_is_believed_as_the_others_are() -> None:
    known = readings(0)
    segment = SEGMENT_CODE.argmax(axis=1)
    often = segment[known.sites[:80].argmax(axis=1)] < 6
    rare = np.flatnonzero(~often)[:3]
    kept = np.r_[np.flatnonzero(often), rare, np.arange(80, 160)]
    reader = reader_from(train_reader(known.part(np.isin(np.arange(160), kept)), CONFIG))
    clot = reader.weight[:, 0]
    assert clot[6:].min() > 0.4 * clot[:6].max()


def test_what_is_not_known_or_weighs_nothing_trains_nothing() -> None:
    known = readings(0)
    truth = np.concatenate([known.sites, study_truth(known.sites)], axis=1)
    twice = np.concatenate([known.features] * 2)
    for second, weigh in ((1 - truth, 1e-9), (np.full_like(truth, -1), 1.0)):
        share = np.repeat([1.0, weigh], 160)
        reader = reader_from(fit_reader(twice, np.concatenate([truth, second]), share, CONFIG))
        study = np.array([reader.logits(f)[-STUDY_ANSWERS] for f in known.features], np.float64)
        assert (study[:80, None] > study[None, 80:]).mean() > 0.9
        assert 0.4 < (1 / (1 + np.exp(-study))).mean() < 0.6  # half are occluded
