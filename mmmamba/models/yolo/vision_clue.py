"""Vision clue merge (Mamba YOLO, arXiv 2406.05835, section 3.2): a step down that drops nothing before it projects."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .conv import conv_norm_act


class VisionClueMerge(nn.Module):
    """The four phases of 2x2 neighbours stacked and projected: `(B, C, H, W)` to `(B, out_channels, H / 2, W / 2)`.

    Odd sides, which the original refuses, are padded with zeros, so that sides round up.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.pw_linear = conv_norm_act(4 * in_channels, out_channels, bias=True)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        H, W = x_BCHW.shape[2:]
        x = F.pad(x_BCHW, (0, W % 2, 0, H % 2)) if H % 2 or W % 2 else x_BCHW
        return self.pw_linear(
            torch.cat(
                [x[..., 0::2, 0::2], x[..., 1::2, 0::2], x[..., 0::2, 1::2], x[..., 1::2, 1::2]], 1
            )
        )
