"""The kernel of Vim's two convolutions against PyTorch's."""

import pytest
import torch

from mmmamba.ops import two_way_conv, two_way_conv_silu

from .interpreter import ON_GPU, inside
from .second_order import assert_second_order_equal

pytestmark = pytest.mark.usefixtures("poisoned_memory")


def inputs(length, channels, dtype, device="cpu", bias=True, width=4):
    torch.manual_seed(0)
    x = torch.randn(2, length, 2 * channels)[..., :channels]
    parameters = [torch.randn(channels, 1, width) for _ in range(2)] + [
        torch.randn(channels) for _ in range(2)
    ] * bias
    return [
        x.to(device, dtype),
        *(p.to(device) for p in parameters),
        *([None, None] if not bias else []),
    ]


def test_definition():
    """Step t of the first sees t - 3 … t, of the second t … t + 3, weights the other way round."""
    x, back, ahead, back_bias, ahead_bias = inputs(5, 3, torch.float64)
    got = two_way_conv_silu(
        x, back.double(), ahead.double(), back_bias.double(), ahead_bias.double()
    )
    for t in range(5):
        first = (
            sum(back[:, 0, k].double() * x[:, t - 3 + k] for k in range(4) if t - 3 + k >= 0)
            + back_bias
        )
        second = (
            sum(ahead[:, 0, k].double() * x[:, t + 3 - k] for k in range(4) if t + 3 - k < 5)
            + ahead_bias
        )
        want = torch.stack([first, second], 1)
        torch.testing.assert_close(got[:, t], want * want.sigmoid())


@inside
@pytest.mark.parametrize(
    ("length", "channels", "bias"), [(1, 3, True), (21, 130, True), (17, 128, False)]
)
def test_kernel_equals_pytorch(length, channels, bias):
    from mmmamba.ops.kernels.two_way_conv import forward

    given = inputs(length, channels, torch.float32, bias=bias)
    torch.testing.assert_close(forward(*given), two_way_conv._plain(*given), rtol=1e-5, atol=1e-5)


def slope(forward, given, grad):
    leaves = [None if x is None else x.detach().clone().requires_grad_() for x in given]
    wanted = [x for x in leaves if x is not None]
    return torch.autograd.grad(forward(*leaves), wanted, grad)


@inside
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    ("length", "channels", "bias", "width"),
    [(1, 3, True, 4), (21, 70, True, 4), (17, 64, False, 4), (2, 8, True, 3), (9, 5, True, 1)],
)
def test_gradients_equal_pytorchs(length, channels, bias, width, batch):
    from mmmamba.ops.kernels.two_way_conv import backward

    given = inputs(length, channels, torch.float32, bias=bias, width=width)
    given[0] = given[0][:batch]
    grad = torch.randn(batch, length, 2, channels)
    want = slope(two_way_conv._plain, given, grad)
    got = [x for x in backward(grad, *given) if x is not None]
    again = [x for x in backward(grad, *given) if x is not None]
    for a, b, c in zip(got, want, again, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * max(1.0, float(b.abs().max())))
        assert torch.equal(a, c), "two runs differ"


@inside
@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_gradients_in_half_precision(low):
    """x and its gradient are low, as under autocast, weights float32; nothing else is rounded."""
    from mmmamba.ops.kernels.two_way_conv import backward

    x, *parameters = inputs(13, 8, torch.float32)
    x, grad = x.to(low), torch.randn(2, 13, 2, 8).to(low)
    want = slope(two_way_conv._plain, (x.float(), *parameters), grad.float())
    got = backward(grad, x, *parameters)
    assert [y.dtype for y in got] == [low] + [torch.float32] * 4
    torch.testing.assert_close(got[0].float(), want[0], rtol=2 * torch.finfo(low).eps, atol=1e-4)
    for a, b in zip(got[1:], want[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@inside
def test_gradients_of_nothing():
    from mmmamba.ops.kernels.two_way_conv import backward

    x, *parameters = inputs(3, 4, torch.float32)
    got = backward(torch.ones(0, 3, 2, 4), x[:0], *parameters)
    assert got[0].shape == (0, 3, 4) and not any(y.any() for y in got[1:])


@inside
@pytest.mark.parametrize(
    ("length", "channels", "bias"), [(1, 3, True), (21, 130, True), (17, 128, False)]
)
def test_gradients_of_an_output_in_other_strides(length, channels, bias):
    """From a gradient in other strides, and with several tiles for a program."""
    from mmmamba.ops.kernels.two_way_conv import backward

    leaves = inputs(length, channels, torch.float32, bias=bias)
    grad = torch.randn(2, length, channels, 2).transpose(2, 3)
    wanted = [x.requires_grad_() for x in leaves if x is not None]
    want = torch.autograd.grad(two_way_conv._plain(*leaves), wanted, grad)
    with torch.no_grad():
        got = [g for g in backward(grad, *leaves) if g is not None]
    for found, right in zip(got, want, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-4)


@inside
def test_empty_sequences():
    from mmmamba.ops.kernels.two_way_conv import backward

    given = inputs(0, 3, torch.float32)
    dx, *parameters = backward(torch.zeros(2, 0, 2, 3), *given)
    assert dx.shape == given[0].shape
    assert all(not bool(g.any()) for g in parameters)


@inside
def test_second_derivatives():
    assert_second_order_equal(
        two_way_conv._Fused.apply, two_way_conv._plain, inputs(3, 2, torch.float32)
    )


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("length", "channels"), [(1, 3), (197, 384), (1000, 200)])
def test_on_a_gpu_with_gradients(length, channels, dtype):
    given = inputs(length, channels, dtype, "cuda")
    tolerance = 1e-4 if dtype == torch.float32 else 2e-2
    results = []
    for function in (two_way_conv_silu, two_way_conv._plain):
        leaves = [x.detach().clone().requires_grad_() for x in given]
        with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
            y = function(*leaves)
        y.float().square().sum().backward()
        results.append([y.detach(), *(x.grad for x in leaves)])
    for got, want in zip(*results):
        assert got.dtype == want.dtype
        torch.testing.assert_close(
            got, want, rtol=tolerance, atol=tolerance * float(want.abs().max())
        )


@pytest.mark.gpu
@pytest.mark.skipif(not ON_GPU, reason="needs a CUDA device")
def test_two_backward_passes_are_bit_equal():
    from mmmamba.ops.kernels.two_way_conv import backward

    given = inputs(197, 384, torch.bfloat16, "cuda")
    grad = torch.randn(2, 197, 2, 384, device="cuda", dtype=torch.bfloat16)
    for a, b in zip(backward(grad, *given), backward(grad, *given)):
        assert torch.equal(a, b)
