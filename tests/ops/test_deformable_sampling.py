"""Multi-scale deformable sampling against its definition, and its kernels against that."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from mmmamba.ops import deformable_sampling
from mmmamba.ops.deformable_sampling import Layout, _Fused, _gathered, _plain, sampling_op

from .interpreter import DEVICE, inside, kernels
from .second_order import assert_forward_equal, assert_second_order_equal

ONE = ((2, 3),)
THREE = ((3, 4), (2, 3), (1, 2))
ways = pytest.mark.parametrize(("maps", "grids"), [(THREE, ONE), (ONE, THREE)])


def inputs(maps, grids, heads=2, width=5, points=3, batch=2, device="cpu", dtype=torch.float32):
    """Value, offsets that lead within and beyond the maps, and logits."""
    torch.manual_seed(0)
    cells, queries = (sum(h * w for h, w in sizes) for sizes in (maps, grids))
    numbers = heads * len(maps) * points
    value = torch.randn(batch, cells, heads * width)
    offsets = 2 * torch.randn(batch, queries, 2 * numbers)
    offsets[:, 0] *= 1e3
    logits = 3 * torch.randn(batch, queries, numbers)
    return [x.to(device, dtype) for x in (value, offsets, logits)]


def with_gradients(function, given, grad):
    leaves = [x.detach().requires_grad_() for x in given]
    y = function(*leaves)
    return [y.detach(), *torch.autograd.grad(y, leaves, grad)]


def definition(value, offsets, logits, maps, grids, heads):
    """The sum over maps, points and corners, number by number."""
    value, width = value.double(), value.shape[2] // heads
    out = torch.zeros(*logits.shape[:2], value.shape[2], dtype=torch.float64)
    points = logits.shape[2] // heads // len(maps)
    middles = [((j + 0.5) / w, (i + 0.5) / h) for h, w in grids for i in range(h) for j in range(w)]
    for b, q, m in torch.cartesian_prod(*map(torch.arange, (*logits.shape[:2], heads))).tolist():
        share = logits[b, q].double().view(heads, len(maps), points)[m].flatten().softmax(0)
        steps = offsets[b, q].double().view(heads, len(maps) * points, 2)[m]
        channels = slice(m * width, (m + 1) * width)
        start = 0
        for level, (h, w) in enumerate(maps):
            cells = value[b, start : start + h * w, channels].view(h, w, width)
            for k in range(level * points, (level + 1) * points):
                x = middles[q][0] * w - 0.5 + float(steps[k, 0])
                y = middles[q][1] * h - 0.5 + float(steps[k, 1])
                hat_y = (1 - (y - torch.arange(h).double()).abs()).clamp(min=0)
                hat_x = (1 - (x - torch.arange(w).double()).abs()).clamp(min=0)
                out[b, q, channels] += share[k] * torch.einsum("hwc,h,w->c", cells, hat_y, hat_x)
            start += h * w
    return out


@ways
def test_definition(maps, grids):
    given = inputs(maps, grids, dtype=torch.float64)
    want = definition(*given, maps, grids, 2)
    for function in (_plain, _gathered):
        torch.testing.assert_close(function(*given, Layout(maps, grids, 2)), want)
    got = deformable_sampling(*(x.float() for x in given), maps, grids, 2)
    torch.testing.assert_close(got, want.float(), rtol=1e-4, atol=1e-5)


@ways
def test_both_formulas_have_the_same_gradients(maps, grids):
    given = inputs(maps, grids, dtype=torch.float64)
    layout = Layout(maps, grids, 2)
    grad = torch.randn(*given[2].shape[:2], 10, dtype=torch.float64)
    for got, want in zip(
        with_gradients(lambda *x: _gathered(*x, layout), given, grad),
        with_gradients(lambda *x: _plain(*x, layout), given, grad),
    ):
        torch.testing.assert_close(got, want, rtol=1e-7, atol=1e-9)


def test_derivatives_of_the_formula():
    maps, grids = ((3, 2), (2, 2)), ((1, 2),)
    given = inputs(maps, grids, 1, 2, 2, 1, dtype=torch.float64)
    leaves = [x.requires_grad_() for x in given]

    def run(*x):
        return _gathered(*x, Layout(maps, grids, 1))

    assert gradcheck(run, leaves, check_forward_ad=True)
    assert gradgradcheck(run, leaves, fast_mode=True)


def test_compiled():
    maps, grids = THREE, ONE
    given = inputs(maps, grids, device=DEVICE)

    def run(*x):
        return deformable_sampling(*x, maps, grids, 2)

    compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
    grad = torch.randn(*given[2].shape[:2], 10, device=DEVICE)
    for got, want in zip(with_gradients(compiled, given, grad), with_gradients(run, given, grad)):
        torch.testing.assert_close(got, want)


def test_the_operator_has_derivatives_of_any_order():
    maps, grids = ((3, 2), (2, 2)), ((1, 2),)
    layout = Layout(maps, grids, 1)
    given = inputs(maps, grids, 1, 2, 2, 1, dtype=torch.float64)

    def run(*x):
        return sampling_op(*x, *layout.as_numbers())

    assert_second_order_equal(run, lambda *x: _gathered(*x, layout), given)
    assert_forward_equal(run, lambda *x: _gathered(*x, layout), given)


def test_forward_mode():
    given = inputs(THREE, ONE, dtype=torch.float64)
    assert_forward_equal(
        lambda *x: deformable_sampling(*x, THREE, ONE, 2),
        lambda *x: _gathered(*x, Layout(THREE, ONE, 2)),
        given,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype):
    given = inputs(THREE, ONE, dtype=dtype)
    got = deformable_sampling(*given, THREE, ONE, 2)
    want = deformable_sampling(*(x.float() for x in given), THREE, ONE, 2)
    assert got.dtype == dtype and torch.equal(got, want.to(dtype))


def test_shapes_that_do_not_fit_are_refused():
    value, offsets, logits = inputs(THREE, ONE)
    with pytest.raises(ValueError, match=r"wanted 20 for maps .* and 6 for grids"):
        deformable_sampling(value[:, 1:], offsets, logits, THREE, ONE, 2)
    with pytest.raises(ValueError, match="wanted multiples of 3 heads"):
        deformable_sampling(value, offsets, logits, THREE, ONE, 3)
    with pytest.raises(ValueError, match=r"wanted \(2, 6, 18\) and \(2, 6, 36\)"):
        deformable_sampling(value, offsets[..., 1:], logits, THREE, ONE, 2)


@kernels
@ways
@pytest.mark.parametrize(("heads", "width", "points"), [(2, 5, 3)])
def test_kernels_equal_the_formula(where, maps, grids, heads, width, points, poisoned_memory):
    from mmmamba.ops.kernels.deformable_sampling import backward, forward

    given = inputs(maps, grids, heads, width, points, device=DEVICE)
    layout = Layout(maps, grids, heads)
    grad = torch.randn(*given[2].shape[:2], heads * width, device=DEVICE)
    want = with_gradients(lambda *x: _gathered(*x, layout), given, grad)
    got = [forward(*given, layout), *backward(grad, *given, layout)]
    for ours, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@kernels
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_kernels_in_half_precision(where, dtype):
    from mmmamba.ops.kernels.deformable_sampling import backward, forward

    value, offsets, logits = inputs(THREE, ONE, points=1, device=DEVICE, dtype=dtype)
    # Away from where a slope jumps, which numbers this coarse would meet.
    given = value, offsets.round() + 0.3, logits
    layout = Layout(THREE, ONE, 2)
    grad = torch.randn(2, 6, 10, device=DEVICE).to(dtype)
    exact = with_gradients(
        lambda *x: _gathered(*x, layout), [x.float() for x in given], grad.float()
    )
    got = [forward(*given, layout), *backward(grad, *given, layout)]
    for ours, theirs in zip(got, exact, strict=True):
        assert ours.dtype == dtype
        near = 2 * torch.finfo(dtype).eps
        torch.testing.assert_close(ours.float(), theirs, rtol=near, atol=near)


@inside
def test_kernels_stay_within_their_tensors(monkeypatch):
    from mmmamba.ops.kernels.deformable_sampling import backward, forward
    from tests.ops.interpreter_memory import check_addresses

    check_addresses(monkeypatch)
    given = inputs(THREE, ONE, 3, 3, 2, 1)
    layout = Layout(THREE, ONE, 3)
    backward(forward(*given, layout), *given, layout)


@inside
def test_second_derivatives():
    maps, grids = ((3, 2), (2, 2)), ((1, 2),)
    layout = Layout(maps, grids, 1)
    given = inputs(maps, grids, 1, 2, 2, 1)
    assert_second_order_equal(
        lambda *x: _Fused.apply(*x, layout), lambda *x: _gathered(*x, layout), given, 1e-3
    )
