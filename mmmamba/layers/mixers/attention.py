"""Multi-head self-attention over a sequence."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmmamba.ops.linear import linear, split_heads

from ..bare import bare
from ..walk import Unordered


class Attention(Unordered, nn.Module):
    """Plain multi-head attention, `(B, L, C)` to the same.

    Through PyTorch's fused kernels, which never hold the L x L matrix.

    Raises:
        ValueError: the width is no multiple of the heads.
    """

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool = True):
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"{dim} channels cannot be split over {num_heads} heads")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x_BLC: Tensor) -> Tensor:
        q, k, v = split_heads(_apply(self.qkv, x_BLC), self.num_heads)
        x_BHLC = F.scaled_dot_product_attention(q, k, v)
        return _apply(self.proj, x_BHLC.transpose(1, 2).flatten(2))


class MapAttention(Attention):
    """`Attention` between all cells of a map, `(B, H, W, C)` to the same."""

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return super().forward(x_BHWC.flatten(1, 2)).view_as(x_BHWC)


def _apply(layer: nn.Linear, x: Tensor) -> Tensor:
    # Whoever looks at the layer, or put another in its place, sees it called.
    return linear(x, layer.weight, layer.bias) if bare(layer, nn.Linear) else layer(x)
