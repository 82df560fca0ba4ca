"""Small graphs, and ONNX files of them made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from mmmamba.exporting.graphs import Graph
from mmmamba.exporting.metadata import Inputs, Metadata

TYPES = dict(images=TensorProto.FLOAT, image_sizes=TensorProto.INT64)


class Conv(Graph):
    """One convolution of stride 2, as a backbone of one map."""

    task = "backbone"
    output_names = ("map0",)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.conv(inputs[0]),)


def conv_metadata(**changes: Any) -> Metadata:
    """What a file of `Conv` says; fields of `Inputs` and of `Metadata` as they are wanted."""
    own = {key: changes.pop(key) for key in list(changes) if key in Metadata.__dataclass_fields__}
    inputs = Inputs(resize="stretch", scale=(64, 48), mean=(100.0,) * 3, std=(50.0,) * 3)
    values = dict(format="onnx", task="backbone", outputs=("map0",)) | own
    return Metadata(inputs=replace(inputs, **changes), **values)


def write_conv(
    path: Path, metadata: Metadata, graph: Conv | None = None, held: bool = True
) -> Path:
    """An ONNX file of `Conv`, with its metadata or without."""
    graph = graph or Conv()
    weights = dict(w=graph.conv.weight, b=graph.conv.bias)
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["map0"], strides=[2, 2], pads=[1, 1, 1, 1])
    ]
    outputs = [helper.make_tensor_value_info("map0", TensorProto.FLOAT, [None] * 4)]
    constants = {name: weight.detach().numpy() for name, weight in weights.items()}
    return write_onnx(path, metadata, nodes, outputs, constants, held)


def write_bright(path: Path, metadata: Metadata) -> Path:
    """A detector that finds the bright rectangle of an image, cut at `image_sizes`."""
    make = helper.make_node
    nodes = [
        make("ReduceMax", ["images", "one"], ["light"], keepdims=0),
        make("Greater", ["light", "half"], ["is_bright"]),
        make("Cast", ["is_bright"], ["bright"], to=TensorProto.FLOAT),
        make("ReduceMax", ["bright", "one"], ["columns"], keepdims=0),
        make("ReduceMax", ["bright", "two"], ["rows"], keepdims=0),
    ]
    corners = []
    for name, line in (("x", "columns"), ("y", "rows")):
        nodes += [
            make("ArgMax", [line], [f"{name}1"], axis=1),
            make("ArgMax", [line], [f"{name}_last"], axis=1, select_last_index=1),
            make("Add", [f"{name}_last", "one"], [f"{name}2"]),
        ]
        corners += [f"{name}1", f"{name}2"]
    x1, x2, y1, y2 = corners
    nodes += [
        make("Concat", [x1, y1, x2, y2], ["all_corners"], axis=1),
        make("Gather", ["image_sizes", "limits"], ["most"], axis=1),
        make("Min", ["all_corners", "most"], ["cut"]),
        make("Cast", ["cut"], ["flat"], to=TensorProto.FLOAT),
        make("Unsqueeze", ["flat", "one"], ["boxes"]),
        make("ReduceMax", ["rows", "one"], ["found"], keepdims=1),
        make("Mul", ["found", "share"], ["scores"]),
        make("Cast", ["found"], ["labels"], to=TensorProto.INT64),
    ]
    constants = dict(
        one=np.array([1]),
        two=np.array([2]),
        half=np.float32(0.5),
        limits=np.array([1, 0, 1, 0]),
        share=np.float32(0.75),
    )
    outputs = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [None, 1, 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 1]),
        helper.make_tensor_value_info("labels", TensorProto.INT64, [None, 1]),
    ]
    return write_onnx(path, metadata, nodes, outputs, constants)


def write_onnx(
    path: Path,
    metadata: Metadata,
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: dict[str, np.ndarray],
    held: bool = True,
) -> Path:
    inputs = []
    for name in metadata.inputs.names:
        shape = metadata.inputs.shape(name)
        inputs.append(helper.make_tensor_value_info(name, TYPES[name], shape))
    weights = [
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    ]
    graph = helper.make_graph(nodes, "by_hand", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if held:
        helper.set_model_props(model, metadata.to_strings())
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path
