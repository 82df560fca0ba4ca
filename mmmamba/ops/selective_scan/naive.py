"""The recurrence as a loop: what every other backend must equal.

    h[t] = exp(delta[t] * A) * h[t-1] + delta[t] * B[t] * u[t]        y[t] = <C[t], h[t]> + D * u[t]

(Gu & Dao, Mamba, arXiv 2312.00752, section 3; zero-order hold for A, Euler for B.)
"""

import torch
from torch import Tensor

from .common import NO_STATES, ScanArgs, Walk, no_states, read_route, unwalk, walk, write_route


def unavailable(device: torch.device) -> str | None:
    """Runs everywhere."""
    return None


def states_shape(
    batch: int, steps: int, routes: int, channels: int, d_state: int
) -> tuple[int, ...]:
    return NO_STATES


def _decay_and_drive(w: Walk, t: int) -> tuple[Tensor, Tensor]:
    decay_BKDN = torch.exp(w.delta_BTKD[:, t, :, :, None] * w.A_KDN)
    return decay_BKDN, (w.delta_BTKD[:, t] * w.u_BTKD[:, t])[..., None] * w.B_BTKN[:, t, :, None, :]


def _states(w: Walk) -> list[Tensor]:
    """h before the first step and after every step, `(B, K, D, N)` each."""
    states = [w.u_BTKD.new_zeros(w.u_BTKD.shape[0], *w.A_KDN.shape)]
    for t in range(w.u_BTKD.shape[1]):
        decay_BKDN, drive_BKDN = _decay_and_drive(w, t)
        states.append(decay_BKDN * states[-1] + drive_BKDN)
    return states


def scan(u, delta, A, B, C, D, bias, args: ScanArgs) -> Tensor:
    """The outputs in scan precision, `(B, L, K, D)` or merged `(B, L, 1, D)`; plain autograd works through it."""
    w = walk(u, delta, A, B, C, D, bias, args)
    y_BTKD = torch.stack(
        [
            (h * C_BKN[:, :, None, :]).sum(-1)
            for h, C_BKN in zip(_states(w)[1:], w.C_BTKN.unbind(1))
        ],
        1,
    )
    if w.D_KD is not None:
        y_BTKD = y_BTKD + w.D_KD * w.u_BTKD
    return write_route(y_BTKD, args.index_KT, delta.shape[1], args.merge)


def forward(u, delta, A, B, C, D, bias, args: ScanArgs, keep_states: bool) -> tuple[Tensor, Tensor]:
    return scan(u, delta, A, B, C, D, bias, args).to(args.out_dtype), no_states(u, delta, A)


def backward(
    grad_y, states, u, delta, A, B, C, D, bias, args: ScanArgs
) -> tuple[Tensor | None, ...]:
    """The adjoint recurrence `g[t] = C[t] dy[t] + decay[t+1] g[t+1]`, walked from the last step."""
    inputs = (u, delta, A, B, C, D, bias)
    w = walk(*inputs, args)
    grad_y_BTKD = read_route(grad_y.to(w.u_BTKD.dtype), args.index_KT, A.shape[0])
    states = _states(w)
    g_BKDN, dA_KDN = torch.zeros_like(states[0]), torch.zeros_like(w.A_KDN)
    du, ddelta, dB, dC = [], [], [], []
    for t in reversed(range(w.u_BTKD.shape[1])):
        decay_BKDN, _ = _decay_and_drive(w, t)
        u_BKD, delta_BKD, grad_BKD = w.u_BTKD[:, t], w.delta_BTKD[:, t], grad_y_BTKD[:, t]
        g_BKDN = g_BKDN + w.C_BTKN[:, t, :, None, :] * grad_BKD[..., None]
        faded_BKDN = g_BKDN * decay_BKDN * states[t]
        through_BKD = (g_BKDN * w.B_BTKN[:, t, :, None, :]).sum(-1)
        du.append(through_BKD * delta_BKD)
        ddelta.append(through_BKD * u_BKD + (faded_BKDN * w.A_KDN).sum(-1))
        dA_KDN = dA_KDN + (faded_BKDN * delta_BKD[..., None]).sum(0)
        dB.append((g_BKDN * (delta_BKD * u_BKD)[..., None]).sum(2))
        dC.append((states[t + 1] * grad_BKD[..., None]).sum(2))
        g_BKDN = g_BKDN * decay_BKDN
    du, ddelta, dB, dC = (torch.stack(x[::-1], 1) for x in (du, ddelta, dB, dC))
    return unwalk(w, (du, ddelta, dA_KDN, dB, dC), grad_y_BTKD, inputs, args)
