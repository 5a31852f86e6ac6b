"""Arithmetic of an ONNX graph: what its convolutions and matrix products must compute."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path

import onnx

Shapes = Mapping[str, tuple[int, ...]]


def count_flops(model: Path | onnx.ModelProto) -> int:
    """Floating-point operations of one run, two per multiply-add; norms, sums and copies are not counted.

    Raises
    ------
    ValueError
        A shape that is needed cannot be inferred.
    """
    graph = onnx.shape_inference.infer_shapes(onnx.load(model) if isinstance(model, Path) else model).graph
    known = [*graph.input, *graph.value_info, *graph.output]
    shapes = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in known}
    shapes |= {t.name: tuple(t.dims) for t in graph.initializer}
    return sum(_node_flops(node, shapes) for node in graph.node)


def _node_flops(node: onnx.NodeProto, shapes: Shapes) -> int:
    if node.op_type not in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
        return 0
    first, second = (_shape(name, shapes) for name in node.input[:2])
    if node.op_type == "Conv":  # weight (out, in / groups, kernel ...)
        return 2 * prod(_shape(node.output[0], shapes)) * prod(second[1:])
    if node.op_type == "ConvTranspose":  # weight (in, out / groups, kernel ...): every input voxel is spread
        return 2 * prod(first) * prod(second[1:])
    turned = any(a.name == "transA" and a.i for a in node.attribute)
    inner = first[-2] if turned else first[-1]
    return 2 * prod(_shape(node.output[0], shapes)) * inner


def _shape(name: str, shapes: Shapes) -> tuple[int, ...]:
    shape = shapes.get(name, (0,))
    if not all(shape):
        raise ValueError(f"the shape of {name} is not known")
    return shape
