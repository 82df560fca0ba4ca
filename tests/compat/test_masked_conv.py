"""Masked convolution is a convolution at the chosen cells and 0 at all others."""

import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import MaskedConv2d

from mmmamba.compat import compiled_extension

pytestmark = pytest.mark.skipif(
    compiled_extension() is not None, reason="mmcv has its compiled operators"
)


@torch.no_grad()
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (1, 0), ((5, 3), (2, 1))])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_chosen_cells_are_convolved(kernel, padding, dtype, device):
    torch.manual_seed(0)
    layer = MaskedConv2d(4, 5, kernel, padding=padding).to(device, dtype)
    x = torch.randn(1, 4, 6, 7, device=device, dtype=dtype)
    mask = torch.rand(1, 6, 7, device=device) > 0.5
    mask[0, 0, 0] = mask[0, -1, -1] = True
    wanted = F.conv2d(x, layer.weight, layer.bias, padding=padding) * mask[:, None]
    tolerance = dict(rtol=1e-2, atol=1e-2) if dtype == torch.float16 else {}
    torch.testing.assert_close(layer(x, mask), wanted, **tolerance)


@torch.no_grad()
def test_no_cell_is_chosen():
    layer = MaskedConv2d(4, 5, 3, padding=1)
    assert layer(torch.randn(1, 4, 6, 7), torch.zeros(1, 6, 7)).abs().sum() == 0
