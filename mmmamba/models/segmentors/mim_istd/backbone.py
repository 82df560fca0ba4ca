"""The encoder of MiM-ISTD: sentences of 8 x 8 pixels, and within each 4 x 4 words (section III)."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.layers import PatchMerging, channels_first, pad_to_multiple
from mmmamba.layers.blocks import run_blocks
from mmmamba.layers.recomputed import recomputed

from ...trunks.arch import BaseArch
from ...trunks.base import MambaBackbone, drop_path_rates, init_by_fan_out
from ...trunks.pyramid import check_per_stage, stage_widths
from .blocks import TokenStem, WordBlock, WordMerging, sentence_block, up_block
from .key_map import BACKBONE_KEY_MAP
from .reading import PROPER, PUBLISHED

STRIDES = (4, 8, 16, 32)
"""Pixels from cell to cell of the maps, each twice as fine as its stage's sentences."""


@dataclass(frozen=True, kw_only=True)
class MiMISTDArch(BaseArch):
    """What the architecture of MiM-ISTD's encoder says. The authors drop no paths.

    Args:
        embed_dims: width of the first stage's sentences, doubled by each later one, or of each.
        word_dim: width of the first stage's words, doubled by each later one.
        depths: blocks of each stage, the first of which has a part for the words.
        d_state: states of the scans.
        maps_as_published: read the memory of tokens as maps without moving an axis, as the
            published code does; it ties the weights to one size of images, which must be square.
            Otherwise tokens stand at their places, and images may have any size.
    """

    embed_dims: int | Sequence[int] = 32
    word_dim: int = 4
    depths: Sequence[int] = (2, 2, 2, 2)
    d_state: int = 16
    maps_as_published: bool = False


class _Stage(nn.Module):
    """Words once, then the sentences' blocks."""

    def __init__(self, words: WordBlock, blocks: list[nn.Module], with_cp: bool):
        super().__init__()
        self.words = words
        self.blocks = nn.ModuleList(blocks)
        self.with_cp = with_cp

    def forward(self, words_TWI: Tensor, x_BHWO: Tensor) -> tuple[Tensor, Tensor]:
        if self.with_cp and x_BHWO.requires_grad:
            words, x = recomputed(self.words, words_TWI, x_BHWO)
        else:
            words, x = self.words(words_TWI, x_BHWO)
        return words, run_blocks(self.blocks, x, self.with_cp)


@MODELS.register_module()
class MiMISTDBackbone(MambaBackbone):
    """Four stages over sentences of 8, 16, 32 and 64 pixels a side; maps at half of these strides.

    Its arguments are the fields of `MiMISTDArch` and those of every backbone (`MambaBackbone`). It
    is made for its own decoder (`MiMISTDHead`) and has no classifier.

    With `maps_as_published` images are square, of a side that is a multiple of 64. Without it sides
    are filled up with zeros to multiples of 64, at the right and the bottom, and of the maps what
    belongs to the image is returned, sides rounded up.

    Raises:
        ValueError: a classifier is asked for, not one depth a stage, or, from `forward`, a size
            that the published reading does not have.
    """

    STANDS_ALONE = False
    KEY_MAP = BACKBONE_KEY_MAP
    Arch = MiMISTDArch
    ARCHS = dict(mim_istd=MiMISTDArch(maps_as_published=True))
    TINY = dict(arch=dict(embed_dims=8, word_dim=2, depths=(1, 1, 2, 1), d_state=4))

    def build(self, a: MiMISTDArch, in_channels: int) -> None:
        """Nothing apart: the parts are made where they are put together."""

    def _assemble(
        self, a: MiMISTDArch, parts: None, out_indices: Sequence[int] | None, num_classes: int
    ) -> None:
        family = type(self).__name__
        if self.is_classifier:
            raise ValueError(
                f"{family} has no classifier; for one take another backbone (list_backbones())"
            )
        self.dims = stage_widths(family, a.embed_dims, a.depths, len(STRIDES))
        check_per_stage(family, len(STRIDES), depths=a.depths)
        self.maps_as_published = a.maps_as_published
        self.out_indices = self._check_out_indices(
            range(len(STRIDES)) if out_indices is None else out_indices, len(STRIDES)
        )
        self.out_channels = [self.dims[i] for i in self.out_indices]
        self.out_strides = [STRIDES[i] for i in self.out_indices]
        reading = PUBLISHED if a.maps_as_published else PROPER
        word_dims = [a.word_dim * 2**i for i in range(len(STRIDES))]
        last = self.out_indices[-1]
        self.patch_embed = TokenStem(self.in_channels, word_dims[0], self.dims[0])
        stages = []
        for i, rates in enumerate(drop_path_rates(a.drop_path_rate, a.depths)[: last + 1]):
            words = WordBlock(word_dims[i], self.dims[i], reading, a.d_state)
            blocks = [sentence_block(self.dims[i], reading, a.d_state, rate) for rate in rates]
            stages.append(_Stage(words, blocks, self.with_cp))
        self.stages = nn.ModuleList(stages)
        self.word_merges = nn.ModuleList(WordMerging(dim) for dim in word_dims[:last])
        self.sentence_merges = nn.ModuleList(
            PatchMerging(*self.dims[i : i + 2]) for i in range(last)
        )
        self.up_blocks = nn.ModuleDict({str(i): up_block(self.dims[i]) for i in self.out_indices})
        self.not_built = _not_built(self.out_indices)
        self.apply(init_by_fan_out)

    def _parts(self) -> list[list[nn.Module]]:
        parts: list[list[nn.Module]] = [[self.patch_embed]]
        for i, stage in enumerate(self.stages):
            parts.append([stage])
            if i in self.out_indices:
                parts[-1].append(self.up_blocks[str(i)])
            if i > 0:
                parts[-1] += [self.word_merges[i - 1], self.sentence_merges[i - 1]]
        return parts

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        name = param_name.removeprefix(prefix)
        starts = [1]
        for stage in self.stages:
            starts.append(starts[-1] + len(stage.blocks))
        depths = starts[-1] + 1
        if name.startswith("patch_embed."):
            return 0, depths
        if found := re.match(r"stages\.(\d+)\.(?:blocks\.(\d+)|words)", name):
            return starts[int(found[1])] + int(found[2] or 0), depths
        if found := re.match(r"(?:word|sentence)_merges\.(\d+)", name):
            return starts[int(found[1]) + 1], depths
        return depths - 1, depths

    def offered(self) -> dict[int, int]:
        return dict(zip(STRIDES, self.dims))

    def asking_for(self, strides: Sequence[int]) -> dict[str, Any]:
        return dict(out_indices=tuple(STRIDES.index(stride) for stride in strides))

    def open_classifier(self, x_BCHW: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return _no_classifier()

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Images `(B, 3, H, W)` to maps `(B, C, H / s, W / s)` for each of `out_strides` s.

        Raises:
            ValueError: a size that the published reading does not have.
        """
        sides = x_BCHW.shape[2:]
        if self.maps_as_published:
            _check_sides(*sides)
        else:
            x_BCHW = pad_to_multiple(x_BCHW, 2 * STRIDES[-1])
        words, x = self.patch_embed(x_BCHW)
        tokens = []
        for i, stage in enumerate(self.stages):
            if i > 0:
                height, width = x.shape[1:3]
                words = self.word_merges[i - 1](words, height, width)
                x = self.sentence_merges[i - 1](x)
            words, x = stage(words, x)
            if i in self.out_indices:
                tokens.append(x)
        owners = [[self.up_blocks[str(i)]] for i in self.out_indices]
        if self.training:
            tokens = list(self._watched(tokens, owners))
        maps = []
        for i, x_BHWO in zip(self.out_indices, tokens):
            height, width = (-(-side // STRIDES[i]) for side in sides)
            maps.append(self.up_blocks[str(i)](channels_first(x_BHWO))[:, :, :height, :width])
        return self._leaving(maps)


def _not_built(out_indices: Sequence[int]) -> tuple[str, ...]:
    """Patterns of the names that whole files have and a network of these maps lacks."""
    patterns = []
    for i in range(len(STRIDES)):
        if i not in out_indices:
            patterns.append(rf"up_blocks\.{i}\..*")
        if i > out_indices[-1]:
            patterns += [rf"stages\.{i}\..*", rf"(word|sentence)_merges\.{i - 1}\..*"]
    return tuple(patterns)


def _check_sides(height: int, width: int) -> None:
    multiple = 2 * STRIDES[-1]
    if height != width or height % multiple:
        raise ValueError(
            f"MiM-ISTD as published takes square images with a side of a multiple of {multiple}, "
            f"got {height} x {width}. Resize or pad them to that (Resize, Pad in the pipelines), "
            "or take maps_as_published=False, which takes any size and has to be trained anew"
        )


def _no_classifier() -> NoReturn:
    raise NotImplementedError("MiM-ISTD has no classifier")
