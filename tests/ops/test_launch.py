"""A kernel found again by a `Launch` is one that was compiled for any size."""

import pytest
import torch

triton = pytest.importorskip("triton")

from mmmamba.ops import launch, layer_norm
from mmmamba.ops.launch import Launch, Plans

CPU = torch.device("cpu")


@triton.jit(do_not_specialize=["rows"])
def of_any_rows(x, rows, width, C: triton.language.constexpr):
    pass


@triton.jit(do_not_specialize=["rows"])
def of_rows(x, y, rows, C: triton.language.constexpr):
    pass


def test_a_kernel_specialised_on_a_size_is_refused():
    with pytest.raises(
        TypeError, match="of_any_rows is specialised on width, .* do_not_specialize"
    ):
        Launch(of_any_rows, CPU, 1, dict(rows=3, width=4), C=2)


def test_names_that_are_not_the_kernels_are_refused():
    with pytest.raises(TypeError, match="of_any_rows is given lines, width, wanted rows, width"):
        Launch(of_any_rows, CPU, 1, dict(lines=3, width=4), C=2)


def test_another_number_of_tensors_is_refused():
    with pytest.raises(TypeError, match="of_rows is given 1 tensors, wanted 2"):
        Launch(of_rows, CPU, 1, dict(rows=3), C=2)(torch.zeros(1))


def test_plans_are_let_go_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(Plans, "FULL", 2)
    plans = Plans()
    for size in range(3):
        assert plans.keep((size,), str(size)) == str(size)
    assert plans == {(2,): "2"}


@pytest.mark.parametrize("hook", ["launch_enter_hook", "launch_exit_hook"])
def test_a_profiler_that_hangs_itself_into_triton_is_seen(monkeypatch, hook):
    assert not launch._hooked()
    hooks = launch._triton().hooks
    chain = getattr(hooks, hook)
    if hasattr(chain, "calls"):
        monkeypatch.setattr(chain, "calls", [print])
    else:
        monkeypatch.setattr(hooks, hook, print)
    assert launch._hooked()


@pytest.mark.gpu
def test_a_launch_goes_to_the_current_stream_and_is_seen_by_hooks(monkeypatch):
    x, one = torch.randn(4096, 256, device="cuda"), torch.ones(256, device="cuda")
    want = layer_norm(x, one, one)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        busy = torch.randn(4096, 4096, device="cuda")
        for _ in range(20):
            busy = busy @ busy / 64
        changed = x + 0 * busy[:, :256].nan_to_num()
        got = layer_norm(changed, one, one)
    side.synchronize()
    assert torch.equal(got, want)
    # Not all memory begins at a multiple of 16 bytes.
    odd = torch.empty(x.numel() + 1, device="cuda")[1:].view_as(x).copy_(x)
    assert torch.equal(layer_norm(odd, one, one), want)
    assert torch.equal(layer_norm(x, one, one), want)
    seen = []
    hooks = launch._triton().hooks
    if hasattr(hooks.launch_enter_hook, "calls"):
        monkeypatch.setattr(hooks.launch_enter_hook, "calls", [seen.append])
    else:
        monkeypatch.setattr(hooks, "launch_enter_hook", seen.append)
    assert torch.equal(layer_norm(x, one, one), want)
    assert len(seen) == 1
