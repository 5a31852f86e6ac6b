"""The reader in training: more evidence never makes an occlusion less likely."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("monai", reason="training needs monai: install the 'train' extra")

import torch

from lvo.anatomy import SITES
from lvo.detector.features import FEATURES, LIT_SHARE
from lvo.detector.reader import STUDY_ANSWERS, reader_from
from lvo.training.boxed import DataConfig
from lvo.training.reader import ReaderConfig, Readings, SiteReader, train_reader


def test_no_answer_falls_when_there_is_more_to_be_seen_and_the_truth_is_learnt() -> None:
    rng = np.random.default_rng(0)
    occluded = np.zeros((160, len(SITES)), np.float32)
    occluded[np.arange(80), rng.integers(0, len(SITES), 80)] = 1
    features = rng.normal(0, 1, (160, len(SITES), FEATURES)).astype(np.float32)
    # What goes together in these patients: a clot here, and lit lumen everywhere else.
    features[..., 5] += 4 * occluded
    features[..., LIT_SHARE] += 2 * (occluded.max(axis=1, keepdims=True) - occluded)
    config = ReaderConfig(patients=DataConfig(), members=1, epochs=40)
    reader = reader_from(train_reader(Readings(features, occluded, np.arange(160)), config))
    logits = np.stack([reader.logits(f) for f in features])
    study = logits[:, -STUDY_ANSWERS]
    assert (study[:80, None] > study[None, 80:]).mean() > 0.9
    assert (logits[:80, : len(SITES)].argmax(axis=1) == occluded[:80].argmax(axis=1)).mean() > 0.8
    for _ in range(200):
        patient, site, feature = (int(rng.integers(n)) for n in features.shape)
        more = features[patient].copy()
        more[site, feature] += -2 if feature == LIT_SHARE else 2
        assert (reader.logits(more) >= logits[patient] - 1e-5).all()


@torch.no_grad()
def test_it_begins_with_nobody_suspected_whatever_the_features() -> None:
    torch.manual_seed(0)
    reader, x = (
        SiteReader(ReaderConfig(patients=DataConfig())).eval(),
        torch.rand(50, len(SITES), FEATURES) * 6,
    )
    reader.centre(x)
    sites, whole = reader.parts(x)
    assert float(sites.mean()) == pytest.approx(-3, abs=1e-3)
    assert whole.mean(dim=0).tolist() == pytest.approx([0.0] * STUDY_ANSWERS, abs=1e-3)
    assert all(
        bool((layer.weight[:, : -layer.free.shape[1] or None] > 0).all()) for layer in reader.layers.values()
    )
