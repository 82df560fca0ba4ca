"""LSBlock (Mamba YOLO, arXiv 2406.05835v1, section 3.3): local features before a scan that sees only one order."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from ...layers.activated import DepthwiseConv
from .conv import yolo_norm


class LSBlock(nn.Module):
    """`x + fc3(gelu(fc2(norm(fc1(x)))))` with a depthwise 3x3 convolution first: `(B, C, H, W)` to the same."""

    def __init__(self, dim: int, norm_layer: Callable[[int], nn.Module] = yolo_norm):
        super().__init__()
        self.fc1 = DepthwiseConv(dim)
        self.norm = norm_layer(dim)
        self.fc2 = nn.Conv2d(dim, dim, 1)
        self.fc3 = nn.Conv2d(dim, dim, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW + self.fc3(F.gelu(self.fc2(self.norm(self.fc1(x_BCHW)))))
