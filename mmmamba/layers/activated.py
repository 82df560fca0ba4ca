"""Linear layers and depthwise convolutions with the activation beside them, which training on a GPU computes twice."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from mmmamba.ops import depthwise_conv
from mmmamba.ops.recompute import gelu_linear, recompute_pays


class ActLinear(nn.Linear):
    """`linear(act(x))`, with the state dict of `nn.Linear`."""

    def __init__(self, in_features: int, out_features: int, act: nn.Module):
        super().__init__(in_features, out_features)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        if type(self.act) is nn.GELU and recompute_pays(x):
            return gelu_linear(x, self.weight, self.bias, self.act.approximate)
        return super().forward(self.act(x))


class DepthwiseConvAct(nn.Conv2d):
    """`act(conv(x))` of a 3x3 depthwise convolution, `(B, C, H, W)`, with the state dict of `nn.Conv2d`."""

    def __init__(self, dim: int, bias: bool, act: Callable[[Tensor], Tensor]):
        super().__init__(dim, dim, 3, padding=1, groups=dim, bias=bias)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        if self.act is F.silu:
            return depthwise_conv(x, self.weight, self.bias, silu=True)
        return self.act(depthwise_conv(x, self.weight, self.bias))
