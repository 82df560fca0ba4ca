"""Programs of `torch.export`: with our operators, or of PyTorch's alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from ..errors import UsageError
from .graphs import Graph
from .tracing import trace

NEEDS = "needs.txt"
"""The extra file of a program that says what has to be imported before it is loaded."""
OURS = "import mmmamba.ops, then torch.export.load: the program calls operators of mmmamba"
VISION = "import torchvision, then torch.export.load: the program calls operators of torchvision"
ALONE = "PyTorch alone"


def torch_program(
    graph: Graph, inputs: Sequence[Tensor], dynamic: bool = False, standalone: bool = False
) -> ExportedProgram:
    """The program of a graph, for `torch.export.save` or AOTInductor.

    Args:
        inputs: on the device that the program is for.
        standalone: of PyTorch's operators alone, for who has no mmmamba; two-stage detectors also
            call torchvision's RoIAlign. Else scans are our operators: their kernels are the
            faster, on a CPU and on a GPU.

    Raises:
        UsageError: a part of it has no form in PyTorch's operators.
    """
    program = trace(graph, inputs, dynamic, lowered=standalone, unrolled=standalone)
    if standalone:
        check_alone(program)
    return program


def our_operators(program: ExportedProgram) -> list[str]:
    """The names of operators of mmmamba that a program calls."""
    return sorted(set(_operators(program.graph_module, "mmmamba")))


def _operators(module: fx.GraphModule, namespace: str) -> Iterator[str]:
    for part in module.modules():
        if isinstance(part, fx.GraphModule):
            targets = (node.target for node in part.graph.nodes)
            operators = (one for one in targets if isinstance(one, torch._ops.OpOverload))
            yield from (one.name() for one in operators if one.namespace == namespace)


def check_alone(program: ExportedProgram) -> None:
    """Make sure that a program needs PyTorch alone.

    Raises:
        UsageError: it calls operators of mmmamba; says why.
    """
    operators = our_operators(program)
    if not operators:
        return
    raise UsageError(
        f"a file that needs PyTorch alone cannot hold this model: {', '.join(operators)}. Write "
        "--no-standalone, and mmmamba is imported where it is loaded; or --format onnx"
    )


def save_program(program: ExportedProgram, path: Path) -> None:
    """Write a `.pt2`, which says what it needs."""
    needs = VISION if any(_operators(program.graph_module, "torchvision")) else ALONE
    needs = OURS if our_operators(program) else needs
    torch.export.save(program, path, extra_files={NEEDS: needs})
