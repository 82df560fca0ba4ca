"""Functions that are replayed give what they give by themselves."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from mmmamba.acceleration.graphs import attach, ungraph_model
from mmmamba.acceleration.replays import MOST, Replays

from .again import Again


def scaled(x: Tensor, y: Tensor | None, factor: float) -> list[Tensor]:
    return [x * factor if y is None else x * y, x.sum(0).long()]


def drawn(n: int, size: int = 4) -> Tensor:
    return torch.rand(3, size, generator=torch.Generator().manual_seed(n))


@torch.no_grad()
def test_it_replays_from_the_second_time_on() -> None:
    recorder = Again()
    replays = Replays(recorder)
    answers = []
    for n in range(4):
        answers.append(replays(scaled, [drawn(n), None], 2.0))
        assert recorder.recorded == (n > 0)
    # They are nobody else's.
    for n, got in enumerate(answers):
        assert all(map(torch.equal, got, scaled(drawn(n), None, 2.0)))
    assert torch.equal(replays(scaled, [drawn(0), None], 3.0)[0], drawn(0) * 3)
    assert torch.equal(replays(scaled, [drawn(0), drawn(1)], 2.0)[0], drawn(0) * drawn(1))
    assert recorder.recorded == 1


@torch.no_grad()
def test_shapes_that_come_rarely_are_let_go() -> None:
    recorder = Again()
    replays = Replays(recorder)
    for _ in range(2):
        replays(scaled, [drawn(0), None], 2.0)
    for size in range(5, 5 + MOST):
        replays(scaled, [drawn(0, size), None], 2.0)
    replays(scaled, [drawn(0), None], 2.0)
    assert recorder.recorded == 1
    replays(scaled, [drawn(0), None], 2.0)
    assert recorder.recorded == 2


def test_passes_that_want_gradients_are_not_replayed() -> None:
    recorder = Again()
    replays = Replays(recorder)
    x = drawn(0).requires_grad_()
    for _ in range(3):
        replays(scaled, [x, None], 2.0)[0].sum().backward()
    assert not recorder.recorded and torch.equal(x.grad, torch.full_like(x, 6.0))


@torch.no_grad()
def test_what_cannot_be_captured_runs_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Again()
    recorder.fails = RuntimeError("operation not permitted")
    replays = Replays(recorder)
    with caplog.at_level("INFO", "mmmamba"):
        for n in range(4):
            got = replays(scaled, [drawn(n), None], 2.0)
            assert torch.equal(got[0], drawn(n) * 2)
    assert caplog.messages == [
        "scaled cannot be captured (operation not permitted): it runs in eager mode"
    ]


class Head(nn.Module):
    replays: Replays | None = None

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_graphs_bring_them_to_heads_and_take_them_away() -> None:
    model = nn.Sequential(nn.Identity(), Head())
    attach(model, "auto", Again())
    assert isinstance(model[1].replays, Replays) and not hasattr(model[0], "replays")
    for other in (copy.deepcopy(model[1]), pickle.loads(pickle.dumps(model[1].replays))):
        held = getattr(other, "replays", other)
        assert not held._held
    ungraph_model(model)
    assert model[1].replays is None
