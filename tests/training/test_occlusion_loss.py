"""The strongest evidence on every site: a missed clot and a false one both cost, whatever else is right."""

import pytest

pytest.importorskip("torch", reason="training needs torch: install the 'train' extra")

import torch

from lvo.anatomy import SITES
from lvo.detector.evidence import OUTPUTS, VESSEL_CLASSES
from lvo.training.boxed import CLOT, LIT
from lvo.training.losses import compute_loss
from lvo.training.occlusion_loss import compute_losses, occlusion_loss

SHAPE = (10, 10, 24)
ONE, OTHER = 3, 7
CLOT_CHANNEL = VESSEL_CLASSES + 2


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Two arteries side by side, far apart; in the middle of the first a clot."""
    vessel, state = torch.zeros(1, *SHAPE, dtype=torch.long), torch.zeros(1, *SHAPE, dtype=torch.long)
    for y, site in ((1, ONE), (8, OTHER)):
        vessel[0, 5, y], state[0, 5, y] = site + 1, LIT
    state[0, 5, 1, 8:16] = CLOT
    return {"vessel": vessel, "state": state}


def outputs(batch: dict[str, torch.Tensor], clots: torch.Tensor, cutoffs: torch.Tensor) -> torch.Tensor:
    """Logits of a network that is sure of the arteries, and says what is given of the rest."""
    out = torch.zeros(1, OUTPUTS, *SHAPE)
    out[:, :VESSEL_CLASSES] = 20 * torch.nn.functional.one_hot(batch["vessel"], VESSEL_CLASSES).movedim(-1, 1)
    out[:, CLOT_CHANNEL] = torch.where(clots, 8.0, -8.0)
    out[:, -1] = torch.where(cutoffs, 8.0, -8.0)
    return out.requires_grad_()


def true_ends(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    ends = torch.zeros_like(batch["state"], dtype=torch.bool)
    ends[0, 5, 1, [7, 8, 15, 16]] = True
    return ends


def test_what_is_right_costs_next_to_nothing(batch):
    right = outputs(batch, batch["state"] == CLOT, true_ends(batch))
    assert occlusion_loss(right, batch)[0] < 0.05


@pytest.mark.parametrize("kind", ["clot", "cutoff"])
def test_one_false_maximum_costs_as_much_as_a_missed_clot(batch, kind):
    clots, ends = batch["state"] == CLOT, true_ends(batch)
    none = torch.zeros_like(ends)
    false = none.clone()
    false[0, 5, 8, 10:14] = True
    missed = outputs(batch, none if kind == "clot" else clots, none if kind == "cutoff" else ends)
    alarm = outputs(
        batch, clots | false if kind == "clot" else clots, ends | false if kind == "cutoff" else ends
    )
    of_missed, of_alarm = (occlusion_loss(o, batch)[1][f"site_{kind}"] for o in (missed, alarm))
    assert min(of_missed, of_alarm) > 3
    assert of_missed == pytest.approx(of_alarm, rel=0.2)


def test_a_false_clot_is_pushed_down_and_a_missed_one_up(batch):
    wrong = torch.zeros_like(batch["state"], dtype=torch.bool)
    wrong[0, 5, 8, 10:14] = True
    out = outputs(batch, wrong, true_ends(batch))
    occlusion_loss(out, batch)[0].backward()
    assert out.grad is not None
    assert (out.grad[0, CLOT_CHANNEL][wrong[0]] > 0).all()
    assert out.grad[0, CLOT_CHANNEL][batch["state"][0] == CLOT].min() < 0


def test_what_is_beside_a_clot_is_not_asked(batch):
    near = torch.zeros_like(batch["state"], dtype=torch.bool)
    near[0, 5, 3, 10:14] = True
    labels = batch | {"vessel": batch["vessel"].clone()}
    labels["vessel"][0, 5, 3] = OTHER + 1
    labels["vessel"][0, 5, 8] = 0
    out = outputs(labels, (batch["state"] == CLOT) | near, true_ends(batch))
    assert occlusion_loss(out, labels)[0] < 0.05


def test_a_patent_patient_costs_its_loudest_site_only(batch):
    patent = {"vessel": batch["vessel"], "state": (batch["state"] > 0) * LIT}
    quiet = torch.zeros_like(batch["state"], dtype=torch.bool)
    assert occlusion_loss(outputs(patent, quiet, quiet), patent)[0] < 0.05
    assert occlusion_loss(outputs(patent, batch["state"] == CLOT, quiet), patent)[0] > 3


def test_the_weight_is_how_much_of_it_is_added(batch):
    out = torch.randn(1, OUTPUTS, *SHAPE, generator=torch.Generator().manual_seed(0))
    plain, whole = compute_loss(out, batch)[0], compute_losses(0.5, out, batch)[0]
    assert whole == pytest.approx(float(plain + 0.5 * occlusion_loss(out, batch)[0]), rel=1e-5)
    assert compute_losses(0.0, out, batch)[0] == plain
    assert len(SITES) > OTHER
