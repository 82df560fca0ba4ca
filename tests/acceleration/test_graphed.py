"""Training by CUDA graphs, what a CPU can show of it: refusals, passes left alone, the parts."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.testing._internal.distributed.fake_pg import FakeStore

from mmmamba.acceleration.graph_capture import GraphError, HandedOver, _Pass, capturable
from mmmamba.acceleration.graphed import _state, graph_backbone, size_key, ungraph_backbone
from mmmamba.ops.routes.registry import _table, keep_tables, route_table

from .graphed_passes import EXACT, HALF, assert_equal, build, every_family, gradients, image, loss


@pytest.mark.parametrize("evaluate", [False, True])
def test_on_a_cpu_nothing_changes(evaluate: bool) -> None:
    eager, graphed = build(), graph_backbone(build())
    x = image(1, 3, 32, 32)
    for model in (eager, graphed):
        model.train(not evaluate)
        loss(model(x)).backward()
    assert_equal(gradients(graphed), gradients(eager), 0.0)
    with torch.no_grad():
        assert torch.equal(graphed(x)[0], eager(x)[0])
    assert not graphed.forward.sizes
    ungraph_backbone(graphed)
    assert "forward" not in graphed.__dict__


def test_one_capture_is_good_for_one_shape_dtype_layout_and_precision() -> None:
    x = image(2, 3, 32, 48)
    others = [x[:1], x[..., :32], x.half(), x.to(memory_format=torch.channels_last)]
    keys = {size_key(each) for each in (x, *others)}
    with torch.autocast("cpu", torch.bfloat16):
        keys.add(size_key(x))
    assert len(keys) == 6 and size_key(image(2, 3, 32, 48, seed=1)) in keys


def test_what_a_graph_cannot_hold_is_refused_by_name() -> None:
    with pytest.raises(GraphError, match="VMamba has with_cp=True"):
        graph_backbone(build(with_cp=True))
    hooked = build()
    handle = hooked.layers[1].blocks[0].register_forward_hook(lambda *_: None)
    with pytest.raises(GraphError, match=r"VMamba\.layers\.1\.blocks\.0 has hooks"):
        graph_backbone(hooked)
    handle.remove()
    hooked.register_forward_hook(lambda *_: None)
    graph_backbone(hooked)
    with pytest.raises(GraphError, match="graphed already"):
        graph_backbone(hooked)
    with pytest.raises(GraphError, match="is not graphed"):
        ungraph_backbone(build())
    with pytest.raises(ValueError, match="max_sizes is 0"):
        graph_backbone(build(), max_sizes=0)


def test_statistics_of_several_processes_are_refused() -> None:
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        graph_backbone(build("MambaVision"))
        with pytest.raises(GraphError, match="MambaVision has SyncBatchNorm"):
            graph_backbone(nn.SyncBatchNorm.convert_sync_batchnorm(build("MambaVision")))
    finally:
        dist.destroy_process_group()
    graph_backbone(nn.SyncBatchNorm.convert_sync_batchnorm(build("MambaVision")))


class StaticGradient(torch.autograd.Function):
    """As a graph does, it returns the buffer that its next backward pass writes into."""

    buffer = torch.zeros(3)

    @staticmethod
    def forward(ctx, scale, used, unused):
        ctx.scale = scale
        return scale * used.sum()

    @staticmethod
    def backward(ctx, grad):
        StaticGradient.buffer.fill_(ctx.scale)
        return None, StaticGradient.buffer.detach(), None


def test_gradients_leave_the_buffers_of_the_graph() -> None:
    """Without `HandedOver` the second sum would be the buffer added to itself: 4, not 3."""
    used, unused = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))
    StaticGradient.apply(1.0, *HandedOver.apply(_Pass(), used, unused)).backward()
    first = used.grad
    assert first.data_ptr() != StaticGradient.buffer.data_ptr()
    StaticGradient.apply(2.0, *HandedOver.apply(_Pass(), used, unused)).backward()
    assert used.grad.tolist() == [3.0] * 3 and unused.grad is None


def test_a_second_backward_pass_is_an_error() -> None:
    used, unused = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))
    last = _Pass()
    total = StaticGradient.apply(1.0, *HandedOver.apply(last, used, unused))
    total.backward(retain_graph=True)
    assert last.done
    with pytest.raises(GraphError, match="second backward pass"):
        total.backward()


@every_family
@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_what_is_captured_has_the_outputs_and_gradients_of_the_backbone(
    family: str, autocast: torch.dtype
) -> None:
    model, x = build(family, frozen_stages=1), image(2, 3, 64, 64)
    function, stand_ins, need_grad = capturable(model, model.forward, autocast)
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    maps = function(x, *stand_ins)
    got = torch.autograd.grad(
        loss([m for m in maps if m.requires_grad]), stand_ins, allow_unused=True
    )
    assert need_grad == [m.requires_grad for m in maps] and not any(gradients(model))
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    with torch.autocast("cpu", autocast, autocast is not None):
        eager = model(x)
    loss([m for m in eager if m.requires_grad]).backward()
    assert_equal(dict(enumerate(maps)), dict(enumerate(eager)), 0.0)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    assert_equal(
        {n: g for n, g in zip(names, got) if g is not None},
        gradients(model),
        EXACT if not autocast else HALF,
    )


def test_what_a_graph_takes_for_granted_is_watched() -> None:
    model = build("MambaVision")
    states = [_state(model)]
    model.levels[0].blocks[0].norm1.eval()
    states.append(_state(model))
    model.levels[1].requires_grad_(False)
    states.append(_state(model))
    model.norm_weight = nn.Parameter(torch.ones(1))
    states.append(_state(model))
    moved = model.levels[0].blocks[0].norm1
    moved.running_mean = moved.running_mean.clone()
    states.append(_state(model))
    assert all(a != b for a, b in pairwise(states)) and _state(model) == states[-1]


def test_copies_are_graphed_on_their_own() -> None:
    model = graph_backbone(build(), max_sizes=3)
    other = copy.deepcopy(model)
    assert (
        other.forward is not model.forward
        and other.forward.backbone is other
        and other.forward.max_sizes == 3
    )
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
    assert not other(image(1, 3, 32, 32))[0].any() and model(image(1, 3, 32, 32))[0].any()


def test_route_tables_outlive_the_cache() -> None:
    with keep_tables() as kept:
        first = route_table(["row", "column"], 5, 6)
    route_table(["row", "column"], 6, 5)
    _table.cache_clear()
    assert len(kept) == 1 and kept[0] is first and route_table(["row", "column"], 5, 6) is not first
