"""Models replayed as CUDA graphs give what eager mode gives, on a GPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import mmmamba
from mmmamba.acceleration.graphs import graph_model, ungraph_model

from .graphed_passes import assert_equal, build, every_family, gradients, image, loss, same, step
from .whole_models import NAMES, build_whole, losses, predictions

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
half = pytest.mark.parametrize("autocast", [None, torch.bfloat16])
A, B, C = (2, 3, 64, 64), (2, 3, 96, 64), (1, 3, 64, 96)


@pytest.fixture(autouse=True)
def same_kernels() -> Iterator[None]:
    """Have cuDNN and PyTorch take algorithms that give the same bits in each run."""
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield


def on_gpu(*shape: int, seed: int = 0) -> Tensor:
    return image(*shape, seed=seed, device="cuda")


@every_family
@half
def test_training_over_changing_sizes(family: str, autocast: torch.dtype | None) -> None:
    eager, graphed = (build(family, "cuda", drop_path_rate=0.3, frozen_stages=0) for _ in range(2))
    graphs = graph_model(graphed, 3).forward
    for seed, shape in enumerate([A, B, C, A, B, C, B, A, C]):
        x = on_gpu(*shape, seed=seed)
        same(step(graphed, x, autocast), step(eager, x, autocast))
        assert_equal(gradients(graphed), gradients(eager), 0.0)
    assert graphs.replayed == 6
    assert_equal(dict(graphed.named_buffers()), dict(eager.named_buffers()), 0.0)
    for model in (eager, graphed):
        model.eval()
    with torch.inference_mode(), torch.autocast("cuda", autocast, enabled=autocast is not None):
        for seed in range(3):
            same(graphed(on_gpu(*A, seed=seed)), eager(on_gpu(*A, seed=seed)))
    assert graphs.replayed == 8
    # Neither mode has let the other's graphs go.
    for model in (eager, graphed):
        model.train()
    same(step(graphed, on_gpu(*A), autocast), step(eager, on_gpu(*A), autocast))
    assert graphs.replayed == 9


@pytest.mark.parametrize("name", NAMES)
def test_detectors_and_segmentors(name: str) -> None:
    eager, graphed = build_whole(name, "cuda"), graph_model(build_whole(name, "cuda"), 2)
    graphs = graphed.extract_feat
    x = on_gpu(2, 3, 64, 96)
    for _ in range(3):
        found = []
        for model in (eager, graphed):
            model.train().zero_grad(set_to_none=True)
            torch.manual_seed(1)
            with torch.autocast("cuda", torch.bfloat16):
                parts = losses(model, x)
            sum(parts.values()).backward()
            found.append(parts)
        assert_equal(found[1], found[0], 1e-4)
        # RoIAlign's gradients are added up in any order.
        assert_equal(gradients(graphed), gradients(eager), 5e-2)
        with torch.autocast("cuda", torch.float16):
            same(predictions(graphed.eval(), x), predictions(eager.eval(), x))
    assert graphs.replayed == 4 and graphs.heads_too
    assert graphs.modes[True].heads and graphs.modes[False].heads


def test_random_numbers_go_on_where_eager_modes_would() -> None:
    eager, graphed = (build("VMamba", "cuda", drop_path_rate=0.5) for _ in range(2))
    graph_model(graphed, 1)
    seen = []
    for model in (eager, graphed):
        torch.cuda.manual_seed(3)
        seen.append([model(on_gpu(8, 3, 64, 64, seed=seed))[3].detach() for seed in range(4)])
        seen[-1].append(torch.rand(3, device="cuda"))
    same(seen[1], seen[0])


def test_ten_steps_of_an_optimizer_with_a_loss_scale() -> None:
    eager, graphed = build("MambaVision", "cuda"), build("MambaVision", "cuda")
    graph_model(graphed, 2)
    for model in (eager, graphed):
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        scaler = torch.amp.GradScaler("cuda", init_scale=2.0**14)
        for number in range(10):
            for half_batch in range(2):
                with torch.autocast("cuda", torch.float16):
                    maps = model(on_gpu(*(A, B)[half_batch], seed=number))
                    total = sum((m.float() - 1).square().mean() for m in maps)
                scaler.scale(total / 2).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    assert_equal(dict(graphed.named_parameters()), dict(eager.named_parameters()), 0.0)


class _ReadsBack(nn.Module):
    """Something that no graph can hold."""

    def forward(self, x: Tensor) -> Tensor:
        return x * float(x.mean() < 1e9)


def test_after_a_capture_that_fails_all_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    eager, graphed = (build("VMamba", "cuda", drop_path_rate=0.5) for _ in range(2))
    for model in (eager, graphed):
        model.layers[2].blocks.append(_ReadsBack())
    graph_model(graphed, "auto")
    with caplog.at_level("INFO", "mmmamba"):
        for seed in range(5):
            x = on_gpu(*A, seed=seed)
            same(step(graphed, x), step(eager, x))
            assert_equal(gradients(graphed), gradients(eager), 0.0)
    assert caplog.text.count("it cannot be captured (") == 1
    # Another model can be graphed afterwards.
    other = graph_model(build("VMamba", "cuda", drop_path_rate=0.5), 1)
    for _ in range(3):
        step(other, on_gpu(*A))
    assert other.forward.replayed == 2


def test_heads_that_read_something_back_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    name = "retinanet/efficientvmamba_t_1x_coco"
    eager, graphed = build_whole(name, "cuda").eval(), build_whole(name, "cuda").eval()
    for model in (eager, graphed):
        model.bbox_head.cls_convs.append(_ReadsBack())
    graphs = graph_model(graphed, "auto").extract_feat
    x = on_gpu(1, 3, 64, 64)
    with caplog.at_level("INFO", "mmmamba"):
        for _ in range(7):
            same(predictions(graphed, x), predictions(eager, x))
    assert "its heads cannot be captured" in caplog.text
    assert not graphs.off and not graphs.modes[False].heads


def test_sizes_share_their_memory() -> None:
    graphed = graph_model(mmmamba.create_backbone("vmamba_t").cuda().train(), 8)
    held = []
    for side in (256, 224, 192, 160):
        for _ in range(3):
            step(graphed, on_gpu(16, 3, side, side), torch.bfloat16)
        graphed.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        held.append(torch.cuda.memory_reserved())
    # Passes over the three smaller sizes take more than 2 GiB.
    assert held[-1] - held[0] < 300 * 2**20
    ungraph_model(graphed)
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() < held[0] / 2


def test_a_capture_while_another_thread_pins_memory() -> None:
    """As data loaders do."""
    eager, graphed = build("VMamba", "cuda"), graph_model(build("VMamba", "cuda"), 4)
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
        for shape in (A, B, A, B):
            same(step(graphed, on_gpu(*shape)), step(eager, on_gpu(*shape)))
    finally:
        done.set()
        thread.join()
    assert pinned and not failed


def test_auto_waits_for_no_gpu_that_is_busy() -> None:
    small = graph_model(build("VMamba", "cuda"), "auto")
    for _ in range(5):
        step(small, on_gpu(*A))
    assert small.forward.replayed > 0
    large = graph_model(mmmamba.create_backbone("vmamba_t").cuda().train(), "auto")
    for _ in range(4):
        maps = large(on_gpu(48, 3, 512, 512))
        loss(maps).backward()
        torch.cuda.synchronize()
    assert large.forward.replayed == 0
