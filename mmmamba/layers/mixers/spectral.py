"""Vim-F's mixer (arXiv 2405.18679): Vim's, of tokens to which their spectrum was added."""

import torch
from torch import Tensor, nn

from mmmamba.ops import add_spectrum

from ..tokens import TokenLayout
from .bidirectional import BidirectionalMixer


class AddSpectrum(nn.Module):
    """`w0 * x + w1 * |F(x)|`, `(B, L, C)` or a map `(B, H, W, C)` to the same.

    F is the orthonormal Fourier transform of each image over the plane of tokens and channels; rows
    and columns of a map are one axis of it.

    Args:
        shift: the frequency 0 stands in the middle of the plane.
    """

    def __init__(self, shift: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        return add_spectrum(x.flatten(1, -2), self.weight, self.shift).view(x.shape)

    def extra_repr(self) -> str:
        return f"shift={self.shift}"


class SpectralMixer(BidirectionalMixer):
    """`BidirectionalMixer` behind `AddSpectrum` and a linear layer.

    The spectrum is that of the whole sequence, extra tokens included.

    Args:
        dim, d_state, ssm_ratio, d_conv, dt_rank, halve: of `BidirectionalMixer`.
    """

    def __init__(
        self,
        dim: int,
        d_state: int = 16,
        ssm_ratio: float = 2.0,
        d_conv: int = 4,
        dt_rank: int | str = "auto",
        halve: bool = True,
    ):
        super().__init__(dim, d_state, ssm_ratio, d_conv, dt_rank, halve)
        self.spectrum = AddSpectrum()
        self.mlp = nn.Linear(dim, dim)
        nn.init.zeros_(self.mlp.bias)

    def forward(self, x_BLC: Tensor, layout: TokenLayout | None = None) -> Tensor:
        return super().forward(self.mlp(self.spectrum(x_BLC)), layout)
