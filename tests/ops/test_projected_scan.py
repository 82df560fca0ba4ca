"""The scan that makes its step sizes again in the backward pass equals the one that keeps them."""

import importlib

import pytest
import torch
import torch.nn.functional as F

from mmmamba.ops import projected_scan, route_table, selective_scan


@pytest.mark.parametrize(
    "routes", [None, ("row", "column", "row_reversed", "column_reversed"), ("window4", "hilbert")]
)
@pytest.mark.parametrize("d_state", [1, 3])
@pytest.mark.parametrize("backend", ["naive", "torch", "cpu"])
def test_equals_the_parts(backend, d_state, routes, monkeypatch):
    monkeypatch.setenv("MMMAMBA_SCAN_BACKEND", backend)
    check(routes, d_state, torch.float64)
    check(routes, d_state, torch.float64, zeros=3)


@pytest.mark.parametrize("backend", ["naive", "torch", "cpu"])
def test_a_batch_in_parts(backend, monkeypatch):
    monkeypatch.setenv("MMMAMBA_SCAN_BACKEND", backend)
    monkeypatch.setattr(
        importlib.import_module("mmmamba.ops.selective_scan.projected"), "AT_ONCE", 1
    )
    check(("row", "column"), 2, torch.float64)
    check(("row", "column"), 2, torch.float64, skips=False)
    # As many chunks of 64 steps as images.
    check(("row", "column"), 2, torch.float64, size=(15, 10))


def check(routes, d_state, dtype, device="cpu", rtol=1e-9, skips=True, size=(5, 6), zeros=0):
    torch.manual_seed(0)
    (H, W), K, D, N = size, len(routes or "1"), 8, d_state
    index = None if routes is None else route_table(routes, H, W, device)
    leaves = [
        torch.randn(3, H * W, D),
        torch.randn(K * (D + 2 * N), D) * 0.3,
        -torch.rand(K, D, N) - 0.1,
        torch.randn(K, D),
        torch.randn(K, D),
    ]
    leaves = [x.to(device, dtype).requires_grad_() for x in leaves]
    x, weight, A, skip, bias = leaves = leaves if skips else [*leaves[:3], None, leaves[4]]
    filled = F.pad(weight, (0, 0, 0, zeros))
    leaves = [leaf for leaf in leaves if leaf is not None]
    got = projected_scan(x, filled, A, skip, index=index, delta_bias=bias)
    delta, B, C = F.linear(x, weight).split((K * D, K * N, K * N), -1)
    want = selective_scan(
        x,
        delta.unflatten(-1, (K, D)),
        A,
        B.unflatten(-1, (K, N)),
        C.unflatten(-1, (K, N)),
        skip,
        index=index,
        delta_bias=bias,
        delta_softplus=True,
    )
    torch.testing.assert_close(got, want, rtol=rtol, atol=rtol)
    grad = torch.randn_like(want)
    for a, b in zip(
        torch.autograd.grad(got, leaves, grad), torch.autograd.grad(want, leaves, grad)
    ):
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol * float(b.abs().max()))


@pytest.mark.gpu
def test_a_batch_in_parts_on_a_gpu(monkeypatch):
    monkeypatch.setattr(
        importlib.import_module("mmmamba.ops.selective_scan.projected"), "AT_ONCE", 1
    )
    check(("row", "column"), 1, torch.float32, "cuda", 2e-3)
    check(("row", "column"), 9, torch.float32, "cuda", 2e-3)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "routes", [None, ("row", "column", "row_reversed", "column_reversed"), ("window4", "hilbert")]
)
@pytest.mark.parametrize("d_state", [1, 3])
def test_equals_the_parts_on_a_gpu(d_state, routes):
    check(routes, d_state, torch.float32, "cuda", 2e-3)
