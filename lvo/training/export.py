"""Trained networks as the files of a bundle: ONNX, and the same weights for torch."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import load_file
from safetensors.torch import save_file as save_tensors
from torch import nn

from lvo.detector.bundle import NetworkConfig
from lvo.detector.evidence import EVIDENCE_GRID
from lvo.detector.torch_network import make_network
from lvo.detector.torch_tissue import TissueNet
from lvo.imaging.resample import HEAD_BOX
from lvo.training.checkpoint import weights_of

_LARGE = 1000
"""Numbers of a tensor from which it is worth storing in half precision."""


def export_vessels(trained: Path, out: Path, network: NetworkConfig) -> None:
    """Write the vessel network of a bundle.

    Parameters
    ----------
    trained : a training run, whose newest running average is released, or a file of weights.
    """
    body = make_network(network)
    body.load_state_dict(weights_of(trained))
    _export(body, "vessels", ["logits"], out)


def export_tissue(network: TissueNet, out: Path) -> None:
    """Write the tissue network of a bundle."""
    _export(network, "tissue", ["starved", "deficit"], out)


def take_over(name: str, source: Path, out: Path) -> None:
    """Write a network of a bundle as it was exported before, its weights in half precision.

    Parameters
    ----------
    name : ``pose`` or ``tissue``.
    source : folder with its ``.onnx`` and ``.safetensors``.
    """
    models = out / "models"
    models.mkdir(parents=True, exist_ok=True)
    weights = {k: v.half() for k, v in load_file(source / f"{name}.safetensors").items()}
    save_tensors(weights, models / f"{name}.safetensors")
    if source.resolve() != models.resolve():
        shutil.copyfile(source / f"{name}.onnx", models / f"{name}.onnx")


def _export(network: nn.Module, name: str, outputs: list[str], out: Path) -> None:
    """``models/NAME.onnx`` and ``.safetensors``; weights are rounded first, so that both hold the same."""
    models = out / "models"
    models.mkdir(parents=True, exist_ok=True)
    weights = {k: v.half().contiguous() for k, v in network.state_dict().items()}
    save_tensors(weights, models / f"{name}.safetensors")
    network.load_state_dict({k: v.float() for k, v in weights.items()})
    small, box = EVIDENCE_GRID.shape, HEAD_BOX.shape
    program = torch.onnx.export(
        network.eval(),
        (torch.zeros(1, 1, *box), torch.zeros(1, 1, *small), torch.ones(1, 1)),
        input_names=["cta", "ncct", "has_ncct"],
        output_names=outputs,
        dynamo=True,
        external_data=False,
    )
    assert program is not None
    onnx.save(_halved(_thinned(_without_traces(program.model_proto))), models / f"{name}.onnx")


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the exporter's notes, which name files of the machine that trained."""
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        value.ClearField("metadata_props")
    model.graph.ClearField("metadata_props")
    return model


def _thinned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store one row of what is the same along an axis, as coordinates are; running widens it again."""
    widen = []
    for stored in model.graph.initializer:
        value = onnx.numpy_helper.to_array(stored)
        row = value
        for axis in range(value.ndim):
            first = row.take([0], axis)
            row = first if (row == first).all() else row
        if value.size < _LARGE * max(row.size, 1):
            continue
        name, shape = stored.name, np.array(value.shape, np.int64)
        stored.CopyFrom(onnx.numpy_helper.from_array(row, f"{name}.row"))
        widen.append((name, shape))
    for name, shape in widen:
        model.graph.initializer.append(onnx.numpy_helper.from_array(shape, f"{name}.shape"))
        node = onnx.helper.make_node("Expand", [f"{name}.row", f"{name}.shape"], [name])
        model.graph.node.insert(0, node)
    return model


def _halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store in half precision the weights that lose nothing by it; loading widens them again."""
    widen = []
    for stored in model.graph.initializer:
        value = onnx.numpy_helper.to_array(stored)
        if value.dtype != np.float32 or value.size < _LARGE or (value.astype(np.float16) != value).any():
            continue
        name = stored.name
        stored.CopyFrom(onnx.numpy_helper.from_array(value.astype(np.float16), f"{name}.half"))
        widen.append(onnx.helper.make_node("Cast", [stored.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*widen, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
