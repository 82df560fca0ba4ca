"""Parts of ViT-Adapter (arXiv 2205.08534): maps at strides 4 … 32 beside a column of one stride.

Shape suffixes: B batch, C width, L cells of the column's map, S cells of the maps at strides 8, 16
and 32, one map after another.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .conv_norm import ConvNormAct
from .deformable_attention import DeformableAttention
from .drop_path import added, drop_path, dropped
from .layout import channels_first, channels_last
from .mlp import ConvMlp
from .norm import LayerNorm

EPS = 1e-6
"""In all norms of an adapter."""
Sizes = Sequence[tuple[int, int]]


class SpatialPrior(nn.Module):
    """Images `(B, 3, H, W)` to maps `(B, C, H / s, W / s)` at strides s = 4, 8, 16, 32.

    (Section 3.3.) In the original batch norms take their statistics from all processes;
    `sync_bn = "torch"` in a config does that.

    Args:
        in_channels, dim: of the images and the maps.
        width: of the stem; twice and four times as wide after it.
        finest: make the map at stride 4 as well; None stands for it otherwise.
    """

    def __init__(self, in_channels: int, dim: int, width: int = 64, finest: bool = True):
        super().__init__()
        self.stem = nn.Sequential(
            _conv_norm(in_channels, width, 2),
            _conv_norm(width, width),
            _conv_norm(width, width),
            nn.MaxPool2d(3, 2, 1),
        )
        self.conv2 = _conv_norm(width, 2 * width, 2)
        self.conv3 = _conv_norm(2 * width, 4 * width, 2)
        self.conv4 = _conv_norm(4 * width, 4 * width, 2)
        self.fc1 = nn.Conv2d(width, dim, 1) if finest else None
        self.fc2 = nn.Conv2d(2 * width, dim, 1)
        self.fc3 = nn.Conv2d(4 * width, dim, 1)
        self.fc4 = nn.Conv2d(4 * width, dim, 1)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor | None, list[Tensor]]:
        """The map at stride 4, and the other three."""
        stem = self.stem(x_BCHW.contiguous(memory_format=torch.channels_last))
        second = self.conv2(stem)
        third = self.conv3(second)
        maps = [self.fc2(second), self.fc3(third), self.fc4(self.conv4(third))]
        return None if self.fc1 is None else self.fc1(stem), maps


def _conv_norm(in_channels: int, out_channels: int, stride: int = 1) -> ConvNormAct:
    layer = ConvNormAct(nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False))
    # The maps at half the image's sides are the largest of all, and nobody else needs the norm's.
    layer.act = nn.ReLU(inplace=True)
    return layer


class MapsMlp(ConvMlp):
    """`ConvMlp` of several maps in one sequence `(B, S, C)`, each convolved on its own."""

    def forward(self, x_BSC: Tensor, sizes: Sizes) -> Tensor:  # type: ignore[override]
        wide = self.fc1(x_BSC)
        maps = []
        for one, size in zip(wide.split([H * W for H, W in sizes], 1), sizes):
            local = self.dwconv(channels_first(one.unflatten(1, size)))
            maps.append(channels_last(local).flatten(1, 2))
        return self.fc2(torch.cat(maps, 1))


class Injector(nn.Module):
    """The column's map with what it reads from the others: `x + gamma * attention(x, c)`.

    `gamma` starts at 0: a pretrained column starts undisturbed (section 3.4).

    Args:
        dim, heads, points: of `DeformableAttention`.
    """

    def __init__(self, dim: int, heads: int, points: int = 4):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(dim))
        self.query_norm = LayerNorm(dim, EPS, feeds_linear=True)
        self.feat_norm = LayerNorm(dim, EPS, feeds_linear=True)
        self.attn = DeformableAttention(dim, heads, 3, points)

    def forward(self, x_BLC: Tensor, c_BSC: Tensor, grid: tuple[int, int], sizes: Sizes) -> Tensor:
        query_BLC, x_BLC = self.query_norm(x_BLC, None)
        read_BLC = self.attn(query_BLC, [grid], self.feat_norm(c_BSC), sizes)
        return x_BLC + self.gamma * read_BLC


class Extractor(nn.Module):
    """The other maps with what they read from the column's, and a feed-forward layer.

    Args:
        dim, heads, points: of `DeformableAttention`.
        mlp_ratio, drop_path_rate: of the feed-forward layer.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        points: int = 4,
        mlp_ratio: float = 0.25,
        drop_path_rate: float = 0.0,
    ):
        super().__init__()
        self.query_norm = LayerNorm(dim, EPS, feeds_linear=True)
        self.feat_norm = LayerNorm(dim, EPS, feeds_linear=True)
        self.attn = DeformableAttention(dim, heads, 1, points)
        self.ffn_norm = LayerNorm(dim, EPS, feeds_linear=True)
        self.ffn = MapsMlp(dim, mlp_ratio)
        self.drop_path = drop_path(drop_path_rate)

    def forward(self, c_BSC: Tensor, x_BLC: Tensor, grid: tuple[int, int], sizes: Sizes) -> Tensor:
        query_BSC, c_BSC = self.query_norm(c_BSC, None)
        read_BSC = self.attn(query_BSC, sizes, self.feat_norm(x_BLC), [grid])
        # The norm adds what was read on its way in, and hands the sum back.
        normed_BSC, c_BSC = self.ffn_norm(c_BSC, read_BSC)
        return added(c_BSC, dropped(self.drop_path, self.ffn(normed_BSC, sizes)))


class Interaction(nn.Module):
    """What stands around a group of the column's blocks: an injector, and extractors after them.

    Args:
        injector: before the blocks.
        extractors: after them, one or more.
    """

    def __init__(self, injector: Injector, extractors: Sequence[Extractor]):
        super().__init__()
        self.injector = injector
        # One and the rest, as published files name them.
        self.extractor, *extra = extractors
        self.extra_extractors = nn.ModuleList(extra)

    @property
    def extractors(self) -> list[nn.Module]:
        return [self.extractor, *self.extra_extractors]
