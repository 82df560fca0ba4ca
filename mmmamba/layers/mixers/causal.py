"""Mamba's own mixer (arXiv 2312.00752, section 3.4) along one route of a map.

Shape suffixes: B batch, H and W sides, L = H W tokens, C width, D inner width, W taps.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmmamba.ops import cover, route_table, silu_gate

from ..walk import MapWalk
from .branches import ScanBranches
from .s6 import scan_projects

ROUTES = ("row", "row_reversed", "column", "column_reversed")


class CausalMixer(ScanBranches):
    """A causal convolution, one scan and a gate, `(B, H, W, C)` to the same.

    Convolution and scan run on over the ends of lines. Nothing is reversed: a route from the end
    has a convolution that looks ahead.

    Args:
        dim, d_state, ssm_ratio, d_conv, dt_rank: of `ScanBranches`.
        route: of `ROUTES`.

    Raises:
        ValueError: another route.
    """

    def __init__(
        self,
        dim: int,
        route: str = "row",
        d_state: int = 16,
        ssm_ratio: float = 2.0,
        d_conv: int = 4,
        dt_rank: int | str = "auto",
    ):
        super().__init__(dim, ("",), "A_log{}", d_state, ssm_ratio, d_conv, dt_rank)
        if route not in ROUTES:
            raise ValueError(f"the route is {route!r}, wanted one of {', '.join(ROUTES)}")
        self.route = route

    def forward(self, x_BHWC: Tensor) -> Tensor:
        columns = self.route.startswith("column")
        map_BHWC = x_BHWC.transpose(1, 2) if columns else x_BHWC
        x_BLC = map_BHWC.flatten(1, 2)
        # One layer in the checkpoints, two products here: the gate is projected after the scan,
        # beside which it would lie idle.
        weight_DC, gate_DC = self.in_proj.weight.chunk(2)
        y_BLD = self.scan_along(self.convolve(F.linear(x_BLC, weight_DC)))
        y_BLC = self.out_proj(silu_gate(y_BLD, F.linear(x_BLC, gate_DC)))
        y_BHWC = y_BLC.unflatten(1, map_BHWC.shape[1:3])
        return y_BHWC.transpose(1, 2) if columns else y_BHWC

    @property
    def reversed(self) -> bool:
        """Whether the route begins at the last token."""
        return self.route.endswith("_reversed")

    def convolve(self, x_BLD: Tensor) -> Tensor:
        """The scan's input `(B, L, D)`: SiLU of the convolution.

        As one convolution over a map of height 1, which PyTorch computes channels-last.
        """
        (weight_D1W,), (bias_D,) = self.each("conv1d{}.weight"), self.each("conv1d{}.bias")
        length, past = x_BLD.shape[1], weight_D1W.shape[-1] - 1
        weight_D1W = weight_D1W.flip(-1) if self.reversed else weight_D1W
        x_BD1L = x_BLD.transpose(1, 2).unsqueeze(2)
        y_BD1L = F.conv2d(
            x_BD1L, weight_D1W.unsqueeze(2), bias_D, padding=(0, past), groups=len(bias_D)
        )
        # Padded at both ends: what looks back keeps its start, what looks ahead its end.
        y_BDL = y_BD1L.squeeze(2).narrow(-1, past if self.reversed else 0, length)
        return F.silu(y_BDL.transpose(1, 2))

    def scan_along(self, u_BLD: Tensor) -> Tensor:
        """The scan, `(B, L, D)` in the dtype of `s6.output_dtype`."""
        s6, route = self.s6(), (self._in_line(),)
        index_KL = route_table(route, 1, u_BLD.shape[1], u_BLD.device)
        if scan_projects(u_BLD, s6.rank):
            return s6.scan_projecting(u_BLD, index_KL, cover(route))
        return s6.scan(u_BLD, s6.project(u_BLD), index_KL, cover(route))

    def _in_line(self) -> str:
        """The route through the tokens as they lie for it, a map of one row."""
        return "row_reversed" if self.reversed else "row"

    def walk(self, x_BHWC: Tensor) -> MapWalk:
        """Where on the map the scan goes."""
        H, W = x_BHWC.shape[1:3]
        cells_KL = route_table((self.route,), H, W, torch.device("cpu")).long()
        return MapWalk((self.route,), H, W, cells_KL[None])

    def extra_repr(self) -> str:
        return f"route={self.route}"
