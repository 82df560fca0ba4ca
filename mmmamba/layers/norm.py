"""The norms of all families."""

from typing import Any, overload

from torch import Tensor, nn

from mmmamba.ops import add_layer_norm, layer_norm, norm_gate

from .drop_path import Branch, Scaled


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
    def forward(self, x: Tensor, branch: Branch | None, /) -> tuple[Tensor, Tensor]: ...

    def forward(self, x, *branch):
        """The norm of `x`; with a branch, that of `x + branch` and this sum.

        Of a `Scaled` branch it is the product that is added. With None for a branch it is the norm
        of `x` and `x`, for a residual stream that goes on from here: where a sum would come back,
        gradients are added up in one pass.
        """
        return _norm(self, x, branch, self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, feeds_linear={self.feeds_linear}"


class RMSNorm(nn.RMSNorm):
    """`nn.RMSNorm` over the last dimension, otherwise as `LayerNorm`.

    Args:
        dim, eps, feeds_linear: those of `LayerNorm`.
    """

    def __init__(self, dim: int, eps: float = 1e-5, feeds_linear: bool = False):
        super().__init__(dim, eps)
        self.feeds_linear = feeds_linear

    @overload
    def forward(self, x: Tensor) -> Tensor: ...

    @overload
    def forward(self, x: Tensor, branch: Branch | None, /) -> tuple[Tensor, Tensor]: ...

    def forward(self, x, *branch):
        """The norm of `x`; with a branch, that of `x + branch` and this sum."""
        return _norm(self, x, branch, None)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, feeds_linear={self.feeds_linear}"


class GatedLayerNorm(nn.LayerNorm):
    """`layer_norm(y) * gate` over the last dimension, in the gate's dtype (VSSD).

    The gate has no activation. The state dict is `nn.LayerNorm`'s.

    Args:
        dim: the width C.
    """

    def __init__(self, dim: int, eps: float = 1e-5):
        super().__init__(dim, eps)

    def forward(self, y: Tensor, gate: Tensor) -> Tensor:  # type: ignore[override]
        return norm_gate(y, gate, self.weight, self.bias, eps=self.eps, silu=False)


def _norm(layer: LayerNorm | RMSNorm, x: Tensor, branch: tuple, bias: Tensor | None) -> Any:
    # One call for both, so that on a GPU sum and norm are one pass over the map.
    given: dict[str, Any] = dict(
        weight=layer.weight, bias=bias, eps=layer.eps, feeds_linear=layer.feeds_linear
    )
    if not branch:
        return layer_norm(x, **given)
    (summand,) = branch
    if isinstance(summand, Scaled):
        return add_layer_norm(x, summand.branch, factor=summand.factor_B, **given)
    return add_layer_norm(x, summand, **given)
