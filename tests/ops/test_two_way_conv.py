"""The kernel of Vim's two convolutions against PyTorch's."""

import pytest
import torch

from mmmamba.ops import two_way_conv, two_way_conv_silu

from .interpreter import check_in_the_interpreter, inside, outside
from .second_order import assert_second_order_equal


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


@outside
def test_in_the_interpreter():
    check_in_the_interpreter(__file__)


@inside
@pytest.mark.parametrize(
    ("length", "channels", "bias"), [(1, 3, True), (21, 130, True), (17, 128, False)]
)
def test_kernel_equals_pytorch(length, channels, bias):
    from mmmamba.ops.kernels.two_way_conv import forward

    given = inputs(length, channels, torch.float32, bias=bias)
    torch.testing.assert_close(forward(*given), two_way_conv._plain(*given), rtol=1e-5, atol=1e-5)


@inside
@pytest.mark.parametrize(
    ("length", "channels", "bias"), [(1, 3, True), (21, 130, True), (17, 128, False)]
)
def test_gradients_equal_pytorchs(length, channels, bias):
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
