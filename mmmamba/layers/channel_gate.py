"""LocalMamba's gate over channels (SCAttn, arXiv 2403.09338, section 4.3; without the spatial branch, as published)."""

import torch
from torch import Tensor, nn


class ChannelGate(nn.Module):
    """Scales each channel by what its mean over the tokens says, `(B, L, …, D)` to the same.

    Axes between tokens and channels, such as routes, are gated apart, with the same weights.

    Args:
        dim: width D.
        reduction: D / width of the hidden layer.
    """

    def __init__(self, dim: int, reduction: int = 8):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.global_reduce = nn.Linear(dim, dim // reduction)
        self.act = nn.GELU()
        self.channel_select = nn.Linear(dim // reduction, dim)

    def forward(self, y_BLKD: Tensor) -> Tensor:
        mean_BKD = self.norm(y_BLKD).mean(1, keepdim=True)
        return y_BLKD * torch.sigmoid(self.channel_select(self.act(self.global_reduce(mean_BKD))))
