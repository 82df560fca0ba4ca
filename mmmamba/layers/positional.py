"""Blocks whose positions come from depthwise convolutions."""

from torch import Tensor, nn

from .activated import DepthwiseConv
from .blocks import ResidualBlock
from .drop_path import Branch, added, drop_path, dropped
from .layout import channels_first, channels_last
from .norm import LayerNorm


class PositionalBlock(ResidualBlock):
    """A convolution before each of mixer and mlp, all four residual. Channels-last.

    `x + cpe1(x)`, `x + attn(norm1(x))`, `x + cpe2(x)`, `x + mlp(norm2(x))` (conditional positional
    encoding, arXiv 2102.10882; MLLA, arXiv 2405.16605, section 4; VSSD; Spatial-Mamba).

    Args:
        dim: width C.
        mixer: `(B, H, W, C)` to the same. It stands under `attn`, and begins with linear layers.
        mlp: the same.
        drop_path_rate: of mixer and mlp; the convolutions are never dropped.
    """

    def __init__(self, dim: int, mixer: nn.Module, mlp: nn.Module, drop_path_rate: float = 0.0):
        super().__init__()
        self.cpe1 = DepthwiseConv(dim)
        self.norm1 = LayerNorm(dim, feeds_linear=True)
        self.attn = mixer
        self.cpe2 = DepthwiseConv(dim)
        self.norm2 = LayerNorm(dim, feeds_linear=True)
        self.mlp = mlp
        self.drop_path = drop_path(drop_path_rate)

    def summands(self, x: Tensor, branch: Branch | None = None) -> tuple[Tensor, Branch]:
        # The first convolution reads the sum, so that it is no norm that can form it here.
        x = x if branch is None else added(x, branch)
        # A norm called with a branch adds it first: one kernel, and the sum comes back beside.
        normed, x = self.norm1(x, _on_map(self.cpe1, x))
        x = added(x, dropped(self.drop_path, self.attn(normed)))
        normed, x = self.norm2(x, _on_map(self.cpe2, x))
        return x, dropped(self.drop_path, self.mlp(normed))


def _on_map(conv: DepthwiseConv, x_BHWC: Tensor) -> Tensor:
    return channels_last(conv(channels_first(x_BHWC)))
