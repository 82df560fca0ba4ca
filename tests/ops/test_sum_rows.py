"""Sums over the rows of a matrix."""

import pytest
import torch

from mmmamba.ops.sum_rows import sum_rows

from .interpreter import DEVICE, gpu, kernels

pytestmark = pytest.mark.usefixtures("poisoned_memory")


@kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 1), (301, 70), (129, 192), (500, 128), (0, 5), (3, 0)])
def test_kernel_equals_pytorch(where, shape, dtype):
    from mmmamba.ops.kernels.sum_rows import sum_rows as kernel

    torch.manual_seed(0)
    x = torch.randn(shape, device=DEVICE).to(dtype)
    got = kernel(x)
    assert got.dtype == dtype and torch.equal(got, kernel(x)), "two runs differ"
    want = x.double().sum(0)
    torch.testing.assert_close(got.double(), want, rtol=2 * torch.finfo(dtype).eps, atol=1e-4)


@kernels
@pytest.mark.parametrize(
    "shape", [(1, 1), (792, 2, 96), (300, 17, 3), (8, 700), (9, 2, 96), (0, 5), (3, 0)]
)
def test_parts_are_added_up(where, shape):
    from mmmamba.ops.kernels.add_parts import add_parts

    parts = torch.randn(shape, device=DEVICE)
    for dtype in (torch.float32, torch.float16):
        got = add_parts(parts, dtype)
        assert got.dtype == dtype and torch.equal(got, add_parts(parts, dtype)), "two runs differ"
        want = parts.double().sum(0)
        torch.testing.assert_close(got.double(), want, rtol=2 * torch.finfo(dtype).eps, atol=1e-4)


def test_every_matrix_is_summed():
    x = torch.randn(7, 5)
    assert torch.equal(sum_rows(x), x.sum(0))
    assert torch.equal(sum_rows(x.t()), x.sum(1))


@pytest.mark.parametrize("where", [pytest.param("gpu", marks=gpu)])
def test_large_matrices_on_a_gpu(where):
    x = torch.randn(2**15, 96, device="cuda", dtype=torch.bfloat16)
    for matrix in (x, x[:, :64], x[:9]):
        near = dict(rtol=1e-2, atol=1e-2)
        torch.testing.assert_close(sum_rows(matrix).float(), matrix.float().sum(0), **near)
