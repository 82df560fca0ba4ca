"""The scan in plain PyTorch: chunk after chunk, each chunk at once; any device, any precision.

Within a chunk of `CHUNK` steps the recurrence is a prefix scan of the pairs (decay, drive) under
(a1, b1) then (a2, b2) = (a1 a2, a2 b1 + b2), done in log2(CHUNK) doublings (Hillis & Steele).
Nothing is divided by a decay, so strong decays do not overflow. Only the states between chunks are
kept; the backward pass walks the chunks from the last and recomputes each.
"""

import torch
from torch import Tensor

from .common import (
    RecurrenceGradients,
    ScanArgs,
    Walk,
    no_states,
    read_route,
    unwalk,
    walk,
    write_route,
)

# More would take fewer turns in Python, but states `(B, CHUNK, K, D, N)` exist at once.
CHUNK = 64


def unavailable(device: torch.device) -> str | None:
    """Runs everywhere."""
    return None


STATES_BY_IMAGE = False
"""Whether states are kept for each image, the first axis, so that they can be divided."""


def states_shape(
    batch: int, steps: int, routes: int, channels: int, d_state: int
) -> tuple[int, ...]:
    return (-(-steps // CHUNK), batch, routes, channels, d_state)


def _recurrence(a_BSKDN: Tensor, b_BSKDN: Tensor) -> Tensor:
    """h[s] = a[s] h[s-1] + b[s] for all s, from a zero state.

    After each doubling, a and b of a step stand for `hop` steps that end there.
    """
    hop = 1
    while hop < a_BSKDN.shape[1]:
        joined_a = a_BSKDN[:, hop:] * a_BSKDN[:, :-hop]
        joined_b = b_BSKDN[:, hop:] + a_BSKDN[:, hop:] * b_BSKDN[:, :-hop]
        # Not in place, as autograd goes through here; the first `hop` steps are already whole.
        a_BSKDN = torch.cat([a_BSKDN[:, :hop], joined_a], 1)
        b_BSKDN = torch.cat([b_BSKDN[:, :hop], joined_b], 1)
        hop *= 2
    return b_BSKDN


def _states(
    h_BKDN: Tensor, u_BSKD: Tensor, delta_BSKD: Tensor, A_KDN: Tensor, B_BSKN: Tensor
) -> tuple[Tensor, Tensor]:
    """Decays and states of a chunk that begins with state h, `(B, S, K, D, N)` both."""
    decay_BSKDN = torch.exp(delta_BSKD[..., None] * A_KDN)
    drive_BSKDN = (delta_BSKD * u_BSKD)[..., None] * B_BSKN[..., None, :]
    # What enters becomes part of the first drive, as `_recurrence` begins from zero.
    first_B1KDN = drive_BSKDN[:, :1] + decay_BSKDN[:, :1] * h_BKDN[:, None]
    return decay_BSKDN, _recurrence(decay_BSKDN, torch.cat([first_B1KDN, drive_BSKDN[:, 1:]], 1))


def _outputs_and_states(w: Walk) -> tuple[Tensor, list[Tensor]]:
    """The outputs along the routes, and the states that enter each chunk; nothing in place."""
    h_BKDN = w.u_BTKD.new_zeros(w.u_BTKD.shape[0], *w.A_KDN.shape)
    ys, states = [], []
    us, deltas = w.u_BTKD.split(CHUNK, 1), w.delta_BTKD.split(CHUNK, 1)
    Bs, Cs = w.B_BTKN.split(CHUNK, 1), w.C_BTKN.split(CHUNK, 1)
    for u_BSKD, delta_BSKD, B_BSKN, C_BSKN in zip(us, deltas, Bs, Cs):
        states.append(h_BKDN)
        _, h_BSKDN = _states(h_BKDN, u_BSKD, delta_BSKD, w.A_KDN, B_BSKN)
        ys.append((h_BSKDN * C_BSKN[..., None, :]).sum(-1))
        # A view would keep the states of the whole chunk in memory.
        h_BKDN = h_BSKDN[:, -1].clone()
    y_BTKD = torch.cat(ys, 1)
    return y_BTKD if w.D_KD is None else y_BTKD + w.D_KD * w.u_BTKD, states


def scan(u, delta, A, B, C, D, bias, args: ScanArgs) -> Tensor:
    """The outputs in scan precision, `(B, L, K, D)` or merged `(B, L, 1, D)`.

    Plain autograd works through it.
    """
    y_BTKD, _ = _outputs_and_states(walk(u, delta, A, B, C, D, bias, args))
    return write_route(y_BTKD, args.index_KT, delta.shape[1], args.merge)


def forward(u, delta, A, B, C, D, bias, args: ScanArgs, keep_states: bool) -> tuple[Tensor, Tensor]:
    y_BTKD, states = _outputs_and_states(walk(u, delta, A, B, C, D, bias, args))
    y = write_route(y_BTKD, args.index_KT, delta.shape[1], args.merge).to(args.out_dtype)
    return y, torch.stack(states) if keep_states else no_states(u, delta, A)


def backward(
    grad_y, states, u, delta, A, B, C, D, bias, args: ScanArgs
) -> tuple[Tensor | None, ...]:
    """The adjoint recurrence `g[t] = C[t] dy[t] + decay[t+1] g[t+1]`, from the last chunk on."""
    inputs = (u, delta, A, B, C, D, bias)
    w = walk(*inputs, args)
    grad_y_BTKD = read_route(grad_y.to(w.u_BTKD.dtype), args.index_KT, A.shape[0])
    us, deltas = w.u_BTKD.split(CHUNK, 1), w.delta_BTKD.split(CHUNK, 1)
    Bs, Cs = w.B_BTKN.split(CHUNK, 1), w.C_BTKN.split(CHUNK, 1)
    dys = grad_y_BTKD.split(CHUNK, 1)
    carry_BKDN, dA_KDN = torch.zeros_like(states[0]), torch.zeros_like(w.A_KDN)
    du, ddelta, dB, dC = [], [], [], []
    for chunk in reversed(range(len(us))):
        u_BSKD, delta_BSKD, dy_BSKD = us[chunk], deltas[chunk], dys[chunk]
        B_BSKN, C_BSKN = Bs[chunk], Cs[chunk]
        # States inside of a chunk are not kept: N times the map, and quickly made again.
        entry_BKDN = states[chunk]
        decay_BSKDN, h_BSKDN = _states(entry_BKDN, u_BSKD, delta_BSKD, w.A_KDN, B_BSKN)
        before_BSKDN = torch.cat([entry_BKDN[:, None], h_BSKDN[:, :-1]], 1)
        g_BSKDN = C_BSKN[..., None, :] * dy_BSKD[..., None]
        # The carry has the decay of the next chunk's first step in it already, so the decay that
        # stands for it below is a one that nothing is multiplied by.
        g_BSKDN[:, -1] += carry_BKDN
        # g fades by the decay of the step after it: the same recurrence, from the end.
        later_BSKDN = torch.cat([decay_BSKDN[:, 1:], torch.ones_like(decay_BSKDN[:, :1])], 1)
        g_BSKDN = _recurrence(later_BSKDN.flip(1), g_BSKDN.flip(1)).flip(1)
        carry_BKDN = decay_BSKDN[:, 0] * g_BSKDN[:, 0]
        faded_BSKDN = g_BSKDN * decay_BSKDN * before_BSKDN
        through_BSKD = (g_BSKDN * B_BSKN[..., None, :]).sum(-1)
        du.append(through_BSKD * delta_BSKD)
        ddelta.append(through_BSKD * u_BSKD + (faded_BSKDN * w.A_KDN).sum(-1))
        dA_KDN += (faded_BSKDN * delta_BSKD[..., None]).sum((0, 1))
        dB.append((g_BSKDN * (delta_BSKD * u_BSKD)[..., None]).sum(3))
        dC.append((h_BSKDN * dy_BSKD[..., None]).sum(3))
    grads = RecurrenceGradients(
        du_BTKD=torch.cat(du[::-1], 1),
        ddelta_BTKD=torch.cat(ddelta[::-1], 1),
        dA_KDN=dA_KDN,
        dB_BTKN=torch.cat(dB[::-1], 1),
        dC_BTKN=torch.cat(dC[::-1], 1),
    )
    return unwalk(w, grads, grad_y_BTKD, inputs, args)
