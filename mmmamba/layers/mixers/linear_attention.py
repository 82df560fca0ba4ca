"""MLLA's mixer: linear attention in the frame of a Mamba block."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmmamba.ops import linear_attention, silu_gate

from ..activated import DepthwiseConv
from ..layout import channels_first, channels_last
from ..rotary import rotary_side_table
from ..walk import Unordered


class LinearAttention(Unordered, nn.Module):
    """Projection, convolution, linear attention, gate, `(B, H, W, C)` to the same.

    MLLA, arXiv 2405.16605, section 4. The values are what queries and keys are made of, and are
    convolved once more for their neighbours ("LePE", arXiv 2107.00652).

    Args:
        dim: width C.
        num_heads: of C / heads channels each.

    Raises:
        ValueError: a width that is no multiple of the heads or of four.
    """

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        if dim % num_heads or dim % 4:
            raise ValueError(
                f"{dim} channels cannot be split over {num_heads} heads and turned in four parts; "
                "wanted a multiple of both"
            )
        self.num_heads = num_heads
        self.in_proj = nn.Linear(dim, dim)
        self.act_proj = nn.Linear(dim, dim)
        self.dwc = DepthwiseConv(dim, act=F.silu)
        self.qk = nn.Linear(dim, 2 * dim)
        self.lepe = DepthwiseConv(dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        H, W, C = x_BHWC.shape[1:]
        v_BCHW = self.dwc(channels_first(self.in_proj(x_BHWC)))
        v_BLC = channels_last(v_BCHW).flatten(1, 2)
        local_BLC = channels_last(self.lepe(v_BCHW)).flatten(1, 2)
        # One table of the longer side for both: a position's angles are those of either axis.
        table_2SJ = rotary_side_table(max(H, W), C, x_BHWC.device)
        y_BLC = linear_attention(self.qk(v_BLC), v_BLC, local_BLC, table_2SJ, self.num_heads, W)
        gate_BLC = self.act_proj(x_BHWC).flatten(1, 2)
        return self.out_proj(silu_gate(y_BLC, gate_BLC).view(x_BHWC.shape))

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}"
