"""Vim's mixer (arXiv 2401.09417, section 3.2, algorithm 1): a sequence scanned both ways."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmmamba.ops import cover, route_table, silu_gate, two_way_conv_silu

from ..tokens import TokenLayout
from ..walk import MapWalk
from .branches import ScanBranches

ROUTES = ("row", "row_reversed")


class BidirectionalMixer(ScanBranches):
    """Two branches over one sequence, `(B, L, C)` to the same.

    Nothing is reversed: the backward scan walks the same tokens from the end, after a convolution
    that looks ahead.

    Args:
        dim, d_state, ssm_ratio, d_conv, dt_rank: of `ScanBranches`.
        halve: average the directions instead of adding them.
    """

    dt_proj_b: nn.Linear

    def __init__(
        self,
        dim: int,
        d_state: int = 16,
        ssm_ratio: float = 2.0,
        d_conv: int = 4,
        dt_rank: int | str = "auto",
        halve: bool = True,
    ):
        super().__init__(dim, ("", "_b"), "A{}_log", d_state, ssm_ratio, d_conv, dt_rank)
        self.halve = halve
        # As the authors start it: only the forward branch has Mamba's careful start.
        self.dt_proj_b.reset_parameters()
        nn.init.zeros_(self.dt_proj_b.bias)

    def forward(self, x_BLC: Tensor, layout: TokenLayout | None = None) -> Tensor:
        """`layout` changes nothing: the mixer knows no second dimension."""
        # One layer in the checkpoints, two products here: see below.
        weight_DC, gate_DC = self.in_proj.weight.chunk(2)
        # A sequence is a map of one row here, extra tokens included.
        index_KL = route_table(ROUTES, 1, x_BLC.shape[1], x_BLC.device)
        u_BLKD = self.convolve(F.linear(x_BLC, weight_DC))
        y_BLD = self.scan(u_BLKD, index_KL, index_complete=cover(ROUTES))
        # The gate is projected after the scan, beside which it would lie idle.
        z_BLD = F.linear(x_BLC, gate_DC)
        return self.out_proj(silu_gate(y_BLD, z_BLD, 0.5 if self.halve else 1.0))

    def convolve(self, x_BLD: Tensor) -> Tensor:
        """The scans' inputs `(B, L, 2, D)`: SiLU of the causal convolution, and of the other."""
        back, ahead = self.each("conv1d{}.weight")
        back_bias, ahead_bias = self.each("conv1d{}.bias")
        return two_way_conv_silu(x_BLD, back, ahead, back_bias, ahead_bias)

    def walk(self, x_BLC: Tensor, layout: TokenLayout | None = None) -> MapWalk:
        """Where on the map the scans go; a sequence without a layout is a map of one row."""
        length = x_BLC.shape[1]
        tokens_KT = route_table(ROUTES, 1, length).long()
        return MapWalk.of_tokens(ROUTES, layout or TokenLayout(1, length), tokens_KT)
