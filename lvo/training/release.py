"""From exported networks to a released bundle: reader, calibration, thresholds, parity, seal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save_file as save_arrays

from lvo.anatomy import SITES, Segment
from lvo.detector.bundle import Calibration, Metadata, NetworkConfig, load_bundle, seal
from lvo.detector.detect import Detection, Detector, load_detector, margin, suspicious_sites
from lvo.detector.onnx_backend import OnnxBackend
from lvo.detector.reader import TENSORS, Answer, Reader, calibrated, reader_from
from lvo.study import INTENDED_USE
from lvo.training.boxed import UNSCANNED_HU
from lvo.training.calibration import fit_platt
from lvo.training.data import pool_of
from lvo.training.reader import ReaderConfig, Readings, out_of_fold, study_truth, train_reader

NAME = "lao-cta"
INPUT_FORMAT = (
    "cta: HU in the head-frame box, float32 (1, 1, 128, 112, 144), axes (z up, y to the back, x to the "
    "patient's left), 1 mm; ncct: the same at 2 mm, (1, 1, 64, 56, 72), zeros where there is none; "
    "has_ncct: (1, 1), 1 or 0"
)
_LEAST = 1e-5
"""Of a threshold."""
PARITY_CASES = 4
PARITY_CANDIDATES = 60


def unread(out: Path, network: NetworkConfig, *, mirrored_view: bool = True) -> Detector:
    """A bundle with its exported networks but no reader yet, to look at patients with."""
    unfinished = Metadata(
        name=NAME,
        version="0.0.0",
        intended_use=INTENDED_USE,
        trained_on="unfinished",
        input_format=INPUT_FORMAT,
        network=network,
        mirrored_view=mirrored_view,
        study=Calibration(),
        thrombectomy=Calibration(),
        sites={},
        study_threshold=1.0,
        thrombectomy_threshold=1.0,
        site_thresholds={},
        operating_point="unfinished",
        equivocal_margin=0.0,
        novelty_unusual=np.inf,
        novelty_strange=np.inf,
    )
    write_metadata(out, unfinished)
    seal(out)
    bundle = load_bundle(out)
    empty = np.zeros((0, 0), np.float32)
    return Detector(bundle, OnnxBackend(bundle, torch.get_num_threads()), Reader(*[empty] * len(TENSORS)))


def finish_bundle(
    out: Path,
    readings: Readings,
    config: ReaderConfig,
    network: NetworkConfig,
    *,
    version: str,
    trained_on: str,
    mirrored_view: bool = True,
) -> dict[str, float]:
    """Train the reader, calibrate, set thresholds, store parity cases, seal; returns the internal figures."""
    logits = out_of_fold(readings, config)
    truth = study_truth(readings.sites)
    study, thrombectomy = (fit_platt(logits[:, len(SITES) + n], truth[:, n]) for n in (0, 1))
    tensors = train_reader(readings, config)
    strangeness = np.array([reader_from(tensors).novelty(f) for f in readings.features])
    unset = Metadata(
        name=NAME,
        version=version,
        intended_use=INTENDED_USE,
        trained_on=trained_on,
        input_format=INPUT_FORMAT,
        network=network,
        mirrored_view=mirrored_view,
        study=study,
        thrombectomy=thrombectomy,
        sites={s: _site_calibration(s, logits, readings) for s in Segment},
        study_threshold=0.5,
        thrombectomy_threshold=0.5,
        site_thresholds={},
        operating_point=(
            f"specificity {config.specificity:g} on {int((truth[:, 0] == 0).sum())} patent phantoms of the "
            f"reader's pool, out of fold; further sites at {config.site_specificity:g}"
        ),
        equivocal_margin=0.0,
        novelty_unusual=round(float(np.quantile(strangeness, 0.99)), 4),
        novelty_strange=round(2 * float(strangeness.max()), 4),
    )
    metadata = with_thresholds(unset, [calibrated(v, unset) for v in logits], truth[:, 0] > 0, config)
    save_arrays(tensors, out / "models" / "reader.safetensors")
    write_metadata(out, metadata)
    _store_parity(out, config)
    seal(out)
    p = np.array([calibrated(v, unset).study for v in logits])
    positive = truth[:, 0] > 0
    found = np.array([bool(suspicious_sites(calibrated(v, unset), metadata)) for v in logits])
    return {
        "patients": float(len(p)),
        "auc": _auc(p[positive], p[~positive]),
        "sensitivity": float(found[positive].mean()),
        "specificity": float(1 - found[~positive].mean()),
        "study_threshold": metadata.study_threshold,
    }


def with_thresholds(
    unset: Metadata, answers: Sequence[Answer], occluded: npt.NDArray[np.bool_], config: ReaderConfig
) -> Metadata:
    """Thresholds at the specificities that are asked for, on the patent among some patients.

    Both of the study's probabilities are cut at one and the same quantile of the patent patients': the one
    at which the asked share of them lies under both.

    Parameters
    ----------
    occluded : (n,) of the patients whose answers these are.
    """
    p = np.array([(a.study, a.thrombectomy) for a in answers])
    sites = np.array([a.sites for a in answers])[~occluded]
    patent = p[~occluded]
    quantiles = np.linspace(config.specificity, 1, 201)
    cuts = np.quantile(patent, quantiles, axis=0)
    kept = np.array([(patent < cut).all(axis=1).mean() for cut in cuts])
    study, thrombectomy = cuts[np.argmax(kept >= config.specificity)]
    by_segment = {
        segment: sites[:, [i for i, (s, _) in enumerate(SITES) if s is segment]].max(axis=1)
        for segment in Segment
    }
    cut = unset.model_copy(
        update={
            # Patients all told apart would leave nothing, which everybody reaches.
            "study_threshold": max(round(float(study), 5), _LEAST),
            "thrombectomy_threshold": max(round(float(thrombectomy), 5), _LEAST),
            "site_thresholds": {
                s: max(round(float(np.quantile(v, config.site_specificity)), 5), _LEAST)
                for s, v in by_segment.items()
            },
        }
    )
    margins = np.abs([margin(a, cut) for a in answers])
    return cut.model_copy(
        update={"equivocal_margin": round(float(np.quantile(margins, config.equivocal)), 4)}
    )


def write_metadata(out: Path, metadata: Metadata) -> None:
    """Write ``configs/metadata.json``."""
    (out / "configs").mkdir(parents=True, exist_ok=True)
    text = json.dumps(metadata.model_dump(mode="json"), indent=2)
    (out / "configs" / "metadata.json").write_text(text + "\n", encoding="utf-8")


def _site_calibration(segment: Segment, logits: npt.NDArray[np.float32], readings: Readings) -> Calibration:
    columns = [i for i, (s, _) in enumerate(SITES) if s is segment]
    return fit_platt(logits[:, columns].ravel(), readings.sites[:, columns].ravel())


def _store_parity(out: Path, config: ReaderConfig) -> None:
    """Inputs and answers that every later start must reproduce: both decisions, with and without an NCCT."""
    (out / "parity").mkdir(exist_ok=True)
    (out / "parity" / "cases.npz").unlink(missing_ok=True)
    seal(out)
    detector = load_detector(out, "cpu")
    # One patient of each head; the heads lie `per_head` files apart.
    files = sorted(pool_of(config.patients).glob("[0-9]*.npz"))[:: config.patients.per_head]
    seen: list[tuple[npt.NDArray[np.int16], npt.NDArray[np.int16], bool, Detection]] = []
    for n, path in enumerate(files[:PARITY_CANDIDATES]):
        cta, ncct = _parity_input(path)
        has = n % 2 == 0
        answer = detector.detect(cta.astype(np.float32), ncct.astype(np.float32) if has else None)
        seen.append((cta, ncct, has, answer))
    # Near a threshold the last bits would decide, and they differ between devices: the farthest first.
    seen.sort(key=lambda case: -_distance(case[3], detector.bundle.metadata))
    kept: list[tuple[npt.NDArray[np.int16], npt.NDArray[np.int16], bool, Detection]] = []
    for case in seen:
        alike = [has for _, _, has, a in kept if a.suspected == case[3].suspected]
        if len(alike) < PARITY_CASES // 2 and alike.count(case[2]) < (PARITY_CASES // 2 + 1) // 2:
            kept.append(case)
    np.savez_compressed(
        out / "parity" / "cases.npz",
        cta=np.stack([cta for cta, _, _, _ in kept]),
        ncct=np.stack([ncct for _, ncct, _, _ in kept]),
        has_ncct=np.array([has for _, _, has, _ in kept]),
        study=np.array([(a.probability, a.thrombectomy) for *_, a in kept]),
        sites=np.array([[p for _, _, p in a.segments] for *_, a in kept]),
        suspected=np.array([a.suspected for *_, a in kept]),
    )


def _distance(answer: Detection, metadata: Metadata) -> float:
    """Log odds between an answer and the threshold that decided it."""
    both = Answer(np.empty(0), answer.probability, answer.thrombectomy)
    return abs(margin(both, metadata))


def _parity_input(path: Path) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """CTA and NCCT of a pool patient on HEAD_BOX, without noise in last bits, air and bone: it packs well."""
    with np.load(path) as item:
        cta, ncct = (_smooth(item[name], step) for name, step in (("cta", 16), ("ncct", 4)))
    return cta, ncct.repeat(2, 0).repeat(2, 1).repeat(2, 2)


def _smooth(hu: npt.NDArray[np.int16], step: int) -> npt.NDArray[np.int16]:
    """Whole steps; air all alike, dense bone too."""
    whole = np.where(hu < -200, UNSCANNED_HU, np.minimum(hu, 1200)) // step * step
    return np.asarray(whole, dtype=np.int16)


def _auc(positive: npt.NDArray[np.float64], negative: npt.NDArray[np.float64]) -> float:
    return float(
        (positive[:, None] > negative[None]).mean() + 0.5 * (positive[:, None] == negative[None]).mean()
    )
