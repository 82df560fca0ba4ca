"""The column on a residual stream that is normalised only on its way into a mixer (Mamba's order).

A block adds to the stream what the block before it returned. So the stream after a block exists
only within the next one, or at the end.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmmamba.layers import (
    LayerNorm,
    RMSNorm,
    StreamBlock,
    TokenLayout,
    added,
    drop_path,
    dropped,
    resize_rotary_table,
    rotary_table,
)
from mmmamba.layers.rotary import PRETRAINED_SIDE, rotate

from .arch import named, one_of
from .base import drop_path_rates
from .column import Column, ColumnArch, PlainBackbone

FEATURES = ("mixer", "stream")
NORMS = {"rms": RMSNorm, "layer": LayerNorm}
ROTARY = ("none", "computed", "resized")


@dataclass(frozen=True, kw_only=True)
class StreamArch(ColumnArch):
    """What the architecture of every column on a residual stream says, beside `ColumnArch`.

    Args:
        norm: "rms" or "layer".
        features: what a map shows of a block: "stream", the residual stream after it, or "mixer",
            what it adds to that.
        d_state, ssm_ratio, d_conv, dt_rank: of the mixers.
    """

    norm: str = "rms"
    features: str = "stream"
    d_state: int = 16
    ssm_ratio: float = 2.0
    d_conv: int = 4
    dt_rank: int | str = "auto"


@dataclass(frozen=True, kw_only=True)
class Stream(Column):
    """The parts of a column on a residual stream, as `Column`'s.

    Args:
        blocks: the mixers alone, each `mixer(x_BLC, layout)`, which begins with linear layers and
            has an `out_proj`.
        norm: `stream_norm` of the architecture's; before each mixer and at the end.
        rotary: turn the stream and what is added to it at every block by the token's row and
            column: "none"; "computed" for the map at hand, scaled to what the weights know; or
            "resized" from the table of the map that `tokens` knows (its `grid_size`).
    """

    norm: Callable[..., nn.Module] = LayerNorm
    rotary: str = "none"


class StreamBackbone(PlainBackbone):
    """A column of `StreamBlock`s. A family's `build` returns a `Stream`."""

    @abstractmethod
    def build(self, a: Any, in_channels: int) -> Stream: ...

    def _add_blocks(self, a: StreamArch, parts: Stream, built: int) -> None:
        self.features = one_of("features", a.features, FEATURES)
        self.rotary = one_of("rotary", parts.rotary, ROTARY)
        # What a block returns passes the drop of the next; the first two blocks have none.
        rates = [0.0, *drop_path_rates(a.drop_path_rate, [self.depth])[0]]
        blocks = []
        for mixer, rate in zip(parts.blocks[:built], rates):
            # All branches add to one stream, so each starts smaller the more there are; by the
            # whole depth, so that `out_indices` does not change what a block starts from.
            mixer.out_proj.weight.data /= self.depth**0.5
            norm = parts.norm(a.embed_dims, feeds_linear=True)
            blocks.append(StreamBlock(mixer, norm, rate))
        self.layers = nn.ModuleList(blocks)
        self.drop_path = drop_path(rates[built])

    def _walk(
        self, x_BCHW: Tensor, wanted: Sequence[int]
    ) -> tuple[TokenLayout, dict[int, Tensor], Tensor]:
        hidden_BLC, layout = self._embed(x_BCHW)
        rotation_2LE = self._rotation(layout, hidden_BLC)
        taken: dict[int, Tensor] = {}
        stream_BLC: Any = None
        for i, layer in enumerate(self.layers):
            hidden_BLC, stream_BLC = self._through(
                layer, hidden_BLC, stream_BLC, layout, rotation_2LE
            )
            if self.features == "mixer" and i in wanted:
                taken[i] = hidden_BLC
            # The stream in a block is the stream after the one before it, turned once more where
            # there is a rotary table.
            if self.features == "stream" and i - 1 in wanted:
                taken[i - 1] = stream_BLC
        if self.not_built and self.features == "stream" and rotation_2LE is not None:
            # The block that would have come turns what it is given before anything is taken.
            hidden_BLC = rotate(hidden_BLC, rotation_2LE)
            stream_BLC = rotate(stream_BLC, rotation_2LE)
        stream_BLC = added(stream_BLC, dropped(self.drop_path, hidden_BLC))
        if self.features == "stream":
            taken[len(self.layers) - 1] = stream_BLC
        return layout, taken, stream_BLC

    def _run(self, start: int, end: int, x_BLC: Tensor, layout: TokenLayout) -> Tensor:
        if start == end:
            return x_BLC
        rotation_2LE = self._rotation(layout, x_BLC)
        hidden_BLC: Any = x_BLC
        stream_BLC: Any = None
        for layer in list(self.layers)[start:end]:
            hidden_BLC, stream_BLC = self._through(
                layer, hidden_BLC, stream_BLC, layout, rotation_2LE
            )
        # What the last block returned passes the drop of the next, which then finds no stream.
        drop = (*(layer.drop_path for layer in self.layers), self.drop_path)[end]
        return added(stream_BLC, dropped(drop, hidden_BLC))

    def _rotation(self, layout: TokenLayout, tokens_BLC: Tensor) -> Tensor | None:
        """Cosines and sines for each token, `(2, L, C / 2)`; extra tokens are not turned."""
        if self.rotary == "none":
            return None
        size, dim = (layout.height, layout.width), tokens_BLC.shape[-1]
        device = tokens_BLC.device
        if self.rotary == "computed":
            # A map of any size spans the angles of the pretrained one, in smaller or larger steps.
            scale = PRETRAINED_SIDE / layout.height, PRETRAINED_SIDE / layout.width
            table_2LE = rotary_table(*size, dim, scale, device)
        else:
            height, width = self.tokens.grid_size
            # One scale for both, by the height, as LocalVim's published tables have it.
            scale = PRETRAINED_SIDE / height, PRETRAINED_SIDE / height
            table_2LE = rotary_table(height, width, dim, scale, device)
            table_2LE = resize_rotary_table(table_2LE, (height, width), size)
        # The angle 0, made on the device: copied there it would make each pass wait, and fail in
        # a CUDA graph.
        still = torch.eye(2, device=device)[0, :, None, None]
        still = still.expand(-1, len(layout.places), table_2LE.shape[-1])
        return layout.insert(table_2LE, still).to(tokens_BLC.dtype)


def stream_norm(name: str) -> partial[nn.Module]:
    """`norm(dim)` makes a norm of the stream, by the name that `StreamArch.norm` gives."""
    return partial(named("norm", name, NORMS), eps=1e-5)
