"""Convolution, batch norm, activation: what YOLO detectors are made of. Channels-first."""

import functools

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

yolo_norm = functools.partial(nn.BatchNorm2d, eps=1e-3, momentum=0.03)


def conv_norm_act(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 1,
    stride: int = 1,
    bias: bool = False,
    act_layer: type[nn.Module] = nn.SiLU,
) -> nn.Sequential:
    """A convolution of "same" padding, batch norm with YOLO's eps and momentum, activation."""
    return Conv2dNormActivation(
        in_channels,
        out_channels,
        kernel_size,
        stride,
        norm_layer=yolo_norm,
        bias=bias,
        activation_layer=act_layer,
        inplace=None,
    )


def simple_stem(in_channels: int, dim: int) -> nn.Sequential:
    """Two 3x3 convolutions of stride 2, GELU after the first, SiLU after the second (Mamba YOLO, arXiv 2406.05835)."""
    return nn.Sequential(
        *conv_norm_act(in_channels, dim // 2, 3, 2, act_layer=nn.GELU),
        *conv_norm_act(dim // 2, dim, 3, 2),
    )


class SPPF(nn.Module):
    """Pools of growing extent, concatenated and projected, `(B, C, H, W)` to `(B, out_channels, H, W)`.

    Three pools after each other have the extents of SPP's parallel ones (arXiv 1406.4729) at less work.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 5):
        super().__init__()
        self.conv1 = conv_norm_act(in_channels, in_channels // 2)
        self.pool = nn.MaxPool2d(kernel_size, 1, kernel_size // 2)
        self.conv2 = conv_norm_act(4 * (in_channels // 2), out_channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        maps = [self.conv1(x_BCHW)]
        for _ in range(3):
            maps.append(self.pool(maps[-1]))
        return self.conv2(torch.cat(maps, 1))
