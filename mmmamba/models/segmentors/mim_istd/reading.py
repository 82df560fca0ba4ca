"""Two ways from tokens to maps and back: as the published code goes, and as one would expect.

The published code reads the memory of its tokens as a map without moving an axis. Channels and
places are mixed by that, in a way that depends on the size of the image. Weights that were trained
so need it; nothing else does.

Shape suffixes: B images, h and w sentences along the sides, N = h w, T = B N sentences, C channels;
a sentence has 4 x 4 words.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from mmmamba.layers import channels_first, channels_last, window_join, window_partition

SIDE = 4
"""Words along a side of a sentence."""
WORDS = SIDE * SIDE


@dataclass(frozen=True)
class Reading:
    """How tokens become the maps that scans and convolutions take."""

    scanned: Callable[[Tensor], Tensor]
    """Tokens at their places `(B, h, w, C)` to the map that a scan walks, `(B, h, w, C)`.

    What it returns is taken as tokens at their places.
    """
    folded: Callable[[Tensor], Tensor]
    """Tokens at their places to the map of a convolution, `(B, C, h, w)`."""
    unfolded: Callable[[Tensor], Tensor]
    """The inverse of `folded`."""
    joined: Callable[[Tensor, int, int], Tensor]
    """Words `(T, 16, C)` of h x w sentences to one map of an image, `(B, 4 h, 4 w, C)`."""
    parted: Callable[[Tensor], Tensor]
    """The inverse of `joined`."""
    scrambled: bool
    """Whether places and channels are mixed."""


def join_words(words_TWC: Tensor, height: int, width: int) -> Tensor:
    """Words `(T, 16, C)` at their places in the image, `(B, 4 height, 4 width, C)`."""
    return window_join(words_TWC, SIDE, SIDE * height, SIDE * width)


def part_words(x_BHWC: Tensor) -> Tensor:
    """The inverse of `join_words`."""
    return window_partition(x_BHWC, SIDE)


def _skew(x_BHWC: Tensor) -> Tensor:
    # Channels first, and that memory read as if they came last.
    return channels_first(x_BHWC).reshape(x_BHWC.shape)


def _fold(x_BHWC: Tensor) -> Tensor:
    B, H, W, C = x_BHWC.shape
    return x_BHWC.reshape(B, C, H, W)


def _unfold(x_BCHW: Tensor) -> Tensor:
    B, C, H, W = x_BCHW.shape
    return x_BCHW.reshape(B, H, W, C)


def _as_they_lie(words_TWC: Tensor, height: int, width: int) -> Tensor:
    C = words_TWC.shape[2]
    return words_TWC.reshape(-1, SIDE * height, SIDE * width, C)


def _parted_as_they_lie(x_BHWC: Tensor) -> Tensor:
    return x_BHWC.reshape(-1, WORDS, x_BHWC.shape[3])


PUBLISHED = Reading(_skew, _fold, _unfold, _as_they_lie, _parted_as_they_lie, scrambled=True)
PROPER = Reading(
    lambda x_BHWC: x_BHWC,
    channels_first,
    channels_last,
    join_words,
    part_words,
    scrambled=False,
)
