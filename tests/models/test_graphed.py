"""Training by CUDA graphs: what is refused and left alone on a CPU; on a GPU, equality with eager mode."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.checkpoint import checkpoint

from mmmamba.models.backbones.base import MambaBackbone
from mmmamba.models.graph_capture import GraphError, HandedOver, _Pass, capturable
from mmmamba.models.graphed import _state, graph_backbone, size_key, ungraph_backbone
from mmmamba.ops.routes.registry import _table, keep_tables, route_table

FAMILIES = {family.__name__: family for family in MambaBackbone.families()}
every_family = pytest.mark.parametrize("family", FAMILIES)
four_families = pytest.mark.parametrize("family", ["VMamba", "MambaVision", "MambaYOLOBackbone", "Vim"])
gpu = pytest.mark.gpu
EXACT, HALF = 1e-5, 3e-2


def build(family: str = "VMamba", device: str = "cpu", drop_path_rate: float = 0.0, **more: object) -> MambaBackbone:
    torch.manual_seed(0)
    return FAMILIES[family](**FAMILIES[family].TINY, drop_path_rate=drop_path_rate, **more).to(device).train()


def image(*shape: int, seed: int = 0, device: str = "cpu") -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(device)


def loss(maps: tuple[Tensor, ...]) -> Tensor:
    """In which every value counts differently. Its gradients lie in memory as the maps do: other layouts take other
    kernels, which round in other ways.
    """
    weights = (torch.linspace(-1, 1, m.numel(), device=m.device).view_as(m) for m in maps)
    return sum((m.float() * torch.empty_like(m, dtype=torch.float32).copy_(w)).sum() for m, w in zip(maps, weights))


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_equal(got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float = EXACT) -> None:
    """Up to a part of each tensor's largest value, or of a tenth of the largest of all: gradients of biases before a
    batch norm are nothing but rounding.
    """
    assert got.keys() == want.keys()
    floor = 0.1 * max((float(w.detach().abs().max()) for w in want.values()), default=0.0)
    for name, wanted in want.items():
        wanted = wanted.detach().float()
        off = float((got[name].detach() - wanted).abs().max()) / max(float(wanted.abs().max()), floor, 1e-12)
        assert off <= tolerance, f"{name} is off by {off:.1e} of its largest value"


# On a CPU: what is refused, what is left alone, and the parts.


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


def test_more_than_one_process_is_refused() -> None:
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        with pytest.raises(GraphError, match="by 2 processes"):
            graph_backbone(build())
    finally:
        dist.destroy_process_group()


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
def test_what_is_captured_has_the_outputs_and_gradients_of_the_backbone(family: str, autocast: torch.dtype) -> None:
    model, x = build(family, frozen_stages=1), image(2, 3, 64, 64)
    function, stand_ins, need_grad = capturable(model, model.forward, autocast)
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    maps = function(x, *stand_ins)
    got = torch.autograd.grad(loss([m for m in maps if m.requires_grad]), stand_ins, allow_unused=True)
    assert need_grad == [m.requires_grad for m in maps] and not any(gradients(model))
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    with torch.autocast("cpu", autocast, autocast is not None):
        eager = model(x)
    loss([m for m in eager if m.requires_grad]).backward()
    assert_equal(dict(enumerate(maps)), dict(enumerate(eager)), 0.0)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    assert_equal({n: g for n, g in zip(names, got) if g is not None}, gradients(model), EXACT if not autocast else HALF)


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
    assert all(a != b for a, b in zip(states, states[1:])) and _state(model) == states[-1]


def test_copies_are_graphed_on_their_own() -> None:
    model = graph_backbone(build(), max_sizes=3)
    other = copy.deepcopy(model)
    assert other.forward is not model.forward and other.forward.backbone is other and other.forward.max_sizes == 3
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


# On a GPU: equality with eager mode.

A, B, C = (2, 3, 64, 64), (2, 3, 96, 64), (1, 3, 64, 96)


@pytest.fixture
def same_kernels() -> Iterator[None]:
    """Of cuDNN those that two runs share."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def pair(family: str, max_sizes: int = 4, **more: object) -> tuple[nn.Module, nn.Module]:
    """The same backbone in eager mode and graphed."""
    return build(family, "cuda", **more), graph_backbone(build(family, "cuda", **more), max_sizes)


def train(model: nn.Module, x: Tensor, autocast: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, and outputs by name."""
    with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
        maps = model(x)
    total = loss(maps)
    total.backward()
    return total, {f"map {i}": m.detach() for i, m in enumerate(maps)}


def lines(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


@gpu
@every_family
@pytest.mark.parametrize("autocast", [False, True])
def test_passes_over_changing_sizes_equal_eager(family: str, autocast: bool, same_kernels: None,
                                                caplog: pytest.LogCaptureFixture) -> None:
    """Outputs, gradients and running statistics; the third size is one too many. Losses of old steps stay alive."""
    eager, graphed = pair(family, max_sizes=2)
    tolerance = HALF if autocast else EXACT
    kept = []
    with caplog.at_level(logging.INFO, "mmmamba"):
        for seed, shape in enumerate([A, B, A, B, C, A, C]):
            seen = []
            for model in (eager, graphed):
                model.zero_grad(set_to_none=True)
                total, maps = train(model, image(*shape, seed=seed, device="cuda"), autocast)
                kept.append(total)
                seen.append((maps, gradients(model)))
            assert_equal(seen[1][0], seen[0][0], tolerance)
            assert_equal(seen[1][1], seen[0][1], tolerance)
    assert_equal(dict(graphed.named_buffers()), dict(eager.named_buffers()), tolerance)
    counted = [b for name, b in graphed.named_buffers() if name.endswith("num_batches_tracked")]
    assert all(int(b) == 7 for b in counted)
    assert len(graphed.forward.sizes) == 2
    assert lines(caplog, "captured in") == 2 and lines(caplog, "2 sizes are captured") == 1
    graphed.eval(), eager.eval()
    with torch.no_grad():
        assert_equal({"map": graphed(image(*A, device="cuda"))[0]}, {"map": eager(image(*A, device="cuda"))[0]},
                     tolerance)


@gpu
@four_families
def test_gradients_accumulate(family: str, same_kernels: None) -> None:
    eager, graphed = pair(family)
    for seeds in ((0, 1, 2), (3, 4)):
        held = {name: (g, g.clone()) for name, g in gradients(graphed).items()}
        for model in (eager, graphed):
            model.zero_grad(set_to_none=True)
            for seed in seeds:
                train(model, image(*A, seed=seed, device="cuda"))
        assert_equal(gradients(graphed), gradients(eager))
        assert all(torch.equal(g, was) for g, was in held.values())
    for model in (eager, graphed):
        model.zero_grad(set_to_none=False)
        train(model, image(*A, seed=5, device="cuda"))
    assert_equal(gradients(graphed), gradients(eager))


@gpu
@four_families
def test_ten_steps_of_an_optimizer(family: str, same_kernels: None) -> None:
    eager, graphed = pair(family)
    for model in (eager, graphed):
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9, weight_decay=1e-2)
        for step in range(10):
            optimizer.zero_grad()
            maps = model(image(*(A, B)[step % 2], seed=step, device="cuda"))
            sum((m - 1).square().mean() for m in maps).backward()
            optimizer.step()
    start = dict(build(family, "cuda").named_parameters())
    assert any(not torch.equal(p, start[name]) for name, p in graphed.named_parameters())
    # Ten steps carry roundings on, where kernels add in any order.
    assert_equal(dict(graphed.named_parameters()), dict(eager.named_parameters()), 1e-3)


@gpu
@four_families
def test_paths_are_dropped_anew_in_each_replay(family: str, same_kernels: None) -> None:
    graphed = graph_backbone(build(family, "cuda", drop_path_rate=0.5))
    x = image(8, 3, 64, 64, device="cuda")
    last = [train(graphed, x)[1]["map 2"].clone() for _ in range(4)]
    assert len(graphed.forward.sizes) == 1
    assert any(not torch.allclose(last[0], other) for other in last[1:])


@gpu
@four_families
def test_a_capture_leaves_the_random_state_as_it_was(family: str, same_kernels: None) -> None:
    """So that drawn paths are those of eager mode."""
    eager, graphed = pair(family, drop_path_rate=0.5)
    seen = []
    for model in (eager, graphed):
        torch.cuda.manual_seed(3)
        seen.append([train(model, image(8, 3, 64, 64, seed=seed, device="cuda"))[1] for seed in range(2)])
    for got, want in zip(seen[1], seen[0]):
        assert_equal(got, want)


@gpu
@four_families
def test_two_forward_passes_before_a_backward_pass(family: str, same_kernels: None,
                                                   caplog: pytest.LogCaptureFixture) -> None:
    eager, graphed = pair(family)
    first, second = (image(*A, seed=seed, device="cuda") for seed in (1, 2))
    with caplog.at_level(logging.INFO, "mmmamba"):
        for _ in range(2):
            for model in (eager, graphed):
                model.zero_grad(set_to_none=True)
                maps = model(first), model(second)
                (loss(maps[0]) + 2 * loss(maps[1])).backward()
            assert_equal(gradients(graphed), gradients(eager))
    assert lines(caplog, "has not come yet") == 1
    (size,) = graphed.forward.sizes.values()
    assert not size.pending
    outputs = graphed(first)
    assert size.pending
    # Nobody can ask for the backward pass of what is gone.
    del outputs
    assert not size.pending


@gpu
def test_what_a_replay_would_overwrite_is_not_lost(same_kernels: None) -> None:
    graphed = graph_backbone(build(device="cuda"))
    kept = graphed(image(*A, seed=1, device="cuda"))[0].detach()
    was = kept.clone()
    total, _ = train(graphed, image(*A, seed=2, device="cuda"))
    assert torch.equal(kept, was)
    maps = graphed(image(*A, seed=3, device="cuda"))
    loss(maps).backward(retain_graph=True)
    with pytest.raises(GraphError, match="second backward pass"):
        loss(maps).backward()


@gpu
@four_families
def test_frozen_parts_and_parts_that_are_frozen_later(family: str, same_kernels: None,
                                                      caplog: pytest.LogCaptureFixture) -> None:
    eager, graphed = pair(family, frozen_stages=1)
    last = [name for name, _ in eager.named_parameters() if name.startswith(("layers.3", "levels.3"))]
    with caplog.at_level(logging.INFO, "mmmamba"):
        for frozen in ([], last, []):
            for model in (eager, graphed):
                for name, p in model.named_parameters():
                    if name in last:
                        p.requires_grad_(name not in frozen)
                model.zero_grad(set_to_none=True)
                for seed in range(2):
                    total, _ = train(model, image(*A, seed=seed, device="cuda"))
            assert not any(name in frozen for name in gradients(graphed))
            assert_equal(gradients(graphed), gradients(eager))
    assert last and lines(caplog, "parameters were frozen or freed: graphs are captured anew") == 2
    assert [m.requires_grad for m in graphed(image(*A, device="cuda"))] == [
        m.requires_grad for m in eager(image(*A, device="cuda"))]


@gpu
def test_weights_that_move_and_hooks_that_come(same_kernels: None, caplog: pytest.LogCaptureFixture) -> None:
    eager, graphed = pair("VMamba")
    x = image(*A, device="cuda")
    called = []
    with caplog.at_level(logging.INFO, "mmmamba"):
        train(graphed, x)
        for model in (eager, graphed):
            for p in model.parameters():
                p.data = p.data * 1.5
        assert_equal(train(graphed, x)[1], train(eager, x)[1])
        handle = graphed.layers[0].register_forward_hook(lambda *_: called.append(1))
        train(graphed, x), train(graphed, x)
        handle.remove()
        train(graphed, x)
    assert len(called) == 2
    assert lines(caplog, "moved in memory") == 1 and lines(caplog, "layers.0 has hooks") == 1
    ungraph_backbone(graphed)
    assert_equal(train(graphed, x)[1], train(eager, x)[1])


@gpu
def test_checkpointing_around_the_backbone_is_refused(same_kernels: None) -> None:
    graphed = graph_backbone(build(device="cuda"))
    with pytest.raises(GraphError, match="hooks on saved tensors"):
        checkpoint(graphed, image(*A, device="cuda"), use_reentrant=False)


@gpu
def test_a_capture_while_another_thread_pins_memory(same_kernels: None) -> None:
    """As data loaders do."""
    eager, graphed = pair("VMamba")
    done, pinned, failed = threading.Event(), [], []

    def pin() -> None:
        while not done.is_set() and not failed:
            try:
                # Kept, so that each is a new call to the driver.
                pinned.append(torch.zeros(2**16).pin_memory())
            except RuntimeError as error:
                failed.append(error)
            done.wait(0.002)

    thread = threading.Thread(target=pin)
    thread.start()
    try:
        for shape in (A, B):
            x = image(*shape, device="cuda")
            assert_equal(train(graphed, x)[1], train(eager, x)[1])
    finally:
        done.set()
        thread.join()
    assert pinned and not failed


@gpu
def test_a_classifier_returns_one_tensor(same_kernels: None) -> None:
    eager, graphed = pair("MambaVision", classifier=True, num_classes=7)
    x = image(*A, device="cuda")
    for _ in range(2):
        for model in (eager, graphed):
            model.zero_grad(set_to_none=True)
            model(x).square().mean().backward()
        assert_equal(gradients(graphed), gradients(eager))
    assert graphed(x).shape == (2, 7)
