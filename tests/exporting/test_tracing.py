"""Programs for every size that a network takes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mmmamba.exporting.graphs import Graph
from mmmamba.exporting.tracing import trace


class Beside(Graph):
    """A map, made half as large and enlarged again, and the image beside it."""

    task = "backbone"
    output_names = ("map0",)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, 2, 1)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        larger = nn.functional.interpolate(self.conv(inputs[0]), scale_factor=2.0)
        return (torch.cat([larger, inputs[0]], dim=1),)


def test_a_network_for_multiples_of_a_side_alone() -> None:
    graph = Beside()
    with pytest.raises(RuntimeError, match="must match"):
        trace(graph, [torch.zeros(2, 3, 33, 27)], dynamic=True)
    program = trace(graph, [torch.zeros(2, 3, 32, 28)], dynamic=True, multiple=2).module()
    for shape in ((1, 3, 18, 40), (3, 3, 64, 6)):
        images = torch.randn(shape)
        assert torch.allclose(program(images)[0], graph(images)[0], atol=1e-6)
