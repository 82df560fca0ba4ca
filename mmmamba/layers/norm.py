"""The LayerNorm of all families."""

from typing import overload

from torch import Tensor, nn

from mmmamba.ops import add_layer_norm, layer_norm


class LayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` over the last dimension by `mmmamba.ops.layer_norm`, of the same state dict.

    Args:
        dim: the width C.
        feeds_linear: every consumer is a linear layer or a convolution, which under autocast take
            its dtype: return that rather than the float32 that autocast's own LayerNorm returns.
    """

    def __init__(self, dim: int, eps: float = 1e-5, feeds_linear: bool = False):
        super().__init__(dim, eps)
        self.feeds_linear = feeds_linear

    @overload
    def forward(self, x: Tensor) -> Tensor: ...

    @overload
    def forward(self, x: Tensor, branch: Tensor | None, /) -> tuple[Tensor, Tensor]: ...

    def forward(self, x, *branch):
        """The norm of `x`; with a branch, that of `x + branch` and this sum.

        With None for a branch it is the norm of `x` and `x`, for a residual stream that goes on
        from here: where a sum would come back, gradients are added up in one pass.
        """
        # One call for both, so that on a GPU sum and norm are one pass over the map.
        parameters = (self.weight, self.bias, self.eps)
        if not branch:
            return layer_norm(x, *parameters, feeds_linear=self.feeds_linear)
        return add_layer_norm(x, *branch, *parameters, feeds_linear=self.feeds_linear)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, feeds_linear={self.feeds_linear}"
