"""The trunk of one width and one stride: patches, tokens, a column of blocks, maps after some."""

import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmmamba.layers import LayerNorm, TokenLayout, channels_first, channels_last, rescale
from mmmamba.layers.blocks import run_blocks
from mmmamba.layers.recomputed import recomputed

from .arch import BaseArch
from .base import MambaBackbone

PYRAMID_STRIDES = (4, 8, 16, 32)
STAGES = len(PYRAMID_STRIDES)


def four_blocks(depth: int) -> tuple[int, ...]:
    """Four blocks at equal distances, the last among them; fewer where there are fewer."""
    return tuple(sorted({max(depth * (i + 1) // STAGES - 1, 0) for i in range(STAGES)}))


@dataclass(frozen=True, kw_only=True)
class ColumnArch(BaseArch):
    """What every column's architecture says.

    Args:
        embed_dims: width.
        img_size: side or (height, width) that the positions are learned for; they are resized to
            any other.
        patch_size: side of the patches.
        pyramid: bring the four outputs to strides 4, 8, 16, 32, as Vim's authors do for
            segmentation, or as many outputs to the strides given.
        drop_path_rate: of the last block, rising from 0 at the first.
    """

    embed_dims: int
    img_size: int | Sequence[int] = 224
    patch_size: int = 16
    pyramid: bool | Sequence[int] = False

    @property
    def img_sides(self) -> tuple[int, int]:
        """(height, width) that the positions are learned for."""
        if isinstance(self.img_size, int):
            return self.img_size, self.img_size
        height, width = self.img_size
        return height, width


@dataclass(frozen=True, kw_only=True)
class Column:
    """The parts of a column, all blocks among them: a seed always starts from the same weights.

    Args:
        patch_embed: images to a map of patches `(B, H, W, C)`.
        tokens: that map to a sequence `(B, L, C)` and its `TokenLayout`, positions added and extra
            tokens (a class token, registers) put in their places. `TokenEmbedding`, for one.
        stride: of the map of patches.
        blocks: `block(x_BLC, layout)` returns the next sequence.
        norm: `norm(dim)` makes what the classifier reads through.
        out_norm: `out_norm(dim)` makes what an output passes through; None for nothing.
    """

    patch_embed: nn.Module
    tokens: nn.Module
    stride: int
    blocks: Sequence[Any]
    norm: Callable[[int], nn.Module] = LayerNorm
    out_norm: Callable[[int], nn.Module] | None = None


class PlainBackbone(MambaBackbone):
    """Patches, tokens, and a column of blocks of which some give the maps.

    A family's `build` returns a `Column`. Extra tokens are cut out of the maps; the classifier
    reads the first of them, or the mean of the map where there are none. A family that reads them
    otherwise overrides `_add_classifier` and `_classify`. The classifier's norm is registered under
    the name that the family's checkpoints use, `FINAL_NORM`; those of the outputs are `outnorm_{n}`
    unless it overrides `_out_norm`.
    """

    FINAL_NORM: ClassVar[str] = "norm_f"
    OF_MAPS = (r"outnorm_\d+\..*", r"fpn\d\..*")
    OF_CLASSIFIER = (r"(norm_f|head)\..*",)

    patch_embed: nn.Module
    tokens: Any
    adapted: bool = False
    """Whether its maps are those of an adapter around it (`AdaptedBackbone`)."""

    @abstractmethod
    def build(self, a: Any, in_channels: int) -> Column: ...

    def _assemble(
        self,
        a: ColumnArch,
        parts: Column,
        out_indices: Sequence[int] | None,
        num_classes: int,
    ) -> None:
        dim, self.depth = a.embed_dims, len(parts.blocks)
        chosen = four_blocks(self.depth) if out_indices is None else out_indices
        self.out_indices = self._check_out_indices(chosen, self.depth)
        self._refuse_stages()
        self.patch_embed = parts.patch_embed
        self.tokens = parts.tokens
        # All blocks came into being in `build`; those behind the last map are let go here, and
        # files that hold them are no misfit (`not_built`).
        built = self.depth if self.is_classifier else self.out_indices[-1] + 1
        self.not_built = tuple(rf"layers\.{i}\..*" for i in range(built, self.depth))
        self._add_blocks(a, parts, built)
        self.out_norms = parts.out_norm is not None and not self.is_classifier
        if self.is_classifier:
            self.add_module(self.FINAL_NORM, parts.norm(dim))
            self._add_classifier(dim, num_classes)
        elif parts.out_norm is not None:
            for n in range(len(self.out_indices)):
                self.add_module(self._out_norm(n), parts.out_norm(dim))
        self._add_pyramid(dim, parts.stride, a.pyramid)

    def _add_blocks(self, a: Any, parts: Any, built: int) -> None:
        """Register the first `built` blocks as `layers`."""
        self.layers = nn.ModuleList(parts.blocks[:built])

    def _refuse_stages(self) -> None:
        """Refuse `out_indices` that count four stages: a long column's first blocks would leave."""
        if self.depth > 2 * STAGES and self.out_indices[-1] < STAGES:
            raise ValueError(
                f"out_indices of {type(self).__name__} counts its {self.depth} blocks, and "
                f"{self.out_indices} are among the first {STAGES} of them: they were probably "
                "meant for the stages of a pyramid. "
                f"Write out_indices={four_blocks(self.depth)}, or leave it out, and pyramid=True "
                "where the neck or head wants maps at strides 4, 8, 16 and 32; "
                "pyramid=(8, 16, 32) with three out_indices brings them to those strides."
            )

    def _add_pyramid(self, dim: int, stride: int, pyramid: bool | Sequence[int]) -> None:
        self.out_channels = [dim] * len(self.out_indices)
        self.out_strides = [stride] * len(self.out_indices)
        self.pyramid = bool(pyramid) and not self.is_classifier
        if not self.pyramid:
            return
        strides = PYRAMID_STRIDES if isinstance(pyramid, bool) else tuple(pyramid)
        if not set(strides) <= set(PYRAMID_STRIDES):
            raise ValueError(
                f"pyramid is {strides}, wanted True or some of the strides {PYRAMID_STRIDES}"
            )
        if len(self.out_indices) != len(strides):
            raise ValueError(
                f"pyramid={pyramid} wants {len(strides)} out_indices, one for each of the strides "
                f"{strides}; got {self.out_indices}"
            )
        self.out_strides = list(strides)
        for out_stride in strides:
            # The authors have SyncBN here, whose state dict is the same.
            level, _ = rescale(dim, stride / out_stride, nn.BatchNorm2d)
            self.add_module(self._level(out_stride), level)

    @staticmethod
    def _level(out_stride: int) -> str:
        """The published name of what brings a map to a stride: `fpn1` to 4, `fpn2` to 8."""
        return f"fpn{PYRAMID_STRIDES.index(out_stride) + 1}"

    def _out_norm(self, n: int) -> str:
        """The name of the n-th output's norm."""
        # Counted by output and not by block, as most published files name them.
        return f"outnorm_{n}"

    def _output_parts(self, n: int) -> list[nn.Module]:
        """The modules that the n-th output passes through on its way out."""
        names = [self._out_norm(n)] if self.out_norms else []
        if self.pyramid:
            names.append(self._level(self.out_strides[n]))
        return [getattr(self, name) for name in names]

    def _parts(self) -> list[list[nn.Module]]:
        parts = [[self.patch_embed, self.tokens], *([layer] for layer in self.layers)]
        if self.out_norms:
            # Levels of the pyramid are new to whoever freezes pretrained blocks, and learn.
            for n, i in enumerate(self.out_indices):
                parts[i + 1].append(getattr(self, self._out_norm(n)))
        return parts

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        name, depths = param_name.removeprefix(prefix), len(self.layers) + 2
        if name.startswith(("patch_embed.", "tokens.")):
            return 0, depths
        found = re.match(r"layers\.(\d+)\.", name)
        return (int(found[1]) + 1 if found else depths - 1), depths

    def offered(self) -> dict[int, int]:
        return dict.fromkeys(PYRAMID_STRIDES, self.out_channels[0])

    def asking_for(self, strides: Sequence[int]) -> dict[str, Any]:
        # The deepest blocks, so that the column is run to its end however few maps are wanted.
        whole = tuple(strides) == PYRAMID_STRIDES
        return dict(
            out_indices=four_blocks(self.depth)[-len(strides) :],
            pyramid=True if whole else tuple(strides),
        )

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, ...] | Tensor:
        """Images `(B, 3, H, W)` to maps `(B, C, H', W')` or to logits `(B, classes)`.

        Maps are channels-last in memory unless `contiguous_maps`.
        """
        wanted = () if self.is_classifier else self.out_indices
        layout, taken, last_BLC = self._walk(x_BCHW, wanted)
        if self.is_classifier:
            return self._classify(last_BLC, layout)
        return self._maps([taken[i] for i in wanted], layout)

    def forward_features(self, x_BCHW: Tensor) -> Tensor:
        """The last sequence `(B, L, C)`, extra tokens among it, which a classifier reads."""
        return self._walk(x_BCHW, ())[2]

    def forward_head(self, features_BLC: Tensor) -> Tensor:
        """A classifier's logits of its `forward_features`."""
        # Which tokens are extra depends on their number alone, not on the sides of the map.
        extra = len(self.tokens.layout(1, features_BLC.shape[1]).places)
        layout = self.tokens.layout(1, features_BLC.shape[1] - extra)
        return self._classify(features_BLC, layout)

    def _embed(self, x_BCHW: Tensor) -> tuple[Tensor, TokenLayout]:
        """Images to the sequence `(B, L, C)` that goes into the first block."""
        # Then patches come out channels-last too, and flatten to a sequence without a copy.
        channels_last_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
        return self.tokens(self.patch_embed(channels_last_BCHW))

    def _walk(
        self, x_BCHW: Tensor, wanted: Sequence[int]
    ) -> tuple[TokenLayout, dict[int, Tensor], Tensor]:
        """Through tokens and blocks: the layout, what the wanted blocks gave, and the end."""
        x_BLC, layout = self._embed(x_BCHW)
        taken = {}
        for i, layer in enumerate(self.layers):
            x_BLC = self._through(layer, x_BLC, layout)
            if i in wanted:
                taken[i] = x_BLC
        return layout, taken, x_BLC

    def _run(self, start: int, end: int, x_BLC: Tensor, layout: TokenLayout) -> Tensor:
        """Through blocks `start` … `end - 1`: the sequence before them to that after them."""
        for layer in list(self.layers)[start:end]:
            x_BLC = self._through(layer, x_BLC, layout)
        return x_BLC

    def _through(self, layer: nn.Module, x_BLC: Tensor, *rest: Any) -> Any:
        """`layer(x_BLC, *rest)`, recomputed in the backward pass where `with_cp`."""
        # Without a gradient to come, as behind frozen blocks, nothing is kept that could be spared.
        if self.with_cp and x_BLC.requires_grad:
            return recomputed(layer, x_BLC, *rest)
        return layer(x_BLC, *rest)

    def _maps(self, sequences: Sequence[Tensor], layout: TokenLayout) -> tuple[Tensor, ...]:
        # Before norms and levels, so that an unread map's modules get zeros as well. Outside of
        # training nobody misses a gradient.
        if self.training:
            owners = [self._output_parts(n) for n in range(len(sequences))]
            sequences = self._watched(sequences, owners)
        return self._leaving([self._output(n, x, layout) for n, x in enumerate(sequences)])

    def _output(self, n: int, sequence_BLC: Tensor, layout: TokenLayout) -> Tensor:
        """The n-th map `(B, C, H, W)` that leaves."""
        # Extra tokens belong to no cell: they go before norm and level see a map.
        cells_BLC, _ = layout.cut(sequence_BLC)
        if self.out_norms:
            cells_BLC = getattr(self, self._out_norm(n))(cells_BLC)
        x_BCHW = channels_first(cells_BLC.unflatten(1, (layout.height, layout.width)))
        if self.pyramid:
            x_BCHW = getattr(self, self._level(self.out_strides[n]))(x_BCHW)
        return x_BCHW

    def _add_classifier(self, dim: int, num_classes: int) -> None:
        self.head = nn.Linear(dim, num_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def open_classifier(self, x_BCHW: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        x_BLC, layout = self._embed(x_BCHW)
        before = self.depth - 1 if layout.places else self.depth
        cells_BLC, extra_BEC = layout.cut(self._run(0, before, x_BLC, layout))

        def classify(map_BCHW: Tensor) -> Tensor:
            given_BLC = layout.insert(channels_last(map_BCHW).flatten(1, 2), extra_BEC)
            return self._classify(self._run(before, self.depth, given_BLC, layout), layout)

        return channels_first(cells_BLC.unflatten(1, (layout.height, layout.width))), classify

    def _classify(self, last_BLC: Tensor, layout: TokenLayout) -> Tensor:
        """Logits from the first extra token, or the mean of the map where there is none."""
        # The norm looks at one token at a time, so cutting may come after it.
        cells_BLC, extra_BEC = layout.cut(getattr(self, self.FINAL_NORM)(last_BLC))
        return self.head(extra_BEC[:, 0] if layout.places else cells_BLC.mean(1))


class MapBackbone(PlainBackbone):
    """A column whose blocks take and return maps `(B, H, W, C)`; there are no extra tokens."""

    def _walk(
        self, x_BCHW: Tensor, wanted: Sequence[int]
    ) -> tuple[TokenLayout, dict[int, Tensor], Tensor]:
        x_BLC, layout = self._embed(x_BCHW)
        x_BHWC = x_BLC.unflatten(1, (layout.height, layout.width))
        blocks, taken, done = list(self.layers), {}, 0
        # A map is whole only between two runs: within one a sum is left to the next block's norm.
        for i in wanted:
            x_BHWC = run_blocks(blocks[done : i + 1], x_BHWC, self.with_cp)
            taken[i], done = x_BHWC.flatten(1, 2), i + 1
        last_BHWC = run_blocks(blocks[done:], x_BHWC, self.with_cp)
        return layout, taken, last_BHWC.flatten(1, 2)

    def _run(self, start: int, end: int, x_BLC: Tensor, layout: TokenLayout) -> Tensor:
        x_BHWC = x_BLC.unflatten(1, (layout.height, layout.width))
        return run_blocks(list(self.layers)[start:end], x_BHWC, self.with_cp).flatten(1, 2)
