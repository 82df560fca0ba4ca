"""What the backends share.

Shape suffixes: B batch, L positions of a map, K routes, T steps of a route, D channels, N states
(d_state). A backend is a module with

    unavailable(device)
        None, or why it cannot run there
    states_shape(B, T, K, D, N)
        shape of the tensor (in scan precision) that it keeps for its backward pass
    forward(u, delta, A, B, C, D, bias, args, keep_states)
        y and the states
    backward(grad_y, states, u, delta, A, B, C, D, bias, args)
        seven gradients, None where the input is None

and those that `dispatch.PLAIN` lists

    scan(u, delta, A, B, C, D, bias, args)
        y in scan precision, for PyTorch to differentiate: no writing in place

with u `(B, L, K or 1, D)`, delta `(B, L, K, D)`, A `(K, D, N)`, B and C `(B, L, K, N)`, D and bias
`(K, D)` or None, of any strides, and y, grad_y `(B, L, K, D)`, or `(B, L, 1, D)` when merged.
Gradients have their input's shape and dtype.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# The schema of an operator has no optional results: nothing kept is an empty tensor.
NO_STATES = (0,)


@dataclass(frozen=True)
class ScanArgs:
    """The arguments of a scan that carry no gradient."""

    index_KT: Tensor | None
    delta_softplus: bool
    merge: bool
    out_dtype: torch.dtype
    index_complete: bool = False
    gradients: tuple[Tensor, Tensor] | None = None
    """Where a backend that can writes the gradients of delta, and of B and C, `(2, B, L, K, N)`.

    They may have any strides but the last.
    """
    carried: bool = False
    """Whether delta, B and C are read step after step of the map's own order, not along the route.

    For complete routes, and the backend "triton" alone: see `carried`.
    """


def scan_dtype(*tensors: Tensor) -> torch.dtype:
    """The precision of state and accumulation: float64 if any input has it, else float32.

    Half precision would lose slow decays: 1 - 2^-12 is 1 in float16, and a state never fades.
    """
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


def no_states(u: Tensor, delta: Tensor, A: Tensor) -> Tensor:
    """What a forward pass returns for states where none are kept."""
    return u.new_empty(NO_STATES, dtype=scan_dtype(u, delta, A))


def _lanes(index_KT: Tensor) -> tuple[Tensor, Tensor]:
    index_TK = index_KT.t().long()
    return index_TK, torch.arange(index_KT.shape[0], device=index_KT.device)


def read_route(x_BLKX: Tensor, index_KT: Tensor | None, routes: int) -> Tensor:
    """What each route meets, `(B, T, K, X)`; a hole (-1) reads zeros."""
    x_BLKX = x_BLKX.expand(-1, -1, routes, -1)
    if index_KT is None:
        return x_BLKX
    index_TK, lane_K = _lanes(index_KT)
    # Two neighbouring index tensors: their (T, K) takes the place of (L, K), behind the batch.
    x_BTKX = x_BLKX[:, index_TK.clamp(min=0), lane_K]
    return x_BTKX * (index_TK >= 0)[..., None].to(x_BTKX.dtype)


def write_route(y_BTKD: Tensor, index_KT: Tensor | None, length: int, merge: bool) -> Tensor:
    """Each route's outputs back at their positions, `(B, L, K, D)`, or their sum `(B, L, 1, D)`."""
    y_BLKD = y_BTKD if index_KT is None else _scattered(y_BTKD, index_KT, length)
    return y_BLKD.sum(2, keepdim=True) if merge else y_BLKD


def _scattered(y_BTKD: Tensor, index_KT: Tensor, length: int) -> Tensor:
    index_TK, lane_K = _lanes(index_KT)
    B, _, K, D = y_BTKD.shape
    # index_put takes tensors only, no slices: images are counted too.
    image_B11 = torch.arange(B, device=y_BTKD.device)[:, None, None]
    # Holes all land on an extra last row, which is cut off.
    place_TK = torch.where(index_TK < 0, length, index_TK)
    rows = y_BTKD.new_zeros(B, length + 1, K, D)
    # Not in place: torch.func's transforms and second derivatives go through here.
    return rows.index_put((image_B11, place_TK, lane_K), y_BTKD)[:, :length]


@dataclass(frozen=True)
class Walk:
    """The inputs along their routes in scan precision: what the plain backends compute on."""

    u_BTKD: Tensor
    raw_BTKD: Tensor
    """delta with its bias, before softplus."""
    delta_BTKD: Tensor
    A_KDN: Tensor
    B_BTKN: Tensor
    C_BTKN: Tensor
    D_KD: Tensor | None


def walk(u_BLKD, delta_BLKD, A_KDN, B_BLKN, C_BLKN, D_KD, bias_KD, args: ScanArgs) -> Walk:
    """The operator's inputs as each route meets them, step after step."""
    dtype, K = scan_dtype(u_BLKD, delta_BLKD, A_KDN), A_KDN.shape[0]

    def along(x_BLKX: Tensor) -> Tensor:
        # Cast first: what autograd adds up on the way back is then in this precision too.
        return read_route(x_BLKX.to(dtype), args.index_KT, K)

    # A hole has the step size of the bias alone: it drives nothing, yet the state fades there.
    raw = along(delta_BLKD)
    if bias_KD is not None:
        raw = raw + bias_KD.to(dtype)
    return Walk(
        u_BTKD=along(u_BLKD),
        raw_BTKD=raw,
        delta_BTKD=F.softplus(raw) if args.delta_softplus else raw,
        A_KDN=A_KDN.to(dtype),
        B_BTKN=along(B_BLKN),
        C_BTKN=along(C_BLKN),
        D_KD=None if D_KD is None else D_KD.to(dtype),
    )


class RecurrenceGradients(NamedTuple):
    """Gradients of what the recurrence takes, along the routes: without skip, softplus and bias."""

    du_BTKD: Tensor
    ddelta_BTKD: Tensor
    dA_KDN: Tensor
    dB_BTKN: Tensor
    dC_BTKN: Tensor


def unwalk(
    walked: Walk,
    grads: RecurrenceGradients,
    grad_y_BTKD: Tensor,
    inputs: tuple[Tensor | None, ...],
    args: ScanArgs,
) -> tuple[Tensor | None, ...]:
    """Gradients of the seven inputs of `walk` from those of the recurrence."""
    u, delta, _, _, _, _, bias = inputs
    assert u is not None and delta is not None
    length, shared = delta.shape[1], u.shape[2] == 1 and delta.shape[2] > 1
    du_BTKD, ddelta_BTKD, dA_KDN, dB_BTKN, dC_BTKN = grads
    dD_KD = None
    if walked.D_KD is not None:
        du_BTKD = du_BTKD + walked.D_KD * grad_y_BTKD
        dD_KD = (grad_y_BTKD * walked.u_BTKD).sum((0, 1))
    if args.delta_softplus:
        # The derivative of F.softplus, which is the identity above its threshold of 20.
        slope_BTKD = torch.where(walked.raw_BTKD > 20, 1, torch.sigmoid(walked.raw_BTKD))
        ddelta_BTKD = ddelta_BTKD * slope_BTKD
    # Over the steps of routes, not over positions: the bias acts in holes too.
    dbias_KD = None if bias is None else ddelta_BTKD.sum((0, 1))
    found = (
        write_route(du_BTKD, args.index_KT, length, merge=shared),
        write_route(ddelta_BTKD, args.index_KT, length, merge=False),
        dA_KDN,
        write_route(dB_BTKN, args.index_KT, length, merge=False),
        write_route(dC_BTKN, args.index_KT, length, merge=False),
        dD_KD,
        dbias_KD,
    )
    return as_inputs(found, inputs)


def as_inputs(
    grads: tuple[Tensor | None, ...], inputs: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    """Each gradient in its input's dtype, None where there is no input."""
    return tuple(
        None if x is None or grad is None else grad.to(x.dtype) for grad, x in zip(grads, inputs)
    )
