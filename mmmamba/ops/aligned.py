"""Linear layers whose rows begin at no multiple of 16 bytes, padded on a GPU so that they do.

Other rows take matrix kernels of an older kind, which need two to three times as long: in half
precision those of a width that is no multiple of 8, as 348 channels or a map's channels beside two
states. A copy of the map with zeros behind its rows costs less.

Shape suffixes: R rows, K inputs and N outputs of a layer.
"""

import torch.nn.functional as F
from torch import Tensor

from .derivatives import unwatched

MULTIPLE = 8
LEAST_ROWS = 4096
"""Fewer are copied no faster than they are multiplied."""


def filled(weight_NK: Tensor) -> Tensor:
    """With rows of zeros up to a multiple of 8, for who reads a part of what they make."""
    beyond = -len(weight_NK) % MULTIPLE
    return F.pad(weight_NK, (0, 0, 0, beyond)) if beyond else weight_NK


def is_odd(*widths: int) -> bool:
    """Whether rows of one of these widths need padding in half precision."""
    return any(width % MULTIPLE for width in widths)


def padding_pays(rows: Tensor, *widths: int) -> bool:
    """Whether a product of many rows with such widths takes the slow kernels as it is.

    Args:
        rows: one of the two that have a row for each position, `(..., K)` or `(..., N)`.
        widths: K and N.
    """
    many = rows.numel() >= LEAST_ROWS * rows.shape[-1]
    return is_odd(*widths) and many and rows.element_size() == 2 and unwatched(rows)


def linear(x: Tensor, weight_NK: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear` of one dtype."""
    if not padding_pays(x, *weight_NK.shape):
        return F.linear(x, weight_NK, bias)
    wide_bias = None if bias is None else _wide(bias)
    y = F.linear(_wide(x), _wide_both(weight_NK), wide_bias)
    return y[..., : len(weight_NK)].contiguous()


def input_gradient(grad_RN: Tensor, weight_NK: Tensor) -> Tensor:
    """The gradient of a layer's inputs, `(R, K)`."""
    if not padding_pays(grad_RN, *weight_NK.shape):
        return grad_RN @ weight_NK
    K = weight_NK.shape[1]
    return (_wide(grad_RN) @ _wide_both(weight_NK))[:, :K].contiguous()


def weight_gradient(grad_RN: Tensor, x_RK: Tensor) -> Tensor:
    """The gradient of a layer's weight, `(N, K)`."""
    N, K = grad_RN.shape[1], x_RK.shape[1]
    if not padding_pays(grad_RN, N, K):
        return grad_RN.t() @ x_RK
    return (_wide(grad_RN).t() @ _wide(x_RK))[:N, :K].contiguous()


def _wide(x: Tensor) -> Tensor:
    """With zeros behind its rows."""
    beyond = -x.shape[-1] % MULTIPLE
    return F.pad(x, (0, beyond)) if beyond else x


def _wide_both(weight_NK: Tensor) -> Tensor:
    """With zeros behind its rows and below them."""
    N, K = weight_NK.shape
    return F.pad(weight_NK, (0, -K % MULTIPLE, 0, -N % MULTIPLE))
