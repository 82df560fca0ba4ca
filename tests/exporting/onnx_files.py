"""ONNX files made by hand, whose results are known exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mmmamba.exporting.metadata import Inputs, Metadata

CLASSES = ("blue", "green", "red")
THRESHOLD = 128.0
PALETTE = ((40, 80, 220), (40, 160, 60), (220, 50, 50))


def write_detector(
    path: Path, masks: bool = False, classes: Any = CLASSES, labels: bool = True, **inputs: Any
) -> Path:
    """A file that finds the rectangle of bright pixels of an image; its class is its channel.

    The second of its two places is empty.

    Args:
        labels: otherwise it gives boxes and scores alone, as those of all places are.
    """
    node = helper.make_node
    nodes = [
        node("Greater", ["images", "threshold"], ["bright_B3HW"]),
        node("Cast", ["bright_B3HW"], ["bright"], to=TensorProto.FLOAT),
        node("ReduceMax", ["bright", "across"], ["rows_BH"], keepdims=0),
        node("ReduceMax", ["bright", "down"], ["columns_BW"], keepdims=0),
        node("ReduceMax", ["bright", "within"], ["channels_BC"], keepdims=0),
        node("ArgMax", ["columns_BW"], ["x1"], axis=1),
        node("ArgMax", ["rows_BH"], ["y1"], axis=1),
        node("ArgMax", ["columns_BW"], ["right"], axis=1, select_last_index=1),
        node("ArgMax", ["rows_BH"], ["bottom"], axis=1, select_last_index=1),
        node("Add", ["right", "one"], ["x2"]),
        node("Add", ["bottom", "one"], ["y2"]),
        node("Concat", ["x1", "y1", "x2", "y2"], ["corners_B4"], axis=1),
        # Boxes end at the image, whose sizes are height and width.
        node("Gather", ["image_sizes", "limits"], ["limit_B4"], axis=1),
        node("Min", ["corners_B4", "limit_B4"], ["clipped_B4"]),
        node("Cast", ["clipped_B4"], ["box_B4"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["box_B4", "one"], ["box_B14"]),
        node("Pad", ["box_B14", "one_more", "zero"], ["boxes"]),
        node("ReduceMax", ["channels_BC", "one"], ["found_B1"], keepdims=1),
        node("Mul", ["found_B1", "share"], ["score_B1"]),
        node("Pad", ["score_B1", "one_behind", "zero"], ["scores"]),
        node("ArgMax", ["channels_BC"], ["label_B1"], axis=1),
        node("Cast", ["found_B1"], ["is_there"], to=TensorProto.BOOL),
        node("Where", ["is_there", "label_B1", "none"], ["present_B1"]),
        node("Pad", ["present_B1", "one_behind", "none"], ["labels"]),
    ]
    constants = dict(
        threshold=np.float32(THRESHOLD),
        across=np.array([1, 3]),
        down=np.array([1, 2]),
        within=np.array([2, 3]),
        limits=np.array([1, 0, 1, 0]),
        one=np.array([1]),
        one_more=np.array([0, 0, 0, 0, 1, 0]),
        one_behind=np.array([0, 0, 0, 1]),
        zero=np.float32(0),
        share=np.float32(0.9),
        none=np.int64(-1),
    )
    outputs = dict(boxes=TensorProto.FLOAT, scores=TensorProto.FLOAT, labels=TensorProto.INT64)
    if masks:
        # The left half of each box.
        half = np.zeros((1, 1, 28, 28), np.float32)
        half[..., :14] = 1
        constants |= dict(half=half, ends=np.array([1, 1]))
        nodes += [
            node("Shape", ["scores"], ["rows"]),
            node("Concat", ["rows", "ends"], ["shape"], axis=0),
            node("Expand", ["half", "shape"], ["masks"]),
        ]
        outputs["masks"] = TensorProto.FLOAT
    if not labels:
        del outputs["labels"]
    names = ("images", "image_sizes")
    metadata = _metadata("detection", outputs, inputs | dict(names=names), classes)
    return _write(path, nodes, constants, outputs, metadata)


def write_segmentor(path: Path, logits: bool = False, **inputs: Any) -> Path:
    """A file that tells nothing (0) and bright blue, green and red (1 to 3) pixels apart."""
    node = helper.make_node
    nodes = [
        node("Gather", ["images", "first"], ["one_B1HW"], axis=1),
        node("Mul", ["one_B1HW", "zero"], ["nothing_B1HW"]),
        node("Add", ["nothing_B1HW", "threshold"], ["background_B1HW"]),
        node("Concat", ["background_B1HW", "images"], ["logits"], axis=1),
    ]
    constants = dict(first=np.array([0]), zero=np.float32(0), threshold=np.float32(THRESHOLD))
    outputs = dict(logits=TensorProto.FLOAT)
    if not logits:
        nodes.append(node("ArgMax", ["logits"], ["labels"], axis=1, keepdims=0))
        outputs = dict(labels=TensorProto.INT64)
    metadata = _metadata("segmentation", outputs, inputs, ("nothing", *CLASSES))
    return _write(path, nodes, constants, outputs, metadata)


def write_backbone(path: Path, **inputs: Any) -> Path:
    """A file whose map is the image at half its size."""
    nodes = [
        helper.make_node("AveragePool", ["images"], ["map0"], kernel_shape=[2, 2], strides=[2, 2])
    ]
    outputs = dict(map0=TensorProto.FLOAT)
    return _write(path, nodes, {}, outputs, _metadata("backbone", outputs, inputs, ()))


def write_foreign(path: Path) -> Path:
    """A good ONNX file that says nothing of itself."""
    write_backbone(path)
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    return path


def _metadata(task: str, outputs: Any, inputs: dict[str, Any], classes: Any) -> Metadata:
    inputs = dict(channel_order="bgr", batch=None) | inputs
    return Metadata(
        format="onnx",
        task=task,
        inputs=Inputs(**inputs),
        outputs=tuple(outputs),
        classes=tuple(classes),
        palette=PALETTE if len(classes) == len(PALETTE) else ((0, 0, 0), *PALETTE),
        mask_threshold=0.5,
    )


def _write(
    path: Path, nodes: list, constants: dict, outputs: dict[str, int], metadata: Metadata
) -> Path:
    kinds = dict(images=TensorProto.FLOAT, image_sizes=TensorProto.INT64)
    taken = []
    for name in metadata.inputs.names:
        taken.append(helper.make_tensor_value_info(name, kinds[name], metadata.inputs.shape(name)))
    ranks = dict(boxes=3, scores=2, masks=4, logits=4, map0=4)
    # Label maps have one more than labels of boxes.
    ranks["labels"] = 2 if metadata.task == "detection" else 3
    given = []
    for name, kind in outputs.items():
        given.append(helper.make_tensor_value_info(name, kind, [None] * ranks[name]))
    held = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    graph = helper.make_graph(nodes, "by_hand", taken, given, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, metadata.to_strings())
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path
