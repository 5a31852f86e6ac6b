from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from lvo.anatomy import Segment, Side
from lvo.phantom.config import load_config
from lvo.phantom.head import atlas
from lvo.phantom.image import Lattice, image_patient
from lvo.phantom.mirror import mirrored
from lvo.phantom.patient import Order, sample_case
from lvo.phantom.vessels.labels import COARSE, LABEL_OF, LABELS, MIRRORED, OTHER_ARTERY, SITE_INDEX, VEIN

pytestmark = pytest.mark.skipif(
    atlas.atlas_path() is None, reason="spm-runtime, which holds the head atlas, is not installed"
)
STEP = 1.5
SITES = [
    (Side.LEFT, Segment.M1),
    (Side.RIGHT, Segment.M2),
    (Side.MIDLINE, Segment.BASILAR),
    (Side.LEFT, Segment.ICA_TERMINUS),
    (Side.RIGHT, Segment.P2),
]


@pytest.fixture(scope="module")
def config():
    return load_config("realistic")


def drawn(seed, config, **order):
    """A patient without lesions: what is asked here is of vessels."""
    return replace(sample_case(seed, config, Order(**order)).patient, lesions=())


@pytest.fixture(scope="module")
def lattice():
    """The box round the circle of Willis, symmetric about the midline."""
    affine = np.zeros((4, 4))
    affine[0, 2] = affine[1, 1] = affine[2, 0] = STEP
    affine[:, 3] = -STEP * 36, -49, -40, 1
    return Lattice(affine, (64, 74, 73))


@pytest.fixture(scope="module")
def healthy(config):
    return drawn(2, config, sites=(), phase="peak")


@pytest.fixture(scope="module")
def before(healthy, lattice):
    return image_patient(healthy, lattice, healthy.bolus)


def places(mask, lattice):
    index = np.argwhere(mask.numpy())
    return index @ lattice.affine[:3, :3].T + lattice.affine[:3, 3]


@pytest.mark.parametrize(("side", "segment"), SITES, ids=lambda v: str(v))
def test_removing_an_occlusion_changes_only_what_lies_beyond_it(
    config, healthy, lattice, before, side, segment
):
    ill = drawn(2, config, sites=((side, segment),), collateral=0, phase="peak")
    after, truth = image_patient(ill, lattice, ill.bolus)
    (clot,) = ill.occlusions
    beyond = np.concatenate(
        [b.points[m] for b, m in zip(ill.arteries.branches, clot.beyond, strict=True) if m.any()]
    )
    changed = places((after - before[0]).abs() > 0.01, lattice)
    assert len(changed) > 20
    near, _ = cKDTree(beyond).query(changed)
    assert near.max() < 6 + STEP  # the widest lumen and its blurred edge
    assert torch.equal(truth.vessel, before[1].vessel)
    assert not before[1].clot.any() and (before[1].fill == 1).all()
    assert truth.clot.any() == (len(places(truth.clot, lattice)) > 0)


def test_a_mirrored_patient_is_the_mirror_image(config, lattice):
    patient = sample_case(4, config, Order(sites=((Side.LEFT, Segment.M1),))).patient
    assert patient.lesions
    hu, truth = image_patient(patient, lattice, patient.bolus)
    other, twin = image_patient(mirrored(patient), lattice, patient.bolus)
    assert (other.flip(2) - hu).abs().median() < 0.1  # tissue is interpolated from coarser lattices
    assert ((other.flip(2) - hu).abs() > 20).float().mean() < 3e-3
    same = MIRRORED[twin.vessel.flip(2).numpy()] == truth.vessel.numpy()
    assert same.mean() > 0.9999
    assert (twin.clot.flip(2) == truth.clot).float().mean() > 0.9999


def test_lumen_and_clot_have_the_attenuation_they_should(config, lattice):
    ill = drawn(2, config, sites=((Side.LEFT, Segment.M1),), collateral=0, phase="peak")
    hu, truth = image_patient(ill, lattice, ill.bolus)
    plain, _ = image_patient(ill, lattice, None)
    full = truth.cover > 0.9
    lit = full & (truth.vessel == SITE_INDEX[Segment.ICA_INTRACRANIAL, Side.RIGHT])
    assert hu[lit].median() == pytest.approx(ill.bolus.artery, rel=0.15)
    assert plain[lit].median() == pytest.approx(ill.bolus.blood, abs=8)
    clot = full & truth.clot
    assert hu[clot].median() == pytest.approx(ill.occlusions[0].hu, abs=20)
    assert hu[clot].median() < 0.5 * ill.bolus.artery


def test_labels_name_the_vessel_on_its_side(lattice, before):
    vessel = before[1].vessel
    for segment in (Segment.M1, Segment.ICA_TERMINUS, Segment.P2):
        left = places(vessel == SITE_INDEX[segment, Side.LEFT], lattice)
        right = places(vessel == SITE_INDEX[segment, Side.RIGHT], lattice)
        assert len(left) > 3 and len(right) > 3 and left[:, 0].min() > 0 > right[:, 0].max()
    assert {LABEL_OF["SCA", Side.LEFT], LABEL_OF["cavernous sinus", Side.RIGHT]} <= set(
        vessel.unique().tolist()
    )
    assert ((before[1].cover > 0.9) <= (vessel > 0)).all()


def test_a_finer_lattice_shows_the_same_places(healthy, lattice, before):
    affine = lattice.affine.copy()
    affine[:3, :3] /= 3
    affine[:3, 3] -= affine[:3, :3] @ np.ones(3)
    fine, _ = image_patient(healthy, Lattice(affine, tuple(3 * n for n in lattice.shape)), healthy.bolus)
    blocks = fine.reshape(64, 3, 74, 3, 73, 3).mean((1, 3, 5))
    brain = (before[0] > 20) & (before[0] < 60)
    assert (blocks - before[0])[brain].abs().median() < 3
    bone = before[0] > 900
    assert blocks[bone].median() > 600


def test_label_tables_agree():
    assert [b.number for b in LABELS] == list(range(1, len(LABELS) + 1))
    for b in LABELS:
        assert COARSE[b.number] == (VEIN if b.vein else SITE_INDEX[b.site] if b.site else OTHER_ARTERY)
        twin = LABELS[MIRRORED[b.number] - 1]
        assert (twin.structure, twin.side) == (b.structure, b.side.mirrored)


def test_without_contrast_nothing_depends_on_the_bolus(healthy, lattice, before):
    later = replace(healthy, bolus=replace(healthy.bolus, time_s=healthy.bolus.time_s + 9))
    small = Lattice(lattice.slab(20, 30).affine, (10, 74, 73))
    assert torch.equal(image_patient(later, small, None)[0], image_patient(healthy, small, None)[0])
    assert not torch.equal(image_patient(later, small, later.bolus)[0], before[0][20:30])
