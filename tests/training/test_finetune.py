"""Finetuning: ingestion by the real route, self-labels, masked training, calibration, an honest bundle."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monai", reason="training needs monai: install the 'train' extra")

import torch
from safetensors.numpy import save_file

from lvo.anatomy import SITES, Segment
from lvo.detector.bundle import Calibration, Metadata, NetworkConfig, load_bundle, seal
from lvo.detector.detect import load_detector
from lvo.detector.evidence import DEFICIT_GRID, EVIDENCE_GRID, OUTPUTS, VESSEL_CLASSES, Evidence, Tissue
from lvo.detector.features import FEATURES, WEIGHED
from lvo.detector.reader import calibrated, reader_from
from lvo.dicom import read_study
from lvo.errors import TruthInvalid
from lvo.imaging.resample import HEAD_BOX, points_to_patient
from lvo.phantom.config import load_config
from lvo.phantom.head.atlas import SPM_RUNTIME, atlas_path
from lvo.phantom.patient import Order, sample_case
from lvo.phantom.study import write_study
from lvo.study import HeadPose
from lvo.training.boxed import CLOT, LIT, MISSING, DataConfig
from lvo.training.finetune import finetune, ingest, split
from lvo.training.losses import compute_loss
from lvo.training.reader import PlaceReader, ReaderConfig, Readings, SiteReader, study_truth
from lvo.training.release import unread, write_metadata
from lvo.training.site_boxes import Box, clot_in_box
from lvo.training.site_config import FinetuneConfig, Paths
from lvo.training.site_data import MixedDataset, SiteCase, SiteReadings, write_pool
from lvo.training.site_labels import UNKNOWN, label_box
from lvo.training.site_loss import known_loss
from lvo.training.site_manifest import SiteOcclusion, SiteStudy, read_manifest
from lvo.training.site_reader import calibrate, held_out, train_mixed

ROOT = Path(__file__).parents[2]
M1 = 6
POSE = HeadPose(
    matrix=((1, 0, 0, 5), (0, 1, 0, -3), (0, 0, 1, 2), (0, 0, 0, 1)),
    pitch_deg=0, roll_deg=0, yaw_deg=0, scale=1, residual_mm=1, support=1, accepted=True,
)  # fmt: skip
READER = ReaderConfig(patients=DataConfig(), folds=4)
_COLUMNS = WEIGHED.stop - WEIGHED.start


def case(n: int, *, occluded: bool, ncct: bool = True) -> SiteCase:
    rng = np.random.default_rng(n)
    shape = tuple(side // 2 for side in HEAD_BOX.shape)
    occlusions = (SiteOcclusion(M1, point=(0, 0, 0)),) if occluded else ()
    study = SiteStudy(f"s{n}", Path(f"s{n}"), f"p{n}", occluded, occlusions)
    plain = rng.integers(0, 60, shape).astype(np.int16) if ncct else None
    return SiteCase(study, Box(rng.integers(0, 400, HEAD_BOX.shape).astype(np.int16), plain, POSE))


def readings(count: int, seed: int) -> SiteReadings:
    """Studies whose features tell at which site they are occluded; half of the occluded say only so."""
    rng = np.random.default_rng(seed)
    features = rng.uniform(0, 0.6, (count, len(SITES), FEATURES)).astype(np.float32)
    sites = np.zeros((count, len(SITES)), np.float32)
    sites[::2, M1] = 1
    features += 0.25 * sites[..., None]
    truth = np.concatenate([sites, study_truth(sites)], axis=1)
    truth[::4, : len(SITES)] = truth[::4, -1] = -1
    return SiteReadings(features, truth, tuple(f"p{n // 2}" for n in range(count)))


def base_bundle(folder: Path) -> Path:
    """The released networks with a reader that knows nothing: released or not, it fits this software."""
    released = ROOT / "models/lao-cta"
    shutil.copytree(released / "models", folder / "models")
    shutil.copytree(released / "parity", folder / "parity")
    metadata = unread(folder, NetworkConfig()).bundle.metadata
    sites = {segment: Calibration() for segment in Segment}
    write_metadata(folder, metadata.model_copy(update={"sites": sites, "version": "1.0.0"}))
    torch.manual_seed(0)
    tensors = {}
    for net, columns in ((SiteReader(), _COLUMNS), (PlaceReader(), 4 * _COLUMNS)):
        tensors |= net.tensors(torch.zeros(columns), torch.ones(columns))
    shape = (len(SITES), FEATURES)
    tensors |= {"mean": np.zeros(shape, np.float32), "spread": np.ones(shape, np.float32)}
    tensors["twin"] = np.zeros(1, np.float32)
    save_file(tensors, folder / "models/reader.safetensors")
    seal(folder)
    return folder


def test_a_clot_is_found_again_in_the_box() -> None:
    wanted = np.array([10.0, 12.0, -4.0])
    point = tuple(float(v) for v in points_to_patient(POSE, [wanted])[0])
    place = clot_in_box(SiteOcclusion(M1, point=point), POSE)  # type: ignore[arg-type]
    centres = (EVIDENCE_GRID.affine @ np.vstack([np.argwhere(place).T, np.ones(place.sum())]))[:3].T
    assert len(centres) > 15
    assert np.linalg.norm(centres - wanted, axis=1).max() <= 4


def test_a_mask_is_brought_to_the_box(tmp_path: Path) -> None:
    import SimpleITK as sitk

    array = np.zeros((40, 50, 60), np.uint8)
    array[20, 25, 10:14] = 1
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.8, 0.9, 1.5))
    image.SetOrigin((-20.0, -10.0, -20.0))
    sitk.WriteImage(image, str(tmp_path / "clot.nii"))
    place = clot_in_box(SiteOcclusion(M1, mask=tmp_path / "clot.nii"), POSE)
    centres = (EVIDENCE_GRID.affine @ np.vstack([np.argwhere(place).T, np.ones(place.sum())]))[:3].T
    # 11.5 columns of 0.8 mm, 25 rows of 0.9, 20 slices of 1.5; then the pose's shift
    np.testing.assert_allclose(centres.mean(axis=0), [-20 + 9.2 + 5, -10 + 22.5 - 3, -20 + 30 + 2], atol=1.2)


def evidence() -> Evidence:
    """A row of voxels: lit, clot, missing, unsure artery, background."""
    vessel = np.full((VESSEL_CLASSES, 1, 1, 5), 0.01, np.float32)
    vessel[M1 + 1, 0, 0, :3] = 0.9
    vessel[M1 + 1, 0, 0, 3] = vessel[3, 0, 0, 3] = 0.45
    vessel[0, 0, 0, 4] = 0.95
    states = np.zeros((3, 1, 1, 5), np.float32)
    states[[0, 2, 1, 0, 0], 0, 0, range(5)] = 0.95
    return Evidence(
        vessel,
        *states[:3],
        *np.zeros((2, 1, 1, 5), np.float32),
        Tissue(np.zeros(len(SITES), np.float32), np.zeros(DEFICIT_GRID.shape, np.float32)),
    )


def test_labels_say_only_what_is_known() -> None:
    vessel, state = label_box(evidence(), []) or pytest.fail()
    assert vessel.ravel().tolist() == [M1 + 1, M1 + 1, M1 + 1, 0, 0]
    assert state.ravel().tolist() == [LIT, LIT, 0, UNKNOWN, 0]  # patent: what seemed clot is lit

    place = np.array([[[False, False, False, True, False]]])
    vessel, state = label_box(evidence(), [(M1, place)]) or pytest.fail()
    assert vessel.ravel().tolist() == [M1 + 1, M1 + 1, M1 + 1, M1 + 1, 0]
    assert state.ravel().tolist() == [LIT, 0, MISSING, CLOT, 0]
    assert label_box(evidence(), [(M1, place[..., ::-1] & False)]) is None


def test_unknown_voxels_have_no_say_in_the_loss() -> None:
    draw = torch.Generator().manual_seed(1)
    outputs = torch.randn(2, OUTPUTS, 3, 4, 5, generator=draw)
    vessel = torch.randint(0, VESSEL_CLASSES, (2, 3, 4, 5), generator=draw)
    state = torch.where((vessel > 0) & (vessel < VESSEL_CLASSES - 1), LIT, 0)
    whole = {"vessel": vessel, "state": state}
    assert known_loss(outputs, whole)[0] == compute_loss(outputs, whole)[0]
    state = state.clone()
    state[:, 0] = UNKNOWN
    part = {"vessel": vessel, "state": state}
    before, _ = known_loss(outputs, part)
    changed = outputs.clone()
    changed[:, :, 0] += torch.randn(changed[:, :, 0].shape, generator=draw)
    assert torch.equal(before, known_loss(changed, part)[0])
    changed[:, 2, 1] += 1
    assert not torch.equal(before, known_loss(changed, part)[0])


def test_site_and_phantoms_are_mixed_and_unknown_stays_unknown(tmp_path: Path) -> None:
    shape = EVIDENCE_GRID.shape
    maps = np.ones(shape, np.uint8), np.full(shape, UNKNOWN, np.uint8)
    write_pool(tmp_path / "site", [case(1, occluded=True, ncct=False)], [maps])
    plain = maps[0], np.full(shape, LIT, np.uint8)
    write_pool(tmp_path / "mix", [case(n, occluded=False) for n in (2, 3)], [plain, plain])
    phantoms = DataConfig(pool=tmp_path / "mix", validation=1)
    site = DataConfig(pool=tmp_path / "site", validation=0, patients=1, ncct_dropped=1.0, crop=(8, 10))
    place = {"seed": 1, "rank": 0, "world": 1}
    views = iter(MixedDataset(phantoms, [site], 0.5, split="train", **place))
    seen = [next(views) for _ in range(12)]
    ours = [view for view in seen if bool((view["state"] == UNKNOWN).any())]
    assert 2 <= len(ours) <= 10
    assert all(v["state"].shape == (8, 10, shape[2]) and not float(v["has_ncct"]) for v in ours)
    assert len(list(MixedDataset(phantoms, [site], 0.5, split="validation", **place))) == 1


def test_study_labels_train_the_study_alone() -> None:
    site = readings(80, 1)
    # Occluded phantoms; the patent are the site's.
    phantoms = Readings(site.features[2::4], site.truth[2::4, : len(SITES)], np.arange(20))
    tensors = train_mixed(site, np.ones(80, np.bool_), phantoms, READER)
    test = readings(100, 3)
    logits = np.stack([reader_from(tensors).logits(f) for f in test.features])
    assert logits[test.occluded, -2].mean() > logits[~test.occluded, -2].mean() + 1
    with_m1 = logits[test.occluded][:, : len(SITES)]
    assert (with_m1.argmax(axis=1) == M1).mean() > 0.8

    base = empty_metadata()
    metadata = calibrate(logits, test, base, READER, 10, lambda columns: Calibration(slope=7.0))
    assert metadata.sites[Segment(SITES[M1][0])] != Calibration(slope=7.0)
    assert metadata.sites[Segment.BASILAR] == Calibration(slope=7.0)
    assert "50 patent studies of a site" in metadata.operating_point
    p = held_out(logits, test, metadata, READER.folds)
    assert p[test.occluded].mean() > p[~test.occluded].mean() + 0.2
    # By the calibration that the threshold goes with: patent studies so much alike are past it by another.
    own = np.array([calibrated(v, metadata).study for v in logits])
    assert (own[~test.occluded] < metadata.study_threshold).mean() > 0.8
    assert (own[test.occluded] >= metadata.study_threshold).mean() > 0.8


def empty_metadata() -> Metadata:
    nothing = Calibration()
    return Metadata(
        name="m", version="1", intended_use="", trained_on="", input_format="", network=NetworkConfig(),
        study=nothing, thrombectomy=nothing, sites={}, study_threshold=0.5, thrombectomy_threshold=0.5,
        site_thresholds={}, operating_point="", equivocal_margin=0, novelty_unusual=1, novelty_strange=2,
    )  # fmt: skip


def test_patients_are_never_split_and_the_network_needs_places_and_phantoms() -> None:
    box = case(1, occluded=True).box
    cases = [
        SiteCase(
            SiteStudy(
                f"s{n}", Path(), f"p{n}", n % 2 == 0, (SiteOcclusion(M1, point=(0, 0, 0)),) * (n % 2 == 0)
            ),
            box,
        )
        for n in range(120)
    ]
    twin = SiteCase(replace(cases[0].study, name="again"), cases[0].box)
    teaching, judging = split([*cases, twin], FinetuneConfig(network_from=15), mixing=True)
    names = [{c.study.patient for c in part} for part in (teaching, judging)]
    assert names[0] and names[1] and not names[0] & names[1]
    assert len(teaching) + len(judging) == 121
    assert split(cases, FinetuneConfig(network_from=15), mixing=False) == ([], cases)
    bare = (SiteOcclusion(M1),)
    unplaced = [replace(c, study=replace(c.study, occlusions=bare)) if c.study.occluded else c for c in cases]
    assert split(unplaced, FinetuneConfig(network_from=15), mixing=True)[0] == []


@pytest.mark.slow
@pytest.mark.skipif(atlas_path() is None, reason=f"synthetic heads need {SPM_RUNTIME}")
def test_a_site_of_phantoms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two studies read from DICOM, one refused; then calibration on many boxes like theirs."""
    order = Order(sites=(), phase="peak", noise="low", matrix=128, slice_mm=2.0)
    for name, ncct in (("a", True), ("b", False)):
        write_study(tmp_path / name, sample_case(3, load_config("realistic"), order), ncct=ncct)
    (tmp_path / "c").mkdir()
    (tmp_path / "site.csv").write_text("study,segment,side\na,,\nb,any,\nc,,\n")
    studies = read_manifest(tmp_path / "site.csv")
    model = base_bundle(tmp_path / "base")
    base = load_detector(model, "cpu", threads=1)
    cases, refused = ingest(studies, base, tmp_path / "work")
    assert [c.study.name for c in cases] == ["a", "b"] and list(refused) == ["c"]
    assert refused["c"] == ("no-dicom",) and "c,no-dicom" in (tmp_path / "work/refused.csv").read_text()
    assert cases[0].box.ncct is not None and cases[1].box.ncct is None
    assert (cases[0].box.cta == cases[1].box.cta).all()

    monkeypatch.setattr("lvo.training.site_boxes.read_study", lambda _: pytest.fail("read twice"))
    again, _ = ingest(studies, base, tmp_path / "work")
    assert (again[0].box.cta == cases[0].box.cta).all() and again[0].box.pose == cases[0].box.pose
    monkeypatch.undo()

    paths = Paths(model, tmp_path / "out", tmp_path / "work")
    with pytest.raises(TruthInvalid, match="1 occluded and 1 patent"):
        finetune(studies, FinetuneConfig(), paths, "9.0.0")
    many = [
        SiteCase(replace(cases[n % 2].study, name=str(n), patient=str(n)), cases[n % 2].box) for n in range(6)
    ]
    monkeypatch.setattr("lvo.training.finetune.ingest", lambda *_: (many, {}))
    few = FinetuneConfig(least_studies=6, least_of_each=3)
    figures = finetune(studies, few, paths, "9.0.0")
    bundle = load_bundle(tmp_path / "out")
    assert bundle.version == "9.0.0" and "calibration only" in bundle.metadata.trained_on
    assert (
        "6 labelled studies" in bundle.metadata.trained_on
        and "seen no patient" not in bundle.metadata.intended_use
    )
    assert figures["studies"] == 6 and figures["parity_cases"] >= 1
    load_detector(tmp_path / "out", "cpu", threads=1).check_parity()
    with (
        np.load(tmp_path / "out/parity/cases.npz") as ours,
        np.load(paths.model / "parity/cases.npz") as theirs,
    ):
        assert all((theirs["cta"] == cta).all(axis=(1, 2, 3)).any() for cta in ours["cta"])
    assert read_study(tmp_path / "a").cta is not None
