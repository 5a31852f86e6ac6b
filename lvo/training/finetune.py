"""A released model brought to a site's own studies: ingestion, network, reader, calibration, seal.

What is done follows from what there is. Calibration and threshold are always the site's. With phantoms to mix
in, the reader is trained anew from enough studies on, and the network where clots have places; the studies
that teach the network are never those that teach the reader and calibrate.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from sklearn.metrics import roc_auc_score

from lvo.anatomy import SITES
from lvo.detector.bundle import Calibration, Metadata, seal
from lvo.detector.detect import Detector, load_detector
from lvo.detector.reader import calibrated, reader_from
from lvo.errors import TruthInvalid
from lvo.imaging.head_frame import HeadFramer
from lvo.training.calibration import fit_platt
from lvo.training.export import export_vessels, take_over
from lvo.training.loop import train
from lvo.training.losses import validation_metrics
from lvo.training.pictures import pictures
from lvo.training.reader import out_of_fold, read_pool, study_truth
from lvo.training.release import unread, write_metadata
from lvo.training.run import RunConfig, starting_network
from lvo.training.site_boxes import read_box
from lvo.training.site_bundle import described, restate_parity
from lvo.training.site_config import FinetuneConfig, Paths
from lvo.training.site_data import MixedDataset, SiteCase, SiteReadings, label_case, read_site, write_pool
from lvo.training.site_labels import Labels
from lvo.training.site_loss import known_loss
from lvo.training.site_manifest import SiteStudy
from lvo.training.site_reader import (
    calibrate,
    held_out,
    mixed_logits,
    plain_logits,
    train_mixed,
    with_novelty,
)
from lvo.training.watching import Watching

log = logging.getLogger(__name__)


def finetune(
    studies: Sequence[SiteStudy], config: FinetuneConfig, paths: Paths, version: str
) -> dict[str, float]:
    """Make a bundle for a site; returns figures on its own studies, each held out.

    Raises
    ------
    TruthInvalid
        There are too few studies, or only one kind.
    LvoError
    """
    base = load_detector(paths.model)
    cases, refused = ingest(studies, base, paths.work)
    teaching, judging = split(cases, config, mixing=paths.mix is not None)
    _check(judging, config, len(refused))
    looking, taught = _network(teaching, base, config, paths)
    if not taught:
        judging = cases
    before = read_site(base, judging)
    logits_before = plain_logits(before.features, base.reader)
    readings = read_site(looking, judging) if taught else before
    if paths.mix is not None and (taught or len(judging) >= config.reader_from):
        logits, metadata = _new_reader(looking, readings, base, config, paths)
        kind = "network and reader" if taught else "reader"
    else:
        kind, logits, was = "calibration only", logits_before, base.bundle.metadata
        metadata = calibrate(logits, readings, was, config.reader, config.segment_from, partial(_former, was))
        metadata = with_novelty(metadata, base.reader, readings.features, least=was)
    counts = {"studies": len(cases), "network": taught, "calibration": len(judging)}
    occluded = sum(case.study.occluded for case in cases)
    write_metadata(
        paths.out, described(metadata, base.bundle, version, kind, counts | {"occluded": occluded})
    )
    stored = restate_parity(paths.out, paths.model)
    seal(paths.out)
    after = held_out(logits, readings, metadata, config.reader.folds)
    figures = _figures(before.occluded, (logits_before, base.bundle.metadata), (after, metadata))
    figures |= {"refused": float(len(refused)), "parity_cases": float(stored)}
    figures |= {name: float(count) for name, count in counts.items()}
    (paths.work / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures


def _former(metadata: Metadata, columns: tuple[int, ...]) -> Calibration:
    """The calibration that a bundle had of some of the reader's answers."""
    return metadata.sites[SITES[columns[0]][0]] if columns[0] < len(SITES) else metadata.thrombectomy


def ingest(
    studies: Sequence[SiteStudy], base: Detector, work: Path
) -> tuple[list[SiteCase], dict[str, tuple[str, ...]]]:
    """Boxes of the studies that can be analysed, and the reason codes of those that cannot.

    The latter are also written to ``refused.csv``.
    """
    framer = HeadFramer(base.bundle.pose_path)
    digest = hashlib.sha256(base.bundle.pose_path.read_bytes()).hexdigest()
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    cases: list[SiteCase] = []
    refused: dict[str, tuple[str, ...]] = {}
    for number, study in enumerate(studies, start=1):
        box = read_box(study, framer, work / "boxes", digest)
        if isinstance(box, tuple):
            refused[study.name] = box
            log.warning("%d/%d %s left out: %s", number, len(studies), study.name, ", ".join(box))
        else:
            cases.append(SiteCase(study, box))
            log.info("%d/%d %s", number, len(studies), study.name)
    with (work / "refused.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [("study", "reasons"), *((name, " ".join(codes)) for name, codes in refused.items())]
        )
    return cases, refused


def split(
    cases: Sequence[SiteCase], config: FinetuneConfig, *, mixing: bool
) -> tuple[list[SiteCase], list[SiteCase]]:
    """Studies that teach the network, and those that teach the reader and calibrate; whole patients each.

    The first is empty where there are too few clots with places, or no phantoms to mix in.
    """
    if not mixing:
        return [], list(cases)
    unfit = {case.study.patient for case in cases if not case.study.located}
    chosen = {
        case.study.patient
        for case in cases
        if case.study.patient not in unfit and _draw(case.study.patient) < config.network_share
    }
    teaching = [case for case in cases if case.study.patient in chosen]
    if sum(case.study.occluded for case in teaching) < config.network_from:
        return [], list(cases)
    return teaching, [case for case in cases if case.study.patient not in chosen]


def _draw(patient: str) -> float:
    """A number in 0..1 that a patient always has."""
    return int.from_bytes(hashlib.sha256(patient.encode()).digest()[:6]) / 2**48


def _check(judging: Sequence[SiteCase], config: FinetuneConfig, refused: int) -> None:
    occluded = sum(case.study.occluded for case in judging)
    patent = len(judging) - occluded
    if len(judging) < config.least_studies or min(occluded, patent) < config.least_of_each:
        raise TruthInvalid(
            f"{occluded} occluded and {patent} patent studies can calibrate ({refused} were refused); add "
            f"studies until there are {config.least_studies}, {config.least_of_each} of each kind at least."
        )


def _network(
    teaching: Sequence[SiteCase], base: Detector, config: FinetuneConfig, paths: Paths
) -> tuple[Detector, int]:
    """A detector with the network of the new bundle, and how many studies taught it."""
    labelled = [(case, maps) for case in teaching if (maps := label_case(base, case)) is not None]
    if dropped := len(teaching) - len(labelled):
        log.warning(
            "%d studies teach the network nothing: no artery is seen where the clot is said to be", dropped
        )
    models = paths.model / "models"
    if not labelled or paths.mix is None:
        if paths.out.resolve() != paths.model.resolve():
            shutil.copytree(models, paths.out / "models", dirs_exist_ok=True)
        return base, 0
    run = _train([case for case, _ in labelled], [maps for _, maps in labelled], config, paths, base)
    metadata = base.bundle.metadata
    export_vessels(run, paths.out, metadata.network)
    for name in ("pose", "tissue"):
        take_over(name, models, paths.out)
    return unread(paths.out, metadata.network, mirrored_view=metadata.mirrored_view), len(labelled)


def _train(
    cases: Sequence[SiteCase],
    maps: Sequence[tuple[Labels, Labels]],
    config: FinetuneConfig,
    paths: Paths,
    base: Detector,
) -> Path:
    """Train the network on the site's studies among phantoms; returns the run's folder."""
    says = [(case.study.name, case.study.labels) for case in cases]
    text = json.dumps([says, config.model_dump(mode="json"), base.bundle.digest, str(paths.mix)])
    run = paths.work / f"network-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    pools = []
    for name, has_ncct in (("with-ncct", True), ("cta-only", False)):
        chosen = [n for n, case in enumerate(cases) if (case.box.ncct is not None) == has_ncct]
        pool = run / name
        shutil.rmtree(pool, ignore_errors=True)
        if chosen:
            write_pool(pool, [cases[n] for n in chosen], [maps[n] for n in chosen])
            dropped = config.phantoms.ncct_dropped if has_ncct else 1.0
            changes = {"pool": pool, "patients": len(chosen), "validation": 0, "ncct_dropped": dropped}
            pools.append(config.phantoms.model_copy(update=changes))
    phantoms = config.phantoms.model_copy(update={"pool": paths.mix})
    settings = RunConfig(
        **config.loop.model_dump(),
        data=phantoms,
        network=base.bundle.metadata.network,
        start_from=paths.model,
    )
    outcome = train(
        settings,
        run,
        network_factory=partial(starting_network, settings),
        dataset_factory=partial(MixedDataset, phantoms, pools, config.site_share),
        loss_fn=known_loss,
        inputs=("cta", "ncct", "has_ncct", "corner"),
        watching=Watching(metrics=validation_metrics, pictures=pictures),
        resume=any((run / "checkpoints").glob("step-*")),
    )
    if outcome.ended != "finished":
        raise KeyboardInterrupt
    return run


def _new_reader(
    looking: Detector, site: SiteReadings, base: Detector, config: FinetuneConfig, paths: Paths
) -> tuple[npt.NDArray[np.float32], Metadata]:
    """Train the reader on phantoms and the site's studies, write it; logits of the studies, and metadata."""
    phantoms = config.phantoms.model_copy(update={"pool": paths.mix})
    settings = config.reader.model_copy(update={"patients": phantoms})
    read = read_pool(looking, settings)
    # The later ones are the network's.
    own = read.part(np.arange(len(read.sites)) < phantoms.validation)
    logits, theirs = mixed_logits(site, own, settings), out_of_fold(own, settings)
    truth = np.concatenate([own.sites, study_truth(own.sites)], axis=1)

    def otherwise(columns: tuple[int, ...]) -> Calibration:
        return fit_platt(theirs[:, columns].ravel(), truth[:, columns].ravel())

    everyone = np.ones(len(site.occluded), np.bool_)
    tensors = train_mixed(site, everyone, own, settings)
    save_file(tensors, paths.out / "models" / "reader.safetensors")
    metadata = calibrate(logits, site, base.bundle.metadata, settings, config.segment_from, otherwise)
    features = np.concatenate([own.features, site.features])
    return logits, with_novelty(metadata, reader_from(tensors), features, least=None)


def _figures(
    occluded: npt.NDArray[np.bool_],
    before: tuple[npt.NDArray[np.float32], Metadata],
    after: tuple[npt.NDArray[np.float64], Metadata],
) -> dict[str, float]:
    """The model as it was and as it is now, by its answer on any occlusion, on the same studies."""
    logits, was = before
    found: dict[str, float] = {}
    for name, p, threshold in (
        ("before", np.array([calibrated(v, was).study for v in logits]), was.study_threshold),
        ("after", after[0], after[1].study_threshold),
    ):
        found[f"auc_{name}"] = float(roc_auc_score(occluded, p))
        found[f"brier_{name}"] = float(((p - occluded) ** 2).mean())
        found[f"sensitivity_{name}"] = float((p[occluded] >= threshold).mean())
        found[f"specificity_{name}"] = float((p[~occluded] < threshold).mean())
    return found
