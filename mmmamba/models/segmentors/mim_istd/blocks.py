"""What the encoder of MiM-ISTD is made of.

Shape suffixes: B images, h and w sentences along the sides, N = h w, T = B N sentences, W = 16
words of each, I and O widths of words and sentences.
"""

from typing import Any

import torch
from torch import Tensor, nn

from mmmamba.layers import (
    SS2D,
    ConvNormAct,
    DepthwiseConv,
    LayerNorm,
    MapWalk,
    MixerBlock,
    channels_first,
    channels_last,
    window_cells,
    window_partition,
)

from .reading import SIDE, WORDS, Reading, join_words


class TokenScan(SS2D):
    """VMamba's first SS2D on tokens at their places, read as a `Reading` says.

    Args:
        dim: width of the tokens.
        d_state: states of the scan.
    """

    def __init__(self, dim: int, reading: Reading, d_state: int = 16):
        super().__init__(dim, d_state=d_state, gate=True, conv_bias=True)
        self.reading = reading

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return super().forward(self.reading.scanned(x_BHWC))

    def walk(self, x_BHWC: Tensor) -> MapWalk:
        """Where on the map the scans go.

        Raises:
            TypeError: they go nowhere on it, as a step reads numbers of several cells.
        """
        if self.reading.scrambled:
            raise TypeError(
                "this network reads the memory of its tokens as a map (maps_as_published), so that "
                "a step of a scan stands at no cell of the image"
            )
        return super().walk(x_BHWC)


class TokenConvs(nn.Module):
    """The feed-forward layer: a pointwise, a depthwise and a pointwise convolution, with residual.

    Batch norm follows the activation, not the convolution. Tokens at their places `(B, h, w, C)` to
    the same.

    Args:
        dim: width of the tokens, doubled inside.
    """

    def __init__(self, dim: int, reading: Reading):
        super().__init__()
        wide = 2 * dim
        self.reading = reading
        self.expand = nn.Sequential(nn.Conv2d(dim, wide, 1), nn.GELU(), nn.BatchNorm2d(wide))
        self.dwconv = DepthwiseConv(wide, act=nn.functional.gelu)
        self.norm = nn.BatchNorm2d(wide)
        self.project = ConvNormAct(nn.Conv2d(wide, dim, 1), act_layer=None)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x = self.expand(self.reading.folded(x_BHWC))
        x = x + self.norm(self.dwconv(x))
        return self.reading.unfolded(self.project(x))


def sentence_block(
    dim: int, reading: Reading, d_state: int, drop_path_rate: float = 0.0
) -> MixerBlock:
    """A scan over the sentences and a feed-forward layer, each behind a norm, with residuals."""
    scan, convs = TokenScan(dim, reading, d_state), TokenConvs(dim, reading)
    return MixerBlock(dim, scan, convs, drop_path_rate)


class WordBlock(nn.Module):
    """A scan within each sentence, a feed-forward layer over all words, what the sentence gets.

    Norms run over the 16 I numbers of a sentence. Words `(T, 16, I)` and sentences `(B, h, w, O)`
    to the same.

    Args:
        word_dim, dim: I and O.
    """

    def __init__(self, word_dim: int, dim: int, reading: Reading, d_state: int):
        super().__init__()
        whole = WORDS * word_dim
        self.reading = reading
        self.norm = LayerNorm(whole, feeds_linear=True)
        self.op = TokenScan(word_dim, reading, d_state)
        self.norm2 = LayerNorm(whole, feeds_linear=True)
        self.mlp = TokenConvs(word_dim, reading)
        self.proj_norm = LayerNorm(whole, feeds_linear=True)
        self.proj = nn.Linear(whole, dim, bias=False)
        self.out_norm = LayerNorm(dim)

    def forward(self, words_TWI: Tensor, x_BHWO: Tensor) -> tuple[Tensor, Tensor]:
        height, width = x_BHWO.shape[1:3]
        # As maps of 4 x 4 words.
        squares = _normed(self.norm, words_TWI).unflatten(1, (SIDE, SIDE))
        words = words_TWI + self.op(squares).flatten(1, 2)
        map_BHWI = self.reading.joined(_normed(self.norm2, words), height, width)
        words = words + self.reading.parted(self.mlp(map_BHWI))
        told_TO = self.out_norm(self.proj(self.proj_norm(words.flatten(1))))
        return words, x_BHWO + told_TO.view(x_BHWO.shape)

    def walk_on_map(self, walk: MapWalk, words_TWI: Tensor, x_BHWO: Tensor) -> MapWalk:
        """A walk within a sentence as one over all words of an image."""
        height, width = (SIDE * side for side in x_BHWO.shape[1:3])
        return walk.in_pieces(window_cells(height, width, SIDE), height, width)


def _normed(norm: nn.Module, words_TWI: Tensor) -> Tensor:
    return norm(words_TWI.flatten(1)).view(words_TWI.shape)


class WordMerging(nn.Module):
    """The words of 2 x 2 sentences to those of one, twice as wide.

    Each word is normalised; the 8 x 8 words of the four sentences, at their places, go through a
    convolution of stride 2 that sees no others.

    Args:
        dim: width of the words.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.norm = LayerNorm(dim, feeds_linear=True)
        self.conv = nn.Conv2d(dim, 2 * dim, 3, 2, 1)

    def forward(self, words_TWI: Tensor, height: int, width: int) -> Tensor:
        map_BHWI = join_words(self.norm(words_TWI), height, width)
        eights = window_partition(map_BHWI, 2 * SIDE).unflatten(1, (2 * SIDE, 2 * SIDE))
        return channels_last(self.conv(channels_first(eights))).flatten(1, 2)


class TokenStem(nn.Module):
    """Images `(B, 3, H, W)` to words `(T, 16, I)` and sentences `(B, H / 8, W / 8, O)`.

    Args:
        in_channels: of the images.
        word_dim, dim: I and O.
    """

    def __init__(self, in_channels: int, word_dim: int, dim: int):
        super().__init__()
        shared = 2 * word_dim
        self.common = _conv(in_channels, shared, 2)
        self.words = _conv(shared, word_dim)
        self.sentences = nn.Sequential(
            _conv(shared, dim // 2, 2), _conv(dim // 2, dim, 2), _conv(dim, dim)
        )

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        # Channels-last from the start: all views between the two layouts are free from here on.
        shared = self.common(x_BCHW.contiguous(memory_format=torch.channels_last))
        words = window_partition(channels_last(self.words(shared)), SIDE)
        return words, channels_last(self.sentences(shared))


def _conv(in_channels: int, out_channels: int, stride: int = 1) -> ConvNormAct:
    return ConvNormAct(nn.Conv2d(in_channels, out_channels, 3, stride, 1))


def up_block(dim: int) -> nn.Sequential:
    """Twice the sides by a transposed convolution, then a convolution, both with norm and GELU."""
    act: Any = nn.GELU
    return nn.Sequential(
        nn.ConvTranspose2d(dim, dim, 2, 2),
        nn.BatchNorm2d(dim),
        act(),
        ConvNormAct(nn.Conv2d(dim, dim, 3, 1, 1), act_layer=act),
    )
