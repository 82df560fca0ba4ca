"""What a block's calls read and write, and what the whole block would have to."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.autograd import DeviceType

from mmmamba.ops import layer_norm
from tests.ops.interpreter import inside

# Scripts of one folder import one another by name, as they do when they are run.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
script = importlib.import_module("watching")


def test_each_tensor_counts_once_and_what_is_expanded_as_it_lies() -> None:
    x = torch.zeros(4, 8)
    assert script.size_in_bytes([x, dict(again=x)]) == 4 * 8 * 4
    assert script.size_in_bytes(x[:, :1].expand(4, 8)) == 4 * 4
    assert script.size_in_bytes([x[:2], x[2:], None, 3]) == 4 * 8 * 4


def test_calls_of_both_passes_with_their_bytes(monkeypatch) -> None:
    monkeypatch.setattr(script, "CALLS", 2)
    block = nn.Linear(32, 32, bias=False)
    x = torch.randn(64, 32, requires_grad=True)
    found = script.watched_passes(block, (x,))
    products = [call for call in found.calls if call.name == "aten.mm"]
    assert [call.phase for call in products] == ["forward", "backward", "backward"]
    # The input, the weight and the output, in bfloat16.
    assert products[0].size == 2 * (64 * 32 + 32 * 32 + 64 * 32)
    weights, maps = 4 * 32 * 32, 4 * 64 * 32
    assert found.whole["forward"] == maps + weights + maps // 2
    assert found.whole["backward"] == maps + maps // 2 + weights + maps + weights


def test_kernels_of_ours_are_those_of_their_names_in_the_order_of_launches(monkeypatch) -> None:
    monkeypatch.setattr(script, "CALLS", 2)
    first, other, last = (
        script.Call("forward", name, 8) for name in ("scan_kernel", "aten.mm", "scan_kernel")
    )
    starts = dict(gemm=[1], scan_kernel=[30, 0, 10, 40])
    events = [
        SimpleNamespace(name=name, time_range=Range(start), device_type=DeviceType.CUDA)
        for name in starts
        for start in starts[name]
    ]
    script.add_launches([first, other, last], events)
    # Of each pass the first takes 100 + start µs: those at 0 and 30, and at 10 and 40.
    assert (first.ms, last.ms) == (pytest.approx(0.115), pytest.approx(0.125))
    assert (other.ms, first.kernels["scan_kernel"]) == (0, 2)
    script.add_launches([first := script.Call("forward", "gemm", 8)], events)
    assert first.ms == 0


class Range:
    """When a kernel ran, and for longer the later it began."""

    def __init__(self, start: int):
        self.start = start

    def elapsed_us(self) -> int:
        return 100 + self.start


@inside
def test_kernels_of_ours_are_seen_with_their_tensors() -> None:
    watch = script.Watch()
    x, one = torch.randn(4, 8), torch.ones(8)
    # Modules of kernels are loaded by their first use, and a watch is put into those that are.
    layer_norm(x, one, one, backend="triton")
    with watch.everywhere():
        watch.begin("forward")
        layer_norm(x, one, one, backend="triton")
    (call,) = [call for call in watch.calls if not call.name.startswith("aten.")]
    # The input, the output, weight and bias (here the same tensor), and two numbers a row.
    assert call.size == 4 * (2 * 4 * 8 + 8 + 2 * 4)
