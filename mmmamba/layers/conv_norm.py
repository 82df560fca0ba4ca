"""Convolutions with batch norm, their residuals, and what they become for inference. Channels-first."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .layout import channels_first, channels_last


class Fusible(nn.Module):
    """A module that has a cheaper form of equal output once its batch norms stand still."""

    def fuse_(self) -> None:
        """Take that form, in place; the modules inside already have theirs."""
        raise NotImplementedError


def fused_copy(model: nn.Module) -> nn.Module:
    """A copy of a model in evaluation mode, all of its `Fusible` modules fused."""
    model = copy.deepcopy(model).eval()
    # Children come after their parents in modules(), and have to be fused before them.
    for module in reversed(list(model.modules())):
        if isinstance(module, Fusible):
            module.fuse_()
    return model


class ConvNorm(Fusible):
    """A convolution without bias and batch norm, of "same" padding; `gain` is what the norm's weight starts at."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        gain: float = 1.0,
    ):
        super().__init__()
        self.c = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            kernel_size // 2,
            groups=groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(out_channels)
        nn.init.constant_(self.bn.weight, gain)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.bn(self.c(x_BCHW))

    def fuse_(self) -> None:
        self.c = fuse_conv_bn_eval(self.c, self.bn)
        self.bn = nn.Identity()


class PointwiseNorm(ConvNorm):
    """1x1 `ConvNorm` between channels-last maps."""

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return channels_last(super().forward(channels_first(x_BHWC)))


class ScaleNorm(ConvNorm):
    """1x1 depthwise `ConvNorm`: one factor for each channel. As a product, since CPUs convolve group by group."""

    def __init__(self, dim: int):
        super().__init__(dim, dim, groups=dim)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        weight_C11 = self.c.weight[:, 0]
        if self.c.bias is None:
            return self.bn(x_BCHW * weight_C11)
        return torch.addcmul(self.c.bias[:, None, None], x_BCHW, weight_C11)


class Residual(Fusible):
    """`x + m(x)`."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.m = module
        self.adds = True

    def forward(self, x: Tensor) -> Tensor:
        return x + self.m(x) if self.adds else self.m(x)

    def fuse_(self) -> None:
        """A depthwise convolution takes the identity into the middle of its kernels."""
        if isinstance(self.m, ConvNorm) and self.m.c.groups == self.m.c.in_channels:
            middle = self.m.c.kernel_size[0] // 2
            with torch.no_grad():
                self.m.c.weight[:, :, middle, middle] += 1
            self.adds = False
