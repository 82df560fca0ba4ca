"""Stochastic depth whose product is left to the residual sum."""

import importlib

import pytest
import torch
from torchvision.ops import StochasticDepth

from mmmamba.layers import LayerNorm, MixerBlock, Mlp, Stage, drop_path, dropped
from mmmamba.layers.drop_path import Scaled, added, scaled_by


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_left_to_the_sum_it_is_the_same_product(dtype):
    """The same random numbers make it, and go on from the same place."""
    drop = drop_path(0.4).train()
    x, branch = torch.randn(2, 16, 3, 5, 8).to(dtype)
    torch.manual_seed(0)
    want, after = x + drop(branch), torch.rand(3)
    torch.manual_seed(0)
    left = scaled_by(drop, branch)
    assert isinstance(left, Scaled) and left.branch is branch and 0 in left.factor_B
    assert torch.equal(added(x, left), want) and torch.equal(torch.rand(3), after)
    norm = LayerNorm(8).to(dtype)
    normed, total = norm(x, left)
    assert torch.equal(total, want) and torch.equal(normed, norm(want))


def test_what_else_a_drop_path_is_does_its_work_itself():
    branch = torch.randn(4, 3, 8)
    seen = []
    hooked = drop_path(0.4).train()
    hooked.register_forward_hook(lambda module, given, y: seen.append(y))
    batch = StochasticDepth(0.4, "batch")
    for drop in (drop_path(0.0), drop_path(0.4).eval(), hooked, batch):
        assert isinstance(scaled_by(drop, branch), torch.Tensor)
    assert len(seen) == 1
    # Nothing is saved on a CPU.
    assert isinstance(dropped(drop_path(0.4).train(), branch), torch.Tensor)


def stage(device="cpu"):
    torch.manual_seed(0)
    blocks = [MixerBlock(16, torch.nn.Linear(16, 16), Mlp(16), rate) for rate in (0.0, 0.3, 0.5)]
    return Stage(blocks).to(device).train()


def passes(call, module, x, autocast=False):
    torch.manual_seed(1)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=autocast):
        y = call(x)
    return [y.detach(), *torch.autograd.grad(y.float().sin().sum(), [x, *module.parameters()])]


def test_stages_hand_it_on(monkeypatch):
    """Each block to the next, as on a GPU that nobody watches, and to the end of the stage."""
    x = torch.randn(8, 3, 2, 16, requires_grad=True)
    module = stage()
    want = passes(module, module, x)
    monkeypatch.setattr(importlib.import_module("mmmamba.layers.blocks"), "dropped", scaled_by)
    assert isinstance(module.blocks[1].summands(x)[1], Scaled)
    for got, wanted in zip(passes(module, module, x), want, strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.gpu
def test_on_a_gpu():
    """Bit for bit what a stage gives whose drop paths are watched, and so multiply themselves."""
    x = torch.randn(8, 13, 9, 16, device="cuda").bfloat16().requires_grad_()
    module, watched = stage("cuda"), stage("cuda")
    for block in watched.blocks:
        block.drop_path.register_forward_hook(lambda module, given, y: None)
    assert isinstance(module.blocks[1].summands(x)[1], Scaled)
    got, want = (passes(m, m, x, True) for m in (module, watched))
    for a, b in zip(got, want, strict=True):
        assert torch.equal(a, b)
