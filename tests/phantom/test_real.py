"""Patients composed of a real head and tree; here both are painted from phantoms whose truth is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from typer.testing import CliRunner

from lvo.anatomy import Segment, Side
from lvo.cli import app
from lvo.phantom.config import PhantomConfig
from lvo.phantom.head import atlas
from lvo.phantom.head.individual import draw_head, sample_head
from lvo.phantom.image import Lattice, tubes
from lvo.phantom.paint import paint
from lvo.phantom.patient import Order
from lvo.phantom.real import compose
from lvo.phantom.real.branches import real_tree
from lvo.phantom.real.guide import PLAIN, find_guide
from lvo.phantom.real.head import tissue_of
from lvo.phantom.real.lumen import find_lumen
from lvo.phantom.real.sources import AnatomyUnusable, pose_of, read_head, read_nifti
from lvo.phantom.vessels.arteries import sample_arteries
from lvo.phantom.vessels.tree import Branch, Tree
from lvo.phantom.vessels.variants import TreeRanges
from lvo.study import HeadPose, Volume

REAL = Path(__file__).resolve().parents[3] / "shared" / "real"
SHOWN = {"ICA-C", "ICA-I", "ICA-T", "M1", "M2", "M3", "A1", "A2", "VA", "V4", "BA", "P1", "P2"}
TO_LPS = np.array([[0.93, 0.08, 0, 12], [-0.08, 0.93, 0, -31], [0, 0, 0.93, 250], [0, 0, 0, 1.0]])
"""Head frame to the angiogram's LPS."""
pytestmark = pytest.mark.skipif(atlas.atlas_path() is None, reason="the head atlas is not installed")


@pytest.fixture(scope="module")
def drawn():
    return sample_arteries(np.random.default_rng(11), TreeRanges.model_validate(PLAIN), 65.0, twigs=False)


def painted(branches):
    """An angiogram of branches on a grid that runs to the right, in LPS."""
    step = 0.85
    affine = np.array([[0, 0, -step, 70], [0, step, 0, -62], [step, 0, 0, -58], [0, 0, 0, 1.0]])
    shape = (140, 150, 165)
    found = paint(branches, affine, shape, torch.device("cpu"), edge_mm=step)
    return Volume(220 * found.cover.reshape(shape).numpy(), TO_LPS @ affine)


@pytest.fixture(scope="module")
def angiogram(drawn, tmp_path_factory):
    volume = painted([b for b in drawn.branches if b.structure in SHOWN])
    path = tmp_path_factory.mktemp("tree") / "tree.nii.gz"
    image = sitk.GetImageFromArray(volume.array)
    steps = np.linalg.norm(volume.affine[:3, [2, 1, 0]], axis=0)
    image.SetSpacing(steps.tolist())
    image.SetDirection((volume.affine[:3, [2, 1, 0]] / steps).ravel().tolist())
    image.SetOrigin(volume.affine[:3, 3].tolist())
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture(scope="module")
def traced(angiogram):
    lumen = find_lumen(read_nifti(angiogram))
    return real_tree(lumen, find_guide(lumen.centres()))


@pytest.fixture(scope="module")
def sources(traced):
    step = 3.0
    affine = np.array([[0, 0, step, -96], [0, step, 0, -126], [step, 0, 0, -90], [0, 0, 0, 1.0]])
    head = draw_head(sample_head(np.random.default_rng(3), age=60.0), affine, (75, 85, 65))
    volume = Volume(head.hu.numpy(), TO_LPS @ affine)
    return compose.join((tissue_of(volume, np.linalg.inv(TO_LPS), "painted"),), traced)


def test_arteries_get_their_names_and_sides(drawn, traced):
    from_guide = np.linalg.inv(traced.guide.matrix @ TO_LPS)
    truth = [b for b in drawn.branches if b.structure in SHOWN]
    points = np.concatenate([b.points for b in truth])
    name = np.repeat([b.structure for b in truth], [len(b.points) for b in truth])
    side = np.repeat([b.side.value for b in truth], [len(b.points) for b in truth])
    named = sided = total = 0
    for b in traced.branches:
        own = b.points @ from_guide[:3, :3].T + from_guide[:3, 3]
        near = np.argmin(np.linalg.norm(own[:, None] - points[None], axis=-1), axis=1)
        named += np.count_nonzero(name[near] == b.structure)
        sided += np.count_nonzero(side[near] == b.side.value)
        total += len(own)
    assert sided > 0.97 * total
    assert named > 0.8 * total
    for key in ("ICA-I", "ICA-T", "M1", "A1", "A2", "P1", "P2", "V4"):
        assert all(traced.find(key, s) >= 0 for s in (Side.LEFT, Side.RIGHT)), key


def test_what_is_real_stays_and_the_rest_is_joined_to_it(traced):
    ranges = TreeRanges.model_validate(PLAIN)
    tree = compose.completed(traced, sample_arteries(np.random.default_rng(2), ranges, 60.0))
    keys = [(b.name, b.side) for b in tree.branches]
    assert len(set(keys)) == len(keys)
    for number, b in enumerate(tree.branches):
        assert np.linalg.norm(np.diff(b.points, axis=0), axis=1).max() < 1.5, b.name
        if b.parent >= 0:
            assert b.parent < number
            gap = b.points[0] - tree.branches[b.parent].points[b.parent_point]
            assert np.linalg.norm(gap) < 0.6, b.name
    m1 = tree.branches[tree.find("M1", Side.LEFT)]
    assert np.allclose(m1.points, traced.branches[traced.find("M1", Side.LEFT)].points)
    assert {"M4", "A3", "P3", "PComA", "AComA", "SCA"} <= {b.structure for b in tree.branches}


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_trunk_that_the_angiogram_loses_goes_on(traced, goes_on):
    """Else a patient without an occlusion would lack all that the trunk feeds, and look occluded.

    Where a real branch goes on with it, nothing is lost.
    """
    phantom = sample_arteries(np.random.default_rng(2), TreeRanges.model_validate(PLAIN), 60.0)
    n = traced.find("M2i", Side.LEFT)
    whole = traced.branches[n]
    third = len(whole.points) // 3
    cut = replace(whole, points=whole.points[:third], radius=whole.radius[:third])
    gone = {n}  # and all that leaves it further on
    for number, b in enumerate(traced.branches):
        if b.parent in gone:
            gone.add(number)
    kept = [k for k in range(len(traced.branches)) if k not in gone - {n}]
    place = {k: new for new, k in enumerate(kept)}
    shortened = [cut if k == n else traced.branches[k] for k in kept]
    renumbered = tuple(replace(b, parent=place.get(b.parent, -1)) for b in shortened)
    rest = Branch(
        "rest", "M2", Side.LEFT, whole.points[third - 1 :], whole.radius[third - 1 :], place[n], third - 1
    )
    tree = compose.completed(
        replace(traced, branches=(*renumbered, rest) if goes_on else renumbered), phantom
    )
    if goes_on:
        assert not any("M2i left" in word for word in tree.variants)
        return
    again = tree.branches[tree.find("M2i", Side.LEFT)]
    assert np.allclose(again.points[: len(cut.points)], cut.points)
    assert again.length > 0.8 * whole.length
    assert np.linalg.norm(np.diff(again.points, axis=0), axis=1).max() < 1.5
    assert any("M2i left from" in word for word in tree.variants)
    beyond = np.concatenate([b.points for b in tree.branches if b.structure == "M3" and b.side is Side.LEFT])
    assert np.linalg.norm(beyond - again.points[-1], axis=1).min() < 10


def test_an_occluded_m1_is_dark_beyond_and_bright_before(sources):
    site = (Side.LEFT, Segment.M1)
    config = PhantomConfig(version="test").changed({"occlusions": {"clots": {"partial": 0.0}}})
    cases = [
        compose.sample_case(
            5, config, Order(sites=s, collateral=0, phase="peak", matrix=64, slices=32), sources
        )
        for s in ((site,), ())
    ]
    blocked, patent = (c.patient for c in cases)
    assert [(o.side, o.segment) for o in blocked.occlusions] == [site]
    assert blocked.occlusions[0].fill < 0.3
    lumina, open_ = tubes(blocked, blocked.bolus), tubes(patent, patent.bolus)
    beyond = np.concatenate(
        [*blocked.occlusions[0].beyond, *(np.zeros(len(s.points), bool) for s in blocked.disease.sacs)]
    )
    assert lumina.artery_hu[beyond].mean() < 0.5 * open_.artery_hu[beyond].mean()
    assert np.allclose(lumina.artery_hu[~beyond], open_.artery_hu[~beyond])
    m1 = blocked.arteries.branches[blocked.arteries.find("M1", Side.LEFT)]
    assert m1.points[:, 0].min() > 0  # left is +x, whichever of head and tree is mirrored


def test_the_head_is_the_real_one_and_moves_with_its_lattice(sources):
    tissue = sources.heads[0]
    head = compose.real_head(tissue, np.random.default_rng(1), PhantomConfig(version="t").head, 60.0, False)
    affine = np.array([[0, 0, 4.0, -80], [0, 4.0, 0, -100], [4.0, 0, 0, -40], [0, 0, 0, 1.0]])
    lattice = Lattice(affine, (30, 50, 40))
    seen = head.drawn(lattice.affine, lattice.shape)
    turned = replace(head, turned=True).drawn(lattice.affine, lattice.shape)
    assert (seen.bone > 0.5).float().mean() > 0.05 and (seen.grey > 0.3).float().mean() > 0.05
    assert not torch.allclose(seen.hu, turned.hu)
    assert seen.hu.min() > -1001


@pytest.mark.parametrize(("lost", "said"), [({"BA"}, "basilar"), ({"M1", "M2", "M3"}, "left")])
def test_a_tree_without_a_needed_vessel_is_refused(drawn, traced, lost, said):
    kept = [
        b for b in drawn.branches
        if b.structure in SHOWN and not (b.structure in lost and b.side is not Side.RIGHT)
    ]  # fmt: skip
    with pytest.raises(AnatomyUnusable, match=said):
        real_tree(find_lumen(painted(kept)), traced.guide)


def test_files_that_are_no_anatomy_are_refused(tmp_path):
    path = tmp_path / "flat.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(np.full((20, 20, 20), 40.0, np.float32)), str(path))
    with pytest.raises(AnatomyUnusable, match="no CT in HU"):
        read_head(path)
    with pytest.raises(AnatomyUnusable, match="background"):
        find_lumen(read_nifti(path))
    pose = HeadPose(
        matrix=tuple(tuple(row) for row in np.eye(4).tolist()), pitch_deg=0, roll_deg=0, yaw_deg=0, scale=1,
        residual_mm=40, support=0.1, accepted=False,
    )  # fmt: skip
    with pytest.raises(AnatomyUnusable, match="no head was found"):
        pose_of(read_nifti(path), lambda _: pose, "flat")


def test_no_tree_at_all_is_refused():
    with pytest.raises(AnatomyUnusable, match="does not fit"):
        find_guide(np.random.default_rng(0).uniform(-80, 80, (400, 3)))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real images are not at ../shared/real")
def test_a_real_angiogram_is_named():
    lumen = find_lumen(read_nifti(REAL / "mra-arteries.nii.gz"))
    tree = real_tree(lumen, find_guide(lumen.centres()))
    for name in ("ICA-I", "ICA-T", "M1", "A1", "A2", "P1", "P2"):
        left, right = (tree.branches[tree.find(name, s)] for s in (Side.LEFT, Side.RIGHT))
        assert left.points[:, 0].mean() > right.points[:, 0].mean(), name
    assert tree.find("BA", Side.MIDLINE) >= 0
    assert 10 < tree.branches[tree.find("M1", Side.LEFT)].length < 40
    assert isinstance(Tree(tree.branches).mirrored(), Tree)


def test_the_command_wants_both_a_head_and_a_tree(tmp_path):
    result = CliRunner().invoke(app, ["phantom", "--out", str(tmp_path), "--head", str(tmp_path)])
    assert result.exit_code == 2 and "go together" in result.output + result.stderr
