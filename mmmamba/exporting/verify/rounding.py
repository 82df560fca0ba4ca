"""How exact float32 itself is: a model in PyTorch's float32 beside the same in float64.

Deep models gather rounding errors, and a few values of a map may be off by more than any limit that
fits all models. A file that is no further off is not wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch

from ..graphs import Graph
from .batches import Batch
from .checks import relative_error

TASKS = ("backbone", "segmentation", "classification")
"""Those whose every part can be computed in float64."""


def rounding_errors(graph: Graph, batches: Sequence[Batch]) -> dict[str, float]:
    """The largest error of each output in float32, as a share of its spread."""
    exact = copy.deepcopy(graph).double()
    largest = dict.fromkeys(graph.output_names, 0.0)
    for batch in batches:
        for name, given, wanted in zip(
            graph.output_names, _run(graph, batch, torch.float32), _run(exact, batch, torch.float64)
        ):
            largest[name] = max(largest[name], relative_error(wanted, given))
    return largest


def _run(graph: Graph, batch: Batch, dtype: torch.dtype) -> list[np.ndarray]:
    device = next(graph.parameters(), torch.empty(0)).device
    tensors = [torch.from_numpy(batch.inputs[name]).to(device) for name in graph.input_names]
    inputs = [one.to(dtype) if one.is_floating_point() else one for one in tensors]
    with torch.no_grad():
        return [one.cpu().numpy() for one in graph(*inputs)]
