"""Cut-offs lie where lit lumen and clot touch, and nowhere else is the network asked for them."""

from __future__ import annotations

import pytest

pytest.importorskip("monai", reason="training needs monai: install the 'train' extra")

import torch

from lvo.detector.evidence import OUTPUTS
from lvo.training.boxed import CLOT, LIT, MISSING
from lvo.training.losses import cutoff_loss, cutoffs, state_classes
from lvo.training.site_labels import UNKNOWN
from lvo.training.site_loss import known_loss


def occluded() -> torch.Tensor:
    """An artery along x: lit, clot, and without contrast beyond it, (1, 5, 5, 16)."""
    state = torch.zeros(1, 5, 5, 16, dtype=torch.int64)
    state[0, 2, 2] = torch.tensor([LIT] * 6 + [CLOT] * 5 + [MISSING] * 5)
    return state


def test_a_cut_off_is_where_contrast_meets_a_clot() -> None:
    state = occluded()
    found = cutoffs(state_classes(state))
    assert found.nonzero().tolist() == [[0, 2, 2, 5], [0, 2, 2, 6]]
    state[0, 2, 2, 11:] = LIT  # filled by collaterals
    assert cutoffs(state_classes(state)).nonzero()[:, 3].tolist() == [5, 6, 10, 11]
    assert not cutoffs(state_classes(torch.where(state == CLOT, MISSING, state))).any()


def test_the_loss_asks_at_the_cut_off_and_away_from_it_but_not_beside_it() -> None:
    state = occluded()
    right = torch.where(cutoffs(state_classes(state)) > 0, 12.0, -12.0)
    assert cutoff_loss(right, state) < 1e-4
    for place, asked in (((0, 2, 2, 5), True), ((0, 2, 2, 12), True), ((0, 2, 2, 4), False)):
        wrong = right.clone()
        wrong[place] *= -1
        assert bool(cutoff_loss(wrong, state) > 0.1) is asked


def test_a_site_teaches_cut_offs_only_where_there_are_none() -> None:
    """A point or a mask says where a clot is, not where it ends."""
    patent = torch.where(occluded() > 0, LIT, 0)
    patent[0, 0] = UNKNOWN
    state = torch.cat([occluded(), patent])
    state[0, 0] = UNKNOWN
    batch = {"state": state, "vessel": (state > 0).long() * (state != UNKNOWN)}
    outputs = torch.zeros(2, OUTPUTS, 5, 5, 16)
    before = known_loss(outputs, batch)[0]
    for study, row, counts in ((0, 2, False), (1, 2, True), (1, 0, False)):
        changed = outputs.clone()
        changed[study, -1, row] = 3.0
        assert bool(known_loss(changed, batch)[0] != before) is counts
