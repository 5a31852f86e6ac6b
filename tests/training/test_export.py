"""What is exported: weights in half precision, and rows stored once, where that changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("monai", reason="training needs monai: install the 'train' extra")

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from lvo.training.export import _halved, _thinned


def weighed(**weights: np.ndarray) -> onnx.ModelProto:
    """A model that adds its weights to its input."""
    nodes, total = [], "x"
    for name in weights:
        nodes.append(helper.make_node("Add", [total, name], [f"{name}.sum"]))
        total = f"{name}.sum"
    shape = next(iter(weights.values())).shape
    graph = helper.make_graph(
        nodes,
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(total, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def answer(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def test_only_weights_that_lose_nothing_are_stored_in_half_precision() -> None:
    rng = np.random.default_rng(0)
    x, fine = (rng.normal(size=5000).astype(np.float32) for _ in range(2))
    model = weighed(rounded=fine.astype(np.float16).astype(np.float32), fine=fine)
    before, size = answer(model, x), model.ByteSize()
    after = _halved(model)
    np.testing.assert_array_equal(answer(after, x), before)
    kinds = {w.name: w.data_type for w in after.graph.initializer}
    assert kinds == {"rounded.half": TensorProto.FLOAT16, "fine": TensorProto.FLOAT}
    assert after.ByteSize() < 0.77 * size


def test_what_is_the_same_along_an_axis_is_stored_once() -> None:
    rng = np.random.default_rng(0)
    x, other = (rng.normal(size=(40, 30, 40)).astype(np.float32) for _ in range(2))
    row = np.broadcast_to(np.linspace(-1, 1, 30, dtype=np.float32)[:, None], x.shape)
    model = weighed(place=np.ascontiguousarray(row), all_alike=np.full_like(x, 2), other=other)
    before, size = answer(model, x), model.ByteSize()
    after = _thinned(model)
    np.testing.assert_array_equal(answer(after, x), before)
    assert {w.name: tuple(w.dims) for w in after.graph.initializer if not w.name.endswith(".shape")} == {
        "place.row": (1, 30, 1),
        "all_alike.row": (1, 1, 1),
        "other": x.shape,
    }
    assert after.ByteSize() < 0.4 * size
