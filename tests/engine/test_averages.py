"""Averages of all weights at once are those of MMDetection."""

import copy

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmdet: mmcv's operators)
import pytest
import torch
from mmdet.models.layers import ExpMomentumEMA
from torch import nn

from mmmamba.engine.averages import GroupedExpMomentumEMA


@pytest.mark.parametrize("update_buffers", [False, True])
@pytest.mark.parametrize("interval", [1, 2])
def test_as_mmdet(update_buffers: bool, interval: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2).half())
    options = dict(gamma=3, interval=interval, update_buffers=update_buffers)
    averages = [kind(model, **options) for kind in (ExpMomentumEMA, GroupedExpMomentumEMA)]
    for _ in range(5):
        with torch.no_grad():
            for value in model.state_dict().values():
                value.add_(torch.rand(value.shape).to(value.dtype) * 3)
        for average in averages:
            average.update_parameters(model)
        want, got = (average.state_dict() for average in averages)
        assert want.keys() == got.keys()
        assert all(torch.equal(want[key], got[key]) for key in want)
    assert averages[1].steps == 5
    # What is copied belongs to nobody else.
    again = copy.deepcopy(averages[1])
    again.update_parameters(model)
    assert averages[1].steps == 5
