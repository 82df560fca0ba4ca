"""MSVMamba's mixer: most routes on a map of half the sides (arXiv 2405.14174, section 3.2).

Shape suffixes: B batch, H and W sides, h = ceil(H / 2), w = ceil(W / 2), L positions of a map, J
routes one after another, T = J L steps, C width, D inner width.
"""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmmamba.ops import (
    expand_routes,
    gather_rows,
    gather_sums,
    joined_visit_table,
    route_table,
    upsample_add,
)

from ..activated import DepthwiseConv
from ..channel_gate import ChannelGate
from ..layout import channels_first, channels_last
from ..norm import LayerNorm
from ..walk import MapWalk
from .s6 import S6, scan_projects
from .ss2d import SS2D

MULTI_SCALE = ("row", "row_reversed", "column", "column_reversed")
"""MSVMamba's routes: the first on the fine map, the others in this order on the coarse one."""


class JoinedScan(nn.Module):
    """One scan along several routes: each goes on from the state in which the last one ended.

    Without parameters: `forward` is given those of the scan.

    Args:
        routes: names of `mmmamba.ops.routes` that each visit every position, in their order.
    """

    def __init__(self, routes: Sequence[str]):
        super().__init__()
        self.routes = tuple(routes)

    def forward(self, x_BHWD: Tensor, s6: S6) -> Tensor:
        """The outputs step by step, `(B, T, D)`, in the dtype of `s6.output_dtype`."""
        u_BTD = x_BHWD.flatten(1, 2)
        if self.routes != ("row",):
            u_BTD = gather_rows(u_BTD, *self.tables(x_BHWD))
        if scan_projects(u_BTD, s6.rank):
            return s6.scan_projecting(u_BTD)
        return s6.scan(u_BTD, s6.project(u_BTD))

    def tables(self, x_BHWD: Tensor) -> tuple[Tensor, Tensor]:
        """The position at each step, `(T,)`, and the steps at each position, `(L, J)`."""
        H, W = x_BHWD.shape[1:3]
        index_JL = route_table(self.routes, H, W, x_BHWD.device)
        return index_JL.flatten(), joined_visit_table(self.routes, H, W, x_BHWD.device)

    def summed(self, y_BTD: Tensor, x_BHWD: Tensor) -> Tensor:
        """What `forward` made of a map, added up at its positions, `(B, H, W, D)`."""
        index_T, visits_LJ = self.tables(x_BHWD)
        return gather_sums(y_BTD, visits_LJ, index_T).unflatten(1, x_BHWD.shape[1:3])

    def walk(self, x_BHWD: Tensor, s6: S6) -> MapWalk:
        """Where on the map the scan goes."""
        H, W = x_BHWD.shape[1:3]
        cells_11T = route_table(self.routes, H, W).long().flatten()[None, None]
        return MapWalk((" ".join(self.routes),), H, W, cells_11T)

    def extra_repr(self) -> str:
        return f"routes={self.routes}"


class MultiScaleSS2D(SS2D):
    """SS2D of one route on the map and the others on one of half the sides, by a strided 7x7.

    The coarse routes make one sequence and share one state and one set of parameters. Then come
    squeeze-and-excitation and, where there is one, the gate.

    Args:
        dim, d_state, ssm_ratio, dt_rank, gate: of `SS2D`.
        routes: the first goes over the fine map and is "row", the others one after another over the
            coarse one; each visits every position.
        coarse_first: the coarse scan has the first set of parameters, and the fine one the second.
        norm_each: normalise the routes' outputs one by one, not their sum.
        upsample: how the coarse routes' sum gets to the fine map, "nearest" or "bilinear".

    Raises:
        KeyError: no route of that name.
        ValueError: heads, a first route other than "row", or none after it.
    """

    def __init__(
        self,
        dim: int,
        routes: Sequence[str] = MULTI_SCALE,
        coarse_first: bool = False,
        norm_each: bool = False,
        upsample: str = "nearest",
        **kwargs: Any,
    ):
        (first, *coarse), *heads = expand_routes(routes)
        if first != "row" or not coarse or heads:
            raise ValueError(
                f"MultiScaleSS2D wants one head of routes, 'row' and then some for the coarse map, "
                f"got {routes}"
            )
        # Two sets of parameters, however many routes follow one another on the coarse map.
        super().__init__(dim, routes=(first, coarse[0]), conv_bias=True, **kwargs)
        D = self.out_norm.weight.numel()
        self.conv2d_b1 = DepthwiseConv(D, 7, stride=2, act=F.silu)
        self.out_norm = LayerNorm(D, feeds_linear=True)
        self.se = ChannelGate(D, norm=False, bias=False, act_layer=nn.ReLU)
        self.fine, self.coarse = JoinedScan((first,)), JoinedScan(coarse)
        self.routes = (first, *coarse)
        self.coarse_first, self.norm_each, self.upsample = coarse_first, norm_each, upsample

    def _normed_scan(self, x_BHWD: Tensor) -> Tensor:
        x_BDHW = channels_first(x_BHWD)
        fine_BHWD = channels_last(self.conv2d(x_BDHW))
        coarse_BhwD = channels_last(self.conv2d_b1(x_BDHW))
        split = [parameter.split(1) for parameter in self.s6()]
        sets = [S6(*parameters) for parameters in zip(*split)]
        of_fine, of_coarse = reversed(sets) if self.coarse_first else sets
        y_BLD = self.fine(fine_BHWD, of_fine)
        y_BTD = self.coarse(coarse_BhwD, of_coarse)
        if self.norm_each:
            y_BLD, y_BTD = self._narrowed(y_BLD, x_BHWD), self._narrowed(y_BTD, x_BHWD)
        coarse_BhwD = self.coarse.summed(y_BTD, coarse_BhwD)
        y_BHWD = upsample_add(y_BLD.view(fine_BHWD.shape), coarse_BhwD, self.upsample)
        return self.se(y_BHWD if self.norm_each else self._narrowed(y_BHWD, x_BHWD))

    def _narrowed(self, y: Tensor, x_BHWD: Tensor) -> Tensor:
        """The norm in the dtype of x, which what a float16 scan returned as float32 fits now."""
        return self.out_norm(y).to(x_BHWD.dtype)

    def scan(self, x_BHWD: Tensor) -> Tensor:
        raise NotImplementedError("the scans of MultiScaleSS2D have maps of their own")

    def walk(self, x_BHWC: Tensor) -> MapWalk:
        """The fine route; the coarse scan tells its own on its own map."""
        H, W = x_BHWC.shape[1:3]
        return MapWalk(("row",), H, W, route_table(("row",), H, W).long()[None])
