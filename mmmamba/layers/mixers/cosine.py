"""Heracles' mixer (arXiv 2403.18063): half of the channels filtered as a whole, half locally."""

import torch
from torch import Tensor, nn

from mmmamba.ops import cosine_filter

from ..activated import DepthwiseConv
from ..layout import channels_first, channels_last
from ..walk import Unordered


class CosineMixer(Unordered, nn.Module):
    """A depthwise convolution of the first half of the channels, a filter of cosines of the second.

    `(B, H, W, C)` to the same, the halves' channels by turns. The filter is stretched to maps of
    another size (`ops.cosine_filter`), in float32 or better also under autocast.

    Args:
        dim: C, even.
        size: rows and columns of the filter, as many as the map has.

    Raises:
        ValueError: an odd number of channels.
    """

    def __init__(self, dim: int, size: tuple[int, int]):
        super().__init__()
        if dim % 2:
            raise ValueError(f"{dim} channels have no halves")
        self.weight = nn.Parameter(torch.empty(dim // 2, *size))
        nn.init.normal_(self.weight, std=0.02)
        self.conv = DepthwiseConv(dim // 2)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        local_BHWE, whole_BHWE = x_BHWC.chunk(2, -1)
        local_BHWE = channels_last(self.conv(channels_first(local_BHWE.contiguous())))
        whole_BHWE = cosine_filter(whole_BHWE, self.weight)
        return torch.stack((local_BHWE, whole_BHWE.to(local_BHWE.dtype)), -1).flatten(-2)

    def extra_repr(self) -> str:
        channels, height, width = self.weight.shape
        return f"{2 * channels}, size=({height}, {width})"
