"""The CUDA kernel of the mamba-ssm package, where it is installed: a peer to compare with.

It wants channels-first copies of every route, `(B, K D, T)`, which this backend makes.
"""

import importlib.util
from typing import NamedTuple

import torch
from torch import Tensor

from .common import (
    NO_STATES,
    ScanArgs,
    as_inputs,
    no_states,
    read_route,
    scan_dtype,
    write_route,
)


def unavailable(device: torch.device) -> str | None:
    """Why it cannot run: another device than CUDA, or no compiled kernel."""
    if device.type != "cuda":
        return f"its kernel is for CUDA, not {device.type}"
    # The package can be there without its compiled extension, which alone is called here.
    if importlib.util.find_spec("selective_scan_cuda") is None:
        return (
            "mamba-ssm with its compiled selective_scan_cuda is not installed "
            "(pip install mmmamba[mamba-ssm])"
        )
    return None


STATES_BY_IMAGE = False
"""Whether states are kept for each image, the first axis, so that they can be divided."""


def states_shape(
    batch: int, steps: int, routes: int, channels: int, d_state: int
) -> tuple[int, ...]:
    return NO_STATES


class _Arguments(NamedTuple):
    """The kernel's arguments in its order, E = K D; maps of one dtype, parameters float32."""

    u_BET: Tensor
    delta_BET: Tensor
    A_EN: Tensor
    B_BKNT: Tensor
    C_BKNT: Tensor
    D_E: Tensor | None
    z: None
    bias_E: Tensor | None


def _channels_first(x: Tensor, args: ScanArgs, routes: int, dtype: torch.dtype) -> Tensor:
    """`(B, L, K, D)` to `(B, K D, T)`, each route in its order."""
    x_BTKD = read_route(x.to(dtype), args.index_KT, routes)
    return x_BTKD.flatten(2).transpose(1, 2).contiguous()


def _weights_first(x: Tensor, args: ScanArgs, routes: int, dtype: torch.dtype) -> Tensor:
    """`(B, L, K, N)` to `(B, K, N, T)`."""
    return read_route(x.to(dtype), args.index_KT, routes).permute(0, 2, 3, 1).contiguous()


def _flat(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.float().flatten()


def _arguments(u, delta, A, B, C, D, bias, args: ScanArgs) -> _Arguments:
    K = A.shape[0]
    return _Arguments(
        u_BET=_channels_first(u, args, K, u.dtype),
        delta_BET=_channels_first(delta, args, K, u.dtype),
        A_EN=A.float().flatten(0, 1),
        # To the kernel a route is a group of channels, each group with a B and C of its own.
        B_BKNT=_weights_first(B, args, K, u.dtype),
        C_BKNT=_weights_first(C, args, K, u.dtype),
        D_E=_flat(D),
        z=None,
        bias_E=_flat(bias),
    )


def forward(u, delta, A, B, C, D, bias, args: ScanArgs, keep_states: bool) -> tuple[Tensor, Tensor]:
    import selective_scan_cuda

    arguments = _arguments(u, delta, A, B, C, D, bias, args)
    y_BET = selective_scan_cuda.fwd(*arguments, args.delta_softplus)[0]
    # The kernel rounds each route to u's dtype; at least their sum is taken in full precision.
    y_BTKD = y_BET.transpose(1, 2).unflatten(2, A.shape[:2]).to(scan_dtype(u))
    y = write_route(y_BTKD, args.index_KT, delta.shape[1], args.merge)
    return y.to(args.out_dtype), no_states(u, delta, A)


def backward(
    grad_y, states, u, delta, A, B, C, D, bias, args: ScanArgs
) -> tuple[Tensor | None, ...]:
    import selective_scan_cuda

    inputs, K, length = (u, delta, A, B, C, D, bias), A.shape[0], delta.shape[1]
    arguments = _arguments(*inputs, args)
    grad_BET = _channels_first(grad_y, args, K, u.dtype)
    # The kernel's own states are not kept (`states_shape`), so its forward pass runs again.
    states = selective_scan_cuda.fwd(*arguments, args.delta_softplus)[1]
    # There is no gate z: no gated output to hand over, none to compute again, no gradient for it.
    du, ddelta, dA, dB, dC, dD, dbias, *_ = selective_scan_cuda.bwd(
        *arguments, grad_BET, states, None, None, args.delta_softplus, False
    )

    def at_positions(x_BTKX: Tensor, merge: bool = False) -> Tensor:
        return write_route(x_BTKX, args.index_KT, length, merge)

    grads = (
        at_positions(du.transpose(1, 2).unflatten(2, A.shape[:2]), u.shape[2] == 1 and K > 1),
        at_positions(ddelta.transpose(1, 2).unflatten(2, A.shape[:2])),
        dA.view(A.shape),
        at_positions(dB.permute(0, 3, 1, 2)),
        at_positions(dC.permute(0, 3, 1, 2)),
        None if D is None else dD.view(D.shape),
        None if bias is None else dbias.view(bias.shape),
    )
    return as_inputs(grads, inputs)
