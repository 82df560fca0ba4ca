"""Models replayed as recorded, by a recorder that calls the same functions again."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.checkpoint import checkpoint

from mmmamba.acceleration.errors import GraphError
from mmmamba.acceleration.graphs import Graphs, _subject, attach, graph_model, ungraph_model

from .again import Again
from .graphed_passes import (
    FAMILIES,
    assert_equal,
    build,
    every_family,
    gradients,
    image,
    loss,
    same,
    step,
)
from .whole_models import NAMES, build_whole, losses, predictions

A, B = (2, 3, 64, 64), (2, 3, 96, 64)
half = pytest.mark.parametrize("autocast", [None, torch.bfloat16])
IN_HALF = [(family, torch.bfloat16) for family in FAMILIES]
VARIED = ("VMamba", "MambaVision", "VSSD", "Vim")
"""Families unlike each other: the others' six steps in half precision take a CPU seconds each."""


@pytest.fixture(autouse=True)
def same_numbers() -> Iterator[None]:
    """One thread: sums over several may be made in any order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("family", "autocast"),
    [
        *((family, None) for family in FAMILIES),
        *(pytest.param(*x, marks=() if x[0] in VARIED else pytest.mark.slow) for x in IN_HALF),
    ],
)
def test_training_is_eager_modes_bit_for_bit(family: str, autocast: torch.dtype | None) -> None:
    eager, graphed = (build(family, drop_path_rate=0.3, frozen_stages=0) for _ in range(2))
    graphs = attach(graphed, 2, Again())
    for shape in (A, B, A, B, A, B):
        x = image(*shape)
        same(step(graphed, x, autocast), step(eager, x, autocast))
        assert_equal(gradients(graphed), gradients(eager), 0.0)
    assert graphs.replayed == 4
    assert_equal(dict(graphed.named_buffers()), dict(eager.named_buffers()), 0.0)


@every_family
@half
def test_prediction_is_eager_modes_with_the_weights_of_now(
    family: str, autocast: torch.dtype | None
) -> None:
    eager, graphed = build(family).eval(), build(family).eval()
    graphs = attach(graphed, 1, Again())
    for number in range(4):
        x = image(*A, seed=number)
        with torch.autocast("cpu", autocast, enabled=autocast is not None), torch.no_grad():
            same(list(graphed(x)), list(eager(x)))
            for model in (eager, graphed):
                # As an optimizer does, and as averaged weights are exchanged.
                for p in model.parameters():
                    p.data.mul_(1.01)
    assert graphs.replayed == 3


@pytest.mark.parametrize("name", NAMES)
def test_detectors_and_segmentors(name: str) -> None:
    eager, graphed = build_whole(name), build_whole(name)
    graphs = attach(graphed, 1, Again())
    x = image(2, 3, 64, 96)
    for _ in range(3):
        found = []
        for model in (eager, graphed):
            model.train().zero_grad(set_to_none=True)
            torch.manual_seed(1)
            with torch.autocast("cpu", torch.bfloat16):
                parts = losses(model, x)
            sum(parts.values()).backward()
            found.append(parts)
        assert_equal(found[1], found[0], 0.0)
        assert_equal(gradients(graphed), gradients(eager), 0.0)
        # Between steps, as in a validation.
        same(predictions(graphed.eval(), x), predictions(eager.eval(), x))
    assert graphs.replayed == 4
    assert graphs.modes[True].heads and graphs.modes[False].heads
    assert "auxiliary_head" not in graphs.modes[False].heads
    ungraph_model(graphed)
    assert "extract_feat" not in graphed.__dict__
    same(predictions(graphed, x), predictions(eager, x))


def test_losses_that_are_added_up_and_passes_that_overlap() -> None:
    eager, graphed = build(), build()
    graphs = attach(graphed, 4, Again())
    first, second = image(*A, seed=1), image(*A, seed=2)
    for _ in range(2):
        step(graphed, first)
    for model in (eager, graphed):
        model.zero_grad(set_to_none=True)
        maps = model(first), model(second)
        (loss(maps[0]) + 2 * loss(maps[1])).backward()
        # Gradients are accumulated, and outputs that are kept stay what they were.
        loss(model(first)).backward()
    assert graphs.replayed == 3 and "has not come yet" in str(graphs.told)
    assert_equal(gradients(graphed), gradients(eager), 1e-6)
    outputs = graphed(first)
    assert graphs.memory.pending
    del outputs
    assert not graphs.memory.pending


def test_a_second_backward_pass_is_an_error() -> None:
    graphed = build()
    attach(graphed, 1, Again())
    for _ in range(2):
        maps = graphed(image(*A))
        loss(maps).backward(retain_graph=True)
    with pytest.raises(GraphError, match="second backward pass"):
        loss(maps).backward()


def test_gradients_and_outputs_are_nobody_elses() -> None:
    graphed = build()
    attach(graphed, 1, Again())
    step(graphed, image(*A))
    kept = step(graphed, image(*A, seed=1))
    grads = gradients(graphed)
    was = [x.clone() for x in (*kept, *grads.values())]
    step(graphed, image(*A, seed=2))
    same([*kept, *grads.values()], was)


def test_what_changes_is_captured_anew() -> None:
    eager, graphed = build("MambaVision"), build("MambaVision")
    recorder = Again()
    graphs = attach(graphed, 1, recorder)

    def freeze(model: nn.Module) -> None:
        model.levels[1].requires_grad_(False)

    def move(model: nn.Module) -> None:
        norm = model.levels[0].blocks[0].norm1
        norm.running_mean = norm.running_mean.clone() + 1

    def replace(model: nn.Module) -> None:
        model.levels[0].blocks[0].norm1 = nn.Identity()

    def momentum(model: nn.Module) -> None:
        model.levels[0].blocks[0].norm2.momentum = 0.5

    for change in (freeze, move, replace, momentum):
        for model in (eager, graphed):
            for _ in range(3):
                step(model, image(*A))
            change(model)
            step(model, image(*A))
        assert_equal(gradients(graphed), gradients(eager), 0.0)
        assert_equal(dict(graphed.named_buffers()), dict(eager.named_buffers()), 0.0)
    assert recorder.recorded == 8 and graphs.replayed > 4


def test_what_a_replay_would_leave_out_runs_in_eager_mode(
    caplog: pytest.LogCaptureFixture,
) -> None:
    graphed = build()
    graphs = attach(graphed, 1, Again())
    called = []
    for _ in range(2):
        step(graphed, image(*A))
    with caplog.at_level("INFO", "mmmamba"):
        hook = graphed.layers[0].register_forward_hook(lambda *_: called.append(1))
        step(graphed, image(*A)), step(graphed, image(*A))
        hook.remove()
        step(graphed, image(*A).requires_grad_())
    assert len(called) == 2 and graphs.replayed == 1
    assert caplog.text.count("has hooks, which a graph would not run") == 1
    assert caplog.text.count("the images require gradients") == 1
    step(graphed, image(*A))
    assert graphs.replayed == 2


def test_no_capture_where_results_could_differ(caplog: pytest.LogCaptureFixture) -> None:
    graphed, graphs = _graphed(build(with_cp=True))
    with caplog.at_level("INFO", "mmmamba"):
        step(graphed, image(*A)), step(graphed, image(*A)), step(graphed, image(*A))
    assert graphs.replayed == 0 and caplog.text.count("with_cp=True") == 1
    graphed, _ = _graphed(build(with_cp=True), 1)
    step(graphed, image(*A))
    with pytest.raises(GraphError, match="VMamba: with_cp=True.*graphs='off'"):
        step(graphed, image(*A))


@pytest.fixture
def one_of_two(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be one of two processes; batch norms over both, of which a CPU has none, are of one."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    monkeypatch.setattr(nn.SyncBatchNorm, "forward", nn.BatchNorm2d.forward)
    yield
    dist.destroy_process_group()


def test_statistics_of_several_processes_are_not_captured(
    one_of_two: None, caplog: pytest.LogCaptureFixture
) -> None:
    graphed, graphs = _graphed(nn.SyncBatchNorm.convert_sync_batchnorm(build("MambaVision")))
    with caplog.at_level("INFO", "mmmamba"):
        step(graphed, image(*A)), step(graphed, image(*A)), step(graphed, image(*A))
    assert graphs.replayed == 0 and caplog.text.count("SyncBatchNorm's statistics travel") == 1


def test_heads_with_such_statistics_train_behind_graphs(
    one_of_two: None, caplog: pytest.LogCaptureFixture
) -> None:
    eager, graphed = (build_whole("upernet/vmamba_t_160k_ade20k-512x512") for _ in range(2))
    graphed = nn.SyncBatchNorm.convert_sync_batchnorm(graphed)
    graphs = attach(graphed, 1, Again())
    x = image(2, 3, 64, 96)
    with caplog.at_level("INFO", "mmmamba"):
        for _ in range(3):
            found = []
            for model in (eager, graphed):
                model.train().zero_grad(set_to_none=True)
                torch.manual_seed(1)
                found.append(losses(model, x))
                sum(found[-1].values()).backward()
            assert_equal(found[1], found[0], 0.0)
            assert_equal(gradients(graphed), gradients(eager), 0.0)
            same(predictions(graphed.eval(), x), predictions(eager.eval(), x))
    assert graphs.replayed == 4
    # What is predicted is of one process.
    assert graphs.modes[True].heads == [] and graphs.modes[False].heads == ["decode_head"]
    told = "behind graphs, decode_head and auxiliary_head train in eager mode"
    assert caplog.text.count(told) == 1


def test_a_neck_with_such_statistics_runs_behind_graphs_of_the_backbone(one_of_two: None) -> None:
    model = build_whole("retinanet/efficientvmamba_t_1x_coco")
    model.neck.bn = nn.SyncBatchNorm(1)
    subject = _subject(model)
    assert subject is model.backbone
    graphs = attach(subject, 1, Again())
    x = image(2, 3, 64, 96)
    for _ in range(3):
        sum(losses(model.train(), x).values()).backward()
    assert graphs.replayed == 2
    ungraph_model(model)
    assert "forward" not in model.backbone.__dict__


def _graphed(model: nn.Module, most: int | str = "auto") -> tuple[nn.Module, Graphs]:
    return model, attach(model, most, Again())


def test_checkpointing_around_it_is_refused() -> None:
    graphed, _ = _graphed(build(), 1)
    step(graphed, image(*A))
    with pytest.raises(GraphError, match="hooks on saved tensors"):
        checkpoint(graphed, image(*A), use_reentrant=False)


def test_a_model_that_is_called_with_more_than_images_runs_as_ever() -> None:
    """As any model of MMEngine's that is no detector and no segmentor."""

    class Model(nn.Module):
        def forward(self, inputs: Tensor, mode: str = "tensor") -> dict[str, Tensor]:
            return {mode: inputs.sum()}

    model, graphs = _graphed(Model())
    images = torch.ones(1, 3, 4, 4)
    for _ in range(3):
        assert model(inputs=images, mode="loss") == {"loss": 48}
        assert model(images, "loss") == {"loss": 48}
    assert not graphs.passes


def test_where_the_device_is_busy_nothing_is_captured() -> None:
    graphed = build()
    graphs = attach(graphed, "auto", Again(waits=False))
    for _ in range(5):
        step(graphed, image(*A))
    assert graphs.replayed == 0


def test_no_memory_is_told_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    eager, graphed = build(), build()
    recorder = Again()
    graphs = attach(graphed, "auto", recorder)
    recorder.fails = torch.OutOfMemoryError("no memory")
    with caplog.at_level("INFO", "mmmamba"):
        for _ in range(5):
            step(graphed, image(*A))
        recorder.fails = None
        for _ in range(3):
            same(step(graphed, image(*B)), step(eager, image(*B)))
    assert caplog.text.count("no memory for graphs of 2 x 3 x 64 x 64") == 1
    assert graphs.replayed == 2


def test_graphs_keep_to_their_share_of_the_memory(caplog: pytest.LogCaptureFixture) -> None:
    graphed = build()
    recorder = Again()
    recorder.free = lambda: 3 * 2**20
    graphs = attach(graphed, "auto", recorder)
    with caplog.at_level("INFO", "mmmamba"):
        for _ in range(3):
            for shape in (A, B):
                step(graphed, image(*shape))
    assert len(graphs.modes[True].sizes.captured) == 1 and graphs.held == 2 * 2**20
    assert "more than half of the 3 MiB" in caplog.text


def test_heads_that_cannot_be_captured_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    name = "retinanet/efficientvmamba_t_1x_coco"
    eager, graphed = build_whole(name).eval(), build_whole(name).eval()
    recorder = Again()
    graphs = attach(graphed, "auto", recorder)
    x = image(1, 3, 64, 64)
    for model in (eager, graphed):
        own = model.bbox_head.cls_convs[0].forward
        model.bbox_head.cls_convs[0].forward = lambda x, own=own: _refuse_when(recorder, own(x))
    with caplog.at_level("INFO", "mmmamba"):
        for _ in range(8):
            same(predictions(graphed, x), predictions(eager, x))
    assert "its heads cannot be captured (operation not permitted" in caplog.text
    assert graphs.replayed == 3 and graphs.modes[False].heads == []


def _refuse_when(recorder: Again, x: Tensor) -> Tensor:
    """A head that reads something back, which no recording allows."""
    if recorder.running:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")
    return x


def test_a_whole_that_cannot_be_captured(caplog: pytest.LogCaptureFixture) -> None:
    for most in ("auto", 1):
        graphed = build()
        recorder = Again()
        graphs = attach(graphed, most, recorder)
        recorder.fails = RuntimeError("operation failed\nmore")
        step(graphed, image(*A))
        if most == 1:
            with pytest.raises(GraphError, match=r"cannot be captured \(operation failed\)"):
                step(graphed, image(*A))
        else:
            with caplog.at_level("INFO", "mmmamba"):
                step(graphed, image(*A)), step(graphed, image(*A)), step(graphed, image(*A))
            assert caplog.text.count("it cannot be captured (operation failed)") == 1
            assert graphs.off


def test_copies_and_pickles_begin_anew() -> None:
    model = build_whole("retinanet/efficientvmamba_t_1x_coco").eval()
    attach(model, 1, Again())
    x = image(1, 3, 64, 64)
    predictions(model, x), predictions(model, x)
    other = copy.deepcopy(model)
    assert other.extract_feat.part.model is other
    assert other.bbox_head.forward.func.__self__ is other.extract_feat.part
    with torch.no_grad():
        for p in other.backbone.parameters():
            p.zero_()
    assert not torch.equal(other.extract_feat(x)[0], model.extract_feat(x)[0])
    again = pickle.loads(pickle.dumps(model))
    same(list(again.extract_feat(x)), list(model.extract_feat(x)))


def test_the_face() -> None:
    model = build()
    # On a CPU there is nothing to capture.
    assert graph_model(model, "auto") is model and "forward" not in model.__dict__
    for wrong in (0, -1, True, "on", 1.5):
        with pytest.raises(ValueError, match="wanted 'off', 'auto' or a number of sizes"):
            graph_model(model, wrong)
    attach(model, 1, Again())
    with pytest.raises(GraphError, match="graphed already"):
        attach(model, 1, Again())
    ungraph_model(model)
    ungraph_model(model)
    assert "forward" not in model.__dict__
