"""Sigma's decoder (arXiv 2404.04256, section 3.4): channel-aware SS2D blocks up to stride 4.

Shape suffixes: B batch, H and W sides, C width.
"""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.registry import MODELS
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn
from torch.fx.experimental.symbolic_shapes import statically_known_true

from mmmamba.layers import (
    SS2D,
    LayerNorm,
    PatchExpand,
    channels_first,
    channels_last,
    drop_path,
)
from mmmamba.layers.blocks import run_blocks
from mmmamba.layers.packed import pack_plain_layers

from ...trunks.base import drop_path_rates
from .bare_parameters import freeze_bare_parameters

KAIMING = dict(type="Kaiming", layer="Conv2d", mode="fan_in", nonlinearity="relu")


class ChannelAttention(nn.Module):
    """Channels weighed by the means and the maxima of the map, `(B, C, H, W)` to the same.

    Args:
        dim: C.
        reduction: the hidden width is C // reduction.
    """

    def __init__(self, dim: int, reduction: int = 30):
        super().__init__()
        # A map narrower than that, of which none was published, keeps one channel.
        hidden = max(dim // reduction, 1)
        narrow, widen = (
            nn.Conv2d(dim, hidden, 1, bias=False),
            nn.Conv2d(hidden, dim, 1, bias=False),
        )
        self.fc = nn.Sequential(narrow, nn.SiLU(), widen)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        mean, most = x_BCHW.mean((2, 3), keepdim=True), x_BCHW.amax((2, 3), keepdim=True)
        return x_BCHW * (self.fc(mean) + self.fc(most)).sigmoid()


class ChannelBlock(nn.Module):
    """Two convolutions and `ChannelAttention`, of channels-last maps.

    Args:
        dim: C.
        reduction: the convolutions' hidden width is C // reduction.
    """

    def __init__(self, dim: int, reduction: int = 3):
        super().__init__()
        narrow = nn.Conv2d(dim, dim // reduction, 3, padding=1)
        widen = nn.Conv2d(dim // reduction, dim, 3, padding=1)
        self.cab = nn.Sequential(narrow, nn.GELU(), widen, ChannelAttention(dim))

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return channels_last(self.cab(channels_first(x_BHWC)))


class ChannelAwareBlock(nn.Module):
    """`t = scale1 x + SS2D(norm1(x))`, then `scale2 t + ChannelBlock(norm2(t))`.

    Maps `(B, H, W, C)` to the same.
    """

    def __init__(self, dim: int, d_state: int = 4, drop_path_rate: float = 0.0):
        super().__init__()
        self.norm1 = LayerNorm(dim, feeds_linear=True)
        self.op = SS2D(dim, d_state, gate=True, conv_bias=True)
        self.drop_path = drop_path(drop_path_rate)
        self.scale1 = nn.Parameter(self.norm1.weight.data.clone())
        self.norm2 = LayerNorm(dim, feeds_linear=True)
        self.conv_blk = ChannelBlock(dim)
        self.scale2 = nn.Parameter(self.norm2.weight.data.clone())

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x = x_BHWC * self.scale1 + self.drop_path(self.op(self.norm1(x_BHWC)))
        return x * self.scale2 + self.conv_blk(self.norm2(x))


class Upsample(nn.Module):
    """A linear layer, twice the sides by bilinear interpolation, a norm."""

    def __init__(self, dim: int, out_dim: int):
        super().__init__()
        self.linear = nn.Linear(dim, out_dim, bias=False)
        self.norm = LayerNorm(out_dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.norm(doubled(self.linear(x_BHWC)))


class FinalUpsample(nn.Module):
    """Four times the sides: linear layer and interpolation by two, both twice, and a norm."""

    def __init__(self, dim: int):
        super().__init__()
        self.linear1 = nn.Linear(dim, dim, bias=False)
        self.linear2 = nn.Linear(dim, dim, bias=False)
        self.norm = LayerNorm(dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.norm(doubled(self.linear2(doubled(self.linear1(x_BHWC)))))


class Level(nn.Module):
    """The blocks of one level, and the step to the next finer one if there is one."""

    def __init__(self, blocks: Sequence[nn.Module], upsample: nn.Module | None, with_cp: bool):
        super().__init__()
        self.blocks, self.upsample, self.with_cp = nn.ModuleList(blocks), upsample, with_cp

    def forward(self, x_BHWC: Tensor) -> Tensor:
        x_BHWC = run_blocks(self.blocks, x_BHWC, self.with_cp)
        return x_BHWC if self.upsample is None else self.upsample(x_BHWC)


@MODELS.register_module()
class SigmaHead(BaseDecodeHead):
    """Fused maps, finest first, to logits at four times the sides of the finest.

    The deepest map is expanded; at every finer level what came up is resized to the level's map,
    added to it, and passes the level's blocks.

    Args:
        in_channels: of the maps, each twice that of the one before.
        depths: blocks of each level, finest first; the deepest level has none.
        d_state: states of the scans.
        drop_path_rate: of the deepest level's last block, as if it had some, from 0 at the finest's
            first.
        train_state_space: of `SigmaBackbone`.
        with_cp: compute what is inside the blocks again in the backward pass.
        settings: `num_classes` and others of mmseg's `BaseDecodeHead`. Other than there nothing is
            dropped out, and all maps are read.

    Raises:
        ValueError: not one depth for each map but the deepest, or other widths.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        depths: Sequence[int] = (4, 4, 4),
        d_state: int = 4,
        drop_path_rate: float = 0.1,
        train_state_space: bool = True,
        with_cp: bool = False,
        dropout_ratio: float = 0.0,
        init_cfg: dict | None = KAIMING,
        **settings: Any,
    ):
        widths, finest = list(in_channels), in_channels[0]
        if widths != [finest * 2**i for i in range(len(widths))]:
            raise ValueError(
                f"in_channels of SigmaHead is {tuple(widths)}, wanted each twice the one before"
            )
        if len(depths) != len(widths) - 1:
            raise ValueError(
                f"depths of SigmaHead is {tuple(depths)}, wanted {len(widths) - 1} entries, one "
                "for each map but the deepest, finest first"
            )
        super().__init__(
            in_channels=widths,
            channels=finest,
            in_index=list(range(len(widths))),
            input_transform="multiple_select",
            dropout_ratio=dropout_ratio,
            init_cfg=init_cfg,
            **settings,
        )
        # In the authors' files the classifier has another name, and no bias.
        del self.conv_seg
        self.output = nn.Conv2d(finest, self.out_channels, 1, bias=False)
        # The authors counted as many blocks at the deepest level as at the one above.
        rates = drop_path_rates(drop_path_rate, [*depths, depths[-1]])
        layers: list[nn.Module] = [PatchExpand(widths[-1], widths[-2])]
        for i in reversed(range(len(depths))):
            blocks = [ChannelAwareBlock(widths[i], d_state, rate) for rate in rates[i]]
            upsample = Upsample(widths[i], widths[i - 1]) if i else None
            layers.append(Level(blocks, upsample, with_cp))
        self.layers_up = nn.ModuleList(layers)
        self.norm_up = LayerNorm(finest, feeds_linear=True)
        self.up = FinalUpsample(finest)
        pack_plain_layers(self)
        if not train_state_space:
            freeze_bare_parameters(self)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps `(B, C, H, W)`, finest first, to logits `(B, classes, 4 H, 4 W)` of the finest.

        Raises:
            ValueError: maps of other widths.
        """
        maps = self._transform_inputs(inputs)
        widths = [m.shape[1] for m in maps]
        if widths != self.in_channels:
            raise ValueError(
                f"SigmaHead got maps of {widths} channels, wanted {self.in_channels}: in_channels "
                "is to be what the backbone's out_channels are"
            )
        *finer, deepest = maps
        expand, *levels = self.layers_up
        y_BHWC = expand(channels_last(deepest))
        for level, fused in zip(levels, reversed(finer)):
            x_BHWC = channels_last(fused)
            y_BHWC = level(resized(y_BHWC, x_BHWC.shape[1:3]) + x_BHWC)
        return self.cls_seg(channels_first(self.up(self.norm_up(y_BHWC))))

    def cls_seg(self, feat: Tensor) -> Tensor:
        """Logits of a map; named as in mmseg."""
        return self.output(feat if self.dropout is None else self.dropout(feat))


def doubled(x_BHWC: Tensor) -> Tensor:
    """Twice the sides, bilinear."""
    return resized(x_BHWC, [2 * side for side in x_BHWC.shape[1:3]])


def resized(x_BHWC: Tensor, size: Sequence[int]) -> Tensor:
    """A map of other sides, bilinear, corners not aligned."""
    if all(statically_known_true(a == b) for a, b in zip(x_BHWC.shape[1:3], size)):
        return x_BHWC
    x_BCHW = F.interpolate(channels_first(x_BHWC), list(size), mode="bilinear", align_corners=False)
    return channels_last(x_BCHW)
