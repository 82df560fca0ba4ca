"""RGBlock (Mamba YOLO, arXiv 2406.05835, section 3.4): a gated feed-forward layer whose gate sees neighbours."""

import torch.nn.functional as F
from torch import Tensor, nn

from ...layers.activated import DepthwiseConv


class RGBlock(nn.Module):
    """`fc2(gelu(dwconv(a) + a) * v)`, a and v the halves of `fc1(x)`: `(B, C, H, W)` to the same.

    Args:
        mlp_ratio: the hidden width is two thirds of this times the width, as gating adds a third matrix.
    """

    def __init__(self, dim: int, mlp_ratio: float = 4.0):
        super().__init__()
        hidden = int(2 * dim * mlp_ratio / 3)
        self.fc1 = nn.Conv2d(dim, 2 * hidden, 1)
        self.dwconv = DepthwiseConv(hidden)
        self.fc2 = nn.Conv2d(hidden, dim, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        a, v = self.fc1(x_BCHW).chunk(2, 1)
        return self.fc2(F.gelu(self.dwconv(a) + a) * v)
