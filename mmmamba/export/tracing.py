"""From a graph to PyTorch's exported program, with our operators lowered for who lacks them."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from ..ops.deformable_sampling import lowered_sampling
from ..ops.routes.traced import traced_derived_table, traced_table
from ..ops.selective_scan.lowered import lowered_scan
from .graphs.base import IMAGES, Graph


def trace(graph: Graph, inputs: Sequence[Tensor], dynamic: bool = False) -> ExportedProgram:
    """The program of a graph in evaluation mode, with our operators in it.

    Args:
        inputs: that the program is traced with, and fixed to if it is not dynamic.
        dynamic: for any height, width and batch. The inputs are then two images or more, with odd
            and different sides: a side of 1, or two equal ones, would be taken for a rule.

    Raises:
        torch._dynamo.exc.UserError: a part that does not work at every size.
    """
    shapes = None
    if dynamic:
        each = [_any_size if name == IMAGES else _any_batch for name in graph.input_names]
        # One level more, as `forward` takes its inputs by a star.
        shapes = (tuple(any_of() for any_of in each),)
    with torch.no_grad():
        return torch.export.export(
            graph.eval(), tuple(inputs), dynamic_shapes=shapes, strict=False
        )


def _any_size() -> dict[int, object]:
    return {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}


def _any_batch() -> dict[int, object]:
    return {0: Dim.DYNAMIC}


def lower(program: ExportedProgram, further: Mapping[object, Callable] | None = None):
    """The program without our operators.

    Args:
        further: more operators and what takes their place.
    """
    return program.run_decompositions({**LOWERED, **(further or {})})


def _scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    bias: Tensor | None,
    index: Tensor | None,
    delta_softplus: bool,
    merge: bool,
    out_dtype: torch.dtype,
    keep_states: bool,
    index_complete: bool,
    backend: str,
) -> tuple[Tensor, Tensor]:
    y = lowered_scan(
        u, delta, A, B, C, D, bias, index, delta_softplus, merge, out_dtype, index_complete
    )
    return y, y.new_empty(0)


def _table(names: str, height: int, width: int, device: torch.device) -> Tensor:
    return traced_table(names.split(), height, width).to(device)


def _derived_table(
    kind: str, names: str, height: int, width: int, device: torch.device
) -> Tensor:
    return traced_derived_table(kind, names.split(), height, width).to(device)


LOWERED: dict[object, Callable] = {
    torch.ops.mmmamba.selective_scan.default: _scan,
    torch.ops.mmmamba.route_table.default: _table,
    torch.ops.mmmamba.derived_route_table.default: _derived_table,
    torch.ops.mmmamba.deformable_sampling.default: lowered_sampling,
}
"""Our operators in the forward pass of a backbone, by what computes the same."""
