"""Scans that are carried past step sizes, B and C in the map's order, against a loop."""

import pytest
import torch
import torch.nn.functional as F

from mmmamba.ops import carried_scan, expand_routes, route_table, visit_table
from mmmamba.ops.selective_scan import carried

from .interpreter import DEVICE, inside, kernels
from .second_order import assert_forward_equal, assert_second_order_equal

SNAKES = expand_routes("continuous")[0]
PAIR = ("snake", "snake_column_reversed")


def tables(H, W, routes=SNAKES, device="cpu"):
    given = (routes, H, W, device)
    return dict(index=route_table(*given), visits=visit_table(*given))


def tensors(H, W, channels, d_state, routes=SNAKES, batch=2, dtype=torch.float64, device="cpu"):
    torch.manual_seed(0)
    L, K = H * W, len(routes)
    u, delta = torch.randn(2, batch, L, channels)
    B, C = torch.randn(batch, L, K, d_state), torch.randn(batch, L, d_state)
    A = -torch.rand(channels, d_state) - 0.1
    D, bias = torch.randn(2, channels)
    # Parameters stay in the precision that mixers give them.
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    kinds = (dtype, dtype, wide, dtype, dtype, wide, wide)
    given = zip((u, delta, A, B, C, D, bias), kinds)
    return [x.to(device, kind) for x, kind in given]


def scan(u, delta, A, B, C, D, bias, **given):
    return carried_scan(u, delta, A, B, C, D, delta_bias=bias, **given)


def loop(u, delta, A, B, C, D, bias, *, index, **_):
    step = F.softplus(delta + bias)
    y = []
    for k, order in enumerate(index.tolist()):
        h, rows = 0, {}
        for t, p in enumerate(order):
            drive = (step[:, t] * u[:, p])[..., None] * B[:, t, k, None]
            h = torch.exp(step[:, t, :, None] * A) * h + drive
            rows[p] = (h * C[:, t, None]).sum(-1) + D * u[:, p]
        y.append(torch.stack([rows[p] for p in range(len(order))], 1))
    return torch.stack(y).sum(0)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (3, 4), (5, 3)])
@pytest.mark.parametrize("backend", ["naive", "torch", "cpu"])
def test_equals_the_loop(backend, size, monkeypatch):
    monkeypatch.setenv("MMMAMBA_SCAN_BACKEND", backend)
    check(tensors(*size, 3, 2), tables(*size), scan, 1e-9)


def test_step_sizes_stay_where_they_are():
    """The example of the sheet: on 2x3 the fourth step reads (1, 2) with what stands at (1, 0)."""
    u, delta, A, B, C, D, bias = tensors(2, 3, 1, 1, ("snake",), batch=1)
    given = tables(2, 3, ("snake",))
    before = scan(u, delta, A, B, C, D, bias, **given)
    B[:, 3] += 1
    moved = (scan(u, delta, A, B, C, D, bias, **given) - before)[0, :, 0]
    step = F.softplus(delta[0, 3, 0] + bias[0])
    torch.testing.assert_close(moved[5], step * u[0, 5, 0] * C[0, 3, 0])
    assert moved.nonzero().flatten().tolist() == [3, 4, 5]


def test_derivatives():
    given, inputs = tables(2, 2), tensors(2, 2, 2, 2)
    calls = [lambda *x, call=call: call(*x, **given) for call in (scan, loop)]
    assert_second_order_equal(*calls, inputs, 1e-9)
    assert_forward_equal(*calls, inputs, 1e-9)


def test_it_compiles():
    given, inputs = tables(3, 2), tensors(3, 2, 3, 2, dtype=torch.float32)
    compiled = torch.compile(scan, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*inputs, **given), scan(*inputs, **given))


def test_half_precision_comes_out_as_asked():
    given, inputs = tables(3, 2), tensors(3, 2, 3, 2, dtype=torch.bfloat16)
    want = loop(*[x.double() for x in inputs], **given)
    got = scan(*inputs, **given, out_dtype=torch.float32)
    assert got.dtype == torch.float32 and scan(*inputs, **given).dtype == torch.bfloat16
    torch.testing.assert_close(got, want.float(), rtol=2e-2, atol=2e-2)


def test_shapes_that_do_not_fit_are_errors():
    u, delta, A, B, C, D, bias = tensors(3, 2, 3, 2)
    with pytest.raises(ValueError, match="B is .2, 6, 3., but .* 4 routes"):
        scan(u, delta, A, B[:, :, :3], C, D, bias, **tables(3, 2))
    with pytest.raises(ValueError, match="visits"):
        scan(u, delta, A, B, C, D, bias, **tables(3, 2) | dict(visits=route_table(("row",), 3, 2)))


def check(inputs, given, call, tolerance):
    inputs = [x.requires_grad_() for x in inputs]
    wide = torch.float64 if inputs[0].dtype == torch.float64 else torch.float32
    got, want = call(*inputs, **given), loop(*[x.to(wide) for x in inputs], **given)
    grad = torch.randn(want.shape, generator=torch.Generator().manual_seed(1)).to(want)
    pairs = [(got.detach(), want.detach())]
    found = torch.autograd.grad(got, inputs, grad.to(got.dtype))
    pairs += list(zip(found, torch.autograd.grad(want, inputs, grad)))
    for a, b in pairs:
        assert a.shape == b.shape
        atol = tolerance * max(float(b.abs().max()), 1.0)
        torch.testing.assert_close(a.float(), b.float(), rtol=tolerance, atol=atol)


def by_kernels(u, delta, A, B, C, D, bias, *, index, visits):
    return carried.Carried.apply(u, delta, A, B, C, D, bias, index, visits, u.dtype)


@kernels
@pytest.mark.parametrize(
    "size, channels, d_state, dtype, tolerance",
    [
        ((2, 3), 3, 1, torch.float32, 1e-4),
        ((3, 2), 4, 2, torch.float32, 1e-4),
        ((2, 2), 3, 2, torch.bfloat16, 3e-2),
    ],
)
def test_kernels_equal_the_loop(where, size, channels, d_state, dtype, tolerance, poisoned_memory):
    inputs = tensors(*size, channels, d_state, PAIR, 1, dtype, DEVICE)
    check(inputs, tables(*size, PAIR, DEVICE), by_kernels, tolerance)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-3), (torch.bfloat16, 4e-2)])
def test_kernels_equal_the_loop_on_a_gpu(dtype, tolerance, poisoned_memory):
    inputs = tensors(14, 13, 200, 16, dtype=dtype, device="cuda")
    check(inputs, tables(14, 13, device="cuda"), by_kernels, tolerance)


@inside
def test_kernels_add_up_routes_one_by_one(monkeypatch):
    """As on large maps, in chunks; small ones are walked side by side."""
    from mmmamba.ops.selective_scan import triton_choice

    monkeypatch.setattr(triton_choice, "FULL", 1e9)
    monkeypatch.setattr(triton_choice, "LARGE_MAP", 1)
    inputs = tensors(2, 3, 3, 2, PAIR, 1, torch.float32)
    check(inputs, tables(2, 3, PAIR), by_kernels, 1e-4)


@inside
def test_kernels_and_second_derivatives():
    given, inputs = tables(1, 2, PAIR), tensors(1, 2, 2, 1, PAIR, 1, torch.float32)
    calls = [lambda *x, call=call: call(*x, **given) for call in (by_kernels, loop)]
    assert_second_order_equal(*calls, inputs, 1e-3)
