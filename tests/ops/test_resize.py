"""Bilinear resizing: maps and gradients are PyTorch's."""

import pytest
import torch
import torch.nn.functional as F

from mmmamba.ops.resize import _Resize, resize_bilinear


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    "before, after", [((4, 6), (16, 24)), ((5, 7), (13, 30)), ((9, 8), (4, 3)), ((1, 3), (2, 3))]
)
def test_gradients(before: tuple, after: tuple, align_corners: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *before, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, *after)
    want = F.interpolate(x, after, mode="bilinear", align_corners=align_corners)
    [want_gradient] = torch.autograd.grad(want, x, weights.double())
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
        y = x.detach().to(dtype).requires_grad_()
        # As on a GPU.
        got = _Resize.apply(y, after, align_corners)
        [gradient] = torch.autograd.grad(got, y, weights.to(dtype))
        assert got.dtype == gradient.dtype == dtype
        torch.testing.assert_close(got.double(), want, rtol=tolerance, atol=tolerance)
        scale = float(want_gradient.abs().max())
        torch.testing.assert_close(
            gradient.double() / scale, want_gradient / scale, rtol=tolerance, atol=tolerance
        )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_takes_exact_sums_in_a_fixed_order() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 150, 128, 128, device="cuda", requires_grad=True)
    weights = torch.randn(2, 150, 512, 512, device="cuda")
    found = []
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        for _ in range(2):
            y = resize_bilinear(x, (512, 512))
            found += torch.autograd.grad(y, x, weights)
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    assert torch.equal(*found)
    want = F.interpolate(x, (512, 512), mode="bilinear", align_corners=False)
    assert torch.equal(y, want)
    [want_gradient] = torch.autograd.grad(want, x, weights)
    torch.testing.assert_close(found[0], want_gradient, rtol=1e-5, atol=1e-4)
