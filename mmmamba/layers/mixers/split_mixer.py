"""MambaVision's mixer (arXiv 2407.08083, section 3.2): half the channels are scanned, half pass by.

Shape suffixes: B sequences, L tokens, C width, D = C / 2 channels of a half, N states, R dt rank.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..precision import full_precision
from ..walk import MapWalk
from .s6 import S6, Projected, dt_projection, resolve_dt_rank, s4d_real, scan_projects


class SplitMixer(nn.Module):
    """Two halves, each through a centred depthwise convolution; one is scanned, then both joined.

    `(B, L, C)` to the same; every sequence starts from a zero state.

    Args:
        dim: width C, even.
        d_state, d_conv, dt_rank: of the scan and the convolutions; rank "auto" is ceil(C / 16).
    """

    def __init__(self, dim: int, d_state: int = 8, d_conv: int = 3, dt_rank: int | str = "auto"):
        super().__init__()
        half, R = dim // 2, resolve_dt_rank(dt_rank, dim)
        self.in_proj = nn.Linear(dim, dim, bias=False)
        self.conv1d_x = nn.Conv1d(half, half, d_conv, padding="same", groups=half, bias=False)
        self.conv1d_z = nn.Conv1d(half, half, d_conv, padding="same", groups=half, bias=False)
        self.x_proj = nn.Linear(half, R + 2 * d_state, bias=False)
        self.dt_proj = dt_projection(R, half)
        self.A_log = nn.Parameter(s4d_real(half, d_state=d_state))
        self.D = nn.Parameter(torch.ones(half))
        self.out_proj = nn.Linear(dim, dim, bias=False)

    def forward(self, x_BLC: Tensor) -> Tensor:
        x_BLD, z_BLD = self.convolve(self.in_proj(x_BLC)).chunk(2, -1)
        # Nothing stands between the scan and the projection out, which takes the narrow dtype.
        y_BLD = self.scan(x_BLD).to(z_BLD.dtype)
        return self.out_proj(torch.cat([y_BLD, z_BLD], -1))

    def convolve(self, xz_BLC: Tensor) -> Tensor:
        """Both convolutions and SiLU, `(B, L, C)` to the same.

        As one convolution over maps of height 1, which PyTorch computes channels-last.
        """
        # Neither half looks at the other: their kernels side by side are one depthwise convolution.
        weight_CIW = torch.cat([self.conv1d_x.weight, self.conv1d_z.weight])
        xz_BCHL = xz_BLC.transpose(1, 2).unsqueeze(2)
        y_BCHL = F.conv2d(xz_BCHL, weight_CIW.unsqueeze(2), padding="same", groups=len(weight_CIW))
        return F.silu(y_BCHL.squeeze(2).transpose(1, 2))

    def s6(self) -> S6:
        """The parameters of the scan."""
        # A single route, K = 1.
        return S6(
            self.x_proj.weight[None],
            self.dt_proj.weight[None],
            self.dt_proj.bias[None],
            self.A_log[None],
            self.D[None],
        )

    def scan(self, x_BLD: Tensor) -> Tensor:
        """The scan of one half, `(B, L, D)`, in the dtype of `s6.output_dtype`.

        The step sizes' bias counts twice: the published weights were trained so.
        """
        s6 = self.s6()
        if scan_projects(x_BLD, s6.rank):
            # This way the bias is added in the scan alone, so both times there.
            twice_KE = 2 * full_precision(s6.dt_bias_KE)
            return s6._replace(dt_bias_KE=twice_KE).scan_projecting(x_BLD)
        delta_BLKD, B_BLKN, C_BLKN = s6.project(x_BLD)
        # Once here, as the authors' layer adds it, and once in the scan.
        biased_BLKD = delta_BLKD + self.dt_proj.bias.to(delta_BLKD.dtype)
        return s6.scan(x_BLD, Projected(biased_BLKD, B_BLKN, C_BLKN))

    def walk(self, x_BLC: Tensor) -> MapWalk:
        """Where the scan goes: from the first token of a sequence to the last."""
        length = x_BLC.shape[1]
        return MapWalk(("row",), 1, length, torch.arange(length)[None, None])
