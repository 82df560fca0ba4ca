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


class DepthwiseConv(nn.Conv2d):
    """A 3x3 depthwise convolution of stride 1 that keeps the size, with the state dict of `nn.Conv2d`.

    Made for maps `(B, C, H, W)` whose memory is channels-last, which on a GPU take kernels compiled once for all sizes.
    """

    def __init__(self, dim: int, bias: bool = True):
        super().__init__(dim, dim, 3, padding=1, groups=dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return depthwise_conv(x, self.weight, self.bias)


class DepthwiseConvAct(DepthwiseConv):
    """`act(conv(x))`, with the same state dict."""

    def __init__(self, dim: int, bias: bool, act: Callable[[Tensor], Tensor]):
        super().__init__(dim, bias)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        if self.act is F.silu:
            return depthwise_conv(x, self.weight, self.bias, silu=True)
        return self.act(super().forward(x))
