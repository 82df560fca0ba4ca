"""What the compiled CPU backend adds to the contract: exponentials, threads, a compiler."""

import importlib
import logging
import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numba import njit

from mmmamba.ops import selective_scan
from mmmamba.ops.selective_scan.common import ScanArgs

from .test_selective_scan import NAMES, assert_close, assert_same, make_inputs, run

kernels = importlib.import_module("mmmamba.ops.selective_scan.cpu_kernels")
lanes = importlib.import_module("mmmamba.ops.selective_scan.cpu_lanes")
FUNCTIONS = (lanes.exp2, lanes.softplus, lanes.sigmoid)


def applied(function):
    @njit
    def apply(x, y):
        for at in range(0, len(x), lanes.LANES):
            lanes.store(y, at, function(lanes.load(x, at)))

    def call(x):
        padded = np.zeros(-(-len(x) // lanes.LANES) * lanes.LANES, x.dtype)
        padded[: len(x)] = x
        y = np.full_like(padded, np.nan)
        apply(padded, y)
        return y[: len(x)]

    return call


@pytest.fixture(scope="module")
def functions():
    return [applied(function) for function in FUNCTIONS]


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2.1e-7), (np.float64, 6e-16)])
def test_exponentials_are_as_exact_as_their_type(functions, dtype, tolerance):
    for scale in (87, 1, 1e-3):
        x = np.linspace(-scale, min(scale, 20), 100_003).astype(dtype)
        exact = x.astype(np.longdouble)
        wanted = np.exp2(exact), np.logaddexp(0, exact), 1 / (1 + np.exp(-exact))
        for function, want in zip(functions, wanted):
            assert np.abs(function(x) / want - 1).max() <= tolerance


def test_exponentials_at_the_ends(functions):
    x = np.array([-np.inf, -1e30, -2e3, -0.0, 0.0, 21, 1e30, np.inf, np.nan], np.float32)
    exp2, softplus, sigmoid = (function(x) for function in functions)
    half, log_2, nan, inf = 0.5, np.float32(np.log(2)), np.nan, np.inf
    np.testing.assert_array_equal(
        exp2, np.array([0, 0, 0, 1, 1, 2.0**21, inf, inf, nan], np.float32)
    )
    np.testing.assert_array_equal(
        softplus, np.array([0, 0, 0, log_2, log_2, 21, 1e30, inf, nan], np.float32)
    )
    np.testing.assert_array_equal(
        sigmoid, np.array([0, 0, 0, half, half, 1, 1, 1, nan], np.float32)
    )


@pytest.mark.parametrize("d_state", [1, 2])
def test_two_runs_and_any_number_of_threads_are_bit_equal(threads, d_state):
    inputs = make_inputs(24, 25, channels=72, d_state=d_state, batch=3, dtype=torch.float32)
    results = []
    for count in (1, 2, 3, 2):
        threads(count)
        y, grads = run(inputs, "cpu")
        results.append([y, *grads.values()])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


@pytest.mark.parametrize("d_state", [1, 2])
@pytest.mark.parametrize("batch", [1, 40])
def test_blocks_of_channels_alone_and_in_groups(batch, d_state):
    """The last of 7 blocks has 2 channels; one image is two tasks of 3 and 4."""
    assert_same(
        make_inputs(
            3,
            13,
            channels=98,
            d_state=d_state,
            batch=batch,
            routes=("row", "column_reversed"),
            dtype=torch.float32,
        ),
        "cpu",
        2e-5,
    )


@pytest.mark.parametrize("d_state", [1, 3])
@pytest.mark.parametrize("softplus", [True, False])
def test_holes_in_chunks_and_at_their_ends(d_state, softplus):
    order = torch.randperm(70, generator=torch.Generator().manual_seed(0))
    order[[0, 31, 32, 33, 69]] = -1
    inputs = make_inputs(
        7, 10, routes=torch.stack([order, order.flip(0)]), channels=20, d_state=d_state
    )
    # A decay of a negative step would grow over all the map.
    steps = inputs["delta"].abs() if not softplus else inputs["delta"]
    inputs |= dict(delta=steps, delta_softplus=softplus, delta_bias=inputs["delta_bias"].abs())
    assert_same(inputs, "cpu", 1e-12)


@pytest.mark.parametrize("d_state", [1, 3])
def test_positions_without_a_route_are_zero_in_fresh_memory(d_state):
    """Deterministic mode fills every new tensor with NaN."""
    index = torch.tensor([[0, -1, 2], [5, 4, -1]])
    inputs = make_inputs(2, 4, routes=index, channels=20, d_state=d_state, dtype=torch.float32)
    torch.use_deterministic_algorithms(True)
    try:
        y, grads = run(inputs, "cpu", merge=False)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.isfinite(x).all() for x in (y, *grads.values()))
    for x in (y, grads["u"], *(grads[name] for name in ("delta", "B", "C"))):
        assert not x[:, 6:].any() and not x[:, 1].any()


@pytest.mark.parametrize("d_state", [1, 2])
def test_bfloat16_is_read_as_it_is(d_state):
    low = make_inputs(5, 7, channels=50, d_state=d_state, dtype=torch.bfloat16)
    full = {
        k: v.float() if v is not None and v.dtype == torch.bfloat16 else v
        for k, v in low.items()
        if isinstance(v, torch.Tensor)
    } | dict(delta_softplus=True)
    y, grads = run(low, "cpu", out_dtype=torch.float32)
    want_y, want = run(full, "cpu")
    assert torch.equal(y, want_y)
    for name, grad in want.items():
        assert torch.equal(grads[name], grad.to(grads[name].dtype)), name


@pytest.mark.parametrize("d_state", [1, 3])
def test_nan_is_not_hidden(d_state):
    inputs = make_inputs(4, 4, d_state=d_state, dtype=torch.float32)
    inputs["delta"][0, 5, 0, 1] = float("nan")
    y = selective_scan(**inputs, backend="cpu", merge=False)
    assert y[0, 5:, 0, 1].isnan().all() and y.isnan().sum() == 11


def test_empty_batch():
    y, grads = run(
        {
            k: v[:0] if k in ("u", "delta", "B", "C") else v
            for k, v in make_inputs(3, 3, dtype=torch.float32).items()
        },
        "cpu",
    )
    assert y.shape == (0, 9, 5) and not grads["A"].any() and grads["u"].shape == (0, 9, 5)


@pytest.mark.parametrize("bad", [-2, 6])
def test_an_index_outside_the_map_names_the_range(bad):
    index = torch.tensor([[0, 1, 2, 3, 4, bad]])
    with pytest.raises(IndexError, match="positions 0 to 5"):
        selective_scan(**make_inputs(2, 3, routes=index, dtype=torch.float32), backend="cpu")


@pytest.mark.parametrize("d_state", [1, 3])
def test_channels_that_are_not_neighbours(d_state):
    inputs = make_inputs(4, 5, channels=18, d_state=d_state, dtype=torch.float32)
    turned = inputs | {
        name: inputs[name].transpose(1, -1).contiguous().transpose(1, -1)
        for name in ("u", "delta", "B", "C")
    }
    for got, want in zip(run(turned, "cpu")[1].values(), run(inputs, "cpu")[1].values()):
        assert_close(got, want, 1e-6)


def test_calls_from_several_threads(threads):
    threads(2)
    inputs = make_inputs(30, 30, channels=40, d_state=2, dtype=torch.float32)
    want = selective_scan(**inputs, backend="cpu")
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(selective_scan, **inputs, backend="cpu") for _ in range(12)]
        assert all(torch.equal(call.result(timeout=60), want) for call in calls)


def _in_child(inputs, answer):
    torch.set_num_threads(2)
    answer.put(selective_scan(**inputs, backend="cpu").numpy())


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_process_starts_its_own_threads(threads):
    threads(2)
    inputs = make_inputs(30, 30, channels=40, d_state=2, dtype=torch.float32)
    want = selective_scan(**inputs, backend="cpu")
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    # torch's own OpenMP threads do not survive a fork, so that the child must not need them
    # before it begins.
    child = context.Process(target=_in_child, args=(inputs, answer))
    child.start()
    try:
        np.testing.assert_array_equal(answer.get(timeout=60), want.numpy())
    finally:
        child.kill()
        child.join()


def test_what_cannot_be_cached_is_compiled_anyway_and_says_so(caplog):
    space = {}
    exec(compile("def double(x):\n    return 2 * x", "/nowhere/double.py", "exec"), space)
    with caplog.at_level(logging.WARNING, logger="mmmamba"):
        assert kernels.compiled(space["double"])(4) == 8
    assert "NUMBA_CACHE_DIR" in caplog.text


def test_step_sizes_have_their_gradient_laid_out_as_they_are():
    inputs = make_inputs(4, 5, channels=18, dtype=torch.float32)
    delta_KBLD = inputs["delta"].permute(2, 0, 1, 3).contiguous()
    inputs["delta"] = delta_KBLD.permute(1, 2, 0, 3)
    module = importlib.import_module("mmmamba.ops.selective_scan.cpu")
    tensors = [inputs[name] for name in NAMES]
    tensors[0] = tensors[0].unsqueeze(2)
    args = ScanArgs(inputs["index"], True, True, torch.float32)
    y, states = module.forward(*tensors, args, keep_states=True)
    ddelta = module.backward(torch.ones_like(y), states, *tensors, args)[1]
    assert ddelta.stride() == inputs["delta"].stride()


def test_gradients_only_where_wanted():
    inputs = make_inputs(4, 4, dtype=torch.float32)
    inputs["u"].requires_grad_()
    (grad,) = torch.autograd.grad(selective_scan(**inputs, backend="cpu").sum(), inputs["u"])
    everything = make_inputs(4, 4, dtype=torch.float32)
    for name in NAMES:
        everything[name].requires_grad_()
    selective_scan(**everything, backend="cpu").sum().backward()
    assert torch.equal(grad, everything["u"].grad)
