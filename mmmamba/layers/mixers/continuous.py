"""PlainMamba's mixer (arXiv 2403.17695, section 3.3): scans of snakes that know their direction.

Shape suffixes: B batch, H and W sides, L = H W positions, K routes, C width, D inner width, N
states, M kinds of moves.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmamba.ops import (
    MOVES,
    carried_scan,
    expand_routes,
    move_table,
    route_table,
    silu_gate,
    visit_table,
)
from mmmamba.ops.autocast import autocast_dtype
from mmmamba.ops.linear import linear

from ..activated import DepthwiseConv
from ..layout import channels_first, channels_last
from ..precision import full_precision
from ..walk import MapWalk
from .s6 import S6, dt_projection, output_dtype, resolve_dt_rank, s4d_real

ROUTES = expand_routes("continuous")[0]


class ContinuousMixer(nn.Module):
    """Depthwise convolution, scans of four snakes with the same parameters, their sum, a gate.

    `(B, H, W, C)` to the same. A learned vector for the move that led to a step is added to B. Only
    the scans' inputs, outputs and moves follow the snakes; step sizes, B and C stay in row-major
    order, so that they belong to another cell. The paper does not tell: so its weights were trained
    (`ops.carried_scan`).

    Args:
        dim: width C.
        d_state, ssm_ratio, dt_rank: N, D / C, and the rank of the step sizes ("auto": C / 16,
            rounded up).
        d_conv: side of the convolution's kernels.
    """

    def __init__(
        self,
        dim: int,
        d_state: int = 16,
        ssm_ratio: float = 2.0,
        d_conv: int = 7,
        dt_rank: int | str = "auto",
    ):
        super().__init__()
        D, rank = int(dim * ssm_ratio), resolve_dt_rank(dt_rank, dim)
        self.in_proj = nn.Linear(dim, 2 * D)
        self.conv2d = DepthwiseConv(D, d_conv, act=F.silu)
        self.x_proj = nn.Linear(D, rank + 2 * d_state, bias=False)
        self.dt_proj = dt_projection(rank, D)
        self.A_log = nn.Parameter(s4d_real(D, d_state=d_state))
        self.D = nn.Parameter(torch.ones(D))
        self.direction_Bs = nn.Parameter(torch.empty(len(MOVES), d_state))
        nn.init.trunc_normal_(self.direction_Bs, std=0.02)
        self.out_proj = nn.Linear(D, dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        # One layer in the checkpoints, two products here: halves of one would not be contiguous,
        # and the gate is projected after the scan, beside which it would lie idle.
        weight_DC, gate_DC = self.in_proj.weight.chunk(2)
        bias_D, gate_bias_D = self.in_proj.bias.chunk(2)
        x_BHWD = linear(x_BHWC, weight_DC, bias_D)
        y_BHWD = self.scan(channels_last(self.conv2d(channels_first(x_BHWD))))
        z_BHWD = linear(x_BHWC, gate_DC, gate_bias_D)
        gated_BLD = silu_gate(y_BHWD.flatten(1, 2), z_BHWD.flatten(1, 2))
        return self.out_proj(gated_BLD.view(z_BHWD.shape))

    def scan(self, u_BHWD: Tensor) -> Tensor:
        """The sum of the scans."""
        H, W = u_BHWD.shape[1:3]
        u_BLD, device = u_BHWD.flatten(1, 2), u_BHWD.device
        # The published model adds the bias twice, in the layer and in the scan.
        twice_D = 2 * full_precision(self.dt_proj.bias)
        s6 = S6(
            x_proj_KME=self.x_proj.weight[None],
            dt_proj_KER=self.dt_proj.weight[None],
            dt_bias_KE=twice_D[None],
            A_log_KEN=self.A_log[None],
            D_KE=self.D[None],
        )
        delta_BLD, B_BLN, C_BLN = (x.squeeze(2) for x in s6.project(u_BLD))
        y_BLD = carried_scan(
            u_BLD,
            delta_BLD,
            -torch.exp(full_precision(self.A_log)),
            B_BLN.unsqueeze(2) + self._moves(H, W, B_BLN),
            C_BLN,
            full_precision(self.D),
            index=route_table(ROUTES, H, W, device),
            visits=visit_table(ROUTES, H, W, device),
            delta_bias=twice_D,
            out_dtype=output_dtype(autocast_dtype(u_BLD) or u_BLD.dtype),
        )
        return y_BLD.unflatten(1, (H, W))

    def _moves(self, H: int, W: int, like: Tensor) -> Tensor:
        """What the move that led to a step adds to its B, `(L, K, N)`."""
        move_LK = move_table(ROUTES, H, W, like.device).t()
        numbers_M = torch.arange(len(MOVES), device=like.device)
        # A product, whose gradient is one too: rows that are looked up would be added up by
        # atomics, in another order in each run.
        is_move_LKM = (move_LK[..., None] == numbers_M).to(like.dtype)
        return F.linear(is_move_LKM, self.direction_Bs.to(like.dtype).t())

    def walk(self, x_BHWC: Tensor) -> MapWalk:
        """Where on the map the scans go."""
        H, W = x_BHWC.shape[1:3]
        return MapWalk(ROUTES, H, W, route_table(ROUTES, H, W).long()[None])
