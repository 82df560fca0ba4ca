"""Sigma's fusions of two aligned images (arXiv 2404.04256, section 3.3), each around one scan.

Both take and return maps of the two images, the colour image first; neither begins with a norm.

Shape suffixes: P = 2 images, B batch, H and W sides, L = H W positions, C width, D inner width,
N states, R dt rank, K routes.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmamba.ops import route_table
from mmmamba.ops.linear_each import linear_each

from ..activated import DepthwiseConv
from ..layout import channels_first, channels_last
from ..norm import LayerNorm
from ..walk import MapWalk
from .branches import stacked
from .s6 import S6, dt_projection, resolve_dt_rank, s4d_real
from .ss2d import SS2D

IMAGES = 2
ROUTES = ("row", "row_reversed")


def project_pair(x_PBHWC: Tensor, layers: Sequence[nn.Module]) -> Tensor:
    """Each image's map through a linear layer of its own, `(P, B, H, W, D)`."""
    weight_PDC = torch.stack([cast(Tensor, layer.weight) for layer in layers])
    # The images stand in the place of the layers: a view there and back, nothing is copied.
    x_BLPC = x_PBHWC.flatten(2, 3).permute(1, 2, 0, 3)
    a_PBLD = linear_each(x_BLPC, weight_PDC).permute(2, 0, 1, 3)
    return a_PBLD.unflatten(2, x_PBHWC.shape[2:4])


class CrossScan(nn.Module):
    """A scan of each image, read with the output vectors C of the other.

    The two have weights of their own, under the names of Sigma's files.

    Args:
        channels: D of each.
        dt_rank, d_state: R and N.
    """

    def __init__(self, channels: int, dt_rank: int, d_state: int):
        super().__init__()
        rows = dt_rank + 2 * d_state
        self.x_proj_1 = nn.Linear(channels, rows, bias=False)
        self.x_proj_2 = nn.Linear(channels, rows, bias=False)
        self.dt_proj_1 = dt_projection(dt_rank, channels)
        self.dt_proj_2 = dt_projection(dt_rank, channels)
        self.A_log_1 = nn.Parameter(s4d_real(channels, d_state=d_state))
        self.A_log_2 = nn.Parameter(s4d_real(channels, d_state=d_state))
        self.D_1 = nn.Parameter(torch.ones(channels))
        self.D_2 = nn.Parameter(torch.ones(channels))
        self.out_norm_1 = LayerNorm(channels, feeds_linear=True)
        self.out_norm_2 = LayerNorm(channels, feeds_linear=True)

    def forward(self, u_BLPD: Tensor) -> list[Tensor]:
        """The normalised scans of both, `(B, L, D)` each."""
        s6 = self.s6()
        projected = s6.project_each(u_BLPD)
        exchanged = projected._replace(C_BLKN=projected.C_BLKN.flip(2))
        y_BLPD = s6.scan(u_BLPD, exchanged, merge=False)
        return [self.out_norm_1(y_BLPD[:, :, 0]), self.out_norm_2(y_BLPD[:, :, 1])]

    def s6(self) -> S6:
        """The parameters of the scans, one image after the other."""
        parameters = [
            (self.x_proj_1.weight, self.x_proj_2.weight),
            (self.dt_proj_1.weight, self.dt_proj_2.weight),
            (self.dt_proj_1.bias, self.dt_proj_2.bias),
            (self.A_log_1, self.A_log_2),
            (self.D_1, self.D_2),
        ]
        return S6(*stacked(parameters))


class CrossFusion(nn.Module):
    """Each image's map plus a scan of it that the other image reads out.

    `(P, B, H, W, C)` to the same. Projections are each image's own, the depthwise convolution is
    one for both.

    Args:
        dim: C.
        d_state, ssm_ratio, dt_rank: N, D / C and R ("auto": ceil(C / 16)).
    """

    def __init__(
        self, dim: int, d_state: int = 4, ssm_ratio: float = 2.0, dt_rank: int | str = "auto"
    ):
        super().__init__()
        D = int(dim * ssm_ratio)
        self.in_proj = nn.Linear(dim, D, bias=False)
        self.in_proj_modalx = nn.Linear(dim, D, bias=False)
        self.conv2d = DepthwiseConv(D, act=F.silu)
        self.CMA_ssm = CrossScan(D, resolve_dt_rank(dt_rank, dim), d_state)
        self.out_proj_rgb = nn.Linear(D, dim, bias=False)
        self.out_proj_e = nn.Linear(D, dim, bias=False)

    def forward(self, x_PBHWC: Tensor) -> Tensor:
        H, W = x_PBHWC.shape[2:4]
        a_PBHWD = project_pair(x_PBHWC, (self.in_proj, self.in_proj_modalx))
        # One convolution of a batch twice as large.
        both = channels_last(self.conv2d(channels_first(a_PBHWD.flatten(0, 1))))
        u_BLPD = both.flatten(1, 2).unflatten(0, (IMAGES, -1)).permute(1, 2, 0, 3)
        layers = (self.out_proj_rgb, self.out_proj_e)
        # Only behind the norms may what a float16 scan returned as float32 be narrowed.
        outs = [out(y_BLD.to(both.dtype)) for out, y_BLD in zip(layers, self.CMA_ssm(u_BLPD))]
        return x_PBHWC + torch.stack(outs).unflatten(2, (H, W))

    def walk(self, x_PBHWC: Tensor) -> MapWalk:
        """Where on the map the two scans go."""
        H, W = x_PBHWC.shape[2:4]
        routes = ("row",) * IMAGES
        return MapWalk(routes, H, W, route_table(routes, H, W).long()[None], heads=IMAGES)


class ConcatFusion(SS2D):
    """One map of two: both images as one sequence, scanned forwards and backwards.

    `(P, B, H, W, C)` to `(B, H, W, C)`. The images stand one above the other, so that the sequence
    is the rows of one map. Each image's half of the scan is gated by the means of the other
    (squeeze-and-excitation, arXiv 1709.01507), and both are projected to what is added to the sum.

    Args:
        dim: C.
        d_state: N.
        reduction: the hidden width of the gates is D // reduction.
        settings: `ssm_ratio` and `dt_rank` of `SS2D`.
    """

    def __init__(self, dim: int, d_state: int = 4, reduction: int = 16, **settings: Any):
        super().__init__(dim, d_state, routes=ROUTES, conv_bias=True, **settings)
        D = self.out_norm.weight.numel()
        self.in_proj_modalx = nn.Linear(dim, D, bias=False)
        self.conv2d_modalx = DepthwiseConv(D, act=F.silu)
        # In place of the one norm and the projection of one map.
        del self.out_norm
        self.out_norm1, self.out_norm2 = LayerNorm(D), LayerNorm(D)
        self.out_proj = nn.Linear(IMAGES * D, dim, bias=False)
        self.fc1, self.fc2 = _gate(D, D // reduction), _gate(D, D // reduction)

    def forward(self, x_PBHWC: Tensor) -> Tensor:
        a_PBHWD = project_pair(x_PBHWC, (self.in_proj, self.in_proj_modalx))
        upper = channels_last(self.conv2d(channels_first(a_PBHWD[0])))
        lower = channels_last(self.conv2d_modalx(channels_first(a_PBHWD[1])))
        y_BPHWD = self.scan(torch.cat([upper, lower], 1)).unflatten(1, (IMAGES, -1))
        # Of what is not yet convolved.
        mean_PBD = a_PBHWD.mean((2, 3))
        of_first_BD, of_second_BD = self.fc1(mean_PBD[0]), self.fc2(mean_PBD[1])
        first = self._read(self.out_norm1(y_BPHWD[:, 0]), of_second_BD, 0)
        second = self._read(self.out_norm2(y_BPHWD[:, 1]), of_first_BD, 1)
        return x_PBHWC[0] + x_PBHWC[1] + first + second

    def _read(self, y_BHWD: Tensor, gate_BD: Tensor, image: int) -> Tensor:
        """A gated half through its columns of the projection of both."""
        gated_BHWD = y_BHWD.to(gate_BD.dtype) * gate_BD[:, None, None]
        weight_CX = cast(Tensor, self.out_proj.weight)
        return F.linear(gated_BHWD, weight_CX.chunk(IMAGES, 1)[image])

    def walk(self, x_PBHWC: Tensor) -> MapWalk:
        """The scans over both maps, the colour image's above the other."""
        H, W = IMAGES * x_PBHWC.shape[2], x_PBHWC.shape[3]
        return MapWalk(self.routes, H, W, route_table(self.routes, H, W).long()[None])


def _gate(dim: int, hidden: int) -> nn.Sequential:
    narrow, widen = nn.Linear(dim, hidden, bias=False), nn.Linear(hidden, dim, bias=False)
    return nn.Sequential(narrow, nn.SiLU(), widen, nn.Sigmoid())
