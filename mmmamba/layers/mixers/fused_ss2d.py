"""One scan over the rows of a map, whose states are joined in two dimensions before they are read.

(Structure-aware state space model of Spatial-Mamba, arXiv 2410.15091, section 3.2.)

Shape suffixes: B batch, H and W sides, L = H W positions, C width, D inner width, N states, R dt
rank, J kernels of 3x3.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmamba.ops import fuse_states, projected_states, route_table, selective_scan, silu_gate

from ..activated import DepthwiseConv
from ..layout import channels_first, channels_last
from ..norm import LayerNorm
from ..precision import full_precision
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

ROUTES = ("row",)


class StateFusion(nn.Module):
    """The weights of the neighbours: a kernel for each channel and dilation, a factor for each.

    All begin as ones: the fusion is then a plain sum over the neighbours.
    """

    def __init__(self, dim: int, dilations: Sequence[int]):
        super().__init__()
        self.dilations = tuple(dilations)
        self.kernels = nn.ParameterList([torch.ones(dim, 1, 3, 3) for _ in self.dilations])
        self.alpha = nn.Parameter(torch.ones(len(self.dilations)))

    def forward(self) -> Tensor:
        """The kernels `(J, D, 3, 3)`, each times its factor, in full precision."""
        kernels_JD33 = full_precision(torch.cat(list(self.kernels), 1)).transpose(0, 1)
        return kernels_JD33 * full_precision(self.alpha)[:, None, None, None]

    def extra_repr(self) -> str:
        return f"dilations={self.dilations}"


class FusedSS2D(nn.Module):
    """Projection, depthwise convolution, a scan, fusion of its states, norm, gate, projection.

    The states go on as a map of their own, and each position reads with its C what the states
    around it have become.

    Args:
        dim: width C of the map.
        d_state, ssm_ratio, dt_rank: N, D / C and R ("auto": ceil(C / 16)). With more than one state
            each is scanned and joined with its neighbours in turn.
        dilations: of the kernels that join neighbours.
    """

    def __init__(
        self,
        dim: int,
        d_state: int = 1,
        ssm_ratio: float = 2.0,
        dt_rank: int | str = "auto",
        dilations: Sequence[int] = (1, 3, 5),
    ):
        super().__init__()
        D, N, R = int(dim * ssm_ratio), d_state, resolve_dt_rank(dt_rank, dim)
        self.in_proj: nn.Module = nn.Linear(dim, 2 * D, bias=False)
        self.conv2d = DepthwiseConv(D, act=F.silu)
        # Starts as a linear layer of D inputs would by PyTorch's default.
        self.x_proj_weight = nn.Parameter(torch.empty(R + 2 * N, D).uniform_(-(D**-0.5), D**-0.5))
        self.dt_projs_weight = nn.Parameter(dt_weight(D, dt_rank=R))
        self.dt_projs_bias = nn.Parameter(dt_bias(D))
        self.A_logs = nn.Parameter(s4d_real(D, d_state=N))
        self.Ds = nn.Parameter(torch.ones(D))
        self.state_fusion = StateFusion(D, dilations)
        # The gate reads it, in float32 if it is given that.
        self.out_norm = LayerNorm(D)
        self.out_proj: nn.Module = nn.Linear(D, dim, bias=False)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        u_BHWD, z_BHWD = self.in_proj(x_BHWC).chunk(2, -1)
        u_BHWD = channels_last(self.conv2d(channels_first(u_BHWD)))
        y_BHWD = self.out_norm(self.scan(u_BHWD))
        # SiLU and the product are one kernel on a GPU; it takes sequences.
        gated_BLD = silu_gate(y_BHWD.flatten(1, 2), z_BHWD.flatten(1, 2))
        return self.out_proj(gated_BLD.view_as(u_BHWD))

    def s6(self) -> S6:
        """The parameters of the scan, of one route."""
        return S6(
            self.x_proj_weight[None],
            self.dt_projs_weight[None],
            self.dt_projs_bias[None],
            self.A_logs[None],
            self.Ds[None],
        )

    def scan(self, u_BHWD: Tensor) -> Tensor:
        """What is read of the fused states, `(B, H, W, D)`, in the dtype of `s6.output_dtype`."""
        s6, u_BLD = self.s6(), u_BHWD.flatten(1, 2)
        one_state = s6.A_log_KEN.shape[2] == 1
        kernels_JD33 = self.state_fusion()
        y_BHWD: Tensor | None = None
        # A state at a time: a map of all states would be N times as wide.
        scan = states_projecting if one_state and scan_projects(u_BLD, s6.rank) else states
        for h_BLD, C_BL in scan(s6, u_BLD):
            h_BHWD, C_BHW = (x.unflatten(1, u_BHWD.shape[1:3]) for x in (h_BLD, C_BL))
            # What passes by the states is added once.
            passing = (u_BHWD, full_precision(self.Ds)) if y_BHWD is None else ()
            read_BHWD = fuse_states(
                h_BHWD, kernels_JD33, C_BHW, self.state_fusion.dilations, *passing
            )
            y_BHWD = read_BHWD if y_BHWD is None else y_BHWD + read_BHWD
        assert y_BHWD is not None
        return y_BHWD

    def walk(self, x_BHWC: Tensor) -> MapWalk:
        """Where on the map the scan goes."""
        H, W = x_BHWC.shape[1:3]
        return MapWalk(ROUTES, H, W, route_table(ROUTES, H, W).long()[None])


def states(s6: S6, u_BLD: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Each state `(B, L, D)` of a scan from the first cell to the last, and its C, `(B, L)`."""
    delta_BL1D, B_BL1N, C_BL1N = s6.project(u_BLD)
    A_1DN = -torch.exp(full_precision(s6.A_log_KEN))
    for n in range(A_1DN.shape[2]):
        B_BL11, C_BL11 = B_BL1N[..., n : n + 1], C_BL1N[..., n : n + 1]
        h_BLD = selective_scan(
            u_BLD,
            delta_BL1D,
            A_1DN[..., n : n + 1],
            B_BL11,
            # Read with 1, the sum over a single state is the state.
            torch.ones_like(C_BL11),
            delta_bias=full_precision(s6.dt_bias_KE),
            delta_softplus=True,
            out_dtype=output_dtype(delta_BL1D.dtype),
        )
        yield h_BLD, C_BL11.flatten(1)


def states_projecting(s6: S6, u_BLD: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """`states` of a single one: less is kept for the backward pass."""
    taken, weight_MD, A_1D1 = s6.joined(u_BLD)
    dt_bias_1D = full_precision(s6.dt_bias_KE)
    yield projected_states(u_BLD, weight_MD, A_1D1, dt_bias_1D, output_dtype(taken))
