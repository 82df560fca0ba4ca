"""Suppression as a loop keeps what the operator keeps, of as many boxes as are taken."""

from __future__ import annotations

import pytest
import torch

from mmmamba.ops.grouped_nms import grouped_nms, suppress_op
from mmmamba.ops.lowered_nms import lowered_nms
from mmmamba.ops.lowering import lowering

from .test_grouped_nms import groups


@pytest.mark.parametrize("length", [1, 31, 200])
@pytest.mark.parametrize("most", [None, 7])
def test_it_equals_the_operator(length: int, most: int | None) -> None:
    boxes = groups(3, length)
    # A box without area takes nobody's turn.
    flat = (boxes[..., 2:] <= boxes[..., :2]).any(-1)
    want = suppress_op(boxes, 0.5) & ~flat
    first = want & (want.cumsum(1) <= (most or length))
    assert torch.equal(lowered_nms(boxes, 0.5, most), first | flat)


def test_one_program_for_all_lengths() -> None:
    class Suppress(torch.nn.Module):
        def forward(self, boxes, count):
            return grouped_nms(boxes, 0.5, count, 20)

    sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    shapes = (sizes, {0: torch.export.Dim.DYNAMIC})
    with torch.no_grad(), lowering(unrolled=True):
        program = torch.export.export(
            Suppress(), (groups(3, 50), torch.tensor([50, 20, 7])), dynamic_shapes=shapes
        )
    boxes, count = groups(2, 90), torch.tensor([80, 33])
    want, got = grouped_nms(boxes, 0.5, count), program.module()(boxes, count)
    taken = want & (want.cumsum(1) <= 20)
    assert torch.equal(got & taken, taken)
    assert torch.equal(got & (got.cumsum(1) <= 20), taken)
