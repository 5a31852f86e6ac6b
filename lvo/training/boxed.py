"""One training patient: drawn from a seed, imaged in the head-frame box, labelled voxel by voxel."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat
from torch import Tensor
from torch.nn import functional

from lvo.anatomy import SITES, TANDEM_SEGMENTS, Segment
from lvo.detector.torch_tissue import CELL_STEP
from lvo.imaging.resample import HEAD_BOX
from lvo.phantom.config import PhantomConfig, load_config
from lvo.phantom.disease.infarct import enhancement_lost
from lvo.phantom.expose import DRAWN_MM
from lvo.phantom.head.individual import Head
from lvo.phantom.image import Lattice, Truth, Tubes, canvas_hu, draw_tissue, draw_vessels, truth_of, tubes
from lvo.phantom.patient import Case, Order, Patient, Site, sample_case
from lvo.phantom.scanner.artefacts import sample_maps
from lvo.phantom.scanner.motion import Motion, move
from lvo.phantom.scanner.xray import scale_calcium
from lvo.phantom.vessels.labels import COARSE, SITE_INDEX, VEIN
from lvo.training.box_head import BoxHead, develop_in_box, draw_box_head
from lvo.training.box_place import PoseError, box_lattice, coarser, pose_error, unscanned
from lvo.training.roughen import Roughness, RoughRanges, draw_roughness, roughen_arteries, roughen_tissue
from lvo.training.warp import WarpRanges

LABEL_STEP = 2
"""Box voxels per label voxel along each axis."""
LIT, MISSING, CLOT = 1, 2, 4
"""Bits of the state map: lumen with contrast, lumen beyond a clot without, clot."""
UNSCANNED_HU = -1024
"""What `lvo.imaging.resample.to_head` fills in where nothing was scanned."""
_PSF_MM = 0.5
"""Blur with which vessels are drawn; the kernel's comes on top."""
_PLAIN_DRAWN_MM = (0.7, 0.7, 0.7)
"""Standard deviation of the blur of averaging to the NCCT's 2 mm and moving it."""
_SHARES: dict[Segment, float] = {segment: 0.025 for segment in Segment} | {
    Segment.ICA_CERVICAL: 0.1,
    Segment.ICA_INTRACRANIAL: 0.165,
    Segment.ICA_TERMINUS: 0.165,
    Segment.M1: 0.165,
    Segment.M2: 0.165,
    Segment.BASILAR: 0.165,
}
"""Most occlusions are those for which thrombectomy is established; the rest must be known all the same."""


class DataConfig(BaseModel):
    """Where training patients come from, and how they are varied.

    Attributes
    ----------
    pool : folder of imaged patients; None images fresh ones while training, and keeps none.
    patients : how many to make there; seeds count up from `first_seed`.
    per_head : patients that share one head and its place in the box (the costly part), all else their own.
    device : that images patients: ``cpu`` or ``cuda``.
    occluded : share of patients with an occlusion.
    several : share of the occluded with further ones elsewhere.
    most : occlusions that these have at most; every number from two on is as likely. A clot is a few voxels
        of a box, so patients with many teach the network more of them in the same time.
    tandem : share of those with an occluded ICA-T, M1 or M2 whose cervical ICA is occluded below it, too.
    segments : relative shares of the segments among the occlusions; one that is left out has none.
    presets : of the phantom, names or YAML files, each with its share of the patients.
    strata : share of the patients with a variant or mimic made sure of, where the preset lists any.
    pose : how far off the box may be placed.
    rough : how far patients are made less like phantoms.
    validation : patients, those of the first seeds, that are never trained on.
    ncct_dropped : share of training views without the NCCT.
    moved : label voxels that a view is moved by at most along each axis, its borders repeated.
    warped : how far training views are bent.
    cut_short : share of training views in which the scan ends inside the box, at its bottom or top.
    crop : part of the box that a view shows, (z, y) in label voxels, at its full width; None is all of it.
        Most such parts are laid over arteries, half of them over a clot where there is one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pool: Path | None = None
    patients: int = 4000
    per_head: int = Field(default=1, ge=1)
    device: str = "cpu"
    first_seed: int = 1_000_000
    occluded: float = Field(default=0.75, ge=0, le=1)
    several: float = Field(default=0.08, ge=0, le=1)
    most: int = Field(default=2, ge=2)
    tandem: float = Field(default=0.0, ge=0, le=1)
    segments: dict[Segment, PositiveFloat] = Field(default=_SHARES, min_length=1)
    presets: dict[str, float] = {"training": 1.0}
    strata: float = Field(default=0.0, ge=0, le=1)
    pose: PoseError = PoseError()
    rough: RoughRanges = RoughRanges()
    validation: int = 48
    ncct_dropped: float = 0.4
    moved: int = Field(default=0, ge=0)
    warped: WarpRanges = WarpRanges()
    cut_short: float = Field(default=0.0, ge=0, le=1)
    crop: tuple[int, int] | None = None


def draw_case(seed: int, config: DataConfig, head: Head | None = None) -> Case:
    """The patient and scan of a seed, occluded as often as the data asks for.

    Parameters
    ----------
    head : of another patient, that this one shall have too.
    """
    rng = _orders(seed)
    preset = _preset(_drawn_preset(rng, config))
    strata: tuple[str, ...] = ()
    if preset.strata and rng.random() < config.strata:
        strata = (list(preset.strata)[int(rng.integers(len(preset.strata)))],)
    sites: tuple[Site, ...] = ()
    if rng.random() < config.occluded:
        count = 1 if rng.random() >= config.several else int(rng.integers(2, config.most + 1))
        sites = _sites(rng, config, count)
        if rng.random() < config.tandem:
            sites += _cervical_below(sites)
    while sites:
        try:
            return sample_case(seed, preset, Order(sites=sites, strata=strata), head)
        except ValueError:  # this patient lacks one of those segments
            sites = sites[:-1]
    return sample_case(seed, preset, Order(sites=(), strata=strata), head)


def preset_of(seed: int, config: DataConfig) -> str:
    """The preset that the patient of a seed is drawn from."""
    return _drawn_preset(_orders(seed), config)


def _orders(seed: int) -> np.random.Generator:
    """The random numbers by which a patient is ordered: its preset first."""
    return np.random.default_rng([seed, 11])


def _roughening(seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, 13])


def _drawn_preset(rng: np.random.Generator, config: DataConfig) -> str:
    return list(config.presets)[int(rng.choice(len(config.presets), p=_shares(config.presets)))]


def _sites(rng: np.random.Generator, config: DataConfig, count: int) -> tuple[Site, ...]:
    """Places to occlude, each another."""
    sites: list[Site] = [(side, segment) for segment in config.segments for side in segment.sides]
    share = _shares({site: config.segments[site[1]] / len(site[1].sides) for site in sites})
    chosen = rng.choice(len(sites), size=min(count, len(sites)), replace=False, p=share)
    return tuple(sites[int(n)] for n in chosen)


def _cervical_below(sites: tuple[Site, ...]) -> tuple[Site, ...]:
    """Cervical carotids that make others' occlusions tandem ones, without those already there."""
    below = {(side, Segment.ICA_CERVICAL) for side, segment in sites if segment in TANDEM_SEGMENTS}
    return tuple(sorted(below - set(sites)))


def _shares(weights: Mapping[Any, float]) -> npt.NDArray[np.float64]:
    share = np.array(list(weights.values()), dtype=np.float64)
    return np.asarray(share / share.sum())


@functools.lru_cache(maxsize=4)
def _preset(name: str) -> PhantomConfig:
    return load_config(name)


def image_family(
    first: int, config: DataConfig, count: int | None = None
) -> Iterator[tuple[Case, dict[str, Tensor]]]:
    """Patients of the seeds from `first` on, all with the head of the first, one after another.

    Parameters
    ----------
    count : of patients; None for `config.per_head`.
    """
    head: BoxHead | None = None
    for seed in range(first, first + (count or config.per_head)):
        case = draw_case(seed, config, head.head if head else None)
        head = head or place_head(case, config.device, config.pose)
        yield case, image_in_box(case, head, draw_roughness(_roughening(seed), config.rough))


def place_head(case: Case, device: torch.device | str, pose: PoseError) -> BoxHead:
    """A case's head in the box, as an imperfect pose would place it."""
    rng = np.random.default_rng([case.seed, 12])
    jitter = pose_error(rng, turn_deg=pose.turn_deg, shift_mm=pose.shift_mm, scale=pose.scale)
    return draw_box_head(case.patient.head, box_lattice(HEAD_BOX, jitter), torch.device(device))


def image_in_box(case: Case, head: BoxHead, rough: Roughness | None = None) -> dict[str, Tensor]:
    """CTA at 1 mm, NCCT and labels at 2 mm, what the brain lacks at 4 mm, in a head's box, on its device.

    Parameters
    ----------
    rough : how the patient is disturbed; None for as the phantom draws it.

    Returns
    -------
    dict
        ``cta`` float32 (128, 112, 144) HU; ``ncct`` float32 (64, 56, 72) HU; ``vessel`` and ``state``
        uint8 (64, 56, 72); ``deficit`` float16 (32, 28, 36), see `enhancement_lost`; ``sites`` uint8 (23,),
        1 where the site is occluded.
    """
    rng, scan, patient, lattice = case.pixels(), case.scan, case.patient, head.lattice
    canvas = draw_tissue(patient, lattice, head.body.device, head.fresh())
    plain = functional.avg_pool3d(canvas.hu[None, None], LABEL_STEP)
    hu = canvas_hu(canvas, patient.bolus, scan.kvp)
    lumina, unlit = tubes(patient, patient.bolus), tubes(patient, None)
    if rough is not None:
        roughen_tissue(hu, lattice, patient.arteries.branches, rough)
        roughen_tissue(plain[0, 0], coarser(lattice, LABEL_STEP), patient.arteries.branches, rough)
        lumina, unlit = roughen_arteries(lumina, rough), roughen_arteries(unlit, rough)
    truth = truth_of(lumina, draw_vessels(hu, patient, lattice, lumina, _PSF_MM))
    to_gantry = scan.pose @ lattice.affine
    move(hu, to_gantry, scan.motion)
    develop_in_box(hu, to_gantry, case, scan.cta, head, rng, DRAWN_MM)
    vessel, state = label_maps(_moved(truth, to_gantry, scan.motion))
    ncct = _image_ncct(plain, unlit, case, head, rng)
    hu[unscanned(lattice, scan.pose, scan.coverage, hu.device)] = UNSCANNED_HU
    beyond = unscanned(coarser(lattice, LABEL_STEP), scan.pose, scan.coverage, hu.device)
    vessel[beyond], state[beyond] = 0, 0
    sites = torch.from_numpy(occluded_sites(patient)).to(hu.device)
    cells = coarser(lattice, LABEL_STEP * CELL_STEP)
    lost = enhancement_lost(patient.lesions, patient.head.where(cells.affine, cells.shape, hu.device))
    return {"cta": hu, "ncct": ncct, "vessel": vessel, "state": state, "deficit": lost.half(), "sites": sites}


def _image_ncct(tissue: Tensor, lumina: Tubes, case: Case, head: BoxHead, rng: np.random.Generator) -> Tensor:
    """The NCCT, brought to the CTA with a small error, from unenhanced tissue (1, 1, z, y, x) in the box."""
    scan = case.scan
    box = coarser(head.lattice, LABEL_STEP)
    apart = Lattice(pose_error(rng, turn_deg=0.8, shift_mm=0.8, scale=0.0) @ box.affine, box.shape)
    hu = sample_maps(tissue, np.linalg.inv(box.affine) @ apart.affine, box.shape)[0]
    scale_calcium(hu, scan.ncct.kvp)
    draw_vessels(hu, case.patient, apart, lumina, _PSF_MM)
    to_gantry = scan.ncct_pose @ apart.affine
    move(hu, to_gantry, scan.ncct_motion)
    develop_in_box(hu, to_gantry, case, scan.ncct, head, rng, _PLAIN_DRAWN_MM)
    hu[unscanned(apart, scan.ncct_pose, scan.ncct_coverage, hu.device)] = UNSCANNED_HU
    return hu


def vessels_in_box(case: Case, device: torch.device | str = "cpu") -> Tensor:
    """Vessel labels in the box, uint8 (64, 56, 72), without imaging anything."""
    lattice, lumina = box_lattice(HEAD_BOX), tubes(case.patient, case.patient.bolus)
    hu = torch.zeros(lattice.shape, device=torch.device(device))
    return label_maps(truth_of(lumina, draw_vessels(hu, case.patient, lattice, lumina, _PSF_MM)))[0]


def _moved(truth: Truth, affine: npt.NDArray[np.float64], motion: Motion) -> Truth:
    """Where the images show what is true of a head that moved."""
    if motion.kind == "still":
        return truth
    # Whole numbers up to 2^24 are exact: what moves is where each voxel's truth comes from.
    index = torch.arange(truth.cover.numel(), dtype=torch.float32, device=truth.cover.device)
    source = index.view(truth.cover.shape)
    move(source, affine, motion, ghosts=False, nearest=True)
    at = source.long()
    return Truth(*(a.flatten()[at] for a in (truth.cover, truth.vessel, truth.fill, truth.clot)))


def occluded_sites(patient: Patient) -> npt.NDArray[np.uint8]:
    """1 for every site where a clot begins."""
    out = np.zeros(len(SITES), np.uint8)
    for o in patient.occlusions:
        out[SITE_INDEX[o.segment, o.side] - 1] = 1
    return out


def label_maps(truth: Truth) -> tuple[Tensor, Tensor]:
    """Vessel and state of the fullest 1 mm voxel in each label voxel, uint8 (z/2, y/2, x/2)."""
    z, y, x = truth.cover.shape
    share, best = _blocks(truth.cover).max(-1)
    k, j, i = (torch.arange(n // LABEL_STEP, device=best.device) * LABEL_STEP for n in (z, y, x))
    dk, dj, di = best // LABEL_STEP**2, best // LABEL_STEP % LABEL_STEP, best % LABEL_STEP
    at = ((k[:, None, None] + dk) * y + j[:, None] + dj) * x + i + di
    fill, clot, number = (a.flatten()[at] for a in (truth.fill, truth.clot, truth.vessel))
    vessel = torch.from_numpy(COARSE).to(best.device)[number.long()]
    seen = (share > 0.25) & (vessel > 0)
    artery = seen & (vessel != VEIN)
    lit, missing = artery & ~clot & (fill >= 0.5), artery & ~clot & (fill < 0.5)
    state = lit * LIT + missing * MISSING + (artery & clot) * CLOT
    return torch.where(seen, vessel, 0).to(torch.uint8), state.to(torch.uint8)


def _blocks(a: Tensor) -> Tensor:
    z, y, x = (n // LABEL_STEP for n in a.shape)
    split = a.reshape(z, LABEL_STEP, y, LABEL_STEP, x, LABEL_STEP)
    return split.permute(0, 2, 4, 1, 3, 5).reshape(z, y, x, LABEL_STEP**3)
