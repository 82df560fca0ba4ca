"""SS2D: selective scans over a map along several routes (VMamba, arXiv 2401.10166, section 3.3).

Shape suffixes: B batch, H and W sides, L = H W positions, K routes, C width, D inner width, N
states, R dt rank, G heads, E = D / G channels of a head, J = K / G routes of a head.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmamba.ops import cover, expand_routes, route_table, silu_gate
from mmmamba.ops.autocast import autocast_dtype
from mmmamba.ops.scan_branch import ScanBranch, scan_branch, takes

from ..activated import DepthwiseConv
from ..bare import bare
from ..layout import channels_first, channels_last
from ..norm import LayerNorm
from ..walk import MapWalk
from .s6 import (
    S6,
    dt_bias,
    dt_weight,
    output_dtype,
    resolve_dt_rank,
    s4d_real,
    scan_projects,
)

CROSS = expand_routes("cross")[0]


class SS2D(nn.Module):
    """Projection, depthwise convolution, K scans, their merge, norm, optional gate, projection.

    Args:
        dim: width C of the map.
        d_state, ssm_ratio, dt_rank: N, D / C and R ("auto": ceil(C / 16)).
        routes: names of `mmmamba.ops.routes`, one for each scan, or of a set of them; or such a
            tuple for each head, all of one length: then the channels are parted into as many heads,
            each with its own routes.
        gate: multiply by the activation of a second projection of the input (VMamba v0).
        conv_bias: of the depthwise convolution.
        merge: what makes one map `(B, L, D)` of the routes' outputs `(B, L, J, D)`, called with
            these and the map's height and width; None sums them. It stands under `multi_scan`, as
            LocalVMamba's checkpoints name it.
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
                f"routes are given for {len(heads)} heads, which cannot share {D} inner channels "
                "evenly"
            )
        E, K = D // len(heads), sum(map(len, heads))
        self.heads = len(heads)
        self.routes: tuple[str, ...] = sum(heads, ())
        self.gate = gate
        self.act = act
        self.in_proj: nn.Module = nn.Linear(dim, 2 * D if gate else D, bias=False)
        self.conv2d = DepthwiseConv(D, bias=conv_bias, act=act)
        # Starts as K linear layers of E inputs would by PyTorch's default.
        self.x_proj_weight = nn.Parameter(
            torch.empty(K, R + 2 * N, E).uniform_(-(E**-0.5), E**-0.5)
        )
        self.dt_projs_weight = nn.Parameter(dt_weight(K, E, dt_rank=R))
        self.dt_projs_bias = nn.Parameter(dt_bias(K, E))
        # Flat, as VMamba's files have them: the row of channel e of route k is k E + e.
        self.A_logs = nn.Parameter(s4d_real(K * E, d_state=N))
        self.Ds = nn.Parameter(torch.ones(K * E))
        self.multi_scan = merge
        # With a gate it is the gate that reads the norm, in float32 if it is given that.
        self.out_norm = LayerNorm(D, feeds_linear=not gate)
        self.out_proj: nn.Module = nn.Linear(D, dim, bias=False)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x_BHWD = self.in_proj(x_BHWC)
        if not self.gate:
            return self._project_out(self._normed_scan(x_BHWD), x_BHWD.dtype)
        x_BHWD, z_BHWD = x_BHWD.chunk(2, -1)
        return self._project_out(self._gated(self._normed_scan(x_BHWD), z_BHWD), x_BHWD.dtype)

    def _normed_scan(self, x_BHWD: Tensor) -> Tensor:
        # In this order, as a compiler is not to trace the look for hooks.
        if scan_projects(x_BHWD, self.dt_projs_weight.shape[2]) and self._is_plain():
            taken = autocast_dtype(x_BHWD) or x_BHWD.dtype
            scan_dtype = output_dtype(taken) or taken
            if takes(x_BHWD, self.conv2d.weight, scan_dtype):
                return self._branch(x_BHWD, scan_dtype)
        local_BHWD = channels_last(self.conv2d(channels_first(x_BHWD)))
        return self.out_norm(self.scan(local_BHWD))

    def _is_plain(self) -> bool:
        """Whether convolution, scan and norm are what `scan_branch` computes, and nobody looks."""
        return (
            self.heads == 1
            and self.multi_scan is None
            and self.act is F.silu
            and type(self).scan is SS2D.scan
            and bare(self.conv2d, DepthwiseConv)
            and bare(self.out_norm, LayerNorm)
        )

    def _branch(self, x_BHWD: Tensor, scan_dtype: torch.dtype) -> Tensor:
        """Convolution, scans and norm as one step of autograd."""
        given = ScanBranch(
            x_BHWD,
            self.conv2d.weight,
            self.conv2d.bias,
            self.x_proj_weight,
            self.dt_projs_weight,
            self.dt_projs_bias,
            self.A_logs,
            self.Ds,
            self.out_norm.weight,
            self.out_norm.bias,
        )
        H, W = x_BHWD.shape[1:3]
        index_KT, norm = route_table(self.routes, H, W, x_BHWD.device), self.out_norm
        complete = cover(self.routes)
        return scan_branch(given, index_KT, complete, scan_dtype, norm.eps, norm.feeds_linear)

    def _gated(self, y_BHWD: Tensor, z_BHWD: Tensor) -> Tensor:
        # SiLU and the product are one kernel on a GPU; it takes sequences.
        if self.act is not F.silu:
            return y_BHWD * self.act(z_BHWD)
        return silu_gate(y_BHWD.flatten(1, 2), z_BHWD.flatten(1, 2)).view_as(y_BHWD)

    def _project_out(self, y_BHWD: Tensor, dtype: torch.dtype) -> Tensor:
        # Only now, behind the norm, may what a float16 scan returned as float32 be narrowed.
        return self.out_proj(y_BHWD.to(dtype))

    def s6(self) -> S6:
        """The parameters of the scans."""
        K, E = self.dt_projs_bias.shape
        return S6(
            self.x_proj_weight,
            self.dt_projs_weight,
            self.dt_projs_bias,
            self.A_logs.view(K, E, -1),
            self.Ds.view(K, E),
        )

    def scan(self, x_BHWD: Tensor) -> Tensor:
        """The merged scans, `(B, H, W, D)`, in the dtype of `s6.output_dtype`."""
        H, W = x_BHWD.shape[1:3]
        index_KT = route_table(self.routes, H, W, x_BHWD.device)
        summed_by_the_scan = self.heads == 1 and self.multi_scan is None
        # Heads are apart as each has other channels, a merge wants the routes one by one.
        scan = self._scan_summed if summed_by_the_scan else self._scan_apart
        return scan(x_BHWD.flatten(1, 2), index_KT, H, W).unflatten(1, (H, W))

    def _scan_summed(self, x_BLD: Tensor, index_KT: Tensor, H: int, W: int) -> Tensor:
        """All routes over all channels, summed: the scan's kernels do that while they write."""
        # Told what the routes cover, a GPU backend need not look at the table, for which it would
        # wait.
        s6, complete = self.s6(), cover(self.routes)
        if scan_projects(x_BLD, s6.rank):
            return s6.scan_projecting(x_BLD, index_KT, complete)
        return s6.scan(x_BLD, s6.project(x_BLD), index_KT, complete)

    def _scan_apart(self, x_BLD: Tensor, index_KT: Tensor, H: int, W: int) -> Tensor:
        """The routes' outputs side by side, then merged head by head."""
        s6 = self.s6()
        y_BLKE = s6.scan(
            self._inputs(x_BLD),
            s6.project(x_BLD, self.heads),
            index_KT,
            cover(self.routes),
            merge=False,
        )
        # K = G J routes of E channels each become J routes of all D = G E channels.
        y_BLJD = y_BLKE.unflatten(2, (self.heads, -1)).transpose(2, 3).flatten(3)
        if self.multi_scan is not None:
            return self.multi_scan(y_BLJD, H, W)
        # A sum over one route would be a copy.
        return y_BLJD.squeeze(2) if y_BLJD.shape[2] == 1 else y_BLJD.sum(2)

    def _inputs(self, x_BLD: Tensor) -> Tensor:
        """What the routes read: the map, or `(B, L, K, E)`, each route the channels of its head."""
        if self.heads == 1:
            return x_BLD
        # A view: the J routes of a head read the same memory.
        x_BLG1E = x_BLD.unflatten(-1, (self.heads, 1, -1))
        x_BLGJE = x_BLG1E.expand(-1, -1, -1, len(self.routes) // self.heads, -1)
        return x_BLGJE.flatten(2, 3)

    def walk(self, x_BHWC: Tensor) -> MapWalk:
        """Where on the map the scans go."""
        H, W = x_BHWC.shape[1:3]
        cells_GKT = route_table(self.routes, H, W).long()[None]
        return MapWalk(self.routes, H, W, cells_GKT, self.heads)

    def extra_repr(self) -> str:
        return f"routes={self.routes}, heads={self.heads}, gate={self.gate}"


def flat_ssm_(mixer: SS2D) -> None:
    """Give a mixer Mamba YOLO's start, in place.

    Every state decays alike (A = -1), and step sizes are softplus of normal values.
    """
    with torch.no_grad():
        mixer.A_logs.zero_()
        mixer.dt_projs_weight.normal_()
        mixer.dt_projs_bias.normal_()
