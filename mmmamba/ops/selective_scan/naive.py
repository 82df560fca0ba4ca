"""The recurrence as a loop: what every other backend must equal.

    h[t] = exp(delta[t] * A) * h[t-1] + delta[t] * B[t] * u[t]
    y[t] = <C[t], h[t]> + D * u[t]

(Gu & Dao, Mamba, arXiv 2312.00752, section 3; zero-order hold for A, Euler for B.)
Shape suffixes: B images, L positions, K routes of T steps, D channels, N states.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def scan(u, delta, A, B, C, D, bias, args) -> Tensor:
    """The outputs in scan precision, `(B, L, K, D)` or merged `(B, L, 1, D)`.

    Args:
        u: `(B, L, K or 1, D)`; delta `(B, L, K, D)`; A `(K, D, N)`; B, C `(B, L, K, N)`.
        D, bias: `(K, D)` or None.
        args: `index_KT`, the positions of each route in order, -1 for a hole, or None for
            0 … L-1; `delta_softplus`; `merge`.
    """
    images, length, routes, channels = delta.shape
    double = torch.float64 in (u.dtype, delta.dtype, A.dtype)
    dtype = torch.float64 if double else torch.float32

    index_KT = args.index_KT
    if index_KT is None:
        index_KT = torch.arange(length, device=u.device).expand(routes, -1)
    index_TK = index_KT.t().long()
    lane_K = torch.arange(routes, device=u.device)

    def along(x_BLKX: Tensor) -> Tensor:
        """What each route meets, `(B, T, K, X)`: a hole sees zeros."""
        x_BTKX = x_BLKX.to(dtype).expand(-1, -1, routes, -1)[:, index_TK.clamp(min=0), lane_K]
        return x_BTKX * (index_TK >= 0)[..., None].to(dtype)

    u_BTKD, delta_BTKD, B_BTKN, C_BTKN = along(u), along(delta), along(B), along(C)
    # In a hole the step size is the bias alone: it drives nothing, but the state fades there.
    if bias is not None:
        delta_BTKD = delta_BTKD + bias.to(dtype)
    if args.delta_softplus:
        delta_BTKD = F.softplus(delta_BTKD)

    h_BKDN = u_BTKD.new_zeros(images, *A.shape)
    outputs = []
    for t in range(len(index_TK)):
        u_BKD, delta_BKD = u_BTKD[:, t], delta_BTKD[:, t]
        decay_BKDN = torch.exp(delta_BKD[..., None] * A.to(dtype))
        drive_BKDN = (delta_BKD * u_BKD)[..., None] * B_BTKN[:, t, :, None]
        h_BKDN = decay_BKDN * h_BKDN + drive_BKDN
        outputs.append((h_BKDN * C_BTKN[:, t, :, None]).sum(-1))
    y_BTKD = torch.stack(outputs, 1)
    if D is not None:
        y_BTKD = y_BTKD + D.to(dtype) * u_BTKD

    # Holes all write to an extra last row, which is cut off.
    place_TK = torch.where(index_TK < 0, length, index_TK)
    rows = y_BTKD.new_zeros(images, length + 1, routes, channels)
    y_BLKD = rows.scatter(1, place_TK[None, :, :, None].expand_as(y_BTKD), y_BTKD)[:, :length]
    return y_BLKD.sum(2, keepdim=True) if args.merge else y_BLKD


def forward(u, delta, A, B, C, D, bias, args, keep_states: bool) -> tuple[Tensor, Tensor]:
    """y in the dtype asked for. No states are kept: the way back walks the loop again."""
    y = scan(u, delta, A, B, C, D, bias, args)
    return y.to(args.out_dtype), y.new_empty(states_shape())


def backward(grad_y, states, *inputs) -> tuple[Tensor | None, ...]:
    """The loop's adjoint, written out in `naive_adjoint`."""
    from .naive_adjoint import backward

    return backward(grad_y, *inputs)


STATES_BY_IMAGE = False
"""Whether states are kept for each image, the first axis, so that they can be divided."""


def states_shape(*sizes: int) -> tuple[int, ...]:
    return (0,)


def unavailable(device: torch.device) -> str | None:
    """Runs everywhere."""
    return None
