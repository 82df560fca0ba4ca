"""What becomes of convolutions, norms and residuals once the norms stand still."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmmamba.layers import ConvNormAct, DepthwiseConv, ResidualStem, WideDownsample
from mmmamba.layers.conv_norm import NormLinear, fused_copy


def settled(module: nn.Module) -> nn.Module:
    """With norms as after training, so that nothing cancels."""
    torch.manual_seed(0)
    for m in module.modules():
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for values in (m.weight, m.bias, m.running_mean):
                nn.init.normal_(values)
            nn.init.uniform_(m.running_var, 0.5, 2)
    return module.double().eval()


@pytest.mark.parametrize(
    "module, shape",
    [
        (NormLinear(6, 4), (3, 6)),
        (ConvNormAct(nn.Conv2d(6, 4, 3, bias=False)), (2, 6, 5, 7)),
        (ConvNormAct(DepthwiseConv(6, 5, 2), act_layer=None), (2, 6, 5, 7)),
        (ConvNormAct(DepthwiseConv(6, act=F.silu), norm=False), (2, 6, 5, 7)),
        (ResidualStem(3, 8), (2, 3, 17, 12)),
        (WideDownsample(6, 4), (2, 5, 7, 6)),
    ],
)
def test_fused_equals_unfused(module, shape):
    module, x = settled(module), torch.randn(shape, dtype=torch.float64)
    fused = fused_copy(module)
    assert not [m for m in fused.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    torch.testing.assert_close(fused(x), module(x), rtol=1e-10, atol=1e-10)
    with pytest.raises(RuntimeError, match=f"this {type(module).__name__} is fused already"):
        fused_copy(fused)


def test_nothing_stands_between_a_convolution_and_its_norm():
    with pytest.raises(ValueError, match="pass it as act_layer"):
        ConvNormAct(DepthwiseConv(6, act=F.silu))
