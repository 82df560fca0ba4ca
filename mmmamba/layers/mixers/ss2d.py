"""SS2D: selective scans over a map along several routes (VMamba, arXiv 2401.10166, section 3.3).

Shape suffixes: B batch, H and W sides, L = H W positions, K routes, C width, D inner width, N states, R dt rank, G
heads, E = D / G channels of a head, J = K / G routes of a head.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmamba.ops import cover, expand_routes, projected_scan, route_table, selective_scan, silu_gate
from mmmamba.ops.autocast import autocast_dtype

from ..activated import DepthwiseConvAct
from ..layout import channels_first, channels_last
from ..norm import LayerNorm
from .low_rank import compose, dense_pays, scan_projects
from .ssm_init import dt_bias, dt_weight, full_precision, s4d_real

CROSS = expand_routes("cross")[0]


def resolve_dt_rank(dt_rank: int | str, dim: int) -> int:
    """The rank of the step size's projection; "auto" is a sixteenth of the width, rounded up.

    Raises:
        ValueError: neither "auto" nor a positive integer.
    """
    if dt_rank == "auto":
        return math.ceil(dim / 16)
    if not isinstance(dt_rank, int) or dt_rank < 1:
        raise ValueError(f"dt_rank is {dt_rank!r}, wanted 'auto' or a positive integer")
    return dt_rank


class SS2D(nn.Module):
    """Projection, depthwise convolution, K scans, their merge, normalisation, optional gate, projection.

    The step sizes, B and C are projected once at the map's own positions: these projections act on one position at a
    time, so they commute with any route.

    Args:
        dim: width C of the map.
        d_state, ssm_ratio, dt_rank: N, D / C and R ("auto": ceil(C / 16)).
        routes: names of `mmmamba.ops.routes`, one for each scan, or of a set of them; or such a tuple for each head,
            all of one length: then the channels are parted into as many heads, each with its own routes.
        gate: multiply by the activation of a second projection of the input (VMamba v0).
        conv_bias: of the depthwise convolution.
        merge: what makes one map `(B, L, D)` of the routes' outputs `(B, L, J, D)`, called with these and the map's
            height and width; None sums them. It stands under `multi_scan`, as LocalVMamba's checkpoints name it.
        act: the activation, after the convolution and of the gate.

    Raises:
        KeyError: no route or set of that name.
        ValueError: heads that do not divide the channels or differ in their number of routes.
    """

    def __init__(
        self,
        dim: int,
        d_state: int = 1,
        ssm_ratio: float = 2.0,
        dt_rank: int | str = "auto",
        routes: str | Sequence[str] | Sequence[Sequence[str]] = CROSS,
        gate: bool = False,
        conv_bias: bool = False,
        merge: nn.Module | None = None,
        act: Callable[[Tensor], Tensor] = F.silu,
    ):
        super().__init__()
        heads = expand_routes(routes)
        D, N, R = int(dim * ssm_ratio), d_state, resolve_dt_rank(dt_rank, dim)
        if D % len(heads):
            raise ValueError(
                f"routes are given for {len(heads)} heads, which cannot share {D} inner channels evenly"
            )
        E, K = D // len(heads), sum(map(len, heads))
        self.heads = len(heads)
        self.routes = sum(heads, ())
        self.gate = gate
        self.act = act
        self.splits = (R, N, N)
        self.in_proj = nn.Linear(dim, 2 * D if gate else D, bias=False)
        self.conv2d = DepthwiseConvAct(D, conv_bias, act)
        self.x_proj_weight = nn.Parameter(
            torch.empty(K, R + 2 * N, E).uniform_(-(E**-0.5), E**-0.5)
        )
        self.dt_projs_weight = nn.Parameter(dt_weight(K, E, dt_rank=R))
        self.dt_projs_bias = nn.Parameter(dt_bias(K, E))
        self.A_logs = nn.Parameter(s4d_real(K * E, d_state=N))
        self.Ds = nn.Parameter(torch.ones(K * E))
        self.multi_scan = merge
        self.out_norm = LayerNorm(D, feeds_linear=not gate)
        self.out_proj = nn.Linear(D, dim, bias=False)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x = self.in_proj(x_BHWC)
        if self.gate:
            x, z = x.chunk(2, -1)
        x_BHWD = channels_last(self.conv2d(channels_first(x)))
        y_BHWD = self.out_norm(self.scan(x_BHWD))
        if self.gate:
            y_BHWD = (
                silu_gate(y_BHWD.flatten(1, 2), z.flatten(1, 2)).view_as(y_BHWD)
                if self.act is F.silu
                else y_BHWD * self.act(z)
            )
        return self.out_proj(y_BHWD.to(x.dtype))

    def project(self, x_BLD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step sizes before softplus `(B, L, K, E)`, B and C `(B, L, K, N)`, at every position for every route."""
        if self.heads == 1 and dense_pays(x_BLD, self.splits[0]):
            return self._project_at_once(x_BLD)
        K = len(self.routes)
        weights_GME = self.x_proj_weight.unflatten(0, (self.heads, -1)).flatten(1, 2)
        projected = [
            F.linear(x_BLE, w_ME) for x_BLE, w_ME in zip(x_BLD.chunk(self.heads, -1), weights_GME)
        ]
        joined = projected[0] if self.heads == 1 else torch.cat(projected, -1)
        rho_BLKR, B_BLKN, C_BLKN = joined.unflatten(-1, (K, -1)).split(self.splits, -1)
        delta_KME = torch.bmm(
            rho_BLKR.flatten(0, 1).transpose(0, 1), self.dt_projs_weight.transpose(1, 2)
        )
        return delta_KME.unflatten(1, x_BLD.shape[:2]).permute(1, 2, 0, 3), B_BLKN, C_BLKN

    def _project_at_once(self, x_BLD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`project` without the low-rank factor in between."""
        K, (R, N, _) = len(self.routes), self.splits
        down_KRE, BC_KME = self.x_proj_weight.split((R, 2 * N), 1)
        delta_BLKE = F.linear(
            x_BLD, compose(self.dt_projs_weight, down_KRE).flatten(0, 1)
        ).unflatten(-1, (K, -1))
        B_BLKN, C_BLKN = F.linear(x_BLD, BC_KME.flatten(0, 1)).unflatten(-1, (K, -1)).split(N, -1)
        return delta_BLKE, B_BLKN, C_BLKN

    def scan(self, x_BHWD: Tensor) -> Tensor:
        """The merged scans, `(B, H, W, D)`; float32 for float16 maps, whose sums could overflow."""
        H, W = x_BHWD.shape[1:3]
        x_BLD = x_BHWD.flatten(1, 2)
        plain = self.heads == 1 and self.multi_scan is None
        if plain and scan_projects(x_BLD, self.splits[0]):
            return self._scan_projected(x_BLD, H, W).unflatten(1, (H, W))
        delta_BLKE, B_BLKN, C_BLKN = self.project(x_BLD)
        K, E = delta_BLKE.shape[2:]
        if self.heads == 1:
            u = x_BLD
        else:
            u = (
                x_BLD.unflatten(-1, (self.heads, 1, E))
                .expand(-1, -1, -1, K // self.heads, -1)
                .flatten(2, 3)
            )
        y = selective_scan(
            u,
            delta_BLKE,
            B=B_BLKN,
            C=C_BLKN,
            delta_softplus=True,
            merge=plain,
            **self._recurrence(x_BLD, H, W, delta_BLKE.dtype),
        )
        if not plain:
            y_BLJD = y.unflatten(2, (self.heads, -1)).transpose(2, 3).flatten(3)
            y = y_BLJD.sum(2) if self.multi_scan is None else self.multi_scan(y_BLJD, H, W)
        return y.unflatten(1, (H, W))

    def _scan_projected(self, x_BLD: Tensor, H: int, W: int) -> Tensor:
        """The same, `(B, L, D)`, with less kept for the backward pass."""
        down_KRE, B_KNE, C_KNE = self.x_proj_weight.split(self.splits, 1)
        weight_MD = torch.cat(
            [x.flatten(0, 1) for x in (compose(self.dt_projs_weight, down_KRE), B_KNE, C_KNE)]
        )
        return projected_scan(
            x_BLD, weight_MD, **self._recurrence(x_BLD, H, W, autocast_dtype(x_BLD) or x_BLD.dtype)
        )

    def _recurrence(self, x_BLD: Tensor, H: int, W: int, dtype: torch.dtype) -> dict:
        """What both ways of the scan take, for step sizes of this dtype."""
        K, N = len(self.routes), self.splits[1]
        return dict(
            A=-torch.exp(full_precision(self.A_logs)).view(K, -1, N),
            D=full_precision(self.Ds).view(K, -1),
            delta_bias=full_precision(self.dt_projs_bias),
            index=route_table(self.routes, H, W, x_BLD.device),
            index_complete=cover(self.routes),
            out_dtype=torch.float32 if dtype == torch.float16 else None,
        )

    def extra_repr(self) -> str:
        return f"routes={self.routes}, heads={self.heads}, gate={self.gate}"
