"""The network that looks at the brain: what counts as brain, and both sides alike."""

from __future__ import annotations

import pytest

pytest.importorskip("monai", reason="monai is not installed")

import torch

from lvo.anatomy import SITES, Segment, Side
from lvo.detector.evidence import DEFICIT_GRID, EVIDENCE_GRID, MIRROR
from lvo.detector.torch_tissue import CELL_SHAPE, FOLD, TissueNet, brain_cells, visible
from lvo.imaging.resample import HEAD_BOX

M1_LEFT = SITES.index((Segment.M1, Side.LEFT))
LEVEL = 37.0
"""HU to which every brain is brought."""
Scan = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def scan(*, ncct: bool = True) -> Scan:
    """Brain of 42 HU, 36 without contrast, everywhere in the box."""
    cta, plain = (
        torch.full((1, 1, *shape), hu) for shape, hu in ((HEAD_BOX.shape, 42.0), (EVIDENCE_GRID.shape, 36.0))
    )
    return cta, plain, torch.full((1, 1), float(ncct))


@pytest.fixture
def network() -> TissueNet:
    """Untrained, but every site feeds a part of its own side."""
    torch.manual_seed(0)
    network = TissueNet().eval()
    network.territory.uniform_()
    half = DEFICIT_GRID.shape[2] // 2
    for site, (_, side) in enumerate(SITES):
        network.territory[site, :, :, slice(None, half) if side is Side.LEFT else slice(half, None)] = 0
    network.territory.copy_((network.territory + network.territory[torch.from_numpy(MIRROR)].flip(-1)) / 2)
    return network


def test_a_cell_holds_the_mean_of_its_brain_and_what_contrast_adds() -> None:
    cells = brain_cells(*scan())[0]
    assert cells.shape[1:] == CELL_SHAPE
    for channel, value in enumerate((1, LEVEL, 1, 6, LEVEL - 6)):
        torch.testing.assert_close(cells[channel], torch.full(CELL_SHAPE, float(value)))
    alone = brain_cells(*scan(ncct=False))[0]
    torch.testing.assert_close(alone[:2], cells[:2])
    assert not alone[2:].any()


@pytest.mark.parametrize("brighter", [-12.0, 16.0])
@pytest.mark.parametrize("ncct", [True, False])
def test_a_brain_that_is_brighter_as_a_whole_is_seen_alike(brighter: float, ncct: bool) -> None:
    cta, plain, has = scan(ncct=ncct)
    cta[..., 40:80, 30:90, 80:120] -= 9
    cta[..., :20] = 1200  # bone stays as bright as it is
    cells = brain_cells(cta, plain * ncct, has)
    cta[..., 20:] += brighter
    torch.testing.assert_close(brain_cells(cta, (plain + brighter) * ncct, has), cells, atol=1e-3, rtol=0)


@pytest.mark.parametrize("hu", [-1024.0, -100.0, 5.0, 300.0, 1200.0])
def test_what_is_no_brain_is_not_looked_at(hu: float) -> None:
    cta, plain, has = scan()
    cta[..., 40:60, 40:60, 40:60] = hu
    cells = brain_cells(cta, plain, has)[0]
    assert not cells[:, 11:14, 11:14, 11:14].any()
    brain = cells[0] > 0.9
    told = cells[1][brain] / cells[0][brain]
    torch.testing.assert_close(told, torch.full_like(told, LEVEL), atol=0.1, rtol=0)


def test_where_nothing_was_scanned_nothing_is_seen(network: TissueNet) -> None:
    cta, plain, has = scan()
    cta[:] = plain[:] = -1024
    assert not visible(brain_cells(cta, plain, has)).any()
    assert not any(said.any() for said in network(cta, plain, has))


def test_left_and_right_are_read_alike(network: TissueNet) -> None:
    cta, plain, has = scan()
    cta[..., 60:100, 30:70, 80:120] -= 12
    with torch.inference_mode():
        (own, lack), (other, beside) = network(cta, plain, has), network(cta.flip(-1), plain.flip(-1), has)
    assert (own[0, M1_LEFT] - own[0, MIRROR[M1_LEFT]]).abs() > 1e-4
    torch.testing.assert_close(other[0, torch.from_numpy(MIRROR)], own[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(beside.flip(-1), lack, atol=1e-5, rtol=1e-4)
    assert lack.shape[1:] == DEFICIT_GRID.shape == tuple(n // FOLD for n in CELL_SHAPE)
