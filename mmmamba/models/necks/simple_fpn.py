"""A pyramid from the last map of a plain backbone (ViTDet, arXiv 2203.16527).

Section 3 and appendix A.2.
"""

from collections.abc import Sequence

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.layers import LayerNorm2d, rescale


@MODELS.register_module()
class SimpleFPN(BaseModule):
    """Every level is made of the same map.

    It is resized, then goes through a 1x1 and a 3x3 convolution, each with LayerNorm.

    Args:
        in_channels: of the map.
        out_channels: of every level.
        scales: sizes of the levels against the map's, finest first; 4, 2, 1, 0.5 take stride 16 to
            4, 8, 16, 32.
        num_outs: levels; those beyond `scales` are every second row and column of the one before.

    Raises:
        ValueError: fewer `num_outs` than `scales`, or a scale that is none of 4, 2, 1, 0.5, 0.25.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        scales: Sequence[float] = (4, 2, 1, 0.5),
        num_outs: int = 5,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if num_outs < len(scales):
            raise ValueError(
                f"num_outs of SimpleFPN is {num_outs}, wanted at least one for each scale of "
                f"{scales}"
            )
        self.levels = nn.ModuleList()
        for scale in scales:
            step, channels = rescale(in_channels, scale, shrink=True)
            self.levels.append(
                nn.Sequential(
                    step,
                    nn.Conv2d(channels, out_channels, 1, bias=False),
                    # A convolution reads this norm; who reads the last one is not known here.
                    LayerNorm2d(out_channels, feeds_linear=True),
                    nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
                    LayerNorm2d(out_channels),
                )
            )
        self.num_outs = num_outs

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Make `num_outs` maps `(B, out_channels, H, W)` of the last of the backbone's."""
        outputs = [level(maps[-1]) for level in self.levels]
        # What mmdet's FPN does by pooling with a window of one.
        while len(outputs) < self.num_outs:
            outputs.append(outputs[-1][..., ::2, ::2])
        return tuple(outputs)
