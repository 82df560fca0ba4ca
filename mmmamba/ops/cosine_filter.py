"""A learned filter of the cosine transform of each channel (Heracles, arXiv 2403.18063).

By products with matrices of cosines: at the sides of a backbone's maps they are faster than a fast
transform, and runtimes know them.

Shape suffixes: B batch, H and W sides of the map, E channels, S and T sides of the filter, N places
of an axis, M those of another.
"""

import math

import torch
from torch import Tensor

from .autocast import full_precision, no_autocast
from .lowering import constants


def cosine_filter(x_BHWE: Tensor, weight_EST: Tensor) -> Tensor:
    """`DCT^-1(weight * DCT(x))` over rows and columns, in x's dtype, computed in float32 or better.

    A filter of another size is stretched to the map's, linearly between its frequencies: the lowest
    and the highest stay what they are. (Its authors run one size of images alone.)
    """
    H, W = x_BHWE.shape[1:3]
    with no_autocast(x_BHWE):
        wide_BHWE = full_precision(x_BHWE)
        rows_HH, columns_WW = _cosines(H, wide_BHWE), _cosines(W, wide_BHWE)
        weight_HWE = stretch_filter(full_precision(weight_EST), H, W).permute(1, 2, 0)
        filtered_BHWE = weight_HWE * _both(rows_HH, columns_WW, wide_BHWE)
        return _both(rows_HH.t(), columns_WW.t(), filtered_BHWE).to(x_BHWE.dtype)


def _both(rows_HH: Tensor, columns_WW: Tensor, x_BHWE: Tensor) -> Tensor:
    """A matrix along the rows' axis, another along the columns'."""
    return columns_WW @ (rows_HH @ x_BHWE.flatten(2)).view(x_BHWE.shape)


def _cosines(length: int, like: Tensor) -> Tensor:
    """The orthonormal DCT-II, `(frequencies, places)`."""
    known = isinstance(length, int)
    with constants(length):
        place = torch.arange(length, device=like.device)
        # Whole turns are left out while numbers are whole: what is left has all its digits.
        part = (2 * place + 1) * place[:, None] % (4 * length)
        angle = part.to(torch.float64 if known else like.dtype) * math.pi / (2 * length)
        # The mean's row is shorter than the others, whose squares have a mean of one half.
        norm = ((1 + (place > 0).to(angle.dtype)) / length).sqrt()
        return (norm[:, None] * angle.cos()).to(like.dtype)


def stretch_filter(weight_EST: Tensor, H: int, W: int) -> Tensor:
    """`(E, H, W)`. By products, whose gradients come out the same in every run on a GPU."""
    S, T = weight_EST.shape[1:]
    return _between(S, H, weight_EST) @ weight_EST @ _between(T, W, weight_EST).t()


def _between(length: int, wanted: int, like: Tensor) -> Tensor:
    """How much of each of N places is in each of M, which are spread over them from end to end."""
    with constants(wanted):
        index = torch.arange(wanted, device=like.device)
        last = torch.clamp(index[-1:], min=1)
        position_M = (index * (length - 1)).to(like.dtype) / last
        place_N = torch.arange(length, device=like.device, dtype=like.dtype)
        return torch.clamp(1 - (position_M[:, None] - place_N).abs(), min=0).to(like.dtype)
