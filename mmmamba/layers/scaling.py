"""Stems, downsampling and upsampling layers.

Stems take `(B, 3, H, W)` images; everything after is channels-last.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .activated import DepthwiseConv
from .conv_norm import ConvNormAct
from .layout import ToChannelsFirst, ToChannelsLast, channels_first, channels_last
from .norm import LayerNorm


def patch_stem(in_channels: int, dim: int, patch_size: int = 4) -> nn.Sequential:
    """Non-overlapping patches and LayerNorm; sides that no patch fills are cut off (VMamba v0)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, dim, patch_size, patch_size),
        ToChannelsLast(),
        LayerNorm(dim),
    )


def conv_stem(in_channels: int, dim: int) -> nn.Sequential:
    """Two 3x3 convolutions of stride 2 with LayerNorm; sides round up.

    VMamba, arXiv 2401.10166, section 4.1.
    """
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
    """A 3x3 convolution of stride 2 with LayerNorm, `(B, H, W, C)` to half the sides.

    Rounded up.
    """
    return nn.Sequential(
        ToChannelsFirst(),
        nn.Conv2d(dim, out_dim, 3, 2, 1),
        ToChannelsLast(),
        LayerNorm(out_dim),
    )


class PatchMerging(nn.Module):
    """2x2 neighbours concatenated, normalised and projected (Swin, VMamba v0).

    Args:
        dim, out_dim: of the maps.
        crop: leave out the last row or column of odd sides; else they are padded with zeros.
    """

    def __init__(self, dim: int, out_dim: int, crop: bool = False):
        super().__init__()
        self.crop = crop
        self.norm = LayerNorm(4 * dim, feeds_linear=True)
        self.reduction = nn.Linear(4 * dim, out_dim, bias=False)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        H, W = x_BHWC.shape[1:3]
        if self.crop:
            x = x_BHWC[:, : H // 2 * 2, : W // 2 * 2]
        else:
            x = F.pad(x_BHWC, (0, 0, 0, W % 2, 0, H % 2))
        # Down the columns first: published projections have their inputs in this order.
        neighbours = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        return self.reduction(self.norm(torch.cat(neighbours, -1)))

    def extra_repr(self) -> str:
        return f"crop={self.crop}"


class PatchExpand(nn.Module):
    """Each cell projected to a square of `scale` x `scale` cells, then normalised.

    Maps `(B, H, W, dim)` to `(B, H * scale, W * scale, out_dim)`: what U-shaped networks have in
    the place of Swin's merging turned round (Swin-Unet, arXiv 2105.05537, section 3.5).
    """

    def __init__(self, dim: int, out_dim: int, scale: int = 2):
        super().__init__()
        self.scale = scale
        self.expand = nn.Linear(dim, scale * scale * out_dim, bias=False)
        self.norm = LayerNorm(out_dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        # The projection's outputs are rows of the square, then its columns, then channels.
        square = self.expand(x_BHWC).unflatten(-1, (self.scale, self.scale, -1))
        return self.norm(square.transpose(2, 3).flatten(3, 4).flatten(1, 2))

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


class ResidualStem(nn.Module):
    """A strided convolution, a residual pair, and an inverted residual's half with stride.

    Images `(B, 3, H, W)` to `(B, H / 4, W / 4, C)`, sides rounded up (MLLA, arXiv 2405.16605; VSSD
    and Spatial-Mamba share it name for name).

    Args:
        in_channels, dim: of the images and the map, C even.
        pad: fill the image with zeros up to multiples of four first, at the right and the bottom,
            as MLLA does. The map is as large without, but not the same at these sides.
    """

    def __init__(self, in_channels: int, dim: int, pad: bool = False):
        super().__init__()
        half, wide = dim // 2, 4 * dim
        self.conv1 = ConvNormAct(_conv3x3(in_channels, half, 2))
        self.conv2 = nn.Sequential(
            ConvNormAct(_conv3x3(half, half)),
            ConvNormAct(_conv3x3(half, half), act_layer=None),
        )
        self.conv3 = nn.Sequential(
            ConvNormAct(_conv3x3(half, wide, 2)),
            ConvNormAct(nn.Conv2d(wide, dim, 1, bias=False), act_layer=None),
        )
        self.pad = pad

    def forward(self, x_BCHW: Tensor) -> Tensor:
        # Zeros beyond the image go through a norm and come out as its shift, unlike the zeros that
        # a convolution pads with: so the last row and column differ.
        x = pad_to_multiple(x_BCHW, 4) if self.pad else x_BCHW
        x = self.conv1(x)
        x = x + self.conv2(x)
        return channels_last(self.conv3(x))

    def extra_repr(self) -> str:
        return f"pad={self.pad}"


class WideDownsample(nn.Module):
    """Half the sides, rounded up, by a strided depthwise convolution at four times the new width.

    `(B, H, W, C)` to `(B, H / 2, W / 2, out_dim)`; batch norm at the end alone. With `ResidualStem`
    one of the parts that MLLA, VSSD and Spatial-Mamba share.

    Args:
        dim, out_dim: of the maps.
        pad: fill odd sides with a row and a column of zeros first, as MLLA does; the first
            convolution's bias makes something of them.
    """

    def __init__(self, dim: int, out_dim: int, pad: bool = False):
        super().__init__()
        wide = 4 * out_dim
        self.conv = nn.Sequential(
            ConvNormAct(nn.Conv2d(dim, wide, 1), norm=False),
            ConvNormAct(DepthwiseConv(wide, stride=2), norm=False),
            ConvNormAct(nn.Conv2d(wide, out_dim, 1), act_layer=None),
        )
        self.pad = pad

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x = channels_first(x_BHWC)
        return channels_last(self.conv(pad_to_multiple(x, 2) if self.pad else x))

    def extra_repr(self) -> str:
        return f"pad={self.pad}"


def pad_to_multiple(x_BCHW: Tensor, multiple: int) -> Tensor:
    """Zeros at the right and the bottom, so that both sides are multiples of a number."""
    H, W = x_BCHW.shape[2:]
    # Python's remainder is never negative: -W % m is what is lacking to the next multiple of m.
    return F.pad(x_BCHW, (0, -W % multiple, 0, -H % multiple))


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
