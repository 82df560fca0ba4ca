"""Linear layers and depthwise convolutions with the activation beside them.

On a GPU they keep less for the backward pass, or take fewer kernels, than the two one by one.
"""

from collections.abc import Callable

from torch import Tensor, nn

from mmmamba.ops import depthwise_conv
from mmmamba.ops.depthwise_conv import ACTS
from mmmamba.ops.recompute import gelu_linear, recompute_pays

from .packed import Linear


class ActLinear(Linear):
    """`linear(act(x))`, with the state dict of `nn.Linear`."""

    def __init__(self, in_features: int, out_features: int, act: nn.Module):
        super().__init__(in_features, out_features)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        # Not isinstance: a subclass may compute something else.
        if type(self.act) is nn.GELU and recompute_pays(x):
            return gelu_linear(x, self.weight, self.bias, self.act.approximate)
        return super().forward(self.act(x))


class DepthwiseConv(nn.Conv2d):
    """A depthwise convolution, or its activation, with the state dict of `nn.Conv2d`.

    Sides stay or are divided by the stride, rounded up. Made for maps `(B, C, H, W)` whose memory
    is channels-last, which on a GPU take kernels compiled once for all sizes.

    Args:
        dim: C.
        kernel_size: odd, so that a cell has as many neighbours on either side; or rows and columns.
        stride: from one output to the next.
        bias: add one number a channel.
        act: what follows, a function on tensors; None for nothing.
        residual: add the map to the convolution, before `act`; at a stride of 1.

    Raises:
        ValueError: an even kernel.
    """

    def __init__(
        self,
        dim: int,
        kernel_size: int | tuple[int, int] = 3,
        stride: int = 1,
        bias: bool = True,
        act: Callable[[Tensor], Tensor] | None = None,
        residual: bool = False,
    ):
        sides = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        if any(side % 2 == 0 for side in sides):
            raise ValueError(f"DepthwiseConv wants an odd kernel_size, got {kernel_size}")
        # Half an odd kernel on every side keeps the map's sides, or rounds them up after a stride.
        padding = (sides[0] // 2, sides[1] // 2)
        super().__init__(dim, dim, sides, stride, padding, groups=dim, bias=bias)
        self.act = act
        self.residual = residual

    def forward(self, x_BCHW: Tensor) -> Tensor:
        # Told apart by identity: the operator computes these functions itself. `nn.SiLU()` gives
        # the same values in a pass of its own.
        inside = next((name for name, act in ACTS.items() if self.act is act), None)
        options = (inside, self.stride[0], self.residual)
        y_BCHW = depthwise_conv(x_BCHW, self.weight, self.bias, *options)
        return y_BCHW if inside or self.act is None else self.act(y_BCHW)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, residual={self.residual}"
