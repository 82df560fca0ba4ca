"""Stems and downsampling layers. Stems take `(B, 3, H, W)` images; everything after is channels-last."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layout import ToChannelsFirst, ToChannelsLast
from .norm import LayerNorm


def patch_stem(in_channels: int, dim: int, patch_size: int = 4) -> nn.Sequential:
    """Non-overlapping patches and LayerNorm; sides that no patch fills are cut off (VMamba v0)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, dim, patch_size, patch_size),
        ToChannelsLast(),
        LayerNorm(dim),
    )


def conv_stem(in_channels: int, dim: int) -> nn.Sequential:
    """Two 3x3 convolutions of stride 2 with LayerNorm; sides round up (VMamba, arXiv 2401.10166, section 4.1)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, dim // 2, 3, 2, 1),
        ToChannelsLast(),
        LayerNorm(dim // 2),
        ToChannelsFirst(),
        nn.GELU(),
        nn.Conv2d(dim // 2, dim, 3, 2, 1),
        ToChannelsLast(),
        LayerNorm(dim),
    )


def conv_downsample(dim: int, out_dim: int) -> nn.Sequential:
    """A 3x3 convolution of stride 2 with LayerNorm, `(B, H, W, C)` to half the sides, rounded up."""
    return nn.Sequential(
        ToChannelsFirst(),
        nn.Conv2d(dim, out_dim, 3, 2, 1),
        ToChannelsLast(),
        LayerNorm(out_dim),
    )


class PatchMerging(nn.Module):
    """2x2 neighbours concatenated, normalised and projected; odd sides are padded with zeros (Swin, VMamba v0)."""

    def __init__(self, dim: int, out_dim: int):
        super().__init__()
        self.norm = LayerNorm(4 * dim, feeds_linear=True)
        self.reduction = nn.Linear(4 * dim, out_dim, bias=False)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        H, W = x_BHWC.shape[1:3]
        x = F.pad(x_BHWC, (0, 0, 0, W % 2, 0, H % 2))
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
        return self.reduction(self.norm(x))
