"""A student and those that it asks are replayed as CUDA graphs, with the losses of eager mode."""

from __future__ import annotations

import copy

import pytest
import torch

pytest.importorskip("mmpretrain")

from mmengine.model import ExponentialMovingAverage
from mmengine.optim import OptimWrapper
from torch import nn

from mmmamba.acceleration.graphs import attach, graph_model, ungraph_model

from ..acceleration.again import Again
from .tiny import batch, build

TEACHER = dict(library="timm", model="test_resnet", allow_random=True, size=64)


def student(device: str = "cpu") -> nn.Module:
    torch.manual_seed(0)
    model = build(teacher=TEACHER, distillation=dict(kind="soft")).to(device).train()
    model.teacher()
    return model


def trained(model: nn.Module, steps: int) -> list[dict[str, float]]:
    """The losses of some steps, with an average that is asked as well."""
    average = ExponentialMovingAverage(model, momentum=0.5)
    model.learn_from_average(average.module)
    model.mesa_weight = 1.5
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
    found = []
    for _ in range(steps):
        log = model.train_step(batch(), optimizer)
        average.update_parameters(model)
        found.append({name: value.item() for name, value in log.items()})
    return found


def test_teacher_average_and_student_are_replayed() -> None:
    wanted = trained(student(), 3)
    graphed, recorder = student(), Again()
    attach(graphed, 1, recorder)
    assert trained(graphed, 3) == wanted
    # Forward and backward pass of the student, the teacher, the average.
    assert recorder.recorded == 4
    assert copy.deepcopy(graphed).teacher() is graphed.teacher()
    ungraph_model(graphed)
    assert graphed.replays is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu() -> None:
    """An average that moves is seen by the graph, and the teacher works in half precision."""
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        wanted = trained(student("cuda"), 5)
        graphed = graph_model(student("cuda"), 1)
        found = trained(graphed, 5)
        assert graphed.extract_feat.replayed == 4
        for got, want in zip(found, wanted):
            assert got == pytest.approx(want, rel=1e-4)
        # It is another from step to step.
        assert len({step["loss_mesa"] for step in found}) == 5
        images = torch.randn(2, 3, 64, 64, device="cuda")
        network = copy.deepcopy(graphed.teacher().network)
        # As it was made: its images are normalised as it wants them.
        graphed.teacher().renormalise = None
        exact, half = network(images), graphed.teacher()(images)[0]
        assert half.dtype == torch.float32 and not torch.equal(half, exact)
        torch.testing.assert_close(half, exact, rtol=0.05, atol=0.02)
