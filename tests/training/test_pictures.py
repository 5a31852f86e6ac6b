"""Pictures of a validation patient: the first with a clot, the right way up, in range."""

from __future__ import annotations

import pytest

pytest.importorskip("monai", reason="training needs monai: install the 'train' extra")

import torch

from lvo.detector.evidence import OUTPUTS, VESSEL_CLASSES
from lvo.training.boxed import CLOT
from lvo.training.pictures import pictures


def test_the_first_patient_with_clot_is_shown() -> None:
    state = torch.zeros(2, 4, 5, 6, dtype=torch.int64)
    batch = {"cta": torch.full((2, 1, 8, 10, 12), -1000.0), "state": state}
    logits = torch.zeros(2, OUTPUTS, 4, 5, 6)
    logits[:, 0] = 20.0
    assert pictures(logits, batch) == {}

    state[1, 3, 1, 2] = CLOT  # the top slice
    logits[1, 0, 3, 1, 2], logits[1, 5, 3, 1, 2], logits[1, VESSEL_CLASSES + 2, 3, 1, 2] = 0.0, 20.0, 20.0
    shown = pictures(logits, batch)
    assert {name: tuple(p.shape) for name, p in shown.items()} == {
        f"{view}/{name}": shape
        for view, shape in (("axial", (3, 10, 12)), ("coronal", (3, 8, 12)))
        for name in ("cta and true clot", "clot", "arteries")
    }
    assert all(0 <= float(p.min()) <= float(p.max()) <= 1 for p in shown.values())
    for name in ("cta and true clot", "clot", "arteries"):
        assert float(shown[f"axial/{name}"][:, 2:4, 4:6].amin(dim=(1, 2)).max()) > 0.7
        assert float(shown[f"coronal/{name}"][:, 0:2, 4:6].amin(dim=(1, 2)).max()) > 0.7
        assert float(shown[f"coronal/{name}"][:, 2:].max()) < 0.01
