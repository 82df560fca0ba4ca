"""How exact float32 itself is: a model in PyTorch's float32 beside the same in float64.

Deep models gather rounding errors, and a few values of a map may be off by more than any limit that
fits all models. A file that is no further off is not wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from ..graphs import Graph
from .batches import Batch
from .checks import relative_error
from .eager import run_graph

TASKS = ("backbone", "segmentation", "saliency", "classification")
"""Those whose every part can be computed in float64."""


def rounding_errors(graph: Graph, batches: Sequence[Batch]) -> dict[str, float]:
    """The largest error of each output in float32, as a share of its spread."""
    exact = copy.deepcopy(graph).double()
    largest = dict.fromkeys(graph.output_names, 0.0)
    for batch in batches:
        found = run_graph(graph, batch.inputs)
        wanted = run_graph(exact, {name: _double(one) for name, one in batch.inputs.items()})
        for name, given in found.items():
            largest[name] = max(largest[name], relative_error(wanted[name], given))
    return largest


def _double(given: np.ndarray) -> np.ndarray:
    return given.astype(np.float64) if given.dtype.kind == "f" else given
