"""Convolutions with batch norm, their residuals, and what they become for inference.

Channels-first.
"""

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .layout import channels_first, channels_last

Model = TypeVar("Model", bound=nn.Module)


class Fusible(nn.Module):
    """A module that has a cheaper form of equal output once its batch norms stand still."""

    def fuse_(self) -> None:
        """Take that form, in place; the modules inside already have theirs."""
        raise NotImplementedError


def fused_copy(model: Model) -> Model:
    """A copy of a model in evaluation mode, all of its `Fusible` modules fused.

    Raises:
        RuntimeError: it is fused already.
    """
    if getattr(model, "is_fused", False):
        raise RuntimeError(f"this {type(model).__name__} is fused already")
    # In evaluation mode: a norm that uses the batch's own statistics is no constant to fold.
    model = copy.deepcopy(model).eval()
    # Children come after their parents in modules(), and have to be fused before them.
    for module in reversed(list(model.modules())):
        if isinstance(module, Fusible):
            module.fuse_()
    model.is_fused = True  # type: ignore[assignment]
    return model


class ConvNorm(Fusible):
    """A convolution without bias and batch norm, of "same" padding, under the names `c` and `bn`.

    Args:
        in_channels, out_channels, kernel_size, stride, groups: of the convolution.
        gain: what the norm's weight starts at.
    """

    bn: nn.Module

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
        norm = nn.BatchNorm2d(out_channels)
        nn.init.constant_(norm.weight, gain)
        self.bn = norm

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.bn(self.c(x_BCHW))

    def fuse_(self) -> None:
        self.c, self.bn = folded(self.c, self.bn), nn.Identity()


class ConvNormAct(Fusible):
    """A convolution with what may follow it, under the names `conv` and `norm` (MLLA and others).

    Args:
        conv: the convolution.
        norm: batch norm after it.
        act_layer: the activation at the end, None for none.

    Raises:
        ValueError: a convolution with an activation of its own, before a norm.
    """

    norm: nn.Module

    def __init__(
        self, conv: nn.Conv2d, norm: bool = True, act_layer: type[nn.Module] | None = nn.ReLU
    ):
        super().__init__()
        # Folding takes convolution and norm for one linear step; an activation in between breaks
        # it.
        if norm and getattr(conv, "act", None) is not None:
            raise ValueError(
                "ConvNormAct wants a convolution without an activation of its own before the norm; "
                "pass it as act_layer"
            )
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels) if norm else nn.Identity()
        self.act = nn.Identity() if act_layer is None else act_layer()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x_BCHW)))

    def fuse_(self) -> None:
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv, self.norm = folded(self.conv, self.norm), nn.Identity()


def folded(conv: nn.Conv2d, norm: nn.Module) -> nn.Conv2d:
    """A convolution that does what the convolution and the batch norm after it did."""
    return fuse_conv_bn_eval(conv, norm)  # type: ignore[arg-type]


class PointwiseNorm(ConvNorm):
    """1x1 `ConvNorm` between channels-last maps."""

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return channels_last(super().forward(channels_first(x_BHWC)))


class ScaleNorm(ConvNorm):
    """1x1 depthwise `ConvNorm`: one factor for each channel.

    As a product, since CPUs convolve group by group.
    """

    def __init__(self, dim: int):
        super().__init__(dim, dim, groups=dim)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        weight_C11 = self.c.weight[:, 0]
        # A bias means that the norm is folded in: scale and shift are then one operation.
        if self.c.bias is None:
            return self.bn(x_BCHW * weight_C11)
        return torch.addcmul(self.c.bias[:, None, None], x_BCHW, weight_C11)


class NormLinear(Fusible):
    """Batch norm of vectors `(B, C)`, then linear: a classifier."""

    bn: nn.Module

    def __init__(self, dim: int, num_classes: int):
        super().__init__()
        self.bn = nn.BatchNorm1d(dim)
        self.l = nn.Linear(dim, num_classes)
        nn.init.trunc_normal_(self.l.weight, std=0.02)
        nn.init.zeros_(self.l.bias)

    def forward(self, x_BC: Tensor) -> Tensor:
        return self.l(self.bn(x_BC))

    def fuse_(self) -> None:
        """The norm's scale goes into the weights, and its shift, through them, into the bias."""
        norm: Any = self.bn
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        with torch.no_grad():
            # The bias first: it needs the weights as they were before the scale went into them.
            self.l.bias.add_(self.l.weight @ (norm.bias - norm.running_mean * scale))
            self.l.weight *= scale
        self.bn = nn.Identity()


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
        # Fused before this one (`fused_copy`), the convolution has its norm inside: adding 1 to the
        # weights of one whose norm still follows would be scaled by that.
        if isinstance(self.m, ConvNorm) and self.m.c.groups == self.m.c.in_channels:
            # The kernel that returns its middle cell is the identity.
            middle = self.m.c.kernel_size[0] // 2
            with torch.no_grad():
                self.m.c.weight[:, :, middle, middle] += 1
            self.adds = False
