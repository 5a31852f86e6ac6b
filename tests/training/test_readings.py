"""Patients as the reader is taught them: some of their scans begin above the bottom of the box."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("monai", reason="training needs monai: install the 'train' extra")

from lvo.imaging.resample import HEAD_BOX
from lvo.training.reader import cut_short


def test_a_scan_that_begins_late_leaves_a_tilted_edge_and_the_rest_as_it_was() -> None:
    whole = np.random.default_rng(0).normal(40, 10, HEAD_BOX.shape).astype(np.float32)
    for seed in range(20):
        cut = cut_short(whole, np.random.default_rng(seed))
        gone = cut == -1024
        assert cut.dtype == np.float32 and (cut[~gone] == whole[~gone]).all()
        # Never a gap: what is missing lies below what is not.
        assert (np.diff(gone.astype(int), axis=0) <= 0).all()
        middle = gone[:, 54:58, 54:58].sum(axis=0).mean()
        assert 1 <= middle <= 13
