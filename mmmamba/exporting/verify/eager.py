"""What PyTorch computes, that files are compared with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from ..graphs import Graph


def run_graph(graph: Graph, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of a graph in PyTorch, on the device that it is on."""
    weight = next(graph.parameters(), torch.empty(0))
    tensors = [torch.from_numpy(inputs[name]).to(weight.device) for name in graph.input_names]
    with torch.no_grad():
        found = graph(*tensors)
    return {name: one.cpu().numpy() for name, one in zip(graph.output_names, found)}
