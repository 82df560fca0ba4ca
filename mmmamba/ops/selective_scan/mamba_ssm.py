"""The CUDA kernel of the mamba-ssm package, where it is installed: a peer to compare with.

It wants channels-first copies of every route, `(B, K D, T)`, which this backend makes.
"""

import importlib.util

import torch
from torch import Tensor

from .common import NO_STATES, ScanArgs, no_states, read_route, scan_dtype, write_route


def unavailable(device: torch.device) -> str | None:
    """Why it cannot run: another device than CUDA, or no compiled kernel."""
    if device.type != "cuda":
        return f"its kernel is for CUDA, not {device.type}"
    if importlib.util.find_spec("selective_scan_cuda") is None:
        return "mamba-ssm with its compiled selective_scan_cuda is not installed (pip install mmmamba[mamba-ssm])"
    return None


def states_shape(
    batch: int, steps: int, routes: int, channels: int, d_state: int
) -> tuple[int, ...]:
    return NO_STATES


def _channels_first(u, delta, A, B, C, D, bias, args: ScanArgs) -> list[Tensor | None]:
    """The kernel's arguments: `(B, E, T)` maps, E = K D; `(B, K, N, T)` projections, one dtype; float32 parameters."""
    K = A.shape[0]
    u_BET, delta_BET = (
        read_route(x.to(u.dtype), args.index_KT, K).flatten(2).transpose(1, 2).contiguous()
        for x in (u, delta)
    )
    B_BKNT, C_BKNT = (
        read_route(x.to(u.dtype), args.index_KT, K).permute(0, 2, 3, 1).contiguous() for x in (B, C)
    )
    D_E, bias_E = (None if x is None else x.float().flatten() for x in (D, bias))
    return [u_BET, delta_BET, A.float().flatten(0, 1), B_BKNT, C_BKNT, D_E, None, bias_E]


def forward(u, delta, A, B, C, D, bias, args: ScanArgs, keep_states: bool) -> tuple[Tensor, Tensor]:
    import selective_scan_cuda

    arguments = _channels_first(u, delta, A, B, C, D, bias, args)
    y_BET = selective_scan_cuda.fwd(*arguments, args.delta_softplus)[0]
    y_BTKD = y_BET.transpose(1, 2).unflatten(2, A.shape[:2]).to(scan_dtype(u))
    return write_route(y_BTKD, args.index_KT, delta.shape[1], args.merge).to(
        args.out_dtype
    ), no_states(u, delta, A)


def backward(
    grad_y, states, u, delta, A, B, C, D, bias, args: ScanArgs
) -> tuple[Tensor | None, ...]:
    import selective_scan_cuda

    inputs, K, length = (u, delta, A, B, C, D, bias), A.shape[0], delta.shape[1]
    arguments = _channels_first(*inputs, args)
    grad_BET = (
        read_route(grad_y.to(u.dtype), args.index_KT, K).flatten(2).transpose(1, 2).contiguous()
    )
    states = selective_scan_cuda.fwd(*arguments, args.delta_softplus)[1]
    du, ddelta, dA, dB, dC, dD, dbias, *_ = selective_scan_cuda.bwd(
        *arguments, grad_BET, states, None, None, args.delta_softplus, False
    )
    du_BTKD, ddelta_BTKD = (x.transpose(1, 2).unflatten(2, A.shape[:2]) for x in (du, ddelta))
    dB_BTKN, dC_BTKN = (x.permute(0, 3, 1, 2) for x in (dB, dC))
    grads = (
        write_route(du_BTKD, args.index_KT, length, u.shape[2] == 1 and K > 1),
        write_route(ddelta_BTKD, args.index_KT, length, False),
        dA.view(A.shape),
        write_route(dB_BTKN, args.index_KT, length, False),
        write_route(dC_BTKN, args.index_KT, length, False),
        None if D is None else dD.view(D.shape),
        None if bias is None else dbias.view(bias.shape),
    )
    return tuple(None if x is None else g.to(x.dtype) for g, x in zip(grads, inputs))
