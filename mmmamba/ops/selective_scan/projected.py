"""The scan with the projection that makes its step sizes, B and C, none of which outlives the call.

In training these are most of what a block would keep: K times the map itself. One matrix product
makes them again, and another takes all their gradients, which the scan's backward pass writes side
by side.

Shape suffixes as in `common`; M = K D + 2 K N rows: step sizes route by route, then B, then C, and
any number of rows of zeros behind them, with which the product of a GPU is the faster where M is a
multiple of 8.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
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
    tensors = Tensors(x_BLD, weight_MD, A, D, delta_bias)
    args = ScanArgs(index, True, True, out_dtype or x_BLD.dtype, index_complete)
    # A compiler cannot trace `transformed`.
    if not torch.compiler.is_compiling() and transformed():
        return plain(tensors, args)
    if torch.is_grad_enabled():
        return _Projected.apply(*tensors, index, args.out_dtype, index_complete)
    return forward(tensors, args, False, backend_module(resolve(x_BLD.device)))[0]


class Tensors(NamedTuple):
    """What has a gradient, and likewise the gradients of these."""

    x: Tensor
    weight: Tensor
    A: Tensor
    D: Tensor | None
    bias: Tensor | None


class Projection(NamedTuple):
    """Views of what the projection makes, or of its gradient."""

    delta: Tensor
    BC: Tensor
    """B and C, `(2, B, L, K, N)`."""


def _views(joint_BLM: Tensor, A: Tensor) -> Projection:
    # One view each: a chain of splits would take longer than a kernel.
    (batch, length, _), (K, D, N) = joint_BLM.shape, A.shape
    image, row, one = joint_BLM.stride()
    # Some memory begins before the tensor that is looked at.
    start = joint_BLM.storage_offset()
    shape, strides = (2, batch, length, K, N), (K * N * one, image, row, N * one, one)
    return Projection(
        joint_BLM.as_strided((batch, length, K, D), (image, row, D * one, one), start),
        joint_BLM.as_strided(shape, strides, start + K * D * one),
    )


def _scan_inputs(
    given: Tensors, joint_BLM: Tensor, states_alone: bool
) -> tuple[Tensor | None, ...]:
    """The seven tensors of a backend; the map is the same for all routes."""
    made = _views(joint_BLM, given.A)
    B, C = made.BC.unbind()
    if states_alone:
        # Read with ones, the sum over states is the state where there is one.
        C = torch.ones(C.shape, dtype=C.dtype, device=C.device)
    return given.x.unsqueeze(2), made.delta, given.A, B, C, given.D, given.bias


def forward(
    given: Tensors, args: ScanArgs, keep_states: bool, backend: ModuleType
) -> tuple[Tensor, Tensor]:
    """y, and the states that the backend keeps."""
    inputs = _scan_inputs(given, F.linear(given.x, given.weight), states_alone=False)
    y, states = backend.forward(*inputs, args, keep_states)
    return y.squeeze(2), states


def forward_states(
    given: Tensors, args: ScanArgs, keep_states: bool, backend: ModuleType
) -> tuple[Tensor, Tensor, Tensor]:
    """The single state of each channel, C, and the states that the backend keeps."""
    joint_BLM = F.linear(given.x, given.weight)
    inputs = _scan_inputs(given, joint_BLM, states_alone=True)
    h, states = backend.forward(*inputs, args, keep_states)
    # A copy, as a view would keep all that was projected.
    C_BL = _views(joint_BLM, given.A).BC[1].flatten(1).clone()
    return h.squeeze(2), C_BL, states


def plain(given: Tensors, args: ScanArgs) -> Tensor:
    """The same from PyTorch's operators alone."""
    x, weight, A, skip, bias = given
    K, D, N = A.shape
    made = F.linear(x, weight[: K * D + 2 * K * N])
    delta, B, C = made.split((K * D, K * N, K * N), -1)
    inputs = (x.unsqueeze(2), delta.unflatten(-1, (K, D)), A)
    weights = (B.unflatten(-1, (K, N)), C.unflatten(-1, (K, N)))
    y = plain_module(x.device).scan(*inputs, *weights, skip, bias, args)
    return y.squeeze(2).to(args.out_dtype)


def numbers_at_once() -> int:
    """How many the backward pass of a scan that is called now may make at once."""
    return AT_ONCE // _SPARING.get()


class _Projected(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, A, D, bias, index, out_dtype, index_complete):
        given = Tensors(x, weight, A, D, bias)
        args = ScanArgs(index, True, True, out_dtype, index_complete)
        ctx.backend = backend_module(resolve(x.device))
        y, states = forward(given, args, True, ctx.backend)
        ctx.save_for_backward(*given, index, states)
        # Looked up now: the backward pass comes after the `with` block, often in a thread of
        # autograd's, where a context variable has its default.
        ctx.index_complete, ctx.at_once = index_complete, numbers_at_once()
        return y

    @staticmethod
    def backward(ctx, grad):
        *tensors, index, states = ctx.saved_tensors
        given = Tensors(*tensors)
        args = ScanArgs(index, True, True, grad.dtype, ctx.index_complete)
        if differentiated_again(grad):
            return gradients(
                lambda *tensors: plain(Tensors(*tensors), args),
                given,
                ctx.needs_input_grad,
                grad,
            )
        grads = backward(grad, states, given, args, ctx.at_once, ctx.backend)
        return *grads, None, None, None


def backward(
    grad: Tensor,
    states: Tensor,
    given: Tensors,
    args: ScanArgs,
    at_once: int,
    backend: ModuleType,
    dC_BL: Tensor | None = None,
) -> Tensors:
    """The gradients of all tensors; the projection makes at most so many numbers at once.

    Args:
        dC_BL: the gradient of C, where it was `forward_states`, whose scan does not read with it.
    """
    # What one image's projection holds, a map of M numbers; its gradient holds as many.
    numbers_of_an_image = given.x.shape[1] * given.weight.shape[0]
    images = max(1, at_once // max(1, numbers_of_an_image))
    # Some backends keep nothing, or not for each image: their states cannot be divided.
    if given.x.shape[0] <= images or not backend.STATES_BY_IMAGE:
        return _backward(grad, states, given, args, backend, dC_BL)
    return _backward_in_parts(grad, states, given, args, images, backend, dC_BL)


def _backward(
    grad: Tensor,
    states: Tensor,
    given: Tensors,
    args: ScanArgs,
    backend: ModuleType,
    dC_BL: Tensor | None,
) -> Tensors:
    """The gradients of all tensors at once."""
    joint_BLM = F.linear(given.x, given.weight)
    djoint_BLM = torch.empty_like(joint_BLM)
    slots = _views(djoint_BLM, given.A)
    # A backend that can writes its gradients into the slots, side by side for one matrix product.
    args = ScanArgs(args.index_KT, True, True, args.out_dtype, args.index_complete, gradients=slots)
    du, ddelta, dA, dB, dC, dD, dbias = backend.backward(
        grad.unsqueeze(2), states, *_scan_inputs(given, joint_BLM, dC_BL is not None), args
    )
    # Other backends give tensors of their own. To compare addresses tells which it was.
    if ddelta.data_ptr() != slots.delta.data_ptr():
        slots.delta.copy_(ddelta)
        for slot, gradient in zip(slots.BC, (dB, dC)):
            slot.copy_(gradient)
    if dC_BL is not None:
        slots.BC[1].copy_(dC_BL[..., None, None])
    K, D, N = given.A.shape
    written = K * D + 2 * K * N
    if written < djoint_BLM.shape[-1]:
        djoint_BLM[..., written:].zero_()
    rows = (-1, given.x.shape[-1])
    djoint_RM = djoint_BLM.view(-1, given.weight.shape[0])
    # The map is read twice, by the scan as u and by the projection: both gradients in one product,
    # which is added to the scan's in its place, as it would be copied first otherwise.
    dx_RD = du.reshape(rows).addmm_(djoint_RM, given.weight)
    dweight = djoint_RM.t() @ given.x.reshape(rows)
    return Tensors(dx_RD.view(given.x.shape), dweight, dA, dD, dbias)


def _backward_in_parts(
    grad: Tensor,
    states: Tensor,
    given: Tensors,
    args: ScanArgs,
    images: int,
    backend: ModuleType,
    dC_BL: Tensor | None,
) -> Tensors:
    """The same, so many images at a time; parameters' gradients are added up in order."""
    parts = []
    for first in range(0, len(grad), images):
        part = slice(first, first + images)
        some = given._replace(x=given.x[part])
        dC = None if dC_BL is None else dC_BL[part]
        parts.append(_backward(grad[part], states[part], some, args, backend, dC))
    return Tensors(
        x=torch.cat([part.x for part in parts]),
        weight=_total([part.weight for part in parts]),
        A=_total([part.A for part in parts]),
        D=None if given.D is None else _total([part.D for part in parts]),
        bias=None if given.bias is None else _total([part.bias for part in parts]),
    )


def _total(parts: list) -> Tensor:
    first, *others = parts
    return sum(others, first)
