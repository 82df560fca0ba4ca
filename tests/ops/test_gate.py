"""Mamba's gate against its definition, and its kernels against PyTorch's operators."""

import pytest
import torch

from mmmamba.ops import gate, silu_gate

from .interpreter import inside
from .second_order import assert_second_order_equal


def inputs(length, channels, y_dtype, z_dtype, device="cpu"):
    torch.manual_seed(0)
    z = 3 * torch.randn(2, length, 2 * channels, device=device)[..., channels:]
    return torch.randn(2, length, channels, device=device).to(y_dtype), z.to(z_dtype)


def test_definition():
    y, z = inputs(5, 3, torch.float64, torch.float64)
    torch.testing.assert_close(silu_gate(y, z, 0.5), 0.5 * y * z * z.sigmoid())
    assert silu_gate(y.float(), z.bfloat16()).dtype == torch.bfloat16


@inside
@pytest.mark.parametrize(("length", "channels"), [(1, 3), (9, 130), (5, 256)])
def test_kernels_equal_pytorch(length, channels):
    from mmmamba.ops.kernels import gate as gate_triton

    y, z = inputs(length, channels, torch.float32, torch.float32)
    torch.testing.assert_close(gate_triton.forward(y, z, 0.5), gate._plain(y, z, 0.5))
    grad = torch.randn(2, channels, length).transpose(1, 2)
    leaves = y.requires_grad_(), z.detach().requires_grad_()
    want = torch.autograd.grad(gate._plain(*leaves, 0.5), leaves, grad)
    for found, wanted in zip(gate_triton.backward(grad, y.detach(), z, 0.5), want):
        torch.testing.assert_close(found, wanted)


@inside
def test_second_derivatives():
    given = inputs(2, 3, torch.float32, torch.float32)
    assert_second_order_equal(
        lambda y, z: gate._Fused.apply(y, z, 0.5), lambda y, z: gate._plain(y, z, 0.5), given
    )


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("y_dtype", "z_dtype"),
    [
        (torch.float32, torch.float32),
        (torch.float32, torch.float16),
        (torch.bfloat16, torch.bfloat16),
    ],
)
@pytest.mark.parametrize(("length", "channels"), [(1, 3), (197, 384), (1000, 200)])
def test_on_a_gpu_with_gradients(length, channels, y_dtype, z_dtype):
    y, z = inputs(length, channels, y_dtype, z_dtype, "cuda")
    tolerance = 1e-5 if z_dtype == torch.float32 else 2e-2
    results = []
    for function in (silu_gate, gate._plain):
        leaves = y.detach().requires_grad_(), z.detach().requires_grad_()
        gated = function(*leaves, 0.5)
        gated.float().square().sum().backward()
        results.append([gated.detach(), *(x.grad for x in leaves)])
    for got, want in zip(*results):
        assert got.dtype == want.dtype
        torch.testing.assert_close(
            got, want, rtol=tolerance, atol=tolerance * float(want.abs().max())
        )
