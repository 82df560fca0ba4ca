"""Losses of mmseg's heads taken in less time are the losses."""

from __future__ import annotations

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.models.losses import accuracy
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmmamba.engine.run_ahead import RunAhead
from mmmamba.models.segmentors.quick_losses import percent_right, quick_losses, slow_losses

CE = dict(type="CrossEntropyLoss", loss_weight=2.0)
HEADS = {
    "one loss": dict(loss_decode=CE),
    "classes that weigh": dict(loss_decode=dict(CE, class_weight=[1.0, 2, 3, 4, 5])),
    "two losses": dict(loss_decode=[CE, dict(type="DiceLoss", loss_name="loss_dice")]),
    "two of one name": dict(loss_decode=[CE, dict(CE, avg_non_ignore=True)]),
    "aligned corners": dict(loss_decode=CE, align_corners=True),
}


def build(**settings: object) -> nn.Module:
    with DefaultScope.overwrite_default_scope("mmseg"):
        given = dict(type="FCNHead", in_channels=4, channels=4, num_classes=5, num_convs=0)
        return MODELS.build(given | dict(concat_input=False, dropout_ratio=0) | settings)


def sample(labels_YX: Tensor) -> SegDataSample:
    made = SegDataSample(metainfo=dict(img_shape=labels_YX.shape))
    made.gt_sem_seg = PixelData(data=labels_YX[None])
    return made


def labels(known: bool = True) -> list[SegDataSample]:
    drawn = torch.randint(0, 5, (2, 18, 31), generator=torch.Generator().manual_seed(0))
    drawn[0, :7] = 255
    return [sample(one if known else torch.full_like(one, 255)) for one in drawn]


@pytest.mark.filterwarnings("ignore:When align_corners=True")
@pytest.mark.parametrize("known", [True, False], ids=["labels", "no label"])
@pytest.mark.parametrize("settings", HEADS.values(), ids=HEADS)
def test_losses_and_gradients_are_mmsegs(settings: dict, known: bool) -> None:
    torch.manual_seed(0)
    head = build(**settings)
    maps = [torch.randn(2, 4, 5, 8)]
    found = []
    for quick in (False, True):
        heads = quick_losses(head) if quick else []
        assert heads == [head] * quick
        head.zero_grad()
        losses = head.loss(maps, labels(known), None)
        sum(value for name, value in losses.items() if "loss" in name).backward()
        found.append((losses, head.conv_seg.weight.grad.clone()))
        slow_losses(heads)
    (want, want_gradient), (got, gradient) = found
    assert [*got] == [*want] and "loss_by_feat" not in head.__dict__
    for name, value in want.items():
        torch.testing.assert_close(got[name], value)
    torch.testing.assert_close(gradient, want_gradient)


@pytest.mark.parametrize("ignore_index", [255, None])
def test_right_pixels_are_counted_as_in_mmseg(ignore_index: int | None) -> None:
    torch.manual_seed(0)
    logits, wanted = torch.randn(2, 5, 9, 7), torch.randint(0, 5, (2, 9, 7))
    wanted[:, 0] = 4 if ignore_index is None else 255
    want = accuracy(logits, wanted, ignore_index=ignore_index)
    torch.testing.assert_close(percent_right(logits, wanted, ignore_index), want)


@pytest.mark.filterwarnings("ignore:``build_pixel_sampler``")
def test_heads_with_a_way_of_their_own_stay() -> None:
    class Own(FCNHead):
        def loss_by_feat(self, *given: object) -> dict:
            return {}

    own = Own(in_channels=4, channels=4, num_classes=5)
    sampling = build(loss_decode=CE, sampler=dict(type="OHEMPixelSampler"))
    assert quick_losses(nn.ModuleList([own, sampling, nn.Linear(1, 1)])) == []


def test_a_run_that_goes_ahead_takes_them() -> None:
    model = nn.ModuleList([build(loss_decode=CE)])
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    ahead = RunAhead(model, wrapper, MessageHub.get_instance("quick"))
    assert "loss_by_feat" in model[0].__dict__
    ahead.undo()
    assert "loss_by_feat" not in model[0].__dict__
