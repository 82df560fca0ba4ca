"""What Mamba YOLO (arXiv 2406.05835) is made of, in backbone, neck and head. Channels-first maps.

Section numbers are those of the paper's first version, which the published code follows.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from mmmamba.layers.activated import DepthwiseConv
from mmmamba.layers.drop_path import added, drop_path, dropped
from mmmamba.layers.layout import channels_first, channels_last
from mmmamba.layers.mixers.ss2d import CROSS, SS2D, flat_ssm_
from mmmamba.layers.rescale import LayerNorm2d

yolo_norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.03)


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
        # True or False would be handed on to the activation, and GELU takes neither.
        inplace=None,
    )


def simple_stem(in_channels: int, dim: int) -> nn.Sequential:
    """Two 3x3 convolutions of stride 2, GELU after the first and SiLU after the second."""
    # One flat sequence, numbered through as in the authors' files.
    return nn.Sequential(
        *conv_norm_act(in_channels, dim // 2, 3, 2, act_layer=nn.GELU),
        *conv_norm_act(dim // 2, dim, 3, 2),
    )


class SPPF(nn.Module):
    """Pools of growing extent, concatenated and projected, to `(B, out_channels, H, W)`.

    Three pools after each other have the extents of SPP's parallel ones (arXiv 1406.4729) at less
    work.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 5):
        super().__init__()
        self.conv1 = conv_norm_act(in_channels, in_channels // 2)
        self.pool = nn.MaxPool2d(kernel_size, 1, kernel_size // 2)
        self.conv2 = conv_norm_act(4 * (in_channels // 2), out_channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        maps = [self.conv1(x_BCHW)]
        # With windows of 5 these reach 5, 9 and 13 cells.
        for _ in range(3):
            maps.append(self.pool(maps[-1]))
        return self.conv2(torch.cat(maps, 1))


@MODELS.register_module()
class VisionClueMerge(nn.Module):
    """A step down that drops nothing before it projects (section 3.2).

    The four phases of 2x2 neighbours are stacked and projected: `(B, C, H, W)` to
    `(B, out_channels, H / 2, W / 2)`. Odd sides, which the original refuses, are padded with zeros,
    so that sides round up.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.pw_linear = conv_norm_act(4 * in_channels, out_channels, bias=True)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        H, W = x_BCHW.shape[2:]
        x = F.pad(x_BCHW, (0, W % 2, 0, H % 2)) if H % 2 or W % 2 else x_BCHW
        # Down the columns first: the published projections have their inputs in this order.
        phases = [x[..., 0::2, 0::2], x[..., 1::2, 0::2], x[..., 0::2, 1::2], x[..., 1::2, 1::2]]
        return self.pw_linear(torch.cat(phases, 1))


@MODELS.register_module()
class LSBlock(nn.Module):
    """Local features before a scan that sees only one order (section 3.3).

    `x + fc3(gelu(fc2(norm(fc1(x)))))` with a depthwise 3x3 convolution first: `(B, C, H, W)` to the
    same.
    """

    def __init__(self, dim: int, norm_layer: Callable[[int], nn.Module] = yolo_norm):
        super().__init__()
        self.fc1 = DepthwiseConv(dim)
        self.norm = norm_layer(dim)
        self.fc2 = nn.Conv2d(dim, dim, 1)
        self.fc3 = nn.Conv2d(dim, dim, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW + self.fc3(F.gelu(self.fc2(self.norm(self.fc1(x_BCHW)))))


@MODELS.register_module()
class RGBlock(nn.Module):
    """A gated feed-forward layer whose gate sees neighbours (section 3.4).

    `fc2(gelu(dwconv(a) + a) * v)`, a and v the halves of `fc1(x)`: `(B, C, H, W)` to the same.

    Args:
        mlp_ratio: the hidden width is two thirds of this times the width, as gating adds a third
            matrix.
    """

    def __init__(self, dim: int, mlp_ratio: float = 4.0):
        super().__init__()
        hidden = int(2 * dim * mlp_ratio / 3)
        self.fc1 = nn.Conv2d(dim, 2 * hidden, 1)
        self.dwconv = DepthwiseConv(hidden)
        self.fc2 = nn.Conv2d(hidden, dim, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        a, v = self.fc1(x_BCHW).chunk(2, 1)
        return self.fc2(F.gelu(self.dwconv(a) + a) * v)


@MODELS.register_module()
class ODSSBlock(nn.Module):
    """Projection, `LSBlock`, scans and `RGBlock` (section 3.3): `(B, C, H, W)` to `out_channels`.

    `p = in_proj(x)`, `t = p + ss2d(norm(lsblock(p)))`, `t + mlp(norm2(t))`.

    Args:
        num_ss2d: scans after each other, with nothing between them.
        use_lsblock: whether the scans' input goes through `LSBlock`; the residual never does.
        proj_bias: of the projection; the published backbones have it, their necks do not.
        d_state, ssm_ratio, dt_rank, routes: of `SS2D`.
        mlp_ratio: of `RGBlock`.
        drop_path_rate: of both residual branches.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_ss2d: int = 1,
        use_lsblock: bool = True,
        proj_bias: bool = True,
        d_state: int = 16,
        ssm_ratio: float = 2.0,
        dt_rank: int | str = "auto",
        routes: str | Sequence[str] = CROSS,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
    ):
        super().__init__()
        self.in_proj = conv_norm_act(in_channels, out_channels, bias=proj_bias)
        self.lsblock = LSBlock(out_channels) if use_lsblock else nn.Identity()
        self.norm = LayerNorm2d(out_channels, eps=1e-6, feeds_linear=True)
        scans = [
            SS2D(
                out_channels,
                d_state,
                ssm_ratio,
                dt_rank,
                routes,
                gate=True,
                conv_bias=True,
                act=F.gelu,
            )
            for _ in range(num_ss2d)
        ]
        self.ss2d = nn.Sequential(*scans)
        for ss2d in self.ss2d:
            flat_ssm_(ss2d)
        self.norm2 = LayerNorm2d(out_channels, eps=1e-6, feeds_linear=True)
        self.mlp = RGBlock(out_channels, mlp_ratio)
        self.drop_path = drop_path(drop_path_rate)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x = self.in_proj(x_BCHW)
        y_BHWC = self.ss2d(channels_last(self.norm(self.lsblock(x))))
        x = added(x, dropped(self.drop_path, channels_first(y_BHWC)))
        return added(x, dropped(self.drop_path, self.mlp(self.norm2(x))))
