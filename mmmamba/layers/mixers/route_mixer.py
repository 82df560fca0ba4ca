"""LocalVim's mixer (arXiv 2403.09338, section 4.1): branches that each read their own route.

Shape suffixes: B batch, L tokens, T steps, K routes, C width, D inner width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmmamba.ops import gather_rows, route, route_table

from ..channel_gate import ChannelGate
from ..tokens import TokenLayout
from ..walk import MapWalk
from .branches import ScanBranches
from .gated_merge import misplace_columns


class Reading(NamedTuple):
    """Which token each route reads at each step, and at which step each token is read.

    X counts the steps of all routes, step by step and, within a step, route by route.
    """

    token_TK: Tensor
    """From 0 to L; L is a hole, which reads zeros."""
    step_LK: Tensor
    """From 0 to T K."""
    place_X: Tensor
    """Where of L K, all tokens of all routes, a step's output goes; L K for holes."""


class RouteMixer(ScanBranches):
    """A causal convolution and a scan along each route, gated and summed; `(B, L, C)` to the same.

    Here the convolution runs along the route too, so each branch has inputs of its own, kept in its
    order. A hole of a route is a token of zeros before the convolution, which sees its neighbours
    and takes part in the scan. Extra tokens stand at the same places in every route's sequence.

    Args:
        dim, d_state, ssm_ratio, d_conv, dt_rank: of `ScanBranches`.
        routes: names of `mmmamba.ops.routes`, one for each branch.
        columns_as_published: put the columns' outputs where the published code does, see
            `misplace_columns`.

    Raises:
        KeyError: no route of that name.
        ValueError: a route that leaves cells out.
    """

    def __init__(
        self,
        dim: int,
        routes: Sequence[str],
        d_state: int = 16,
        ssm_ratio: float = 2.0,
        d_conv: int = 4,
        dt_rank: int | str = "auto",
        columns_as_published: bool = False,
    ):
        suffixes = [f"_{k}" for k in range(len(routes))]
        super().__init__(dim, suffixes, "A_log{}", d_state, ssm_ratio, d_conv, dt_rank)
        for name in routes:
            # On the CPU also for a model built on the meta device, whose tensors cannot be counted.
            with torch.device("cpu"):
                # A map of odd and different sides, which routes by windows have to pad.
                missed = 15 - int((route(name, 5, 3) >= 0).sum())
            if missed:
                raise ValueError(
                    f"RouteMixer wants routes that visit every cell; '{name}' misses {missed} of "
                    "5x3"
                )
        self.routes = tuple(routes)
        self.columns_as_published = columns_as_published
        self.attn = ChannelGate(int(dim * ssm_ratio), over=(1,))

    def forward(self, x_BLC: Tensor, layout: TokenLayout) -> Tensor:
        x_BLD, z_BLD = self.in_proj(x_BLC).chunk(2, -1)
        reading = self.reading(self.order(layout, x_BLC.device), x_BLC.shape[1])
        y_BTKD = self.scan(self.convolve(x_BLD, reading), merge=False)
        y_BLKD = self.put_back(y_BTKD, reading) * F.silu(z_BLD)[:, :, None]
        if self.columns_as_published:
            cells, extra = layout.cut(y_BLKD)
            moved = misplace_columns(cells, self.routes, layout.height, layout.width)
            y_BLKD = layout.insert(moved, extra)
        # Routes are gated by what they hold as a whole, so they stay apart until here.
        y_BLD = self.attn(y_BLKD).sum(2)
        return self.out_proj(y_BLD.to(x_BLD.dtype))

    def order(self, layout: TokenLayout, device: torch.device) -> Tensor:
        """The tokens each route reads, `(K, T)` int64, -1 for holes."""
        order_KT = route_table(self.routes, layout.height, layout.width, device).long()
        if not layout.places:
            return order_KT
        tokens_L = torch.arange(layout.cells + len(layout.places), device=device)
        # Routes are tables of cells; with extra tokens in between, a cell's number is no longer
        # that of its token.
        cells_L, extra_E = layout.cut(tokens_L, 0)
        tokens_KT = torch.where(order_KT < 0, -1, cells_L[order_KT])
        return layout.insert(tokens_KT, extra_E.expand(len(self.routes), -1))

    def reading(self, order_KT: Tensor, length: int) -> Reading:
        """An order `(K, T)` of tokens, and the same turned round."""
        K, T = order_KT.shape
        steps_T = torch.arange(T, device=order_KT.device)
        hole_or_token_KT = torch.where(order_KT < 0, length, order_KT)
        # At which step each token was read. Holes all write to one more place, which is cut off.
        # Every token is read by every route, so no place stays empty.
        step_KL = order_KT.new_empty(K, length + 1)
        step_KL = step_KL.scatter_(1, hole_or_token_KT, steps_T.expand(K, T))[:, :length]
        # Steps of all routes lie step by step and, within a step, route by route. So do tokens.
        routes_K = torch.arange(K, device=order_KT.device)
        tokens_KT = torch.where(order_KT < 0, length * K, order_KT * K + routes_K[:, None])
        return Reading(
            hole_or_token_KT.t(), (step_KL * K + routes_K[:, None]).t(), tokens_KT.t().flatten()
        )

    def convolve(self, x_BLD: Tensor, reading: Reading) -> Tensor:
        """The scans' inputs in each route's order, `(B, T, K, D)`.

        SiLU of the causal convolution along the route, of all routes as one convolution of
        E = K D channels.
        """
        T, K = reading.token_TK.shape
        x_BXD = gather_rows(x_BLD, reading.token_TK.flatten(), reading.step_LK)
        x_BTE = x_BXD.unflatten(1, (T, K)).flatten(2)
        weight_E1W = torch.cat(self.each("conv1d{}.weight"))
        bias_E = torch.cat(self.each("conv1d{}.bias"))
        u_BET = F.conv1d(
            x_BTE.transpose(1, 2),
            weight_E1W,
            bias_E,
            # On both sides; what looks ahead is cut off below.
            padding=weight_E1W.shape[-1] - 1,
            groups=len(bias_E),
        )
        return F.silu(u_BET[..., :T].transpose(1, 2).unflatten(-1, (K, -1)))

    def put_back(self, y_BTKD: Tensor, reading: Reading) -> Tensor:
        """The routes' outputs where their tokens stand, `(B, L, K, D)`, without those of holes."""
        back_X1 = reading.place_X[:, None]
        y_BXD = gather_rows(y_BTKD.flatten(1, 2), reading.step_LK.flatten(), back_X1)
        return y_BXD.unflatten(1, reading.step_LK.shape)

    def walk(self, x_BLC: Tensor, layout: TokenLayout) -> MapWalk:
        """Where on the map the scans go."""
        return MapWalk.of_tokens(self.routes, layout, self.order(layout, torch.device("cpu")))

    def extra_repr(self) -> str:
        return f"routes={self.routes}"
