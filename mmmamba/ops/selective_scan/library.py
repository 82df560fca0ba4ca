"""The scan as two operators of `torch.library`: one node for torch.compile, torch.export and FLOP counting.

Where nobody is looking at operators, the same code runs as a plain autograd function: the dispatcher's way through an
operator written in Python takes about a millisecond of a training step, each time, whatever the size.
"""

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode
from torch.utils.flop_counter import register_flop_formula

from ..derivatives import differentiated_again, gradients, transformed
from ..library import below_autograd, differentiate, refuse_derivatives, register
from .common import NO_STATES, ScanArgs, no_states, scan_dtype
from .dispatch import backend_module, plain_module, resolve


def _backend(name: str, u: Tensor):
    return backend_module(resolve(u.device, name))


def _scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    bias: Tensor | None,
    index: Tensor | None,
    delta_softplus: bool,
    merge: bool,
    out_dtype: torch.dtype,
    keep_states: bool,
    index_complete: bool,
    backend: str,
) -> tuple[Tensor, Tensor]:
    args = ScanArgs(index, delta_softplus, merge, out_dtype, index_complete)
    return _backend(backend, u).forward(u, delta, A, B, C, D, bias, args, keep_states)


scan_op = register("selective_scan", _scan)


@torch.library.register_fake("mmmamba::selective_scan")
def _(
    u,
    delta,
    A,
    B,
    C,
    D,
    bias,
    index,
    delta_softplus,
    merge,
    out_dtype,
    keep_states,
    index_complete,
    backend,
):
    batch, length, K, channels = delta.shape
    steps = length if index is None else index.shape[1]
    shape = NO_STATES
    if keep_states and u.device.type != "meta":
        shape = _backend(backend, u).states_shape(batch, steps, K, channels, A.shape[2])
    y = u.new_empty((batch, length, 1 if merge else K, channels), dtype=out_dtype)
    return y, u.new_empty(shape, dtype=scan_dtype(u, delta, A))


def _scan_backward(
    grad_y: Tensor,
    states: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    bias: Tensor | None,
    index: Tensor | None,
    delta_softplus: bool,
    merge: bool,
    index_complete: bool,
    backend: str,
) -> list[Tensor]:
    args = ScanArgs(index, delta_softplus, merge, grad_y.dtype, index_complete)
    du, ddelta, *small = _backend(backend, u).backward(
        grad_y, states, u, delta, A, B, C, D, bias, args
    )
    # An operator's outputs may not share memory.
    return [
        du,
        ddelta,
        *(g.clone(memory_format=torch.contiguous_format) for g in small if g is not None),
    ]


scan_backward_op = register("selective_scan_backward", _scan_backward)
refuse_derivatives(scan_backward_op, "selective_scan")


@torch.library.register_fake("mmmamba::selective_scan_backward")
def _(
    grad_y,
    states,
    u,
    delta,
    A,
    B,
    C,
    D,
    bias,
    index,
    delta_softplus,
    merge,
    index_complete,
    backend,
):
    return [x.new_empty(x.shape) for x in (u, delta, A, B, C, D, bias) if x is not None]


def plain_scan(
    u,
    delta,
    A,
    B,
    C,
    D,
    bias,
    index,
    delta_softplus,
    merge,
    out_dtype,
    keep_states,
    index_complete,
    backend,
) -> Tensor:
    """y of `scan_op` of these inputs, from PyTorch's operators alone."""
    args = ScanArgs(index, delta_softplus, merge, out_dtype, index_complete)
    return plain_module(u.device, backend).scan(u, delta, A, B, C, D, bias, args).to(out_dtype)


class _Eager(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx,
        u,
        delta,
        A,
        B,
        C,
        D,
        bias,
        index,
        delta_softplus,
        merge,
        out_dtype,
        keep_states,
        index_complete,
        backend,
    ):
        args = ScanArgs(index, delta_softplus, merge, out_dtype, index_complete)
        y, states = _backend(backend, u).forward(u, delta, A, B, C, D, bias, args, keep_states)
        if keep_states:
            ctx.save_for_backward(states, u, delta, A, B, C, D, bias, index)
            ctx.settings = (delta_softplus, merge, index_complete, backend)
        return y

    @staticmethod
    def backward(ctx, grad_y):
        if differentiated_again(grad_y):
            return _plain_backward(ctx, grad_y)
        states, u, *inputs, index = ctx.saved_tensors
        delta_softplus, merge, index_complete, backend = ctx.settings
        args = ScanArgs(index, delta_softplus, merge, grad_y.dtype, index_complete)
        grads = _backend(backend, u).backward(grad_y, states, u, *inputs, args)
        return (*grads, *(None,) * 7)


class _Watched(torch.autograd.Function):
    """The same by way of the operators, whose inputs may be seen and replaced."""

    @staticmethod
    def forward(ctx, *inputs):
        (
            u,
            delta,
            A,
            B,
            C,
            D,
            bias,
            index,
            delta_softplus,
            merge,
            out_dtype,
            _,
            index_complete,
            backend,
        ) = inputs
        # A graph that was exported where nobody wanted gradients says that nobody does.
        y, states = below_autograd(scan_op, *inputs[:11], True, index_complete, backend)
        ctx.save_for_backward(states, u, delta, A, B, C, D, bias, index)
        ctx.settings = (delta_softplus, merge, index_complete, backend)
        ctx.mark_non_differentiable(states)
        ctx.set_materialize_grads(False)
        return y, states

    @staticmethod
    def backward(ctx, grad_y, grad_states):
        if grad_y is None:
            return (None,) * 14
        if differentiated_again(grad_y):
            return _plain_backward(ctx, grad_y)
        states, *inputs, index = ctx.saved_tensors
        grads = iter(scan_backward_op(grad_y, states, *inputs, index, *ctx.settings))
        return (*(None if x is None else next(grads) for x in inputs), *(None,) * 7)


def _plain_backward(ctx, grad_y: Tensor) -> tuple[Tensor | None, ...]:
    _, *inputs, index = ctx.saved_tensors
    delta_softplus, merge, index_complete, backend = ctx.settings

    def scan(*inputs):
        return plain_scan(
            *inputs, index, delta_softplus, merge, grad_y.dtype, False, index_complete, backend
        )

    return gradients(scan, inputs, ctx.needs_input_grad, grad_y)


def _plain_operator(*inputs) -> tuple[Tensor, Tensor]:
    return plain_scan(*inputs), no_states(*inputs[:3])


differentiate(scan_op, _Watched, _plain_operator)


def run(*inputs) -> Tensor:
    """y of `scan_op` of these inputs, by the shorter way where they are plain tensors that nothing traces or counts."""
    if torch.compiler.is_compiling():
        return scan_op(*inputs)[0]
    if transformed():
        return plain_scan(*inputs)
    if _get_current_dispatch_mode() is not None or any(
        type(x) not in (Tensor, torch.nn.Parameter) for x in inputs[:8] if x is not None
    ):
        return scan_op(*inputs)[0]
    return _Eager.apply(*inputs) if inputs[11] else _scan(*inputs)[0]


def _flops(u_shape, delta_shape, A_shape, *rest) -> int:
    batch, length, _, channels = delta_shape
    index_shape = rest[4]
    steps = length if index_shape is None else index_shape[1]
    K, _, N = A_shape
    return batch * steps * K * channels * (9 * N + 1)


@register_flop_formula(torch.ops.mmmamba.selective_scan)
def _(u_shape, delta_shape, A_shape, *rest, out_shape=None, **kwargs) -> int:
    """The count of the published tables (VMamba): 9 for each state of each channel and step, 1 for the skip."""
    return _flops(u_shape, delta_shape, A_shape, *rest)


@register_flop_formula(torch.ops.mmmamba.selective_scan_backward)
def _(
    grad_shape, states_shape, u_shape, delta_shape, A_shape, *rest, out_shape=None, **kwargs
) -> int:
    """Twice the forward's, the usual convention for a backward pass."""
    return 2 * _flops(u_shape, delta_shape, A_shape, *rest)
