"""Scans whose inputs and outputs follow routes while step sizes, B and C stay in the map's order.

(PlainMamba's published code; the paper, arXiv 2403.17695, does not tell.) With the backend "triton"
the kernels walk two orders at once. With any other the map is read along its routes before a scan
that follows none, and its outputs are put back behind it.

Shape suffixes as in `common`; T = L, as every route visits every position; X = L K.
"""

import torch
from torch import Tensor

from ..autocast import autocast_dtype
from ..derivatives import differentiated_again, gradients, unwatched
from ..gather_rows import gather_rows
from ..launch import DTYPES
from .common import ScanArgs
from .dispatch import backend_module, resolve
from .interface import selective_scan


def carried_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    *,
    index: Tensor,
    visits: Tensor,
    delta_bias: Tensor,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """K scans of one map with the same parameters, summed.

    At step t of route k, which stands at `p = index[k, t]`, `h = exp(delta[t] A) h + delta[t]
    B[t, k] u[p]` and `y[p] += <C[t], h> + D u[p]`; delta is softplus of what is given and its bias.

    Args:
        u: `(B, L, D)`.
        delta: `(B, L, D)`, in the map's own order like B and C.
        A: `(D, N)`, negative.
        B: `(B, L, K, N)`.
        C: `(B, L, N)`.
        D, delta_bias: `(D,)`.
        index: `route_table` of K routes that visit every position, `(K, L)`.
        visits: `visit_table` of the same, `(K, L)`.
        out_dtype: of the result; by default the (autocast) dtype of u. States and sums are float32.

    Returns:
        y, `(B, L, D)`.

    Raises:
        ValueError: shapes that do not fit.
    """
    _check(u, delta, B, C, index, visits)
    low = autocast_dtype(u)
    if low is not None:
        u, delta, B, C = (x.to(low) if x.dtype != torch.float64 else x for x in (u, delta, B, C))
    tensors, out_dtype = (u, delta, A, B, C, D, delta_bias), out_dtype or u.dtype
    if not _kernels_take(tensors):
        return plain(tensors, index, visits, out_dtype)
    if torch.is_grad_enabled():
        return Carried.apply(*tensors, index, visits, out_dtype)
    return _forward(tensors, _args(index, out_dtype), keep_states=False)[0]


def _check(u: Tensor, delta: Tensor, B: Tensor, C: Tensor, index: Tensor, visits: Tensor) -> None:
    (batch, length, _), K = u.shape, len(index)
    wanted = {
        "delta": (delta.shape, u.shape),
        "B": (B.shape[:3], (batch, length, K)),
        "C": (C.shape, (batch, length, B.shape[-1])),
        "index": (index.shape, (K, length)),
        "visits": (visits.shape, (K, length)),
    }
    for name, (found, fits) in wanted.items():
        if tuple(found) != tuple(fits):
            raise ValueError(
                f"carried_scan: {name} is {tuple(found)}, but u {tuple(u.shape)} and {K} routes "
                f"ask for {tuple(fits)}"
            )


def _kernels_take(tensors: tuple[Tensor, ...]) -> bool:
    u = tensors[0]
    known = all(x.dtype in DTYPES for x in tensors)
    return unwatched(u) and known and resolve(u.device) == "triton"


def plain(
    tensors: tuple[Tensor, ...], index_KT: Tensor, visits_KL: Tensor, out_dtype: torch.dtype
) -> Tensor:
    """The same by a scan that follows no routes, of the map read along them."""
    u_BLD, delta_BLD, A_DN, B_BLKN, C_BLN, D_D, bias_D = tensors
    K = len(index_KT)
    lane_K = torch.arange(K, device=u_BLD.device)
    # Rows of X stand step by step, and route by route within a step.
    read_X, placed_LK = index_KT.t().flatten(), visits_KL.t() * K + lane_K
    u_BTKD = gather_rows(u_BLD, read_X, placed_LK).unflatten(1, (-1, K))
    y_BTKD = selective_scan(
        u_BTKD,
        _for_each(delta_BLD, K, 2),
        _for_each(A_DN, K, 0),
        B_BLKN,
        _for_each(C_BLN, K, 2),
        _for_each(D_D, K, 0),
        delta_bias=_for_each(bias_D, K, 0),
        delta_softplus=True,
        merge=False,
        out_dtype=out_dtype,
    )
    back_X1 = (index_KT.t() * K + lane_K).flatten()[:, None]
    y_BXD = gather_rows(y_BTKD.flatten(1, 2), placed_LK.flatten(), back_X1)
    return y_BXD.unflatten(1, (-1, K)).sum(2)


def _for_each(x: Tensor, K: int, dim: int) -> Tensor:
    """The same for every route, without a copy."""
    shape = list(x.shape)
    return x.unsqueeze(dim).expand(*shape[:dim], K, *shape[dim:])


def _args(index_KT: Tensor, out_dtype: torch.dtype) -> ScanArgs:
    return ScanArgs(index_KT, True, True, out_dtype, index_complete=True, carried=True)


def _expanded(tensors: tuple[Tensor, ...], K: int) -> tuple[Tensor, ...]:
    """The seven tensors of a backend."""
    u_BLD, delta_BLD, A_DN, B_BLKN, C_BLN, D_D, bias_D = tensors
    return (
        u_BLD.unsqueeze(2),
        _for_each(delta_BLD, K, 2),
        _for_each(A_DN, K, 0),
        B_BLKN,
        _for_each(C_BLN, K, 2),
        _for_each(D_D, K, 0),
        _for_each(bias_D, K, 0),
    )


def _forward(
    tensors: tuple[Tensor, ...], args: ScanArgs, keep_states: bool
) -> tuple[Tensor, Tensor]:
    assert args.index_KT is not None
    inputs = _expanded(tensors, len(args.index_KT))
    y, states = backend_module("triton").forward(*inputs, args, keep_states)
    return y.squeeze(2), states


class Carried(torch.autograd.Function):
    """The kernels' way."""

    @staticmethod
    def forward(ctx, *inputs):
        *tensors, index, visits, out_dtype = inputs
        y, states = _forward(tuple(tensors), _args(index, out_dtype), keep_states=True)
        ctx.save_for_backward(*tensors, index, visits, states)
        return y

    @staticmethod
    def backward(ctx, grad):
        *tensors, index, visits, states = ctx.saved_tensors
        if differentiated_again(grad):
            found = gradients(
                lambda *tensors: plain(tensors, index, visits, grad.dtype),
                tensors,
                ctx.needs_input_grad,
                grad,
            )
            return *found, None, None, None
        inputs = _expanded(tuple(tensors), len(index))
        args = _args(index, grad.dtype)
        du, ddelta, dA, dB, dC, dD, dbias = backend_module("triton").backward(
            grad.unsqueeze(2), states, *inputs, args
        )
        return (
            du.squeeze(2),
            ddelta.sum(2),
            dA.sum(0),
            dB,
            dC.sum(2),
            dD.sum(0),
            dbias.sum(0),
            None,
            None,
            None,
        )
