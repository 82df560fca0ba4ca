"""Steps from one map to those of a pyramid.

ViTDet, arXiv 2203.16527, section 3 and appendix A.2; BEiT's UperNet.
"""

from collections.abc import Callable

from torch import Tensor, nn

from .layout import channels_first, channels_last
from .norm import LayerNorm


class LayerNorm2d(LayerNorm):
    """LayerNorm over the channels of `(B, C, H, W)`."""

    def forward(self, x_BCHW: Tensor) -> Tensor:  # type: ignore[override]
        return channels_first(super().forward(channels_last(x_BCHW)))


def rescale(
    dim: int,
    scale: float,
    norm_layer: Callable[[int], nn.Module] = LayerNorm2d,
    shrink: bool = False,
) -> tuple[nn.Module, int]:
    """A module that resizes `(B, C, H, W)` by a factor, and the channels it puts out.

    Up by one or two transposed convolutions, with norm and GELU between; down by max-pooling, sides
    rounded down.

    Args:
        dim: channels C of the map.
        scale: 4, 2, 1, 0.5 or 0.25.
        norm_layer: makes the norm of a width.
        shrink: halve the channels with each transposed convolution.

    Raises:
        ValueError: another scale.
    """
    # What a transposed convolution doubles in sides it may halve in channels.
    half, quarter = (dim // 2, dim // 4) if shrink else (dim, dim)
    if scale == 4:
        first = nn.ConvTranspose2d(dim, half, 2, 2)
        between = [norm_layer(half), nn.GELU()]
        second = nn.ConvTranspose2d(half, quarter, 2, 2)
        return nn.Sequential(first, *between, second), quarter
    if scale == 2:
        return nn.Sequential(nn.ConvTranspose2d(dim, half, 2, 2)), half
    if scale == 1:
        return nn.Identity(), dim
    if scale in (0.5, 0.25):
        return nn.MaxPool2d(int(1 / scale)), dim
    raise ValueError(f"scale is {scale}, wanted 4, 2, 1, 0.5 or 0.25")
