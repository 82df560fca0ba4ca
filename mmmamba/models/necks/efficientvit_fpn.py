"""A feature pyramid for backbones that start at stride 16.

That of EfficientViT (arXiv 2305.07027), as MobileMamba uses it.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

XAVIER = dict(type="Xavier", layer="Conv2d", distribution="uniform")
SOURCES = ("on_input", "on_lateral", "on_output")


@MODELS.register_module()
class EfficientViTFPN(BaseModule):
    """FPN (arXiv 1612.03144) with finer levels made of its finest one by transposed convolutions.

    Args:
        in_channels: of each map, finest first.
        out_channels: of every level.
        num_outs: levels: the finer ones, one for each map, then coarser ones.
        num_extra_trans_convs: finer levels, each of half the stride of the one before.
        add_extra_convs: what the coarser levels' strided convolutions start from, "on_input" (or
            True), "on_lateral" or "on_output" of the coarsest map; False: every second row and
            column of the level before.

    Raises:
        ValueError: fewer `num_outs` than the maps and finer levels make, or an unknown
            `add_extra_convs`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 256,
        num_outs: int = 5,
        num_extra_trans_convs: int = 2,
        add_extra_convs: bool | str = False,
        init_cfg: dict | None = XAVIER,
    ):
        # Here, as importing a backbone needs no mmcv.
        from mmcv.cnn import ConvModule

        super().__init__(init_cfg)
        coarser = num_outs - len(in_channels) - num_extra_trans_convs
        if num_extra_trans_convs < 0 or coarser < 0:
            raise ValueError(
                f"num_outs of EfficientViTFPN is {num_outs}, wanted at least "
                f"{len(in_channels)} for the maps and {num_extra_trans_convs} for the finer "
                "levels (num_extra_trans_convs)"
            )
        self.source = "on_input" if add_extra_convs is True else add_extra_convs
        if self.source not in (False, *SOURCES):
            raise ValueError(
                f"add_extra_convs of EfficientViTFPN is {add_extra_convs!r}, wanted a bool or one "
                f"of {', '.join(SOURCES)}"
            )
        self.in_channels, self.num_outs = tuple(in_channels), num_outs

        def output(channels: int = out_channels, stride: int = 1) -> nn.Module:
            return ConvModule(channels, out_channels, 3, stride, 1, act_cfg=None)

        self.lateral_convs = nn.ModuleList(
            ConvModule(c, out_channels, 1, act_cfg=None) for c in in_channels
        )
        self.fpn_convs = nn.ModuleList(output() for _ in in_channels)
        # Each coarser level is a strided convolution of the one before, the first of its source.
        for i in range(coarser if self.source else 0):
            first = i == 0 and self.source == "on_input"
            self.fpn_convs.append(output(in_channels[-1] if first else out_channels, 2))
        self.extra_trans_convs = nn.ModuleList(
            nn.ConvTranspose2d(out_channels, out_channels, 2, 2)
            for _ in range(num_extra_trans_convs)
        )
        self.extra_fpn_convs = nn.ModuleList(output() for _ in range(num_extra_trans_convs))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Make `num_outs` maps `(B, out_channels, H, W)`, finest first, of the backbone's.

        Raises:
            ValueError: another number of maps than of `in_channels`.
        """
        if len(maps) != len(self.in_channels):
            raise ValueError(
                f"EfficientViTFPN got {len(maps)} maps, wanted {len(self.in_channels)}, one for "
                f"each of in_channels {self.in_channels}"
            )
        laterals = [conv(x) for conv, x in zip(self.lateral_convs, maps)]
        for i in range(len(laterals) - 1, 0, -1):
            # To the finer map's size and not by two: backbones round odd sides up.
            size = laterals[i - 1].shape[2:]
            laterals[i - 1] = laterals[i - 1] + F.interpolate(laterals[i], size, mode="nearest")
        # `zip` ends with the maps; the convolutions after those make the coarser levels.
        outputs = [conv(x) for conv, x in zip(self.fpn_convs, laterals)]
        if self.source:
            coarsest = dict(on_input=maps[-1], on_lateral=laterals[-1], on_output=outputs[-1])
            x = coarsest[self.source]
            for conv in self.fpn_convs[len(maps) :]:
                x = conv(x)
                outputs.append(x)
        # Finer levels grow out of the finest lateral, each of the one before.
        finer, x = [], laterals[0]
        for enlarge in self.extra_trans_convs:
            x = enlarge(x)
            finer.insert(0, x)
        outputs = [conv(x) for conv, x in zip(self.extra_fpn_convs, finer)] + outputs
        # What mmdet's FPN does by pooling with a window of one.
        while len(outputs) < self.num_outs:
            outputs.append(outputs[-1][..., ::2, ::2])
        return tuple(outputs)
