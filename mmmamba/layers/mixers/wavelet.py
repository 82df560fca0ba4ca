"""Scans of a map and convolutions of its wavelet bands, side by side.

MobileMamba, arXiv 2411.15941, section 3.3.
"""

from typing import Any

import torch
from torch import Tensor, nn

from mmmamba.ops import join_bands, split_bands

from ..conv_norm import Fusible, PointwiseNorm
from ..layout import channels_first, channels_last
from .ss2d import SS2D

HAAR = ((1, 1, 1, 1), (1, 1, -1, -1), (1, -1, 1, -1), (1, -1, -1, 1))
"""Twice the four 2x2 filters, rows joined: mean, rows' difference, columns' difference, both."""


def haar_filters(channels: int) -> Tensor:
    """`(4 * channels, 1, 2, 2)`: the four bands of each channel in turn.

    Orthonormal, so they are their own inverse.
    """
    filters = torch.tensor(HAAR, dtype=torch.float32) / 2
    return filters.view(4, 1, 2, 2).repeat(channels, 1, 1, 1)


class NormedSS2D(SS2D):
    """Gated SS2D of one state whose projections end in batch norm; dt starts in [0, 0.1)."""

    def __init__(self, dim: int, ssm_ratio: float, dt_rank: int | str, routes: tuple[str, ...]):
        super().__init__(dim, 1, ssm_ratio, dt_rank, routes, gate=True, conv_bias=True)
        inner = int(dim * ssm_ratio)
        # In place of the linear layers; drawn after them, so a seed gives the same start as ever.
        self.in_proj = PointwiseNorm(dim, 2 * inner)
        self.out_proj = PointwiseNorm(inner, dim)
        nn.init.uniform_(self.dt_projs_weight, 0, 0.1)
        nn.init.uniform_(self.dt_projs_bias, 0, 0.1)


class WaveletMixer(Fusible):
    """`base_scale * SS2D(x) + IWT(wavelet_scale * conv(WT(x)))` on channels-first maps.

    The convolution is depthwise. The filters are buffers: they start as Haar's, are saved and
    loaded, and never trained.

    Args:
        mixer: SS2D, channels-last, that ends in a `PointwiseNorm` called `out_proj`.
        kernel_size: of the convolution.
    """

    wt_filter: Tensor
    iwt_filter: Tensor
    base_scale: nn.Parameter | None
    wavelet_scale: nn.Parameter | None

    def __init__(self, dim: int, mixer: SS2D, kernel_size: int):
        super().__init__()
        # Each other's inverse at the start, and two buffers since the authors' files hold both.
        self.register_buffer("wt_filter", haar_filters(dim))
        self.register_buffer("iwt_filter", haar_filters(dim))
        self.global_atten = mixer
        self.base_scale = nn.Parameter(torch.ones(1, dim, 1, 1))
        bands = 4 * dim
        self.wavelet_conv = nn.Conv2d(
            bands, bands, kernel_size, padding=kernel_size // 2, groups=bands, bias=False
        )
        self.wavelet_scale = nn.Parameter(torch.full((1, bands, 1, 1), 0.1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = channels_first(self.global_atten(channels_last(x_BCHW)))
        bands = self.wavelet_conv(split_bands(x_BCHW, self.wt_filter))
        # Fused, both scales are in the weights before them.
        if self.base_scale is not None and self.wavelet_scale is not None:
            y_BCHW, bands = self.base_scale * y_BCHW, self.wavelet_scale * bands
        return y_BCHW + join_bands(bands, self.iwt_filter, *x_BCHW.shape[2:])

    def fuse_(self) -> None:
        """The scales go into the convolutions before them."""
        if self.base_scale is None or self.wavelet_scale is None:
            return
        # Fused before this one (`fused_copy`), so its norm is inside and it has a bias. The bands'
        # convolution has none.
        project: Any = self.global_atten.out_proj.c
        with torch.no_grad():
            project.weight *= self.base_scale.view(-1, 1, 1, 1)
            project.bias *= self.base_scale.flatten()
            self.wavelet_conv.weight *= self.wavelet_scale.view(-1, 1, 1, 1)
        self.base_scale = self.wavelet_scale = None
