"""Parts of plain columns: patch embedding and the block of an un-normalised residual stream."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from .drop_path import drop_path, dropped
from .layout import ToChannelsLast, channels_last
from .rescale import LayerNorm2d
from .rotary import rotate
from .tokens import TokenLayout


class PatchEmbed(nn.Module):
    """Images `(B, 3, H, W)` to a map of patches `(B, H', W', C)`, by one unpadded convolution.

    Args:
        in_channels, dim, patch_size: of the convolution.
        stride: from one patch to the next; below `patch_size` they overlap.
        pad: fill the last patches with zeros at the bottom and right; else rows and columns that
            fill none are dropped.
        bias: of the convolution.
    """

    def __init__(
        self,
        in_channels: int,
        dim: int,
        patch_size: int,
        stride: int,
        pad: bool = False,
        bias: bool = True,
    ):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, patch_size, stride, bias=bias)
        self.apply(_init_conv)
        self.patch_size, self.stride, self.pad = patch_size, stride, pad

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """(H', W') of an image.

        Raises:
            ValueError: an image smaller than a patch, where nothing is padded.
        """
        if not self.pad and min(height, width) < self.patch_size:
            raise ValueError(
                f"an image of {height}x{width} holds no patch of "
                f"{self.patch_size}x{self.patch_size}"
            )
        return self._patches(height), self._patches(width)

    def _patches(self, side: int) -> int:
        # A ceiling where the last patch is filled up, else a floor. An image smaller than a patch
        # is one padded patch.
        rest = self.stride - 1 if self.pad else 0
        return max(side - self.patch_size + rest, 0) // self.stride + 1

    def forward(self, x_BCHW: Tensor) -> Tensor:
        H, W = self.grid_size(*x_BCHW.shape[2:])
        if self.pad:
            below = (H - 1) * self.stride + self.patch_size - x_BCHW.shape[2]
            right = (W - 1) * self.stride + self.patch_size - x_BCHW.shape[3]
            x_BCHW = F.pad(x_BCHW, (0, right, 0, below))
        return channels_last(self.proj(x_BCHW))


class ConvPatchEmbed(nn.Sequential):
    """Images `(B, 3, H, W)` to a map of patches `(B, H', W', C)`, by overlapping convolutions.

    A 7x7 convolution of a quarter of the stride, which rounds sides up, and two steps of 2x2
    patches, which round them down, each with a linear layer and GELU; LayerNorm in all (Vim-F,
    arXiv 2405.18679).

    Args:
        in_channels: of the images.
        dims: the three widths, C last.
        stride: from one patch to the next.

    Raises:
        ValueError: a stride that is no multiple of 4.
    """

    def __init__(self, in_channels: int, dims: tuple[int, int, int], stride: int = 16):
        if stride % 4:
            raise ValueError(f"the stride of the patches is {stride}, wanted a multiple of 4")
        stem = nn.Conv2d(in_channels, dims[0], 7, stride // 4, 3)
        steps = [nn.Sequential(stem, _norm2d(dims[0]))]
        for dim, out_dim in pairwise(dims):
            patches, linear = nn.Conv2d(dim, out_dim, 2, 2), nn.Conv2d(out_dim, out_dim, 1)
            steps.append(nn.Sequential(patches, _norm2d(out_dim), linear, nn.GELU()))
        super().__init__(*steps, ToChannelsLast())
        self.stride = stride
        self.apply(_init_conv)

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """(H', W') of an image.

        Raises:
            ValueError: an image that holds no patch.
        """
        # Two floors in a row are one.
        H, W = (((side - 1) // (self.stride // 4) + 1) // 4 for side in (height, width))
        if not (H and W):
            raise ValueError(
                f"an image of {height}x{width} holds no patch of {self.stride}x{self.stride}"
            )
        return H, W

    def forward(self, x_BCHW: Tensor) -> Tensor:
        self.grid_size(*x_BCHW.shape[2:])
        return super().forward(x_BCHW)


def _norm2d(dim: int) -> LayerNorm2d:
    return LayerNorm2d(dim, 1e-6, feeds_linear=True)


def _init_conv(module: nn.Module) -> None:
    """LeCun's normal start, with gain 1, and biases of zero."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class StreamBlock(nn.Module):
    """A mixer on a residual stream that is normalised only on its way in (Mamba's order).

    Adds to the stream what the block before returned, and returns `mixer(norm(stream))`.

    Args:
        mixer: called with the normalised stream and its `TokenLayout`.
        norm: of the stream, called as `LayerNorm` is.
        drop_path_rate: of what the block before returned.
    """

    def __init__(self, mixer: nn.Module, norm: nn.Module, drop_path_rate: float = 0.0):
        super().__init__()
        self.norm = norm
        self.mixer = mixer
        self.drop_path = drop_path(drop_path_rate)

    def forward(
        self,
        hidden_BLC: Tensor,
        stream_BLC: Tensor | None,
        layout: TokenLayout,
        rotation_2LE: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The mixer's output and the stream.

        The rotary table, where there is one, turns both inputs; the first block has no stream.
        """
        if rotation_2LE is not None:
            # In every block anew: rotations add up with depth, as in the models that were
            # published.
            hidden_BLC = rotate(hidden_BLC, rotation_2LE)
            stream_BLC = None if stream_BLC is None else rotate(stream_BLC, rotation_2LE)
        # The norm adds what the block before returned on its way in, and hands the sum back.
        if stream_BLC is None:
            normed_BLC, stream_BLC = self.norm(hidden_BLC, None)
        else:
            normed_BLC, stream_BLC = self.norm(stream_BLC, dropped(self.drop_path, hidden_BLC))
        return self.mixer(normed_BLC, layout), stream_BLC
