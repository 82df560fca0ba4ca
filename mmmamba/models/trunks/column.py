"""The trunk of one width and one stride: patches, a column of blocks, and a pyramid on top where one is asked for."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from mmmamba.layers import (
    LayerNorm,
    PatchEmbed,
    StreamBlock,
    TokenEmbedding,
    TokenLayout,
    channels_first,
    drop_path,
    rescale,
    resize_rotary_table,
    rotary_table,
)
from mmmamba.layers.recomputed import recomputed
from mmmamba.layers.rotary import PRETRAINED_SIDE, rotate

from .base import MambaBackbone, one_of

FEATURES = ("mixer", "stream")
NORMS = {"rms": nn.RMSNorm, "layer": LayerNorm}
ROTARY = ("none", "computed", "resized")
PYRAMID_STRIDES = (4, 8, 16, 32)
STAGES = len(PYRAMID_STRIDES)


def four_blocks(depth: int) -> tuple[int, ...]:
    """Four blocks at equal distances, the last among them; fewer where there are fewer."""
    return tuple(sorted({max(depth * (i + 1) // STAGES - 1, 0) for i in range(STAGES)}))


class PlainBackbone(MambaBackbone):
    """Patch embedding, tokens, then blocks on a residual stream that is normalised only on its way into a mixer.

    A family makes its mixers, `patch_embed` (images to a channels-last map) and `tokens` (a map to a sequence and its
    `TokenLayout`), and calls `_assemble`. It may override `_block`, `_add_classifier` and `_classify`.
    """

    @staticmethod
    def _embeddings(
        in_channels: int,
        dim: int,
        img_size: int | Sequence[int],
        patch_size: int,
        stride: int,
        pad: bool,
        cls_token: str,
    ) -> tuple[PatchEmbed, TokenEmbedding]:
        """The usual two: patches by one convolution, learned positions for `img_size`, a class token or none."""
        patch_embed = PatchEmbed(in_channels, dim, patch_size, stride, pad)
        sides = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
        return patch_embed, TokenEmbedding(dim, patch_embed.grid_size(*sides), cls_token)

    def _block(
        self, index: int, mixer: nn.Module, norm: nn.Module, drop_path_rate: float
    ) -> nn.Module:
        """Called as `StreamBlock.forward` is."""
        return StreamBlock(mixer, norm, drop_path_rate)

    def _assemble(
        self,
        patch_embed: nn.Module,
        tokens: nn.Module,
        mixers: Sequence[nn.Module],
        dim: int,
        stride: int,
        *,
        rotary: str,
        norm: str,
        drop_path_rate: float,
        features: str,
        out_norms: bool,
        pyramid: bool | Sequence[int],
        out_indices: Sequence[int] | None,
        with_cp: bool,
        num_classes: int | None,
    ) -> None:
        """Register the parts.

        Args:
            stride: of the map that `patch_embed` makes.
            rotary: "none"; "computed" for the map at hand, scaled to what the weights know; or "resized" from the
                table of the map that `tokens` knows.
            norm: "rms" or "layer".
            features: "mixer", what a block's mixer returns, or "stream", the residual stream with that added.
            out_norms: a LayerNorm `outnorm_{n}` for the n-th output.
            pyramid: strides to bring the outputs to, True for `PYRAMID_STRIDES`.
            num_classes: of the classifier in place of maps, None for none.

        Blocks after the last that is asked for are left out.

        Raises:
            ValueError: a name that is none, or `out_indices` that do not fit.
        """
        depth = len(mixers)
        self.features = one_of("features", features, FEATURES)
        self.rotary = one_of("rotary", rotary, ROTARY)
        norm_layer = partial(NORMS[one_of("norm", norm, list(NORMS))], eps=1e-5)
        self.with_cp = with_cp
        self.patch_embed = patch_embed
        self.tokens = tokens
        # What a block returns passes the drop of the next; the first two blocks have none.
        last = max(depth - 1, 1)
        rates = [0.0, *(drop_path_rate * i / last for i in range(depth))]
        chosen = four_blocks(depth) if out_indices is None else out_indices
        self.out_indices = self._check_out_indices(chosen, depth)
        self._refuse_stages(depth)
        self.is_classifier = num_classes is not None
        built = depth if self.is_classifier else self.out_indices[-1] + 1
        self.not_built = tuple(rf"layers\.{i}\..*" for i in range(built, depth))
        self.layers = nn.ModuleList(
            self._block(i, mixers[i], norm_layer(dim), rates[i]) for i in range(built)
        )
        for mixer in mixers[:built]:
            mixer.out_proj.weight.data /= depth**0.5
        self.drop_path = drop_path(rates[built])
        if self.is_classifier:
            self.norm_f = norm_layer(dim)
            self._add_classifier(dim, num_classes)
        elif out_norms:
            for n in range(len(self.out_indices)):
                self.add_module(f"outnorm_{n}", LayerNorm(dim))
        self.out_norms = out_norms
        self._add_pyramid(dim, stride, pyramid)
        self._freeze()

    def _refuse_stages(self, depth: int) -> None:
        """Refuse `out_indices` that count four stages: in a long column they would be its first blocks."""
        if depth > 2 * STAGES and self.out_indices[-1] < STAGES:
            name = type(self).__name__
            raise ValueError(
                f"out_indices of {name} counts its {depth} blocks, and {self.out_indices} are among the first {STAGES} "
                f"of them: they were probably meant for the stages of a pyramid. "
                f"Write out_indices={four_blocks(depth)}, or "
                "leave it out, and pyramid=True where the neck or head wants maps at strides 4, 8, 16 and 32; "
                "pyramid=(8, 16, 32) with three out_indices brings them to those strides."
            )

    def _add_pyramid(self, dim: int, stride: int, pyramid: bool | Sequence[int]) -> None:
        self.out_channels = [dim] * len(self.out_indices)
        self.out_strides = [stride] * len(self.out_indices)
        self.pyramid = bool(pyramid) and not self.is_classifier
        if not self.pyramid:
            return
        strides = PYRAMID_STRIDES if pyramid is True else tuple(pyramid)
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
            self.add_module(
                self._level(out_stride), rescale(dim, stride / out_stride, nn.BatchNorm2d)[0]
            )

    @staticmethod
    def _level(out_stride: int) -> str:
        """The published name of the module that brings a map to a stride: `fpn1` to 4, `fpn2` to 8, …"""
        return f"fpn{PYRAMID_STRIDES.index(out_stride) + 1}"

    def _output_parts(self, n: int) -> list[nn.Module]:
        """The modules that the n-th output passes through on its way out."""
        norms = [getattr(self, f"outnorm_{n}")] if self.out_norms else []
        return norms + ([getattr(self, self._level(self.out_strides[n]))] if self.pyramid else [])

    def _parts(self) -> list[list[nn.Module]]:
        parts = [[self.patch_embed, self.tokens], *([layer] for layer in self.layers)]
        if self.out_norms and not self.is_classifier:
            for n, i in enumerate(self.out_indices):
                parts[i + 1].append(getattr(self, f"outnorm_{n}"))
        return parts

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, ...] | Tensor:
        """Images `(B, 3, H, W)` to maps `(B, C, H', W')` or to logits `(B, classes)`.

        Maps are channels-last in memory unless `contiguous_maps`.
        """
        hidden_BLC, layout = self.tokens(
            self.patch_embed(x_BCHW.contiguous(memory_format=torch.channels_last))
        )
        rotation_2LE = self._rotation(layout, hidden_BLC) if self.rotary != "none" else None
        taken, stream_BLC = {}, None
        wanted = () if self.is_classifier else self.out_indices
        for i, layer in enumerate(self.layers):
            if self.with_cp and hidden_BLC.requires_grad:
                hidden_BLC, stream_BLC = recomputed(
                    layer, hidden_BLC, stream_BLC, layout, rotation_2LE
                )
            else:
                hidden_BLC, stream_BLC = layer(hidden_BLC, stream_BLC, layout, rotation_2LE)
            # The stream in block i is the stream after block i - 1, turned once more where there is a rotary table.
            block, out_BLC = (i, hidden_BLC) if self.features == "mixer" else (i - 1, stream_BLC)
            if block in wanted:
                taken[block] = out_BLC
        if self.not_built and self.features == "stream" and rotation_2LE is not None:
            # The block that would have come turns what it is given before anything is taken.
            hidden_BLC, stream_BLC = (
                rotate(hidden_BLC, rotation_2LE),
                rotate(stream_BLC, rotation_2LE),
            )
        stream_BLC = stream_BLC + self.drop_path(hidden_BLC)
        if self.features == "stream":
            taken[len(self.layers) - 1] = stream_BLC
        if self.is_classifier:
            return self._classify(stream_BLC, layout)
        return self._maps([taken[i] for i in self.out_indices], layout)

    def _rotation(self, layout: TokenLayout, tokens_BLC: Tensor) -> Tensor:
        """Cosines and sines for each token, `(2, L, C / 2)`; extra tokens are not turned."""
        size, dim = (layout.height, layout.width), tokens_BLC.shape[-1]
        if self.rotary == "computed":
            scale = tuple(PRETRAINED_SIDE / side for side in size)
            table_2LE = rotary_table(*size, dim, scale, tokens_BLC.device)
        else:
            grid = self.tokens.grid_size
            table_2LE = rotary_table(
                *grid, dim, (PRETRAINED_SIDE / grid[0],) * 2, tokens_BLC.device
            )
            table_2LE = resize_rotary_table(table_2LE, grid, size)
        # The angle 0, made on the device: copied there it would make each pass wait, and fail in a CUDA graph.
        still = torch.eye(2, device=tokens_BLC.device)[0, :, None, None]
        still = still.expand(-1, len(layout.places), table_2LE.shape[-1])
        return layout.insert(table_2LE, still).to(tokens_BLC.dtype)

    def _maps(self, sequences: Sequence[Tensor], layout: TokenLayout) -> tuple[Tensor, ...]:
        if self.training:
            sequences = self._watched(
                sequences, [self._output_parts(n) for n in range(len(sequences))]
            )
        maps = []
        for n, sequence_BLC in enumerate(sequences):
            cells_BLC = layout.cut(sequence_BLC)[0]
            if self.out_norms:
                cells_BLC = getattr(self, f"outnorm_{n}")(cells_BLC)
            x_BCHW = channels_first(cells_BLC.unflatten(1, (layout.height, layout.width)))
            maps.append(
                getattr(self, self._level(self.out_strides[n]))(x_BCHW) if self.pyramid else x_BCHW
            )
        return self._leaving(maps)

    def _add_classifier(self, dim: int, num_classes: int) -> None:
        self.head = nn.Linear(dim, num_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def _classify(self, stream_BLC: Tensor, layout: TokenLayout) -> Tensor:
        """Logits from the class token, or the mean of the map where there is none."""
        cells_BLC, extra_BEC = layout.cut(self.norm_f(stream_BLC))
        return self.head(extra_BEC[:, 0] if layout.places else cells_BLC.mean(1))
