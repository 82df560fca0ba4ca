"""Rows gathered by an index whose inverse is known: a gather in both directions.

The gradient of PyTorch's `index_select` adds rows to where they came from. On a GPU these additions
are atomic: rows that were read more than once get sums in another order in each run, and the last
bits with it. Who reads a map along its routes knows for each row where it went, so the gradient is
read from there.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true

from .derivatives import differentiated_again, unwatched, watched
from .launch import DTYPES, HAS_TRITON
from .lowering import lowers


def gather_rows(x_BNC: Tensor, index_M: Tensor, inverse_NK: Tensor) -> Tensor:
    """Row `index[m]` of x for each m, `(B, N, C)` to `(B, M, C)`; where that is N, zeros.

    Args:
        index_M: from 0 to N.
        inverse_NK: the places of the index that read row n, M for none. Either the index never
            reads zeros or the inverse has no empty place.
    """
    if lowers():
        # Of sides that are symbols it may not be known: a row of zeros too many is never read.
        complete = statically_known_true(index_M.shape[0] <= inverse_NK.numel())
        return _plain(x_BNC, index_M, not complete)
    if watched():
        return _plain(x_BNC, index_M, len(index_M) > inverse_NK.numel())
    return _Gather.apply(x_BNC, index_M, inverse_NK)


def gather_sums(y_BMC: Tensor, inverse_NK: Tensor, index_M: Tensor) -> Tensor:
    """The transpose of `gather_rows`: row n is the sum of y's rows `inverse[n]`, `(B, N, C)`.

    Args:
        inverse_NK, index_M: of that, the index from 0 to N - 1 and without empty places.
    """
    if watched():
        return _sums(y_BMC, inverse_NK)
    return _Sums.apply(y_BMC, inverse_NK, index_M)


def _sums(y_BMC: Tensor, inverse_NK: Tensor) -> Tensor:
    if HAS_TRITON and unwatched(y_BMC) and y_BMC.dtype in DTYPES:
        from .kernels.gather_sums import gather_sums

        # One kernel, where each row would be written before it is added.
        return gather_sums(y_BMC, inverse_NK)
    rows_BXC = y_BMC.index_select(1, inverse_NK.flatten())
    return rows_BXC if inverse_NK.shape[1] == 1 else rows_BXC.unflatten(1, inverse_NK.shape).sum(2)


def _plain(x_BNC: Tensor, index_M: Tensor, reads_zeros: bool) -> Tensor:
    # The row of zeros behind the last takes a copy of the map.
    return (F.pad(x_BNC, (0, 0, 0, 1)) if reads_zeros else x_BNC).index_select(1, index_M)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x_BNC, index_M, inverse_NK):
        ctx.save_for_backward(index_M, inverse_NK)
        # Each row that is there is named once in both: which is longer has the empty places.
        if len(index_M) > inverse_NK.numel():
            return _plain(x_BNC, index_M, reads_zeros=True)
        return _sums(x_BNC, index_M[:, None])

    @staticmethod
    def backward(ctx, grad_BMC):
        index_M, inverse_NK = ctx.saved_tensors
        has_empty = inverse_NK.numel() > len(index_M)
        if not (has_empty or differentiated_again(grad_BMC)):
            return _sums(grad_BMC, inverse_NK), None, None
        rows_BXC = _plain(grad_BMC, inverse_NK.flatten(), has_empty)
        return rows_BXC.unflatten(1, inverse_NK.shape).sum(2), None, None


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y_BMC, inverse_NK, index_M):
        ctx.save_for_backward(index_M, inverse_NK)
        return _sums(y_BMC, inverse_NK)

    @staticmethod
    def backward(ctx, grad_BNC):
        index_M, inverse_NK = ctx.saved_tensors
        return gather_rows(grad_BNC, index_M, inverse_NK), None, None
