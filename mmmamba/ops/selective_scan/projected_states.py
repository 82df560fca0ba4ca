"""`projected_scan` that hands out states and C, for layers that change states before the read."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..autocast import autocast_dtype
from ..derivatives import differentiated_again, gradients, transformed
from .common import ScanArgs
from .dispatch import backend_module, plain_module, resolve
from .projected import Tensors, backward, forward_states, numbers_at_once


def projected_states(
    x_BLD: Tensor,
    weight_MD: Tensor,
    A: Tensor,
    delta_bias: Tensor,
    out_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """The states of a scan of one route, first to last, and C.

    Args:
        x_BLD: the map.
        weight_MD: D rows that make step sizes, one for B, one for C, and any number of zeros.
        A: `(1, D, 1)`: one state for each channel.
        delta_bias: `(1, D)`.
        out_dtype: of the states; by default x's or autocast's. They are computed in float32.

    Returns:
        `h[t] = exp(delta[t] * A) * h[t-1] + delta[t] * B[t] * x[t]`, `(B, L, D)`, with delta after
        its bias and softplus; and C, `(B, L)`.

    Raises:
        ValueError: more than one route or state, or a weight that lacks rows.
    """
    D = x_BLD.shape[-1]
    if A.shape != (1, D, 1) or len(weight_MD) < D + 2:
        raise ValueError(
            f"projected_states: A is {tuple(A.shape)} and weight_MD {tuple(weight_MD.shape)}, "
            f"wanted {(1, D, 1)} and at least {D + 2} rows"
        )
    low = autocast_dtype(x_BLD)
    if low is not None:
        # Before the autograd function: its backward pass multiplies again, where autocast is off,
        # and has to find the same numbers.
        x_BLD, weight_MD = x_BLD.to(low), weight_MD.to(low)
    given = Tensors(x_BLD, weight_MD, A, None, delta_bias)
    args = ScanArgs(None, True, True, out_dtype or x_BLD.dtype, True)
    # A compiler cannot trace `transformed`.
    if not torch.compiler.is_compiling() and transformed():
        return _plain(given, args)
    if torch.is_grad_enabled():
        return _States.apply(x_BLD, weight_MD, A, delta_bias, args.out_dtype)
    return forward_states(given, args, False, backend_module(resolve(x_BLD.device)))[:2]


def _plain(given: Tensors, args: ScanArgs) -> tuple[Tensor, Tensor]:
    """The same from PyTorch's operators alone."""
    D = given.x.shape[-1]
    joint_BLM = F.linear(given.x, given.weight).unsqueeze(2)
    delta, (B, C) = joint_BLM[..., :D], joint_BLM[..., D : D + 2].split(1, -1)
    inputs = (given.x.unsqueeze(2), delta, given.A, B, torch.ones_like(C))
    h = plain_module(given.x.device).scan(*inputs, None, given.bias, args)
    return h.squeeze(2).to(args.out_dtype), C.flatten(1)


class _States(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, A, bias, out_dtype):
        args = ScanArgs(None, True, True, out_dtype, True)
        ctx.backend = backend_module(resolve(x.device))
        given = Tensors(x, weight, A, None, bias)
        h, C, states = forward_states(given, args, True, ctx.backend)
        ctx.save_for_backward(x, weight, A, bias, states)
        # Looked up now, as `projected_scan` does.
        ctx.at_once = numbers_at_once()
        return h, C

    @staticmethod
    def backward(ctx, dh, dC):
        x, weight, A, bias, states = ctx.saved_tensors
        args = ScanArgs(None, True, True, dh.dtype, True)
        if differentiated_again(dh):
            return gradients(
                lambda x, weight, A, bias: _plain(Tensors(x, weight, A, None, bias), args),
                (x, weight, A, bias),
                ctx.needs_input_grad,
                (dh, dC),
            )
        given = Tensors(x, weight, A, None, bias)
        found = backward(dh, states, given, args, ctx.at_once, ctx.backend, dC)
        return found.x, found.weight, found.A, found.bias, None
