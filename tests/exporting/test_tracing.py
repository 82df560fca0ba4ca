"""Programs for every size that a network takes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mmmamba.exporting.graphs import Graph
from mmmamba.exporting.tracing import trace
from mmmamba.ops import selective_scan


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


class Grouped(Graph):
    """Rows in groups of eight, of which the traced map has one."""

    task = "backbone"
    output_names = ("map0",)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        groups = (inputs[0].shape[2] + 7) // 8
        padded = nn.functional.pad(inputs[0], (0, 0, 0, groups * 8 - inputs[0].shape[2]))
        return (padded.unflatten(2, (groups, 8)).sum(2) + torch.zeros(groups).sum(),)


def test_a_length_that_is_one_when_traced_is_told() -> None:
    with pytest.raises(RuntimeError, match="a length is fixed to that of the traced inputs"):
        trace(Grouped(), [torch.zeros(2, 3, 7, 9)], dynamic=True)
    graph, images = Grouped(), torch.randn(1, 3, 30, 5)
    program = trace(graph, [torch.zeros(2, 3, 17, 9)], dynamic=True).module()
    assert torch.allclose(program(images)[0], graph(images)[0])


class Scanned(Graph):
    """A scan of a row of pixels after the other, cut into segments."""

    task = "backbone"
    output_names = ("map0",)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        x_BLKD = inputs[0].flatten(2).transpose(1, 2)[:, :, None]
        A_KDN = -torch.ones(1, 3, 1)
        states = x_BLKD[..., :1]
        return (selective_scan(x_BLKD, x_BLKD.sigmoid(), A_KDN, states, states),)


def test_longer_scans_than_the_traced_one() -> None:
    program = trace(Scanned(), [torch.zeros(2, 3, 4, 3)], dynamic=True).module()
    images = torch.randn(1, 3, 11, 13)
    torch.testing.assert_close(program(images)[0], Scanned()(images)[0])
