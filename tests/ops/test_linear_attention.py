"""Linear attention against its definition, and its kernels against PyTorch's operators.

`test_state_sum.py` starts the interpreter for this file too.
"""

import pytest
import torch
import torch.nn.functional as F

from mmmamba.layers.rotary import rotary_side_table, rotary_table, rotate
from mmmamba.ops import linear_attention
from mmmamba.ops.linear_attention import _Fused, _plain

from .interpreter import DEVICE, inside, kernels
from .second_order import assert_second_order_equal

pytestmark = pytest.mark.usefixtures("poisoned_memory")


def inputs(height, width, heads, channels, dtype=torch.float32, device="cpu"):
    torch.manual_seed(0)
    C, L = heads * channels, height * width
    table = rotary_side_table(max(height, width) + 1, C, torch.device(device))
    shapes = (2, L, 2 * C), (2, L, C), (2, L, C)
    qk, v, local = (torch.randn(shape, device=device).to(dtype) for shape in shapes)
    return qk, v, local, table.to(torch.float64 if dtype == torch.float64 else table), heads, width


def test_definition():
    """With the table of the whole map, head by head, and the whole matrix of attention."""
    qk, v, local, table, heads, width = inputs(3, 4, 3, 4, torch.float64)
    q, k = (F.elu(qk) + 1).chunk(2, -1)
    turned_q, turned_k = (rotate(x, rotary_table(3, 4, 12, (1, 1)).double()) for x in (q, k))
    want = local.clone()
    for head in range(heads):
        part = slice(4 * head, 4 * head + 4)
        below = q[..., part] @ k[..., part].mean(1, keepdim=True).transpose(1, 2) + 1e-6
        scores = turned_q[..., part] @ turned_k[..., part].transpose(1, 2) / 12
        want[..., part] += scores @ v[..., part] / below
    got = linear_attention(qk, v, local, table, heads, width)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_thousands_of_large_values_stay_finite_in_float16():
    qk, v, local, table, heads, width = inputs(50, 60, 1, 4)
    large = [(100 * x).half() for x in (qk, v, local)]
    assert linear_attention(*large, table, heads, width).isfinite().all()


def test_shapes_that_do_not_fit_are_named():
    qk, v, local, table, heads, width = inputs(3, 4, 2, 4)
    with pytest.raises(ValueError, match=r"with 3 heads and rows of 4, wanted \(B, L, 2 C\)"):
        linear_attention(qk, v, local, table, 3, width)
    with pytest.raises(ValueError, match=r"the table is \(2, 3, 2\), wanted \(2, 4 or more, 2\)"):
        linear_attention(qk, v, local, table[:, :3], heads, width)


@kernels
@pytest.mark.parametrize(
    ("height", "width", "heads", "channels", "dtype"),
    [
        (1, 3, 1, 4, torch.float32),
        # A head in the middle turns by rows and by columns.
        (10, 7, 3, 20, torch.float32),
        (5, 14, 1, 16, torch.float16),
        (13, 5, 2, 6, torch.bfloat16),
    ],
)
def test_kernels_equal_pytorch(where, height, width, heads, channels, dtype):
    *given, table, heads, width = inputs(height, width, heads, channels, dtype, DEVICE)
    results = []
    for function in (_Fused.apply, _plain):
        leaves = [x.detach().clone().requires_grad_() for x in given]
        y = function(*leaves, table, heads, width)
        grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        y.backward(grad.to(y))
        results.append([y.detach(), *(x.grad for x in leaves)])
    # A bfloat16 state and products of it have eight bits.
    tolerance = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    for got, want in zip(*results):
        assert got.dtype == want.dtype
        atol = tolerance * float(want.abs().max())
        torch.testing.assert_close(got, want, rtol=tolerance, atol=atol)


@inside
def test_second_derivatives():
    *given, table, heads, width = inputs(2, 3, 2, 4)
    assert_second_order_equal(
        lambda *x: _Fused.apply(*x, table, heads, width),
        lambda *x: _plain(*x, table, heads, width),
        given,
    )
