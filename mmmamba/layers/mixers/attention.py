"""Multi-head self-attention over a sequence."""

import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
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
        # (B, L, 3 C) to three of (B, heads, L, C / heads).
        q, k, v = self.qkv(x_BLC).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        x_BHLC = F.scaled_dot_product_attention(q, k, v)
        return self.proj(x_BHLC.transpose(1, 2).flatten(2))
