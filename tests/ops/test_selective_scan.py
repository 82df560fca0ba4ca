"""Every backend against the loop, outputs and gradients; and what `torch.library` promises."""

import math

import pytest
import torch

from mmmamba.ops import BackendError, route_table, selective_scan
from mmmamba.ops.selective_scan import ENVIRONMENT, why_not
from mmmamba.ops.selective_scan.dispatch import BACKENDS

CPU_BACKENDS = [
    name for name in BACKENDS if name != "naive" and why_not(name, torch.device("cpu")) is None
]
NAMES = ("u", "delta", "A", "B", "C", "D", "delta_bias")
CROSS = ("row", "column", "row_reversed", "column_reversed")


def make_inputs(
    height,
    width,
    channels=5,
    d_state=3,
    routes=CROSS,
    batch=2,
    shared=True,
    seed=0,
    dtype=torch.float64,
):
    """Random inputs of a scan over a height x width map; `routes` names or an index table."""
    gen = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=gen, dtype=torch.float64).to(dtype)

    L, K = height * width, len(routes)
    index = routes if isinstance(routes, torch.Tensor) else route_table(routes, height, width)
    u = normal(batch, L, channels) if shared else normal(batch, L, K, channels)
    keep = torch.float64 if dtype == torch.float64 else torch.float32
    return dict(
        u=u,
        delta=normal(batch, L, K, channels),
        A=-torch.exp(normal(K, channels, d_state).to(keep)),
        B=normal(batch, L, K, d_state),
        C=normal(batch, L, K, d_state),
        D=normal(K, channels).to(keep),
        delta_bias=normal(K, channels).to(keep),
        index=index,
        delta_softplus=True,
    )


def run(inputs, backend, **options):
    """Output and gradients of every tensor input, for a fixed random output gradient."""
    inputs = dict(inputs)
    for name in NAMES:
        if inputs[name] is not None:
            inputs[name] = inputs[name].detach().clone().requires_grad_()
    y = selective_scan(**inputs, backend=backend, **options)
    weight = torch.randn(
        y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    ).to(y.dtype)
    (y * weight).sum().backward()
    return y, {name: inputs[name].grad for name in NAMES if inputs[name] is not None}


def assert_close(got, want, tolerance):
    scale = want.double().abs().max().clamp(min=1e-12)
    worst = (got.double() - want.double()).abs().max() / scale
    assert torch.isfinite(got).all() and worst <= tolerance, f"relative error {worst:.2e}"


def assert_same(inputs, backend, tolerance, **options):
    exact = {
        k: v.double() if isinstance(v, torch.Tensor) and v.is_floating_point() else v
        for k, v in inputs.items()
    }
    want_y, want = run(exact, "naive", **options)
    y, grads = run(inputs, backend, **options)
    assert_close(y, want_y, tolerance)
    for name, grad in want.items():
        assert grads[name].dtype == inputs[name].dtype and grads[name].shape == inputs[name].shape
        assert_close(grads[name], grad, tolerance)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.parametrize("d_state", [1, 4, 16])
@pytest.mark.parametrize("size", [(1, 1), (7, 7), (5, 13), (11, 25)])
def test_backend_equals_loop(backend, d_state, size):
    assert_same(make_inputs(*size, d_state=d_state, dtype=torch.float32), backend, 2e-5)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("merge", [True, False])
def test_shared_and_merged(backend, shared, merge):
    assert_same(
        make_inputs(5, 6, channels=33, shared=shared, dtype=torch.float32),
        backend,
        2e-5,
        merge=merge,
    )


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(backend, dtype):
    inputs = make_inputs(9, 7, channels=32, d_state=2, dtype=dtype)
    assert_same(inputs, backend, 3e-2 if dtype == torch.bfloat16 else 4e-3)
    assert selective_scan(**inputs, backend=backend).dtype == dtype
    y = selective_scan(**inputs, backend=backend, out_dtype=torch.float32)
    exact = {
        k: v.double() if isinstance(v, torch.Tensor) and v.is_floating_point() else v
        for k, v in inputs.items()
    }
    assert_close(y, selective_scan(**exact, backend="naive"), 2e-5)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_optional_inputs(backend):
    inputs = make_inputs(4, 5, routes=("row",), dtype=torch.float32)
    inputs |= dict(
        D=None, delta_bias=None, delta_softplus=False, index=None, delta=inputs["delta"].abs()
    )
    assert_same(inputs, backend, 2e-5)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_holes_decay_the_state_and_parts_of_a_map_may_be_skipped(backend):
    index = torch.tensor([[0, -1, 2, 1, -1], [3, 5, 4, -1, -1]], dtype=torch.int32)
    inputs = make_inputs(2, 3, routes=index, dtype=torch.float32)
    assert_same(inputs, backend, 2e-5, merge=True)
    assert_same(inputs, backend, 2e-5, merge=False)
    y = selective_scan(**inputs, backend=backend, merge=False)
    assert not y[:, 3:, 0].any() and not y[:, :3, 1].any() and y[:, :3, 0].all()
    without = inputs | dict(
        index=torch.tensor([[0, 2, 1, -1, -1], [3, 5, 4, -1, -1]], dtype=torch.int32)
    )
    assert not torch.allclose(y, selective_scan(**without, backend=backend, merge=False))


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_strong_decay_and_large_steps_stay_finite(backend):
    inputs = make_inputs(8, 16, d_state=2, dtype=torch.float32)
    inputs["A"], inputs["delta"] = inputs["A"] * 1e3, inputs["delta"] * 50
    assert_same(inputs, backend, 1e-4)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_strided_inputs(backend):
    inputs = make_inputs(6, 5, channels=8, dtype=torch.float32)
    packed = torch.cat([inputs["B"], inputs["C"]], -1)
    strided = inputs | dict(
        B=packed[..., :3],
        C=packed[..., 3:],
        delta=inputs["delta"].permute(2, 0, 1, 3).contiguous().permute(1, 2, 0, 3),
    )
    assert torch.equal(
        selective_scan(**inputs, backend=backend), selective_scan(**strided, backend=backend)
    )


@pytest.mark.parametrize("backend", ["naive", *CPU_BACKENDS])
def test_gradcheck(backend):
    inputs = make_inputs(3, 3, channels=2, d_state=2, routes=("row", "column_reversed"))
    fixed = dict(index=inputs["index"], delta_softplus=True, backend=backend)

    def scan(u, delta, A, B, C, D, delta_bias):
        return selective_scan(u, delta, A, B, C, D, delta_bias=delta_bias, **fixed)

    assert torch.autograd.gradcheck(scan, tuple(inputs[name].requires_grad_() for name in NAMES))


@pytest.mark.parametrize("backend", ["naive", *CPU_BACKENDS])
def test_opcheck(backend):
    inputs = make_inputs(3, 4, dtype=torch.float32)
    tensors = [inputs[name].requires_grad_() for name in NAMES]
    tensors[0] = tensors[0].detach().unsqueeze(2).requires_grad_()
    args = (*tensors, inputs["index"], True, True, torch.float32, True, False, backend)
    torch.library.opcheck(torch.ops.mmmamba.selective_scan.default, args)


def test_compiles_into_one_graph():
    inputs = make_inputs(4, 4, dtype=torch.float32)
    inputs["u"].requires_grad_()
    compiled = torch.compile(
        lambda **kw: selective_scan(**kw) * 2, fullgraph=True, backend="aot_eager"
    )
    y = compiled(**inputs)
    (grad,) = torch.autograd.grad(y.sum(), inputs["u"])
    want = selective_scan(**inputs) * 2
    assert torch.equal(y, want) and torch.equal(
        grad, torch.autograd.grad(want.sum(), inputs["u"])[0]
    )


def test_flops_follow_the_published_count():
    inputs = make_inputs(4, 6, channels=8, d_state=2, dtype=torch.float32)
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        selective_scan(**inputs)
    assert counter.get_total_flops() == 2 * 24 * 4 * 8 * (9 * 2 + 1)


def test_autocast_takes_maps_in_half_and_keeps_the_rest():
    inputs = make_inputs(6, 6, channels=16, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = selective_scan(**inputs)
    assert y.dtype == torch.bfloat16
    low = inputs | {name: inputs[name].bfloat16() for name in ("u", "delta", "B", "C")}
    assert torch.equal(y, selective_scan(**low))


def test_memory_is_not_proportional_to_d_state():
    inputs = make_inputs(32, 32, channels=16, d_state=16, batch=1, dtype=torch.float32)
    inputs["u"].requires_grad_()
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: saved.append(t.numel()) or t, lambda t: t
    ):
        selective_scan(**inputs)
    assert max(saved) < inputs["delta"].numel() * 16 / 8


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("routes", [CROSS, "holes", None])
def test_the_loop_by_hand(routes, merge):
    """`naive` against the formula for one image, route and channel after the other."""
    hole = torch.tensor([[0, -1, 2, 1, -1], [3, 5, 4, -1, -1]], dtype=torch.int32)
    inputs = make_inputs(2, 3, channels=2, d_state=2, routes=hole if routes == "holes" else CROSS)
    index = inputs["index"].tolist()
    if routes is None:
        inputs, index = inputs | dict(index=None), [list(range(6))] * 4
    u, delta, A, B, C, D, bias = (inputs[name].tolist() for name in NAMES)
    want = torch.zeros(2, 6, len(index), 2, dtype=torch.float64)
    for image in range(2):
        for k, order in enumerate(index):
            for d in range(2):
                h = [0.0, 0.0]
                for p in order:
                    seen = u[image][p][d] if p >= 0 else 0.0
                    raw = (delta[image][p][k][d] if p >= 0 else 0.0) + bias[k][d]
                    step, y = math.log1p(math.exp(raw)), D[k][d] * seen
                    for n in range(2):
                        drive = step * B[image][p][k][n] * seen if p >= 0 else 0.0
                        h[n] = math.exp(step * A[k][d][n]) * h[n] + drive
                        y += C[image][p][k][n] * h[n] if p >= 0 else 0.0
                    if p >= 0:
                        want[image, p, k, d] = y
    got = selective_scan(**inputs, backend="naive", merge=merge)
    torch.testing.assert_close(got, want.sum(2) if merge else want, rtol=1e-12, atol=1e-12)


def test_errors_name_what_was_wanted(monkeypatch):
    inputs = make_inputs(3, 3, dtype=torch.float32)
    with pytest.raises(ValueError, match=r"B is \(2, 9, 4, 2\).*\(2, 9, 4, 3\)"):
        selective_scan(**inputs | dict(B=inputs["B"][..., :2]))
    with pytest.raises(BackendError, match="Did you mean 'naive'"):
        selective_scan(**inputs, backend="naiv")
    with pytest.raises(BackendError, match="mamba_ssm.*cannot run.*CUDA"):
        selective_scan(**inputs, backend="mamba_ssm")
    monkeypatch.setenv(ENVIRONMENT, "trition")
    with pytest.raises(
        BackendError,
        match=f"'trition', asked for by .{ENVIRONMENT}; there are triton, mamba_ssm, cpu, "
        "torch, naive. Did you mean 'triton'",
    ):
        selective_scan(**inputs)
    monkeypatch.setenv(ENVIRONMENT, "mamba_ssm")
    with pytest.raises(BackendError, match=f"asked for by .{ENVIRONMENT}.*cannot run"):
        selective_scan(**inputs)


def test_rocm_is_told_why_triton_does_not_run(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert "built for ROCm" in why_not("triton", torch.device("cuda"))


def test_choice_is_logged_once(caplog, monkeypatch):
    from mmmamba.ops.selective_scan import dispatch

    dispatch._resolve.cache_clear()
    monkeypatch.setenv(ENVIRONMENT, "naive")
    inputs = make_inputs(2, 2, dtype=torch.float32)
    with caplog.at_level("INFO", logger="mmmamba"):
        selective_scan(**inputs)
        selective_scan(**inputs)
    lines = [r.getMessage() for r in caplog.records if "selective_scan" in r.getMessage()]
    assert lines == [f"selective_scan on cpu: backend 'naive', asked for by ${ENVIRONMENT}"]


def test_an_index_outside_the_map_is_an_error():
    inputs = make_inputs(2, 2, dtype=torch.float32)
    inputs["index"] = inputs["index"] + 1
    for backend in CPU_BACKENDS:
        with pytest.raises((IndexError, ValueError)):
            selective_scan(**inputs, backend=backend)


def test_rows_too_far_apart_for_the_kernels_are_copied():
    """Their offsets are products of 32 bits."""
    from mmmamba.ops.selective_scan.triton_problem import contiguous_rows

    near, far = (
        torch.empty_strided((1, 2, 1, 4), (2**31, step, 4, 1), dtype=torch.bfloat16, device="meta")
        for step in (2**29, 2**30)
    )
    assert contiguous_rows(near) is near
    assert contiguous_rows(far).stride() == (8, 4, 4, 1)
