"""An ONNX model of an exported program: our operators lowered, what is constant computed."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch.export import ExportedProgram

from ..graphs.base import IMAGES, Graph
from . import detection, pooling, symbols
from .parts import split_weights

if TYPE_CHECKING:
    import onnx_ir as ir

OPSET = 20
"""The newest that OpenVINO reads whole, and the first that has GELU and 2-D `GridSample`."""
LARGEST = 2**30
"""Bytes of a tensor that is computed beforehand where all that it depends on is constant."""

TRANSLATIONS = {**detection.TRANSLATIONS, **pooling.TRANSLATIONS, **symbols.TRANSLATIONS}
"""What takes the place of PyTorch's own translation of operators."""


def to_onnx(program: ExportedProgram, graph: Graph) -> ir.Model:
    """The model, with the graph's names for inputs and outputs, free sides named B, H and W."""
    # Gradients would be traced too, of each turn of a scan.
    with _quiet(), torch.no_grad():
        made = torch.onnx.export(
            program,
            dynamo=True,
            optimize=False,
            verbose=False,
            opset_version=OPSET,
            input_names=list(graph.input_names),
            output_names=list(graph.output_names),
            custom_translation_table=TRANSLATIONS,
        )
        assert made is not None
        model = made.model
        _simplify(model)
    _name_sides(model)
    return model


def _simplify(model: ir.Model) -> None:
    """Computes what is constant, and drops what is double or not read."""
    from onnx_ir.passes import Sequential, common
    from onnxscript import optimizer

    Sequential(common.InlinePass(), common.IdentityEliminationPass())(model)
    limits = dict(input_size_limit=LARGEST, output_size_limit=LARGEST)
    optimizer.fold_constants(model, onnx_shape_inference=True, **limits)
    # Splits are found only now, among sequences; what reads the parts is constant as well.
    if split_weights(model):
        optimizer.fold_constants(model, onnx_shape_inference=True, **limits)
    Sequential(
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.LiftSubgraphInitializersToMainGraphPass(),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )(model)
    # Where in which module each node comes from: 1.5 of the 34 MiB of a MobileMamba-T2.
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    for value in model.graph.initializers.values():
        value.metadata_props.clear()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on its own work, which a user can do nothing about."""
    names = ("onnxscript", "onnx_ir", "torch.onnx")
    loggers = [logging.getLogger(name) for name in names]
    levels = [one.level for one in loggers]
    try:
        for one in loggers:
            one.setLevel(logging.ERROR)
        yield
    finally:
        for one, level in zip(loggers, levels):
            one.setLevel(level)


def _name_sides(model: ir.Model) -> None:
    """Free sides of the images get the names that a reader knows."""
    import onnx_ir as ir

    for value in model.graph.inputs:
        if value.shape is None:
            continue
        names = ("B", None, "H", "W") if value.name == IMAGES else ("B",)
        for axis, (side, name) in enumerate(zip(tuple(value.shape), names)):
            if not isinstance(side, int) and name is not None:
                value.shape[axis] = ir.SymbolicDim(name)
