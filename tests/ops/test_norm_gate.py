"""LayerNorm with a gate against its definition, and its kernels against PyTorch's operators.

`test_state_sum.py` starts the interpreter for this file too.
"""

import pytest
import torch
import torch.nn.functional as F

from mmmamba.layers import GatedLayerNorm
from mmmamba.ops import norm_gate
from mmmamba.ops.norm_gate import _Fused, _plain

from .interpreter import DEVICE, inside, kernels
from .second_order import assert_second_order_equal

pytestmark = pytest.mark.usefixtures("poisoned_memory")


def inputs(rows, channels, y_dtype=torch.float32, dtype=torch.float32, device="cpu"):
    """The gate is a part of a wider projection."""
    torch.manual_seed(0)
    gate = torch.randn(rows, channels + 3, device=device)[:, :channels].to(dtype)
    y = 1e3 * torch.randn(rows, channels, device=device).to(y_dtype)
    return y, gate, torch.randn(channels, device=device), torch.randn(channels, device=device)


def test_definition_and_dtypes():
    y, gate, weight, bias = inputs(5, 6)
    layer = GatedLayerNorm(6)
    layer.load_state_dict(dict(weight=weight, bias=bias))
    want = F.layer_norm(y, (6,), weight, bias, 1e-5) * gate
    torch.testing.assert_close(layer(y, gate), want)
    assert list(layer.state_dict()) == ["weight", "bias"] and layer.eps == 1e-5
    # What would be infinite in the gate's own dtype is not.
    narrow = norm_gate(1e6 * y, gate.half(), weight, bias)
    assert narrow.dtype == torch.float16
    torch.testing.assert_close(narrow.float(), want, rtol=1e-2, atol=1e-2)


def test_shapes_that_do_not_fit_are_named():
    y, gate, weight, bias = inputs(5, 6)
    with pytest.raises(ValueError, match=r"the gate \(5, 5\)"):
        norm_gate(y, gate[:, :5], weight, bias)


@kernels
@pytest.mark.parametrize(
    ("rows", "channels", "y_dtype", "dtype"),
    [
        (1, 3, torch.float32, torch.float32),
        (40, 200, torch.float32, torch.float32),
        (33, 96, torch.float32, torch.float16),
        (40, 24, torch.bfloat16, torch.bfloat16),
    ],
)
def test_kernels_equal_pytorch(where, rows, channels, y_dtype, dtype):
    given = inputs(rows, channels, y_dtype, dtype, DEVICE)
    results = []
    for function in (_Fused.apply, _plain):
        leaves = [x.detach().requires_grad_() for x in given]
        out = function(*leaves, 1e-5)
        grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
        out.backward(grad.to(out))
        results.append([out.detach(), *(x.grad for x in leaves)])
        for x in leaves:
            x.grad = None
    tolerance = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    for got, want in zip(*results):
        assert got.dtype == want.dtype
        atol = tolerance * float(want.abs().max())
        torch.testing.assert_close(got, want, rtol=tolerance, atol=atol)


@inside
def test_second_derivatives():
    y, *others = inputs(3, 4)
    assert_second_order_equal(
        lambda *x: _Fused.apply(*x, 1e-5), lambda *x: _plain(*x, 1e-5), (y / 1e3, *others)
    )
