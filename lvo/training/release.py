"""From a trained network to a released bundle: export, reader, calibration, thresholds, parity, seal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file
from safetensors.torch import save_file as save_tensors

from lvo.anatomy import SITES, Segment
from lvo.detector.bundle import Calibration, Metadata, NetworkConfig, load_bundle, seal
from lvo.detector.detect import Detection, load_detector
from lvo.detector.evidence import EVIDENCE_GRID
from lvo.detector.onnx_backend import OnnxBackend
from lvo.detector.torch_network import make_network
from lvo.imaging.resample import HEAD_BOX
from lvo.study import INTENDED_USE
from lvo.training.checkpoint import average_weights, latest
from lvo.training.data import pool_of
from lvo.training.reader import ReaderConfig, Readings, fit_platt, out_of_fold, train_reader

NAME = "lao-cta"
INPUT_FORMAT = (
    "cta: HU in the head-frame box, float32 (1, 1, 96, 112, 112), axes (z up, y to the back, x to the "
    "patient's left), 1 mm; ncct: the same at 2 mm, (1, 1, 48, 56, 56), zeros where there is none; "
    "has_ncct: (1, 1), 1 or 0"
)
PARITY_CASES = 4
PARITY_CANDIDATES = 60
PARITY_MARGIN = 0.005
"""A parity case lies at least this far from the study threshold."""


def export_network(run: Path, pose: Path, out: Path, network: NetworkConfig) -> None:
    """Write the networks of a bundle: ``models/*.onnx`` and ``*.safetensors``.

    The weights of the vessel network are rounded to half precision first, so that both its files hold the
    same numbers; those of the pose network are kept for finetuning only, in half precision too.

    Parameters
    ----------
    run : folder of the training run; its newest running average is released.
    pose : folder with ``pose.onnx`` and ``pose.safetensors``.
    """
    models = out / "models"
    models.mkdir(parents=True, exist_ok=True)
    weights = {k: v.half().contiguous() for k, v in average_weights(latest(run)).items()}
    save_tensors(weights, models / "vessels.safetensors")
    body = make_network(network)
    body.load_state_dict({k: v.float() for k, v in weights.items()})
    small, box = EVIDENCE_GRID.shape, HEAD_BOX.shape
    example = (torch.zeros(1, 1, *box), torch.zeros(1, 1, *small), torch.ones(1, 1))
    program = torch.onnx.export(
        body.eval(),
        example,
        input_names=["cta", "ncct", "has_ncct"],
        output_names=["logits"],
        dynamo=True,
        external_data=False,
    )
    assert program is not None
    onnx.save(_without_traces(program.model_proto), models / "vessels.onnx")
    save_tensors(
        {k: v.half() for k, v in load_file(pose / "pose.safetensors").items()}, models / "pose.safetensors"
    )
    if (pose / "pose.onnx").resolve() != (models / "pose.onnx").resolve():
        shutil.copyfile(pose / "pose.onnx", models / "pose.onnx")


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the exporter's notes, which name files of the machine that trained."""
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        value.ClearField("metadata_props")
    model.graph.ClearField("metadata_props")
    return model


def network_of(out: Path, network: NetworkConfig) -> OnnxBackend:
    """The exported network of a bundle that is not finished yet."""
    unfinished = Metadata(
        name=NAME,
        version="0.0.0",
        intended_use=INTENDED_USE,
        trained_on="unfinished",
        input_format=INPUT_FORMAT,
        network=network,
        study=Calibration(),
        sites={},
        study_threshold=1.0,
        site_threshold=1.0,
    )
    write_metadata(out, unfinished)
    seal(out)
    return OnnxBackend(load_bundle(out), torch.get_num_threads())


def finish_bundle(
    out: Path,
    readings: Readings,
    config: ReaderConfig,
    network: NetworkConfig,
    *,
    version: str,
    trained_on: str,
) -> dict[str, float]:
    """Train the reader, calibrate, set thresholds, store parity cases, seal; returns the internal figures."""
    logits = out_of_fold(readings, config)
    any_site = readings.sites.max(axis=1)
    study = fit_platt(logits[:, -1], any_site)
    sites = {s: _site_calibration(s, logits, readings) for s in Segment}
    p = 1 / (1 + np.exp(-(study.slope * logits[:, -1] + study.offset)))
    metadata = Metadata(
        name=NAME,
        version=version,
        intended_use=INTENDED_USE,
        trained_on=trained_on,
        input_format=INPUT_FORMAT,
        network=network,
        study=study,
        sites=sites,
        study_threshold=round(float(np.quantile(p[any_site == 0], config.specificity)), 4),
        site_threshold=config.site_threshold,
    )
    save_arrays(train_reader(readings, config), out / "models" / "reader.safetensors")
    write_metadata(out, metadata)
    _store_parity(out, config)
    seal(out)
    return {
        "patients": float(len(any_site)),
        "auc": _auc(p[any_site == 1], p[any_site == 0]),
        "sensitivity": float((p[any_site == 1] >= metadata.study_threshold).mean()),
        "study_threshold": metadata.study_threshold,
    }


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
    kept: list[tuple[npt.NDArray[np.int16], npt.NDArray[np.int16], bool, Detection]] = []
    for n, path in enumerate(files[:PARITY_CANDIDATES]):
        cta, ncct = _parity_input(path)
        has = n % 2 == 0
        answer = detector.detect(cta.astype(np.float32), ncct.astype(np.float32) if has else None)
        # At the threshold the last bits would decide, and they differ between devices.
        clear = abs(answer.probability - detector.bundle.metadata.study_threshold) > PARITY_MARGIN
        alike = [h for _, _, h, a in kept if a.suspected == answer.suspected]
        if clear and len(alike) < PARITY_CASES // 2 and alike.count(has) < (PARITY_CASES // 2 + 1) // 2:
            kept.append((cta, ncct, has, answer))
        if len(kept) == PARITY_CASES:
            break
    np.savez_compressed(
        out / "parity" / "cases.npz",
        cta=np.stack([cta for cta, _, _, _ in kept]),
        ncct=np.stack([ncct for _, ncct, _, _ in kept]),
        has_ncct=np.array([has for _, _, has, _ in kept]),
        study=np.array([a.probability for *_, a in kept]),
        sites=np.array([[p for _, _, p in a.segments] for *_, a in kept]),
        suspected=np.array([a.suspected for *_, a in kept]),
    )


def _parity_input(path: Path) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """CTA and NCCT of a pool patient on HEAD_BOX, without the noise in the last bits: it packs well."""
    with np.load(path) as item:
        cta: npt.NDArray[np.int16] = item["cta"] // 16 * 16
        ncct: npt.NDArray[np.int16] = (item["ncct"] // 4 * 4).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    return cta, ncct


def _auc(positive: npt.NDArray[np.float64], negative: npt.NDArray[np.float64]) -> float:
    return float(
        (positive[:, None] > negative[None]).mean() + 0.5 * (positive[:, None] == negative[None]).mean()
    )
