"""The scan with the projection that makes its step sizes, B and C, none of which outlives the call.

In training these are most of what a block would keep: K times the map itself. One matrix product
makes them again, and another takes all their gradients, which the scan's backward pass writes side
by side.

Shape suffixes as in `common`; M = K D + 2 K N rows: step sizes route by route, then B, then C.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..autocast import autocast_dtype
from ..derivatives import differentiated_again, gradients, transformed
from .common import ScanArgs
from .dispatch import backend_module, plain_module, resolve

AT_ONCE = 2**27
"""Numbers that the projection may make at once in the backward pass.

Of a larger batch it makes them a part after the other.
"""

_SPARING = ContextVar("sparing", default=1)


@contextmanager
def sparing_memory() -> Iterator[None]:
    """Backward passes of projected scans that are called inside make a quarter as much at once."""
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
    """`selective_scan` with softplus and merged outputs, of the map x and what `x weight^T` makes.

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
        # Before the autograd function: its backward pass multiplies again, where autocast is off,
        # and has to find the same numbers.
        x_BLD, weight_MD = x_BLD.to(low), weight_MD.to(low)
    tensors = _Tensors(x_BLD, weight_MD, A, D, delta_bias)
    args = ScanArgs(index, True, True, out_dtype or x_BLD.dtype, index_complete)
    # A compiler cannot trace `transformed`.
    if not torch.compiler.is_compiling() and transformed():
        return _plain(tensors, args)
    if torch.is_grad_enabled():
        return _Projected.apply(*tensors, index, args.out_dtype, index_complete)
    return _forward(tensors, args, keep_states=False)[0]


class _Tensors(NamedTuple):
    """What has a gradient, and likewise the gradients of these."""

    x: Tensor
    weight: Tensor
    A: Tensor
    D: Tensor | None
    bias: Tensor | None


class _Projection(NamedTuple):
    """Views of what the projection makes, or of its gradient."""

    delta: Tensor
    B: Tensor
    C: Tensor


def _views(joint_BLM: Tensor, A: Tensor) -> _Projection:
    K, D, N = A.shape
    delta, B, C = joint_BLM.split((K * D, K * N, K * N), -1)
    return _Projection(
        delta.unflatten(-1, (K, D)), B.unflatten(-1, (K, N)), C.unflatten(-1, (K, N))
    )


def _scan_inputs(given: _Tensors, joint_BLM: Tensor) -> tuple[Tensor | None, ...]:
    """The seven tensors of a backend; the map is the same for all routes."""
    made = _views(joint_BLM, given.A)
    return given.x.unsqueeze(2), made.delta, given.A, made.B, made.C, given.D, given.bias


def _forward(given: _Tensors, args: ScanArgs, keep_states: bool) -> tuple[Tensor, Tensor]:
    backend = backend_module(resolve(given.x.device))
    inputs = _scan_inputs(given, F.linear(given.x, given.weight))
    y, states = backend.forward(*inputs, args, keep_states)
    return y.squeeze(2), states


def _plain(given: _Tensors, args: ScanArgs) -> Tensor:
    """The same from PyTorch's operators alone."""
    inputs = _scan_inputs(given, F.linear(given.x, given.weight))
    y = plain_module(given.x.device).scan(*inputs, args)
    return y.squeeze(2).to(args.out_dtype)


class _Projected(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, A, D, bias, index, out_dtype, index_complete):
        given = _Tensors(x, weight, A, D, bias)
        args = ScanArgs(index, True, True, out_dtype, index_complete)
        y, states = _forward(given, args, keep_states=True)
        ctx.save_for_backward(*given, index, states)
        # Looked up now: the backward pass comes after the `with` block, often in a thread of
        # autograd's, where a context variable has its default.
        ctx.index_complete, ctx.at_once = index_complete, AT_ONCE // _SPARING.get()
        return y

    @staticmethod
    def backward(ctx, grad):
        *tensors, index, states = ctx.saved_tensors
        given = _Tensors(*tensors)
        args = ScanArgs(index, True, True, grad.dtype, ctx.index_complete)
        if differentiated_again(grad):
            return gradients(
                lambda *tensors: _plain(_Tensors(*tensors), args),
                given,
                ctx.needs_input_grad,
                grad,
            )
        # What one image's projection holds, a map of M numbers; its gradient holds as many.
        numbers_of_an_image = given.x.shape[1] * len(given.weight)
        images = max(1, ctx.at_once // max(1, numbers_of_an_image))
        # Some backends keep nothing, or not for each image: their states cannot be divided.
        divisible = backend_module(resolve(given.x.device)).STATES_BY_IMAGE
        if len(given.x) <= images or not divisible:
            grads = _backward(grad, states, given, args)
        else:
            grads = _backward_in_parts(grad, states, given, args, images)
        return *grads, None, None, None


def _backward(grad: Tensor, states: Tensor, given: _Tensors, args: ScanArgs) -> _Tensors:
    """The gradients of all tensors at once."""
    joint_BLM = F.linear(given.x, given.weight)
    djoint_BLM = torch.empty_like(joint_BLM)
    slots = _views(djoint_BLM, given.A)
    # A backend that can writes its gradients into the slots, side by side for one matrix product.
    args = ScanArgs(args.index_KT, True, True, args.out_dtype, args.index_complete, gradients=slots)
    backend = backend_module(resolve(given.x.device))
    du, ddelta, dA, dB, dC, dD, dbias = backend.backward(
        grad.unsqueeze(2), states, *_scan_inputs(given, joint_BLM), args
    )
    # Other backends give tensors of their own. To compare addresses tells which it was.
    for slot, gradient in zip(slots, (ddelta, dB, dC)):
        if gradient.data_ptr() != slot.data_ptr():
            slot.copy_(gradient)
    djoint_RM = djoint_BLM.flatten(0, 1)
    # The map is read twice, by the scan as u and by the projection: both gradients in one product,
    # which is added to the scan's in its place, as it would be copied first otherwise.
    dx_RD = du.squeeze(2).flatten(0, 1).addmm_(djoint_RM, given.weight)
    dweight = djoint_RM.t() @ given.x.flatten(0, 1)
    return _Tensors(dx_RD.view(given.x.shape), dweight, dA, dD, dbias)


def _backward_in_parts(
    grad: Tensor, states: Tensor, given: _Tensors, args: ScanArgs, images: int
) -> _Tensors:
    """The same, so many images at a time; parameters' gradients are added up in order."""
    parts = []
    for some_grad, some_states, some_x in zip(
        grad.split(images), states.split(images), given.x.split(images)
    ):
        parts.append(_backward(some_grad, some_states, given._replace(x=some_x), args))
    return _Tensors(
        x=torch.cat([part.x for part in parts]),
        weight=_total([part.weight for part in parts]),
        A=_total([part.A for part in parts]),
        D=None if given.D is None else _total([part.D for part in parts]),
        bias=None if given.bias is None else _total([part.bias for part in parts]),
    )


def _total(parts: list) -> Tensor:
    first, *others = parts
    return sum(others, first)
