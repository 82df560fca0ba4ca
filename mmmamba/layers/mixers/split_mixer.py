"""MambaVision's mixer (arXiv 2407.08083, section 3.2): half the channels are scanned, half pass by."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmamba.ops import projected_scan, selective_scan

from .low_rank import compose, dense_pays, scan_projects
from .ss2d import resolve_dt_rank
from .ssm_init import dt_bias, dt_weight, full_precision, s4d_real


class SplitMixer(nn.Module):
    """Two halves, each through a centred depthwise convolution; one is scanned in order, then both are joined.

    `(B, L, C)` to the same; every sequence starts from a zero state.

    Args:
        dim: width C, even.
        d_state, d_conv, dt_rank: of the scan and the convolutions; rank "auto" is ceil(C / 16).
    """

    def __init__(self, dim: int, d_state: int = 8, d_conv: int = 3, dt_rank: int | str = "auto"):
        super().__init__()
        half, R = dim // 2, resolve_dt_rank(dt_rank, dim)
        self.splits = (R, d_state, d_state)
        self.in_proj = nn.Linear(dim, dim, bias=False)
        self.conv1d_x = nn.Conv1d(half, half, d_conv, padding="same", groups=half, bias=False)
        self.conv1d_z = nn.Conv1d(half, half, d_conv, padding="same", groups=half, bias=False)
        self.x_proj = nn.Linear(half, R + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(R, half)
        self.dt_proj.weight.data = dt_weight(half, dt_rank=R)
        self.dt_proj.bias.data = dt_bias(half)
        self.A_log = nn.Parameter(s4d_real(half, d_state=d_state))
        self.D = nn.Parameter(torch.ones(half))
        self.out_proj = nn.Linear(dim, dim, bias=False)

    def forward(self, x_BLC: Tensor) -> Tensor:
        x_BLD, z_BLD = self.convolve(self.in_proj(x_BLC)).chunk(2, -1)
        A_DN = -torch.exp(full_precision(self.A_log))
        if scan_projects(x_BLD, self.splits[0]):
            return self.out_proj(torch.cat([self._scan_projected(x_BLD, A_DN), z_BLD], -1))
        delta_BLD, B_BLN, C_BLN = self.project(x_BLD)
        y_BLD = selective_scan(
            x_BLD,
            delta_BLD[:, :, None],
            A_DN[None],
            B_BLN[:, :, None],
            C_BLN[:, :, None],
            full_precision(self.D)[None],
            delta_bias=full_precision(self.dt_proj.bias)[None],
            delta_softplus=True,
        )
        return self.out_proj(torch.cat([y_BLD, z_BLD], -1))

    def convolve(self, xz_BLC: Tensor) -> Tensor:
        """Both convolutions and SiLU: one convolution over maps of height 1, which PyTorch computes channels-last."""
        weight_CIW = torch.cat([self.conv1d_x.weight, self.conv1d_z.weight])
        xz_BCHL = xz_BLC.transpose(1, 2).unsqueeze(2)
        y_BCHL = F.conv2d(xz_BCHL, weight_CIW.unsqueeze(2), padding="same", groups=len(weight_CIW))
        return F.silu(y_BCHL.squeeze(2).transpose(1, 2))

    def _scan_projected(self, x_BLD: Tensor, A_DN: Tensor) -> Tensor:
        """The scan with less kept for the backward pass; the bias that counts twice is added at once."""
        down_RD, BC_MD = self.x_proj.weight.split((self.splits[0], 2 * self.splits[1]))
        weight_MD = torch.cat([compose(self.dt_proj.weight, down_RD), BC_MD])
        return projected_scan(
            x_BLD,
            weight_MD,
            A_DN[None],
            full_precision(self.D)[None],
            delta_bias=2 * full_precision(self.dt_proj.bias)[None],
        )

    def project(self, x_BLD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step sizes before softplus `(B, L, D)`, B and C `(B, L, N)`.

        The bias counts twice, here and in the scan: the published weights were trained so.
        """
        if dense_pays(x_BLD, self.splits[0]):
            return self._project_at_once(x_BLD)
        rho_BLR, B_BLN, C_BLN = self.x_proj(x_BLD).split(self.splits, -1)
        return self.dt_proj(rho_BLR), B_BLN, C_BLN

    def _project_at_once(self, x_BLD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`project` without the low-rank factor in between."""
        R, N, _ = self.splits
        down_RD, BC_MD = self.x_proj.weight.split((R, 2 * N))
        delta_BLD = F.linear(x_BLD, compose(self.dt_proj.weight, down_RD), self.dt_proj.bias)
        return delta_BLD, *F.linear(x_BLD, BC_MD).split(N, -1)
