"""The scan together with the projection that makes its step sizes, B and C, none of which outlives the call.

In training these are most of what a block would keep: K times the map itself. One matrix product makes them again, and
another takes all their gradients, which the scan's backward pass writes side by side.

Shape suffixes as in `common`; M = K D + 2 K N rows: step sizes route by route, then B, then C.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..autocast import autocast_dtype
from ..derivatives import differentiated_again, gradients, transformed
from .common import ScanArgs
from .dispatch import backend_module, plain_module, resolve

AT_ONCE = 2**27
"""Numbers that the projection may make at once in the backward pass: of a larger batch a part after the other."""

_SPARING = ContextVar("sparing", default=1)


@contextmanager
def sparing_memory() -> Iterator[None]:
    """Backward passes of the projected scans that are called inside make a quarter as much at once."""
    token = _SPARING.set(4)
    try:
        yield
    finally:
        _SPARING.reset(token)


def projected_scan(
    x_BLD: Tensor,
    weight_MD: Tensor,
    A: Tensor,
    D: Tensor | None,
    *,
    index: Tensor | None = None,
    delta_bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
    index_complete: bool = False,
) -> Tensor:
    """`selective_scan` with softplus and merged outputs, of the map x and what `x weight^T` makes of it.

    Args:
        x_BLD: the map.
        weight_MD: under autocast taken in its dtype, like x.
        A, D, index, delta_bias, out_dtype, index_complete: of `selective_scan`.

    Raises:
        TypeError: a map of integers or complex numbers.
    """
    if not x_BLD.is_floating_point():
        raise TypeError(f"projected_scan: x_BLD is {x_BLD.dtype}, wanted floating point")
    low = autocast_dtype(x_BLD)
    if low is not None:
        x_BLD, weight_MD = x_BLD.to(low), weight_MD.to(low)
    inputs = (x_BLD, weight_MD, A, D, delta_bias, index, out_dtype or x_BLD.dtype, index_complete)
    if not torch.compiler.is_compiling() and transformed():
        return _plain(*inputs)
    return _Projected.apply(*inputs) if torch.is_grad_enabled() else _forward(*inputs, False)[0]


def _forward(
    x, weight, A, D, bias, index, out_dtype, index_complete, keep_states
) -> tuple[Tensor, Tensor]:
    args = ScanArgs(index, True, True, out_dtype, index_complete)
    delta, B, C = _parts(F.linear(x, weight), A)
    backend = backend_module(resolve(x.device))
    y, states = backend.forward(x.unsqueeze(2), delta, A, B, C, D, bias, args, keep_states)
    return y.squeeze(2), states


def _plain(x, weight, A, D, bias, index, out_dtype, index_complete) -> Tensor:
    """The same from PyTorch's operators alone."""
    delta, B, C = _parts(F.linear(x, weight), A)
    args = ScanArgs(index, True, True, out_dtype, index_complete)
    return (
        plain_module(x.device)
        .scan(x.unsqueeze(2), delta, A, B, C, D, bias, args)
        .squeeze(2)
        .to(out_dtype)
    )


def _parts(joint_BLM: Tensor, A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    K, D, N = A.shape
    delta, B, C = joint_BLM.split((K * D, K * N, K * N), -1)
    return delta.unflatten(-1, (K, D)), B.unflatten(-1, (K, N)), C.unflatten(-1, (K, N))


class _Projected(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, A, D, bias, index, out_dtype, index_complete):
        y, states = _forward(x, weight, A, D, bias, index, out_dtype, index_complete, True)
        ctx.save_for_backward(x, weight, A, D, bias, index, states)
        ctx.index_complete, ctx.at_once = index_complete, AT_ONCE // _SPARING.get()
        return y

    @staticmethod
    def backward(ctx, grad):
        *inputs, index, states = ctx.saved_tensors
        if differentiated_again(grad):
            return gradients(
                lambda *x: _plain(*x, index, grad.dtype, ctx.index_complete),
                inputs,
                ctx.needs_input_grad,
                grad,
            )
        x, weight, A, D, bias = inputs
        images = max(1, ctx.at_once // max(1, x.shape[1] * len(weight)))
        # Some backends keep nothing for each image.
        together = len(x) <= images or len(states) != len(x)
        batches = (
            [(grad, x, states)] if together else zip(*(t.split(images) for t in (grad, x, states)))
        )
        parts = [
            _backward(*some, weight, A, D, bias, index, ctx.index_complete) for some in batches
        ]
        (dx, *others), *more = parts
        if more:
            dx = torch.cat([part[0] for part in parts])
            others = [
                None if each[0] is None else sum(each[1:], each[0])
                for each in zip(*(p[1:] for p in parts))
            ]
        return dx, *others, None, None, None


def _backward(
    grad, x, states, weight, A, D, bias, index, index_complete
) -> tuple[Tensor | None, ...]:
    """Gradients of x, weight, A, D and bias."""
    joint = F.linear(x, weight)
    djoint = torch.empty_like(joint)
    slots = _parts(djoint, A)
    args = ScanArgs(index, True, True, grad.dtype, index_complete, slots)
    delta, B, C = _parts(joint, A)
    du, *made, dD, dbias = backend_module(resolve(x.device)).backward(
        grad.unsqueeze(2), states, x.unsqueeze(2), delta, A, B, C, D, bias, args
    )
    dA = made.pop(1)
    for slot, gradient in zip(slots, made):
        if gradient.data_ptr() != slot.data_ptr():
            slot.copy_(gradient)
    flat = djoint.flatten(0, 1)
    dx = torch.addmm(du.squeeze(2).flatten(0, 1), flat, weight).view(x.shape)
    return dx, flat.t() @ x.flatten(0, 1), dA, dD, dbias
