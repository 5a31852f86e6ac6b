from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from lvo.anatomy import Segment, Side
from lvo.phantom import atlas
from lvo.phantom.flow import occlude, patent
from lvo.phantom.head import sample_head
from lvo.phantom.image import OTHER_ARTERY, SITE_INDEX, VEIN, Lattice, add_noise, image_patient
from lvo.phantom.patient import sample_patient

pytestmark = pytest.mark.skipif(
    atlas.atlas_path() is None, reason="spm-runtime, which holds the head atlas, is not installed"
)
STEP = 1.5


@pytest.fixture(scope="module")
def head():
    return sample_head(np.random.default_rng(2), 3.0)


@pytest.fixture(scope="module")
def patient(head):
    return replace(sample_patient(2, head=head, occlusions=[]), clot_hu=58.0)


@pytest.fixture(scope="module")
def lattice():
    """The box round the circle of Willis."""
    affine = np.zeros((4, 4))
    affine[0, 2] = affine[1, 1] = affine[2, 0] = STEP
    affine[:, 3] = -55, -49, -40, 1
    return Lattice(affine, (64, 74, 74))


@pytest.fixture(scope="module")
def before(patient, lattice):
    return silent(patient, lattice)


def silent(patient, lattice, **options):
    return image_patient(patient, lattice, np.random.default_rng(0), noise_hu=0.0, **options)


def blocked(patient, segment, side, **options):
    flow = occlude(
        patient.arteries, patent(patient.arteries), segment, side, np.random.default_rng(5), **options
    )
    return replace(patient, flow=flow)


def test_the_same_seed_gives_the_same_patient_and_image(patient, head, lattice):
    again, other = (sample_patient(seed, head=head, occlusions=[]) for seed in (2, 3))
    assert replace(again, clot_hu=58.0).bolus == patient.bolus != other.bolus
    one, two = (
        image_patient(p, lattice, np.random.default_rng(1))[0]
        for p in (patient, replace(again, clot_hu=58.0))
    )
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("segment", "side"),
    [
        (Segment.M1, Side.LEFT),
        (Segment.M2, Side.RIGHT),
        (Segment.BASILAR, Side.MIDLINE),
        (Segment.ICA_TERMINUS, Side.LEFT),
        (Segment.P1, Side.RIGHT),
    ],
)
def test_an_occlusion_changes_the_image_only_beyond_the_clot(patient, lattice, before, segment, side):
    ill = blocked(patient, segment, side, collateral=0)
    after, truth = silent(ill, lattice)
    touched = np.concatenate(
        [b.points[f < 1] for b, f in zip(ill.arteries.branches, ill.flow.fill, strict=True)]
    )
    changed = np.argwhere(after != before[0])
    assert len(changed) > 20
    where = changed @ lattice.affine[:3, :3].T + lattice.affine[:3, 3]
    near, _ = cKDTree(touched).query(where)
    assert near.max() < 6 + STEP  # the widest lumen and its blurred edge
    assert (after <= before[0] + 1e-3).all()  # a clot and an empty lumen are never brighter than blood
    np.testing.assert_array_equal(truth.vessel, before[1].vessel)
    np.testing.assert_array_equal(truth.cover, before[1].cover)


def test_clot_and_lumen_have_the_attenuation_they_should(patient, lattice, before):
    ill = blocked(patient, Segment.M1, Side.LEFT, collateral=0, length_mm=12.0)
    after, truth = silent(ill, lattice)
    full = truth.cover > 0.9
    clot = full & truth.clot
    assert clot.any()
    np.testing.assert_allclose(after[clot], 58, atol=0.1 * (ill.bolus.artery - 58) + 10)
    lit = full & (truth.vessel == SITE_INDEX[Segment.M1, Side.RIGHT])
    assert abs(np.median(after[lit]) - ill.bolus.artery) < 0.12 * ill.bolus.artery
    plain, _ = silent(ill, lattice, contrast=False)
    assert np.median(plain[clot]) > np.median(plain[lit]) + 5  # the hyperdense artery sign


def test_labels_name_the_vessel_on_its_side(patient, lattice, before):
    truth = before[1]
    lateral = lattice.affine[0, 2] * np.indices(lattice.shape)[2] + lattice.affine[0, 3]
    left = lateral[truth.vessel == SITE_INDEX[Segment.M1, Side.LEFT]]
    right = lateral[truth.vessel == SITE_INDEX[Segment.M1, Side.RIGHT]]
    assert len(left) > 30 and len(right) > 30 and left.min() > 0 > right.max()
    assert {OTHER_ARTERY, VEIN} <= set(np.unique(truth.vessel))
    assert not truth.clot.any() and (truth.fill == 1).all()
    assert ((truth.cover > 0) == (truth.vessel > 0)).all()


def test_a_mirrored_lattice_gives_the_mirrored_image(patient, lattice, before):
    affine = lattice.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (lattice.shape[2] - 1)
    affine[:3, 2] *= -1
    hu, truth = silent(patient, Lattice(affine, lattice.shape))
    np.testing.assert_allclose(hu[..., ::-1], before[0], atol=0.5)
    assert (truth.vessel[..., ::-1] == before[1].vessel).mean() > 0.9999


def test_a_finer_lattice_shows_the_same_places(patient, lattice, before):
    fine = lattice.affine.copy()
    fine[:3, :3] /= 2
    hu, _ = silent(patient, Lattice(fine, tuple(2 * n for n in lattice.shape)))
    brain = (before[0] > 20) & (before[0] < 45)
    assert np.median(np.abs(hu[::2, ::2, ::2] - before[0])[brain]) < 1
    bright = before[0] > 150
    assert np.median(hu[::2, ::2, ::2][bright]) > 150


@pytest.mark.parametrize("shape", [(20, 30, 40), (80, 300, 20)])
def test_noise_has_the_level_asked_for_and_no_bias(shape):
    hu = np.zeros(shape, np.float32)
    add_noise(hu, np.random.default_rng(0), 10.0, np.array([1.0, 2.0, 2.0]))
    assert hu.std() == pytest.approx(10, rel=0.15) and abs(hu.mean()) < 1
    fixed = np.zeros(shape, np.float32)
    add_noise(fixed, np.random.default_rng(1), 10.0, np.array([1.0, 2.0, 2.0]))
    assert np.abs(hu - fixed).mean() > 3
