"""Training by CUDA graphs is training in eager mode, on a GPU."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import mmmamba
from mmmamba.acceleration.graph_capture import GraphError
from mmmamba.acceleration.graphed import graph_backbone, ungraph_backbone

from .graphed_passes import EXACT, HALF, assert_equal, build, every_family, gradients, image, loss

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
four_families = pytest.mark.parametrize(
    "family", ["VMamba", "MambaVision", "MambaYOLOBackbone", "Vim"]
)
A, B, C = (2, 3, 64, 64), (2, 3, 96, 64), (1, 3, 64, 96)


@pytest.fixture
def same_kernels() -> Iterator[None]:
    """Have cuDNN take algorithms that two runs share."""
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
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


@every_family
@pytest.mark.parametrize("autocast", [False, True])
def test_passes_over_changing_sizes_equal_eager(
    family: str, autocast: bool, same_kernels: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Outputs, gradients and running statistics; the third size is one too many.

    Losses of old steps stay alive.
    """
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
        assert_equal(
            {"map": graphed(image(*A, device="cuda"))[0]},
            {"map": eager(image(*A, device="cuda"))[0]},
            tolerance,
        )


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


@four_families
def test_paths_are_dropped_anew_in_each_replay(family: str, same_kernels: None) -> None:
    graphed = graph_backbone(build(family, "cuda", drop_path_rate=0.5))
    x = image(8, 3, 64, 64, device="cuda")
    last = [train(graphed, x)[1]["map 2"].clone() for _ in range(4)]
    assert len(graphed.forward.sizes) == 1
    assert any(not torch.allclose(last[0], other) for other in last[1:])


@four_families
def test_a_capture_leaves_the_random_state_as_it_was(family: str, same_kernels: None) -> None:
    """So that drawn paths are those of eager mode."""
    eager, graphed = pair(family, drop_path_rate=0.5)
    seen = []
    for model in (eager, graphed):
        torch.cuda.manual_seed(3)
        seen.append(
            [train(model, image(8, 3, 64, 64, seed=seed, device="cuda"))[1] for seed in range(2)]
        )
    for got, want in zip(seen[1], seen[0]):
        assert_equal(got, want)


@four_families
@pytest.mark.parametrize("other", [A, B])
def test_two_forward_passes_before_a_backward_pass(
    family: str, other: tuple[int, ...], same_kernels: None, caplog: pytest.LogCaptureFixture
) -> None:
    eager, graphed = pair(family)
    first, second = image(*A, seed=1, device="cuda"), image(*other, seed=2, device="cuda")
    train(graphed, second)
    with caplog.at_level(logging.INFO, "mmmamba"):
        for _ in range(2):
            for model in (eager, graphed):
                model.zero_grad(set_to_none=True)
                maps = model(first), model(second)
                (loss(maps[0]) + 2 * loss(maps[1])).backward()
            assert_equal(gradients(graphed), gradients(eager))
    assert lines(caplog, "has not come yet") == 1
    memory = graphed.forward.memory
    assert not memory.pending
    outputs = graphed(first)
    assert memory.pending
    # Nobody can ask for the backward pass of what is gone.
    del outputs
    assert not memory.pending


def test_sizes_share_their_memory(same_kernels: None) -> None:
    graphed = graph_backbone(mmmamba.create_backbone("vmamba_t").cuda().train())
    held = []
    for side in (256, 224, 192, 160):
        train(graphed, image(16, 3, side, side, device="cuda"), autocast=True)
        graphed.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        held.append(torch.cuda.memory_reserved())
    each = sum(p.numel() * p.element_size() for p in graphed.parameters())
    # Passes over the three smaller sizes take more than 2 GiB beyond their gradients.
    assert held[-1] - held[0] < 3 * (each + 100 * 2**20)


def test_what_a_replay_would_overwrite_is_not_lost(same_kernels: None) -> None:
    graphed = graph_backbone(build(device="cuda"))
    kept = graphed(image(*A, seed=1, device="cuda"))[0].detach()
    was = kept.clone()
    _total, _ = train(graphed, image(*A, seed=2, device="cuda"))
    assert torch.equal(kept, was)
    maps = graphed(image(*A, seed=3, device="cuda"))
    loss(maps).backward(retain_graph=True)
    with pytest.raises(GraphError, match="second backward pass"):
        loss(maps).backward()


@four_families
def test_frozen_parts_and_parts_that_are_frozen_later(
    family: str, same_kernels: None, caplog: pytest.LogCaptureFixture
) -> None:
    eager, graphed = pair(family, frozen_stages=1)
    last = [
        name for name, _ in eager.named_parameters() if name.startswith(("layers.3", "levels.3"))
    ]
    with caplog.at_level(logging.INFO, "mmmamba"):
        for frozen in ([], last, []):
            for model in (eager, graphed):
                for name, p in model.named_parameters():
                    if name in last:
                        p.requires_grad_(name not in frozen)
                model.zero_grad(set_to_none=True)
                for seed in range(2):
                    _total, _ = train(model, image(*A, seed=seed, device="cuda"))
            assert not any(name in frozen for name in gradients(graphed))
            assert_equal(gradients(graphed), gradients(eager))
    assert last and lines(caplog, "parameters were frozen or freed: graphs are captured anew") == 2
    assert [m.requires_grad for m in graphed(image(*A, device="cuda"))] == [
        m.requires_grad for m in eager(image(*A, device="cuda"))
    ]


def test_weights_that_move_and_hooks_that_come(
    same_kernels: None, caplog: pytest.LogCaptureFixture
) -> None:
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


def test_checkpointing_around_the_backbone_is_refused(same_kernels: None) -> None:
    graphed = graph_backbone(build(device="cuda"))
    with pytest.raises(GraphError, match="hooks on saved tensors"):
        checkpoint(graphed, image(*A, device="cuda"), use_reentrant=False)


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


def test_a_classifier_returns_one_tensor(same_kernels: None) -> None:
    eager, graphed = pair("MambaVision", classifier=True, num_classes=7)
    x = image(*A, device="cuda")
    for _ in range(2):
        for model in (eager, graphed):
            model.zero_grad(set_to_none=True)
            model(x).square().mean().backward()
        assert_equal(gradients(graphed), gradients(eager))
    assert graphed(x).shape == (2, 7)
