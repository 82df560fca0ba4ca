"""From a graph to PyTorch's exported program."""

import re
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from ..ops.lowering import lowering
from .graphs.base import IMAGES, Graph

FIXED = re.compile(r".*[^!<>=]== [1-9]\d*")
"""A condition that something is a certain number."""


def trace(
    graph: Graph,
    inputs: Sequence[Tensor],
    dynamic: bool = False,
    lowered: bool = True,
    unrolled: bool = False,
    multiple: int = 1,
) -> ExportedProgram:
    """The program of a graph in evaluation mode.

    Args:
        inputs: that the program is traced with, and fixed to if it is not dynamic.
        dynamic: for any height, width and batch. The inputs are then two images or more, with odd
            and different sides: a side of 1, or two equal ones, would be taken for a rule.
        lowered: made of operators that other compilers know, for who has no mmmamba; else with
            ours, which have kernels.
        unrolled: lowered for a compiler of PyTorch's, as in `ops.lowering`.
        multiple: that heights and widths of images are of, where the program is dynamic. Necks that
            enlarge maps and put them beside larger ones fit for no others.

    Raises:
        torch._dynamo.exc.UserError: a part that does not work at every size.
    """
    shapes = None
    if dynamic:
        each = [
            _any_size(multiple) if name == IMAGES else _any_batch() for name in graph.input_names
        ]
        # One level more, as `forward` takes its inputs by a star.
        shapes = (tuple(each),)
    with torch.no_grad(), lowering(unrolled) if lowered else nullcontext():
        program = torch.export.export(
            graph.eval(), tuple(inputs), dynamic_shapes=shapes, strict=False
        )
    if dynamic:
        _check_free(program)
    # Each pass over the program would evaluate them all again: hundreds of conditions on sides, of
    # megabytes in all. Runtimes check the shapes that they are given themselves.
    program._guards_code.clear()
    return program


def _check_free(program: ExportedProgram) -> None:
    """Make sure that no length within a program is a number because the traced inputs made it one.

    PyTorch takes lengths of 1 for always 1, and says so only in conditions on the inputs.

    Raises:
        RuntimeError: there is such a length; a fault of the model's code here.
    """
    fixed = [one for one in program._guards_code if FIXED.fullmatch(one) and " or " not in one]
    if fixed:
        raise RuntimeError(
            "a program for every size was traced in which a length is fixed to that of the traced "
            f"inputs: {'; '.join(fixed)[:500]}. What is computed there must not be 1 for them"
        )


def _any_size(multiple: int) -> dict[int, object]:
    if multiple == 1:
        return {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    return {0: Dim.DYNAMIC, 2: multiple * Dim("rows"), 3: multiple * Dim("columns")}


def _any_batch() -> dict[int, object]:
    return {0: Dim.DYNAMIC}
