"""Norms of groups with their gate, against their definition and PyTorch's operators."""

import pytest
import torch
import torch.nn.functional as F

from mmmamba.ops import norm_gate
from mmmamba.ops.norm_gate import _Fused, _plain

from .interpreter import DEVICE, inside, kernels
from .second_order import assert_second_order_equal

DTYPES = [
    (torch.float32, torch.float32),
    (torch.float32, torch.float16),
    (torch.bfloat16, torch.bfloat16),
]


def inputs(positions, channels, y_dtype=torch.float32, z_dtype=torch.float32, device="cpu"):
    """y, a z that is half of a wider map, and the norms' parameters."""
    torch.manual_seed(0)
    y, z = torch.randn(2, positions, 3 * channels).split([channels, 2 * channels], -1)
    weight, bias = torch.randn(2, channels)
    y, z = (2 * y + 1).to(device, y_dtype), z.to(device, z_dtype)
    return y.contiguous(), z[..., channels:], weight.to(device), bias.to(device)


def test_definition():
    y, z, weight, bias = (x.double() for x in inputs(5, 6))
    want = torch.cat(
        [
            F.layer_norm(part, (2,), weight[2 * g : 2 * g + 2], bias[2 * g : 2 * g + 2], 1e-3)
            for g, part in enumerate(y.chunk(3, -1))
        ],
        -1,
    )
    torch.testing.assert_close(norm_gate(y, z, weight, bias, 3, 1e-3), want * z * z.sigmoid())
    plain = norm_gate(y, z, weight, bias, 3, 1e-3, silu=False)
    torch.testing.assert_close(plain, want * z)
    assert norm_gate(y.float(), z.bfloat16(), weight, bias, 3).dtype == torch.bfloat16


def test_what_does_not_fit_is_refused():
    y, z, weight, bias = inputs(2, 6)
    for given in (
        (y, z[..., :3], weight, bias, 3),
        (y, z, weight[:2], bias, 3),
        (y, z, weight, bias, 4),
    ):
        with pytest.raises(ValueError, match="norm_gate"):
            norm_gate(*given)


@kernels
@pytest.mark.parametrize("dtypes", DTYPES)
@pytest.mark.parametrize(
    ("positions", "channels", "groups", "silu"),
    [(1, 12, 4, True), (45, 60, 4, True), (37, 21, 3, True), (3, 160, 1, False)],
)
def test_kernels_equal_pytorch(where, positions, channels, groups, silu, dtypes):
    given = inputs(positions, channels, *dtypes, DEVICE)
    # Strided, as the gradient of a part of a wider map is.
    grad = torch.randn(2, positions, 2 * channels, device=DEVICE)[..., :channels].to(dtypes[1])
    results = []
    for function in (_Fused.apply, _plain):
        leaves = [x.detach().requires_grad_() for x in given]
        out = function(*leaves, groups, 1e-5, silu)
        results.append([out.detach(), *torch.autograd.grad(out, leaves, grad)])
    tolerance = 1e-5 if dtypes[1] == torch.float32 else 2e-2
    for got, want in zip(*results):
        assert got.dtype == want.dtype
        near = dict(rtol=tolerance, atol=tolerance * float(want.abs().max()))
        torch.testing.assert_close(got, want, **near)


@inside
def test_no_positions():
    given = [x.requires_grad_() for x in inputs(0, 8)]
    _Fused.apply(*given, 2, 1e-5, True).sum().backward()
    assert all(x.grad.eq(0).all() for x in given)


@inside
def test_second_derivatives():
    assert_second_order_equal(
        lambda *given: _Fused.apply(*given, 2, 1e-5, True),
        lambda *given: _plain(*given, 2, 1e-5, True),
        inputs(2, 6),
    )
