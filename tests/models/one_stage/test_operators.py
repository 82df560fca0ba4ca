"""Losses of dense heads call as many operators for any batch, and none that waits for a GPU."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmcv's operators)
from mmengine.structures import InstanceData

from .cases import CLASSES, build_head, draw_maps, draw_truth, metas
from .operators import Operators

# Base config, channels of its maps and the most operators of losses, views aside: forward, and
# with backward.
HEADS = {
    "rtmdet_pafpn": ([CLASSES, 4], 140, 240),
    "yolox_pafpn": ([CLASSES, 4, 1], 155, 240),
    "yolo_dfl_pafpn": ([CLASSES, 64], 185, 300),
}
BATCHES = [[1], [40], [0], [1] * 8, [40, 0, 3, 17, 1, 0, 2, 40]]


def count(head: torch.nn.Module, channels: list[int], counts: list[int]) -> tuple[int, int]:
    maps = draw_maps(channels, len(counts))
    maps = [[level.requires_grad_() for level in levels] for levels in maps]
    truth, about = draw_truth(counts), metas(len(counts))
    # Makes the priors.
    head.loss_by_feat(*maps, truth, about)
    with Operators() as operators:
        losses = head.loss_by_feat(*maps, truth, about)
        forward = operators.count.total()
        torch.autograd.grad(sum(losses.values()), [level for levels in maps for level in levels])
    operators.check_nothing_waits()
    return forward, operators.count.total()


@pytest.mark.parametrize("name", HEADS)
def test_the_number_does_not_grow(name):
    channels, *most = HEADS[name]
    head = build_head(name)
    head.use_l1 = True
    found = {count(head, channels, counts) for counts in BATCHES}
    assert len(found) == 1
    assert all(got <= limit for got, limit in zip(*found, most)), found


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("counts", [[0], [40, 0, 3]], ids=str)
def test_values_are_not_asked_for(name, counts):
    """Losses of tensors that have none."""
    channels, *_ = HEADS[name]
    head = build_head(name)
    head.use_l1 = True
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        maps = [
            [mode.from_tensor(level) for level in levels]
            for levels in draw_maps(channels, len(counts))
        ]
        truth = [
            InstanceData(bboxes=torch.empty(count, 4), labels=torch.empty(count, dtype=torch.long))
            for count in counts
        ]
        losses = head.loss_by_feat(*maps, truth, metas(len(counts)))
    assert all(isinstance(loss, FakeTensor) and loss.shape == () for loss in losses.values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", HEADS)
def test_a_gpu_is_not_waited_for(name):
    """Under autocast, with the losses of a CPU."""
    channels, *_ = HEADS[name]
    head, counts = build_head(name), [40, 0, 3]
    maps, truth, about = draw_maps(channels, len(counts)), draw_truth(counts), metas(len(counts))
    wanted = head.loss_by_feat(*maps, truth, about)
    head.cuda()
    maps = [[level.cuda().requires_grad_() for level in levels] for levels in maps]
    truth = [found.cuda() for found in truth]
    head.loss_by_feat(*maps, truth, about)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.autocast("cuda", torch.bfloat16):
            losses = head.loss_by_feat(*maps, truth, about)
        sum(losses.values()).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for key, loss in losses.items():
        torch.testing.assert_close(loss.cpu(), wanted[key], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "kind"), [("rtmdet_pafpn", "RTMDetSepBNHead"), ("yolox_pafpn", "YOLOXHead")]
)
def test_mmdets_grows_and_waits(name, kind):
    channels, *_ = HEADS[name]
    head = build_head(name, kind)
    with pytest.raises(AssertionError, match="waits"), Operators() as operators:
        head.loss_by_feat(*draw_maps(channels, 1), draw_truth([3]), metas(1))
        operators.check_nothing_waits()


@pytest.mark.parametrize("name", HEADS)
def test_priors_are_made_once_for_each_size(name):
    head = build_head(name)
    channels, *_ = HEADS[name]
    made = []
    for size in ((128, 160), (64, 64), (128, 160)):
        maps = draw_maps(channels, 1, size=size)
        made.append(head._priors(maps[0], maps[0][0]))
    assert made[0] is made[2] and len(made[1]) == 64 + 16 + 4
