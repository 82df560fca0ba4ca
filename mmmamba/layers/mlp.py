"""Feed-forward layers, channels-last."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmmamba.ops.recompute import gelu_mlp, recompute_pays

from .activated import ActLinear, DepthwiseConv
from .bare import bare
from .layout import channels_first, channels_last


class Mlp(nn.Module):
    """Linear, activation, linear over the last dimension, `mlp_ratio` times as wide between."""

    def __init__(self, dim: int, mlp_ratio: float = 4.0, act_layer: type[nn.Module] = nn.GELU):
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.fc1 = nn.Linear(dim, hidden)
        # The activation is part of the second layer, which then keeps one wide tensor and not two.
        self.fc2 = ActLinear(hidden, dim, act_layer())

    def forward(self, x: Tensor) -> Tensor:
        fc1, fc2, act = self.fc1, self.fc2, self.fc2.act
        # In one step where it is just that, and nobody looks at what is inside.
        if type(act) is nn.GELU and recompute_pays(x) and self._is_plain():
            parameters = (fc1.weight, fc1.bias, fc2.weight, fc2.bias)
            return gelu_mlp(x, *parameters, act.approximate)
        return fc2(fc1(x))

    def _is_plain(self) -> bool:
        layers = bare(self.fc1, nn.Linear) and bare(self.fc2, ActLinear)
        return layers and bare(self.fc2.act, nn.GELU)


class ConvMlp(nn.Module):
    """`Mlp` that sees neighbours: a depthwise convolution before the activation.

    `(B, H, W, C)` to the same (PVT v2, arXiv 2106.13797, section 3.2). Files that hold the linear
    layers as 1x1 convolutions have two more dimensions of length 1, which a key map squeezes.

    Args:
        dim, mlp_ratio, act_layer: as in `Mlp`.
        kernel_size: of the convolution.
        residual: add the convolution's input to its output (MSVMamba).
    """

    def __init__(
        self,
        dim: int,
        mlp_ratio: float = 4.0,
        act_layer: type[nn.Module] = nn.GELU,
        kernel_size: int = 3,
        residual: bool = False,
    ):
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.fc1 = nn.Linear(dim, hidden)
        act = F.gelu if act_layer is nn.GELU else act_layer()
        self.dwconv = DepthwiseConv(hidden, kernel_size, act=act, residual=residual)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        # Views on both sides: the map stays channels-last in memory, as the convolution wants it.
        return self.fc2(channels_last(self.dwconv(channels_first(self.fc1(x_BHWC)))))
