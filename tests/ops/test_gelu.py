"""The kernel of GELU's backward pass against PyTorch's operators."""

import pytest
import torch
import torch.nn.functional as F

from mmmamba.ops.recompute import gelu_mlp

from .interpreter import DEVICE, ON_GPU, gpu, kernels

pytestmark = pytest.mark.usefixtures("poisoned_memory")


@kernels
@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7, 128), (131, 70), (2, 0, 64)])
def test_equals_pytorch(where, shape, dtype, approximate):
    from mmmamba.ops.kernels.gelu import backward

    torch.manual_seed(0)
    x, grad = (torch.randn(shape, device=DEVICE).to(dtype) for _ in range(2))
    # Where the slope is flat, and where exponentials are infinite or nothing.
    x.view(-1)[::5] *= 40
    want = torch.ops.aten.gelu_backward(grad, x, approximate=approximate)
    runs = [backward(grad.clone(), x, approximate == "tanh", True) for _ in range(2)]
    dx, activated, sums = runs[0]
    exact = torch.ops.aten.gelu_backward(grad.double(), x.double(), approximate=approximate)
    # A unit in the last place, and what a small difference of large numbers loses.
    near = dict(rtol=4 * torch.finfo(dtype).eps, atol=5e-6)
    torch.testing.assert_close(dx, want, **near)
    torch.testing.assert_close(activated, F.gelu(x, approximate=approximate), **near)
    wanted_sums = exact.flatten(0, -2).sum(0)
    torch.testing.assert_close(sums.double(), wanted_sums, rtol=near["rtol"], atol=1e-4)
    assert sums.dtype == dx.dtype == dtype
    # The interpreter cuts bfloat16 off where a GPU rounds.
    if dtype == torch.float16 or (ON_GPU and dtype == torch.bfloat16 and x.numel()):
        assert (dx != want).sum() <= 0.01 * x.numel()
    assert all(torch.equal(a, b) for a, b in zip(*runs)), "two runs differ"
    assert backward(grad.clone(), x, approximate == "tanh", False).sums is None


@kernels
def test_a_map_with_gaps(where):
    from mmmamba.ops.kernels.gelu import backward

    x = torch.randn(4, 3, 32, device=DEVICE)[:, :2]
    grad = torch.randn(4, 2, 32, device=DEVICE)
    want = torch.ops.aten.gelu_backward(grad, x)
    torch.testing.assert_close(backward(grad, x, False, False).dx, want, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("where", [pytest.param("gpu", marks=gpu)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_whole_layer_on_a_gpu(where, dtype):
    torch.manual_seed(0)
    shapes = (2, 50, 70, 96), (384, 96), (384,), (96, 384), (96,)
    inputs = [torch.randn(shape, device="cuda") / shape[-1] ** 0.5 for shape in shapes]
    found = []
    for function in (gelu_mlp, _plain):
        leaves = [x.clone().requires_grad_() for x in inputs]
        with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
            y = function(*leaves)
        y.float().square().sum().backward()
        found.append([y.detach(), *[x.grad for x in leaves]])
    tolerance = 1e-4 if dtype == torch.float32 else 2e-2
    for got, want in zip(*found):
        atol = tolerance * float(want.abs().max())
        torch.testing.assert_close(got, want, rtol=tolerance, atol=atol)


def _plain(x, weight1, bias1, weight2, bias2):
    return F.linear(F.gelu(F.linear(x, weight1, bias1)), weight2, bias2)
