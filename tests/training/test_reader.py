"""The reader in training: more evidence never makes an occlusion less likely."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("monai", reason="training needs monai: install the 'train' extra")

from lvo.anatomy import SITES
from lvo.detector.features import FEATURES, STRONGEST
from lvo.detector.reader import STUDY_ANSWERS, reader_from
from lvo.training.boxed import DataConfig
from lvo.training.reader import ReaderConfig, Readings, fit_reader, study_truth, train_reader

CONFIG = ReaderConfig(patients=DataConfig())


def readings(seed: int) -> Readings:
    """Patients, half of them with an occlusion whose clot is seen, and with cut-offs everywhere else."""
    rng = np.random.default_rng(seed)
    occluded = np.zeros((160, len(SITES)), np.float32)
    occluded[np.arange(80), rng.integers(0, len(SITES), 80)] = 1
    features = rng.uniform(0, 0.5, (160, len(SITES), FEATURES)).astype(np.float32)
    features[..., 5] = np.clip(features[..., 5] + 0.5 * occluded, 0, 1)
    # What goes together in these patients, and must not be learnt the wrong way round.
    features[..., 8] *= 1 - occluded
    return Readings(features, occluded, np.arange(160))


def test_no_answer_falls_when_there_is_more_to_be_seen_and_the_truth_is_learnt() -> None:
    known = readings(0)
    reader = reader_from(train_reader(known, CONFIG))
    logits = np.stack([reader.logits(f) for f in known.features])
    study_logits = logits[:, -STUDY_ANSWERS:]
    study = study_logits[:, 0]
    assert (study[:80, None] > study[None, 80:]).mean() > 0.9
    found = logits[:80, : len(SITES)].argmax(axis=1)
    assert (found == known.sites[:80].argmax(axis=1)).mean() > 0.8
    rng = np.random.default_rng(1)
    for _ in range(200):
        patient, site = (int(rng.integers(n)) for n in known.sites.shape)
        more = known.features[patient].copy()
        more[site, int(rng.integers(STRONGEST.start, STRONGEST.stop))] += 0.3
        assert (reader.logits(more)[-STUDY_ANSWERS:] >= study_logits[patient] - 1e-5).all()


def test_what_is_not_known_trains_nothing_and_two_patients_weigh_as_one_of_twice_the_share() -> None:
    known = readings(0)
    truth = np.concatenate([known.sites, study_truth(known.sites)], axis=1)
    unknown = np.full_like(truth[:40], -1.0)
    once = fit_reader(known.features, truth, np.ones(160), CONFIG)
    for features, labels, share in (
        (np.concatenate([known.features] * 2), np.concatenate([truth] * 2), np.ones(320)),
        (known.features, truth, np.full(160, 2.0)),
    ):
        again = fit_reader(features, labels, share, CONFIG)
        for f in known.features[::20]:
            own, other = (reader_from(t).logits(f)[: len(SITES)] for t in (once, again))
            np.testing.assert_allclose(own, other, atol=1.0)
    blind = fit_reader(known.features[:40], unknown, np.ones(40), CONFIG)
    assert np.isfinite(blind["bias"]).all()
