"""The way back through the loop of `naive`, step by step from the last.

Written out because an operator's body runs below autograd, which therefore cannot give it.
"""

import torch
from torch import Tensor

from .common import RecurrenceGradients, ScanArgs, Walk, read_route, unwalk, walk


def _decays_and_states(w: Walk) -> tuple[list[Tensor], list[Tensor]]:
    """The decay of every step, and h before the first and after every step, `(B, K, D, N)` each."""
    decays, states = [], [w.u_BTKD.new_zeros(w.u_BTKD.shape[0], *w.A_KDN.shape)]
    for t in range(w.u_BTKD.shape[1]):
        u_BKD, delta_BKD = w.u_BTKD[:, t], w.delta_BTKD[:, t]
        decay_BKDN = torch.exp(delta_BKD[..., None] * w.A_KDN)
        drive_BKDN = (delta_BKD * u_BKD)[..., None] * w.B_BTKN[:, t, :, None, :]
        decays.append(decay_BKDN)
        states.append(decay_BKDN * states[-1] + drive_BKDN)
    return decays, states


def backward(grad_y, u, delta, A, B, C, D, bias, args: ScanArgs) -> tuple[Tensor | None, ...]:
    """Gradients of the seven inputs, by `g[t] = C[t] dy[t] + decay[t+1] g[t+1]`.

    g is the gradient of the state h[t]; what reaches u, delta, A, B and C of a step is a product of
    it with the other factors of that step.
    """
    inputs = (u, delta, A, B, C, D, bias)
    w = walk(*inputs, args)
    grad_y_BTKD = read_route(grad_y.to(w.u_BTKD.dtype), args.index_KT, A.shape[0])
    decays, states = _decays_and_states(w)
    g_BKDN, dA_KDN = torch.zeros_like(states[0]), torch.zeros_like(w.A_KDN)
    du, ddelta, dB, dC = [], [], [], []
    for t in reversed(range(len(decays))):
        u_BKD, delta_BKD, grad_BKD = w.u_BTKD[:, t], w.delta_BTKD[:, t], grad_y_BTKD[:, t]
        g_BKDN = g_BKDN + w.C_BTKN[:, t, :, None, :] * grad_BKD[..., None]
        # The part of h[t] that came from h[t-1] depends on delta and A through the decay.
        faded_BKDN = g_BKDN * decays[t] * states[t]
        through_BKD = (g_BKDN * w.B_BTKN[:, t, :, None, :]).sum(-1)
        du.append(through_BKD * delta_BKD)
        ddelta.append(through_BKD * u_BKD + (faded_BKDN * w.A_KDN).sum(-1))
        dA_KDN = dA_KDN + (faded_BKDN * delta_BKD[..., None]).sum(0)
        dB.append((g_BKDN * (delta_BKD * u_BKD)[..., None]).sum(2))
        # One more state than steps: states[t] enters step t and states[t + 1] leaves it.
        dC.append((states[t + 1] * grad_BKD[..., None]).sum(2))
        g_BKDN = g_BKDN * decays[t]
    grads = RecurrenceGradients(
        du_BTKD=torch.stack(du[::-1], 1),
        ddelta_BTKD=torch.stack(ddelta[::-1], 1),
        dA_KDN=dA_KDN,
        dB_BTKN=torch.stack(dB[::-1], 1),
        dC_BTKN=torch.stack(dC[::-1], 1),
    )
    return unwalk(w, grads, grad_y_BTKD, inputs, args)
