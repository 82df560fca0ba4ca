"""What the depthwise kernels share: weights as they are read, gradients as they come out."""

from typing import NamedTuple

import torch
from torch import Tensor


class Gradients(NamedTuple):
    """None for what is not wanted or not there."""

    x: Tensor | None
    weight: Tensor | None
    bias: Tensor | None


def without_positions(x: Tensor, weight: Tensor, bias: Tensor | None) -> Gradients:
    """The gradients of a map that holds nothing."""
    dbias = None if bias is None else torch.zeros_like(bias)
    return Gradients(torch.empty_like(x), torch.zeros_like(weight), dbias)


def parted(sums: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Gradients of weight and bias, of each channel's sums: the taps row by row, then the bias."""
    taps = weight.shape[2] * weight.shape[3]
    dbias = None if bias is None else sums[:, taps].to(bias.dtype)
    return sums[:, :taps].reshape(weight.shape).to(weight.dtype), dbias


def by_taps(weight: Tensor) -> Tensor:
    """The weights tap by tap, `(S S, C)`, so that a tap's lie side by side."""
    return weight.flatten(1).t().contiguous()
