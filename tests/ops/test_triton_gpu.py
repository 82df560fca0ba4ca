"""The Triton backend on a CUDA device: against the loop, bit-equal from run to run.

Nor is anything compiled for a new size.
"""

import pytest
import torch

from mmmamba.ops import list_routes, route_table, selective_scan
from mmmamba.ops.selective_scan import triton_choice
from mmmamba.ops.selective_scan.dispatch import resolve

from .test_selective_scan import CROSS, NAMES, assert_close, make_inputs, run

pytestmark = [
    pytest.mark.usefixtures("poisoned_memory"),
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DTYPES = {torch.float32: 5e-5, torch.float16: 6e-3, torch.bfloat16: 3e-2}


@pytest.fixture(params=["whole routes", "chunks", "chunks, route by route"])
def schedule(request, monkeypatch):
    monkeypatch.setattr(triton_choice, "FULL", 0 if request.param == "whole routes" else 1e9)
    monkeypatch.setattr(triton_choice, "LARGE_MAP", 1 if "route by route" in request.param else 1e9)
    return request.param


def on_gpu(inputs):
    return {k: v.cuda() if isinstance(v, torch.Tensor) else v for k, v in inputs.items()}


def gpu_inputs(*args, **options):
    return on_gpu(make_inputs(*args, **options))


def gradients(inputs, backend, **options):
    leaves = {
        k: v.detach().clone().requires_grad_() if k in NAMES and v is not None else v
        for k, v in inputs.items()
    }
    y = selective_scan(**leaves, backend=backend, **options)
    weight = torch.randn(
        y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    ).to(y)
    (y * weight).sum().backward()
    return {"y": y.detach()} | {k: leaves[k].grad for k in NAMES if leaves[k] is not None}


def assert_right(inputs, tolerance, reference="naive", **options):
    exact = {
        k: v.double() if isinstance(v, torch.Tensor) and v.is_floating_point() else v
        for k, v in inputs.items()
    }
    want = gradients(exact, reference, **options)
    got, again = (gradients(inputs, "triton", **options) for _ in range(2))
    for name, value in want.items():
        assert_close(got[name], value, tolerance)
        assert torch.equal(got[name], again[name]), f"{name} differs between two runs"


def test_is_the_default():
    assert resolve(torch.device("cuda")) == "triton"


@pytest.mark.parametrize("d_state", [1, 4, 8, 16, 64])
@pytest.mark.parametrize("size", [(1, 1), (7, 7), (13, 17)])
def test_equals_the_loop(size, d_state, schedule):
    assert_right(gpu_inputs(*size, channels=40, d_state=d_state, dtype=torch.float32), 5e-5)


@pytest.mark.parametrize(
    ("size", "channels", "d_state"),
    [((25, 42), 32, 1), ((200, 334), 32, 1), ((200, 334), 96, 1), ((200, 334), 96, 2)],
)
def test_large_maps(size, channels, d_state):
    inputs = gpu_inputs(*size, channels=channels, d_state=d_state, batch=1, dtype=torch.float32)
    assert_right(inputs, 1e-4, reference="torch")


@pytest.mark.parametrize("name", list_routes())
def test_every_route(name):
    routes = (name, f"{name}_reversed")
    try:
        index = route_table(routes, 7, 11)
    except ValueError as error:
        pytest.skip(f"no route of its own: {error}")
    assert_right(gpu_inputs(7, 11, channels=32, d_state=2, routes=index, dtype=torch.float32), 5e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("channels", [33, 96, 128])
def test_types_and_forms(dtype, shared, merge, channels):
    inputs = gpu_inputs(9, 7, channels=channels, d_state=1, shared=shared, dtype=dtype)
    assert_right(inputs, DTYPES[dtype], merge=merge)


def test_holes(schedule):
    index = torch.tensor([[0, -1, 2, 1, -1, -1], [3, 5, 4, -1, -1, 0]], dtype=torch.int32)
    assert_right(gpu_inputs(2, 3, routes=index, dtype=torch.float32), 5e-5)


def test_same_as_on_the_cpu():
    inputs = make_inputs(9, 11, channels=32, d_state=1, dtype=torch.float32)
    y, grads = run(inputs, None)
    got = gradients(on_gpu(inputs), None)
    assert_close(got["y"].cpu(), y, 5e-5)
    for name, grad in grads.items():
        assert_close(got[name].cpu(), grad, 5e-5)


def test_no_compilation_for_a_new_size(monkeypatch):
    import triton

    compiled = []

    def scan(batch, height, width):
        gradients(
            gpu_inputs(height, width, channels=96, d_state=1, batch=batch, dtype=torch.bfloat16),
            "triton",
        )

    scan(1, 8, 8)
    scan(2, 160, 160)
    scan(64, 16, 16)
    monkeypatch.setattr(
        triton.knobs.runtime,
        "jit_post_compile_hook",
        lambda *args, **kwargs: compiled.append(kwargs),
    )
    for size in (
        (1, 1, 1),
        (1, 13, 17),
        (2, 31, 64),
        (3, 100, 101),
        (5, 7, 7),
        (40, 24, 25),
        (1, 128, 192),
    ):
        scan(*size)
    assert not compiled, f"{len(compiled)} kernels were compiled again"


def test_cross_scan_in_a_graph():
    inputs = gpu_inputs(14, 14, channels=32, d_state=1, routes=CROSS, dtype=torch.float32)
    want = selective_scan(**inputs)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = selective_scan(**inputs)
    graph.replay()
    assert torch.equal(y, want)


def test_a_map_of_more_elements_than_32_bits_count():
    """Where decay is strong the last steps depend on their neighbours only, a small map."""
    L, D, last, margin = 2**22 + 40, 512, 256, 64
    assert L * D >= 2**31
    if torch.cuda.mem_get_info()[0] < 48 * 2**30:
        pytest.skip("needs 48 GiB")
    torch.manual_seed(0)
    maps = {
        name: torch.randn(1, L, 1, n, device="cuda", dtype=torch.bfloat16)
        for name, n in dict(u=D, delta=D, B=1, C=1, dy=D).items()
    }
    A = torch.full((1, D, 1), -20.0, device="cuda")

    def scan(first: int) -> list[torch.Tensor]:
        x = {
            name: m[:, first:].clone().requires_grad_() for name, m in maps.items() if name != "dy"
        }
        y = selective_scan(A=A, **x, delta_softplus=True, backend="triton")
        y.backward(maps["dy"][:, first:, 0].reshape(y.shape))
        return [
            t.reshape(1, -1, t.shape[-1])[:, -last:].float()
            for t in (y.detach(), *(v.grad for v in x.values()))
        ]

    for one, two in zip(scan(0), scan(L - last - margin)):
        torch.testing.assert_close(one, two, rtol=2e-2, atol=2e-2)
