"""The decoder of MiM-ISTD as a head of mmseg, and the whole network (arXiv 2403.02148)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from mmcv.cnn import ConvModule
from mmengine.registry import MODELS
from mmseg.models.backbones.resnet import BasicBlock
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder
from mmseg.utils import SampleList
from torch import Tensor, nn

from mmmamba.checkpoints.strict_loading import StrictLoading
from mmmamba.layers import PatchExpand, channels_first, channels_last

from ...trunks.base import init_by_fan_out
from .key_map import SEGMENTOR_KEY_MAP

BLOCKS = 2
"""Residual blocks of a level."""


@MODELS.register_module()
class MiMISTDHead(BaseDecodeHead):
    """From the coarsest map up: expanded to the next one's sides, added to it, two residual blocks.

    Args:
        in_channels: of the maps, finest first, each twice as wide as the one before.
        channels: of the last map, whose cells are classified.
        norm_cfg: of the convolutions.
        kwargs: those of mmseg's `BaseDecodeHead`. One channel (`num_classes=2, out_channels=1`)
            and a `threshold` separate targets from the rest.

    Raises:
        ValueError: widths that do not double.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (32, 64, 128, 256),
        channels: int = 8,
        *,
        norm_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        widths = list(in_channels)
        if any(wide != 2 * narrow for narrow, wide in pairwise(widths)):
            raise ValueError(
                f"in_channels of MiMISTDHead is {tuple(widths)}, wanted the widths of maps each "
                "twice as wide as the one before (backbone.out_channels)"
            )
        kwargs.setdefault("in_index", list(range(len(widths))))
        # mmseg would start `conv_seg` next to nothing, from where it is slow to leave.
        kwargs.setdefault("init_cfg", None)
        super().__init__(
            widths,
            channels,
            norm_cfg=norm_cfg or dict(type="BN"),
            input_transform="multiple_select",
            **kwargs,
        )
        # Numbered as in the authors' file: level k leads to the map k - 1.
        for k in range(len(widths) - 1, 0, -1):
            dim = widths[k - 1]
            self.add_module(f"up{k}", PatchExpand(widths[k], dim))
            blocks = [BasicBlock(dim, dim, norm_cfg=self.norm_cfg) for _ in range(BLOCKS)]
            self.add_module(f"blocks{k}", nn.Sequential(*blocks))
        self.last = ConvModule(
            widths[0], channels, 3, padding=1, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg
        )
        self.apply(init_by_fan_out)

    def decoded(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The maps `(B, C, H, W)` behind the residual blocks of each level, coarsest first."""
        maps = self._transform_inputs(inputs)
        x, levels = maps[-1], []
        for k in range(len(maps) - 1, 0, -1):
            finer = maps[k - 1]
            H, W = finer.shape[2:]
            expanded = channels_first(getattr(self, f"up{k}")(channels_last(x)))
            # A map of odd sides was rounded up on its way down.
            x = getattr(self, f"blocks{k}")(expanded[:, :, :H, :W] + finer)
            levels.append(x)
        return levels

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits `(B, 1, H / 4, W / 4)` of maps."""
        return self.cls_seg(self.last(self.decoded(inputs)[-1]))

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        losses = super().loss_by_feat(seg_logits, batch_data_samples)
        # mmseg's accuracy takes the largest of one channel, which is the background everywhere.
        if self.out_channels == 1:
            del losses["acc_seg"]
        return losses


@MODELS.register_module()
class MiMISTD(StrictLoading, EncoderDecoder):
    """mmseg's `EncoderDecoder` that takes its authors' file whole.

    `init_cfg=dict(type="Pretrained", checkpoint="mim.pth")` loads it, without running what it
    holds.
    """

    KEY_MAP = SEGMENTOR_KEY_MAP
