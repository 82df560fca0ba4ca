"""VSSD's mixer: a state that sums all cells, and that every cell reads."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmamba.ops import state_sum
from mmmamba.ops.aligned import filled
from mmmamba.ops.linear import linear

from ..activated import DepthwiseConv
from ..bare import bare
from ..layout import channels_first, channels_last
from ..norm import GatedLayerNorm
from ..precision import full_precision
from ..walk import Unordered
from .s6 import dt_bias


class StateSum(Unordered, nn.Module):
    """Non-causal state space duality, `(B, H, W, C)` to the same (arXiv 2407.18559, section 3).

    Mamba-2's block with a sum over all cells for the recurrence: no route, no decay.

    Shape suffixes: D = ssm_ratio C inner channels, N states, G heads, E = D + 2 N convolved.

    Args:
        dim: width C.
        num_heads: G.
        d_state: N.
        ssm_ratio: D / C.

    Raises:
        ValueError: inner channels that are no multiple of the heads.
    """

    def __init__(self, dim: int, num_heads: int, d_state: int = 64, ssm_ratio: float = 2.0):
        super().__init__()
        D = int(dim * ssm_ratio)
        if D % num_heads:
            raise ValueError(f"{D} inner channels cannot be split over {num_heads} heads")
        convolved = D + 2 * d_state
        self.splits = (D, convolved, num_heads)
        self.d_state = d_state
        self.in_proj = nn.Linear(dim, D + convolved + num_heads, bias=False)
        self.conv2d = DepthwiseConv(convolved, act=F.silu)
        self.dt_bias = nn.Parameter(dt_bias(num_heads))
        self.A_log = nn.Parameter(torch.empty(num_heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(num_heads))
        self.norm = GatedLayerNorm(D)
        self.out_proj = nn.Linear(D, dim, bias=False)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        gate_BHWD, xBC_BHWE, dt_BHWG = self._project(x_BHWC)
        xBC_BHWE = channels_last(self.conv2d(channels_first(xBC_BHWE)))
        # The weights are positive, unlike the exponents of a recurrence, and sum over a whole map:
        # in full precision, and what they make too, up to the norm.
        delta_BLG = F.softplus(full_precision(dt_BHWG.flatten(1, 2)) + full_precision(self.dt_bias))
        weight_BLG = delta_BLG * full_precision(self.A_log).exp()
        D_G = full_precision(self.D)
        y_BLD = state_sum(xBC_BHWE.flatten(1, 2), weight_BLG, D_G, self.d_state)
        return self.out_proj(self.norm(y_BLD.view_as(gate_BHWD), gate_BHWD))

    def _project(self, x_BHWC: Tensor) -> Sequence[Tensor]:
        layer = self.in_proj
        if not x_BHWC.is_cuda or not bare(layer, nn.Linear):
            return layer(x_BHWC).split(self.splits, -1)
        # As wide as a fast product is; what is made of zeros behind the parts nobody reads.
        joint_BHWX = linear(x_BHWC, filled(layer.weight))
        rest = joint_BHWX.shape[-1] - sum(self.splits)
        return joint_BHWX.split((*self.splits, rest), -1)[:3]

    def extra_repr(self) -> str:
        return f"num_heads={self.splits[2]}, d_state={self.d_state}"
