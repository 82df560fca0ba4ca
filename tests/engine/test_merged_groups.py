"""Merged parameter groups train as the groups of single parameters do."""

import copy

import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmmamba.engine.merged_groups import MergedOptimWrapperConstructor, merge_groups

SETTINGS = dict(
    optimizer=dict(type="AdamW", lr=1e-2, weight_decay=0.5),
    paramwise_cfg=dict(custom_keys={"norm": dict(decay_mult=0.0), "head": dict(lr_mult=3.0)}),
    clip_grad=dict(max_norm=1.0),
)


def model() -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    return nn.ModuleDict(dict(body=body, norm=nn.LayerNorm(4), head=nn.Linear(4, 2)))


def test_three_groups_and_the_same_weights_after_some_steps():
    pairs = []
    for constructor in ("DefaultOptimWrapperConstructor", MergedOptimWrapperConstructor.__name__):
        net = model()
        wrapper = build_optim_wrapper(net, dict(copy.deepcopy(SETTINGS), constructor=constructor))
        for step in range(3):
            x = torch.full((2, 4), float(step + 1))
            wrapper.update_params(net["head"](net["norm"](net["body"](x))).square().sum())
        pairs.append((net, wrapper))
    (plain, many), (merged, few) = pairs
    assert len(many.optimizer.param_groups) == 8 and len(few.optimizer.param_groups) == 3
    assert sum(len(group["params"]) for group in few.optimizer.param_groups) == 8
    for wanted, got in zip(plain.parameters(), merged.parameters(), strict=True):
        torch.testing.assert_close(got, wanted)


def test_settings_that_differ_stay_apart():
    a, b, c = (nn.Parameter(torch.zeros(1)) for _ in range(3))
    groups = [dict(params=[a], lr=1.0), dict(params=[b]), dict(params=[c], lr=1.0)]
    assert merge_groups(groups) == [dict(params=[a, c], lr=1.0), dict(params=[b])]
