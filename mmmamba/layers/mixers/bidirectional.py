"""Vim's mixer (arXiv 2401.09417, section 3.2, algorithm 1): a sequence scanned forwards and backwards."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmmamba.ops import cover, route_table, silu_gate, two_way_conv_silu

from ..tokens import TokenLayout
from .branches import ScanBranches

ROUTES = ("row", "row_reversed")


class BidirectionalMixer(ScanBranches):
    """Two branches over one sequence, `(B, L, C)` to the same; the backward one's convolution looks ahead.

    Nothing is reversed: the backward scan walks the same tokens from the end.

    Args:
        dim, d_state, ssm_ratio, d_conv, dt_rank: of `ScanBranches`.
        halve: average the directions instead of adding them.
    """

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
        weight_DC, gate_DC = self.in_proj.weight.chunk(2)
        index_KL = route_table(ROUTES, 1, x_BLC.shape[1], x_BLC.device)
        y_BLD = self.scan(
            self.convolve(F.linear(x_BLC, weight_DC)), index_KL, index_complete=cover(ROUTES)
        )
        # The gate is projected after the scan, beside which it would lie idle.
        z_BLD = F.linear(x_BLC, gate_DC)
        return self.out_proj(silu_gate(y_BLD, z_BLD, 0.5 if self.halve else 1.0))

    def convolve(self, x_BLD: Tensor) -> Tensor:
        """The scans' inputs `(B, L, 2, D)`: SiLU of the causal convolution, and of the one that looks ahead."""
        return two_way_conv_silu(
            x_BLD, self.conv1d.weight, self.conv1d_b.weight, self.conv1d.bias, self.conv1d_b.bias
        )
