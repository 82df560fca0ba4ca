"""Mamba YOLO's neck (arXiv 2406.05835, figure 2), and its blocks after any other neck."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.layers.recomputed import recomputed

from .blocks import ODSSBlock, conv_norm_act


@MODELS.register_module()
class MambaYOLOPAFPN(BaseModule):
    """A path aggregation network (arXiv 1803.01534) that merges maps by ODSS blocks.

    Maps pass down to finer levels, then up again.

    Args:
        in_channels: of the maps, finest first, each of half the sides of the one before (rounded
            up).
        out_channels: of the maps that come out; those of `in_channels` if None.
        num_ss2d: scans in each block (2 in Mamba YOLO-L).
        use_lsblock: whether the blocks have an `LSBlock`.
        with_cp: recompute the blocks in the backward pass instead of keeping what is inside them.

    Raises:
        ValueError: fewer than two maps, or not as many `out_channels`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int] | None = None,
        num_ss2d: int = 1,
        use_lsblock: bool = True,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        out_channels = in_channels if out_channels is None else out_channels
        if len(in_channels) < 2 or len(out_channels) != len(in_channels):
            raise ValueError(
                f"MambaYOLOPAFPN got in_channels {tuple(in_channels)} and out_channels "
                f"{tuple(out_channels)}, wanted at least two, and as many of one as of the other"
            )
        self.in_channels = tuple(in_channels)
        self.out_channels = tuple(out_channels)
        self.with_cp = with_cp
        last = len(in_channels) - 1

        def block(channels: int, out: int) -> ODSSBlock:
            return ODSSBlock(channels, out, num_ss2d, use_lsblock, proj_bias=False)

        # On the way down a level meets the merged map above it, at the top the backbone's own.
        above = [*out_channels[1:last], in_channels[last]]
        self.top_down_layers = nn.ModuleList(
            block(above[i] + in_channels[i], out_channels[i]) for i in reversed(range(last))
        )
        self.downsample_layers = nn.ModuleList(
            conv_norm_act(out_channels[i], out_channels[i], 3, 2) for i in range(last)
        )
        # On the way up the same maps are met again, saved from the way down.
        self.bottom_up_layers = nn.ModuleList(
            block(out_channels[i] + above[i], out_channels[i + 1]) for i in range(last)
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps `(B, C, H, W)`, finest first, to as many of the same sizes.

        Raises:
            ValueError: another number of maps than of `in_channels`.
        """
        if len(maps) != len(self.in_channels):
            raise ValueError(
                f"MambaYOLOPAFPN got {len(maps)} maps, wanted {len(self.in_channels)}, one for "
                f"each of in_channels {self.in_channels}"
            )
        inner = [maps[-1]]
        for layer, x in zip(self.top_down_layers, reversed(maps[:-1])):
            # To the finer map's size and not by two: sides may have been rounded up.
            enlarged = F.interpolate(inner[0], size=x.shape[2:], mode="nearest")
            inner.insert(0, self._merge(layer, enlarged, x))
        outputs = [inner[0]]
        for down, layer, x in zip(self.downsample_layers, self.bottom_up_layers, inner[1:]):
            outputs.append(self._merge(layer, down(outputs[-1]), x))
        return tuple(outputs)

    def _merge(self, layer: nn.Module, new: Tensor, saved: Tensor) -> Tensor:
        # The newest map first: published blocks have their inputs in this order.
        x = torch.cat([new, saved], 1)
        return recomputed(layer, x) if self.with_cp and x.requires_grad else layer(x)


@MODELS.register_module()
class LevelBlocks(BaseModule):
    """A block of its own for each map.

    To be the last of a list of necks:
    `neck=[dict(type="FPN", ...), dict(type="LevelBlocks", ...)]`.

    Args:
        in_channels: of each map.
        block: config of a module whose constructor takes the map's width as `dim`, such as
            `dict(type="LSBlock")`, or as `in_channels` and `out_channels`, as `ODSSBlock` does.
        residual: add the block's output to its input, for blocks that do not (`RGBlock`).
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        block: dict,
        residual: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        self.residual = residual
        in_and_out = MODELS.get(block["type"]) is ODSSBlock
        self.blocks = nn.ModuleList()
        for width in in_channels:
            widths = dict(in_channels=width, out_channels=width) if in_and_out else dict(dim=width)
            self.blocks.append(MODELS.build(block | widths))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps `(B, C, H, W)` to the same.

        Raises:
            ValueError: another number of maps than of `in_channels`.
        """
        if len(maps) != len(self.blocks):
            raise ValueError(
                f"LevelBlocks got {len(maps)} maps, wanted {len(self.blocks)}, one for each of "
                "in_channels"
            )
        outputs = [block(x) for block, x in zip(self.blocks, maps)]
        if self.residual:
            outputs = [x + y for x, y in zip(maps, outputs)]
        return tuple(outputs)
