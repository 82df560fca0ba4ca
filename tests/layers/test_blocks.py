"""Stages of residual blocks."""

import pytest
import torch
from torch import nn

from mmmamba.layers import LayerNorm, MixerBlock, Mlp, Stage


def a_stage(mlp=True, drop_path=0.0, with_cp=False, block=MixerBlock):
    torch.manual_seed(0)
    blocks = [
        block(6, nn.Linear(6, 6), Mlp(6) if mlp else None, rate)
        for rate in (0.0, drop_path, drop_path)
    ]
    return Stage(blocks, with_cp=with_cp)


def passes(call, x, module):
    """What it returns, and all gradients."""
    torch.manual_seed(1)
    y = call(x)
    return [y.detach(), *torch.autograd.grad(y.sin().sum(), [x, *module.parameters()])]


def one_by_one(stage, x):
    for block in stage.blocks:
        x = block(x)
    return x


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("drop_path", [0.0, 0.5])
@pytest.mark.parametrize("mlp", [True, False])
def test_a_stage_is_its_blocks_one_by_one(mlp, drop_path, dtype):
    """Though each leaves its last sum to the norm of the next."""
    stage = a_stage(mlp, drop_path)
    x = torch.randn(4, 3, 2, 6, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        got = passes(stage, x, stage)
        want = passes(lambda x: one_by_one(stage, x), x, stage)
    for a, b in zip(got, want, strict=True):
        assert torch.equal(a, b)
    assert got[0].dtype == torch.float32


@pytest.mark.parametrize("with_cp", [False, True])
def test_a_stage_may_end_in_a_norm(with_cp):
    stage = a_stage(drop_path=0.5, with_cp=with_cp)
    stage.norm = LayerNorm(6, eps=1e-6)
    x = torch.randn(4, 3, 2, 6, requires_grad=True)
    got = passes(stage, x, stage)
    for a, b in zip(got, passes(lambda x: stage.norm(one_by_one(stage, x)), x, stage), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    x = torch.randn(2, 3, 3, 6)
    assert torch.equal(Stage([], norm=stage.norm)(x), stage.norm(x))


def test_a_stage_of_no_blocks_or_one():
    x = torch.randn(2, 3, 3, 6)
    assert Stage([])(x) is x
    stage = Stage([a_stage().blocks[0]])
    assert torch.equal(stage(x), stage.blocks[0](x))


def test_hooks_on_blocks_see_whole_maps():
    stage, seen = a_stage(), []
    x = torch.randn(2, 3, 3, 6)
    want = stage(x)
    with stage.blocks[1].register_forward_hook(lambda module, given, y: seen.append((given, y))):
        assert torch.equal(stage(x), want)
    ((given,), y) = seen[0]
    assert torch.equal(given, stage.blocks[0](x)) and torch.equal(y, stage.blocks[1](given))
    stage.blocks[1].register_full_backward_hook(lambda module, dx, dy: seen.append(dy))
    stage(x).sum().backward()
    assert seen[1][0].shape == x.shape


def test_other_blocks_and_those_made_of_it_are_called():
    class Twice(MixerBlock):
        def forward(self, x):
            return 2 * super().forward(x)

    x = torch.randn(2, 3, 3, 6)
    stage = a_stage(block=Twice)
    plain = MixerBlock.forward
    want = x
    for block in stage.blocks:
        want = 2 * plain(block, want)
    assert torch.equal(stage(x), want)
    stage = Stage([*a_stage().blocks, nn.Linear(6, 6)])
    assert torch.equal(stage(x), one_by_one(stage, x))


def test_a_block_compiled_in_its_place_runs_so():
    stage, compiled = a_stage(), []
    x = torch.randn(2, 3, 3, 6)
    want = stage(x)
    torch._dynamo.reset()
    stage.blocks[1].compile(backend=lambda graph, given: compiled.append(graph) or graph.forward)
    assert torch.equal(stage(x), want) and len(compiled) == 1


def test_recomputed_blocks_give_the_same():
    x = torch.randn(4, 3, 2, 6, requires_grad=True)
    stages = [a_stage(drop_path=0.5, with_cp=with_cp) for with_cp in (True, False)]
    results = [passes(stage, x, stage) for stage in stages]
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)
    assert stages[0].state_dict().keys() == stages[1].state_dict().keys()


def test_a_stage_compiles_into_one_graph():
    torch._dynamo.reset()
    stage = a_stage()
    compiled = torch.compile(stage, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 3, 3, 6, requires_grad=True)
    for a, b in zip(passes(compiled, x, stage), passes(stage, x, stage), strict=True):
        torch.testing.assert_close(a, b)
