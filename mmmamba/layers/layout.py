"""Between channels-first `(B, C, H, W)` and channels-last `(B, H, W, C)`.

Both are views. Convolutions get channels-first views of channels-last memory, in which cuDNN and
oneDNN work directly, so no map is copied on the way through a block.
"""

from torch import Tensor, nn


def channels_last(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.permute(0, 2, 3, 1)


def channels_first(x_BHWC: Tensor) -> Tensor:
    return x_BHWC.permute(0, 3, 1, 2)


class ToChannelsLast(nn.Module):
    """`channels_last` as a step of a `nn.Sequential`."""

    def forward(self, x: Tensor) -> Tensor:
        return channels_last(x)


class ToChannelsFirst(nn.Module):
    """`channels_first` as a step of a `nn.Sequential`."""

    def forward(self, x: Tensor) -> Tensor:
        return channels_first(x)
