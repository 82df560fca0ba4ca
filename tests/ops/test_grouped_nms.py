"""Suppression in groups keeps what torchvision's keeps of each; its kernels compute the same."""

import pytest
import torch
from torchvision.ops import batched_nms

from mmmamba.ops import grouped_nms

from .interpreter import inside


def groups(count, length, seed=0):
    """Crowded boxes with duplicates, some without area, an empty group, one filled with zeros."""
    generator = torch.Generator().manual_seed(seed)
    corner = 60 * length**0.5 * torch.rand(count, length, 2, generator=generator)
    boxes = torch.cat(
        [corner, corner + 200 * torch.rand(count, length, 2, generator=generator)], dim=2
    )
    half = length // 2
    boxes[:, half:] = boxes[:, : length - half] + 6 * torch.randn(
        count, length - half, 4, generator=generator
    )
    boxes[:, 1::7] = boxes[:, ::7][:, : boxes[:, 1::7].shape[1]]
    boxes[:, ::11, 2] = boxes[:, ::11, 0]
    boxes[-1] = 0
    boxes[0, length * 2 // 3 :] = 0
    return boxes


def wanted(boxes, threshold):
    """By `batched_nms`, with a group for each level."""
    count, length = boxes.shape[:2]
    scores = torch.linspace(1, 0, length, dtype=torch.float64).repeat(count)
    group = torch.arange(count).repeat_interleave(length)
    keep = torch.zeros(count * length, dtype=torch.bool)
    # In double precision moving groups apart changes no overlap.
    keep[batched_nms(boxes.flatten(0, 1).double(), scores, group, threshold)] = True
    return keep.view(count, length)


@pytest.mark.parametrize("length", [1, 31, 400])
@pytest.mark.parametrize("threshold", [0.5, 0.7])
def test_keeps_what_torchvision_keeps(length, threshold):
    boxes = groups(4, length)
    found = grouped_nms(boxes, threshold)
    assert found.dtype == torch.bool and found.equal(wanted(boxes, threshold))
    assert length < 100 or 0.05 < found[1].float().mean() < 0.95


def test_what_is_not_there_is_not_kept():
    """Nor does it suppress anything."""
    boxes, count = groups(4, 50), torch.tensor([50, 0, 1, 33])
    found = grouped_nms(boxes, 0.5, count)
    for kept, group, number in zip(found, boxes, count):
        assert kept[:number].equal(grouped_nms(group[None, :number], 0.5)[0])
        assert not kept[number:].any()


def test_nothing_to_suppress():
    assert grouped_nms(torch.zeros(3, 0, 4), 0.7).shape == (3, 0)
    assert grouped_nms(torch.zeros(0, 5, 4), 0.7).shape == (0, 5)


@inside
@pytest.mark.parametrize(("count", "length"), [(2, 1), (3, 33), (3, 160), (0, 4), (2, 0)])
def test_kernels_keep_the_same(monkeypatch, count, length):
    from mmmamba.ops.kernels import grouped_nms as grouped_nms_triton
    from tests.ops.interpreter_memory import check_addresses

    check_addresses(monkeypatch)
    boxes = groups(count, length) if count * length else torch.zeros(count, length, 4)
    for number in (torch.full((count,), length), torch.arange(count) * length // 3):
        kept = grouped_nms_triton.kept(boxes, 0.7, number.int())
        assert kept.equal(grouped_nms(boxes, 0.7, number))


@pytest.mark.gpu
@pytest.mark.parametrize(("count", "length"), [(40, 2000), (1, 1), (7, 33), (3, 5000)])
def test_on_a_gpu(count, length):
    boxes = groups(count, length)
    there = boxes.cuda()
    found = grouped_nms(there, 0.7)
    assert found.cpu().equal(grouped_nms(boxes, 0.7))
    number = (torch.arange(count) * length // 3).clamp(max=length).cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        again = grouped_nms(there, 0.7)
        some = grouped_nms(there, 0.7, number)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert found.equal(again)
    assert some.cpu().equal(grouped_nms(boxes, 0.7, number.cpu()))


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_the_first_that_are_taken_are_the_same(most):
    """Boxes of which nearly all are suppressed, so that more have to compete than at first."""
    generator = torch.Generator().manual_seed(0)
    first = 9 * torch.rand(2, 700, 2, generator=generator)
    boxes = torch.cat([first, first + 20], dim=-1)
    every, some = grouped_nms(boxes, 0.3), grouped_nms(boxes, 0.3, most=most)
    for one, other in zip(every, some):
        assert torch.equal(one.nonzero()[:most], other.nonzero()[:most])
