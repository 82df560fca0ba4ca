"""The scan as two operators of `torch.library`, and the shorter way where nobody looks at them.

An operator is one node for torch.compile, torch.export and FLOP counting. Where nobody is looking,
the same code runs as a plain autograd function: the dispatcher's way through an operator written in
Python takes about a millisecond of a training step, each time, whatever the size.
"""

from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode
from torch.utils.flop_counter import register_flop_formula

from ..derivatives import differentiated_again, gradients, transformed
from ..library import below_autograd, differentiate, refuse_derivatives, register
from ..lowering import lowers, unrolls
from .common import NO_STATES, ScanArgs, no_states, scan_dtype
from .dispatch import backend_module, plain_module, resolve
from .lowered import lowered_scan
from .unrolled import unrolled_scan

Gradients = tuple[Tensor | None, ...]


class Differentiable(NamedTuple):
    """The inputs that have a gradient, first in the schemas of both operators."""

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    bias: Tensor | None


class ScanInputs(NamedTuple):
    """The inputs of `mmmamba::selective_scan`, in the order of its schema."""

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    bias: Tensor | None
    index_KT: Tensor | None
    delta_softplus: bool
    merge: bool
    out_dtype: torch.dtype
    keep_states: bool
    index_complete: bool
    backend: str

    @property
    def differentiable(self) -> Differentiable:
        return Differentiable(self.u, self.delta, self.A, self.B, self.C, self.D, self.bias)

    @property
    def args(self) -> ScanArgs:
        return ScanArgs(
            self.index_KT, self.delta_softplus, self.merge, self.out_dtype, self.index_complete
        )


WITHOUT_GRADIENT = (None,) * (len(ScanInputs._fields) - len(Differentiable._fields))
"""What an autograd function returns for the inputs behind the differentiable ones."""


def _backend(name: str, u: Tensor) -> ModuleType:
    return backend_module(resolve(u.device, name))


def _forward(given: ScanInputs) -> tuple[Tensor, Tensor]:
    """y, and the states that the backend keeps."""
    backend = _backend(given.backend, given.u)
    return backend.forward(*given.differentiable, given.args, given.keep_states)


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
    """The operator's body, written out because its schema is read from the signature."""
    return _forward(
        ScanInputs(
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
        )
    )


scan_op = register("selective_scan", _scan)


@torch.library.register_fake("mmmamba::selective_scan")
def _(*inputs):
    given = ScanInputs(*inputs)
    batch, length, K, channels = given.delta.shape
    steps = length if given.index_KT is None else given.index_KT.shape[1]
    shape = NO_STATES
    # On the meta device nothing is computed, so that no backend is chosen for it, or refused.
    if given.keep_states and given.u.device.type != "meta":
        backend = _backend(given.backend, given.u)
        shape = backend.states_shape(batch, steps, K, channels, given.A.shape[2])
    y_shape = (batch, length, 1 if given.merge else K, channels)
    y = given.u.new_empty(y_shape, dtype=given.out_dtype)
    return y, given.u.new_empty(shape, dtype=scan_dtype(given.u, given.delta, given.A))


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
    """The gradients of the differentiable inputs that are there."""
    args = ScanArgs(index, delta_softplus, merge, grad_y.dtype, index_complete)
    inputs = Differentiable(u, delta, A, B, C, D, bias)
    du, ddelta, *others = _backend(backend, u).backward(grad_y, states, *inputs, args)
    # An operator's outputs may not share memory, as those of a sum over parts do.
    whole = [g.clone(memory_format=torch.contiguous_format) for g in others if g is not None]
    return [du.contiguous(), ddelta.contiguous(), *whole]


scan_backward_op = register("selective_scan_backward", _scan_backward)
refuse_derivatives(scan_backward_op, "selective_scan")


@torch.library.register_fake("mmmamba::selective_scan_backward")
def _(grad_y, states, u, delta, A, B, C, D, bias, *settings):
    inputs = Differentiable(u, delta, A, B, C, D, bias)
    # A schema's list of tensors holds no None: inputs that are not there are left out.
    return [x.new_empty(x.shape) for x in inputs if x is not None]


class _Settings(NamedTuple):
    """What the backward pass wants to know besides tensors, as its operator takes them."""

    delta_softplus: bool
    merge: bool
    index_complete: bool
    backend: str


class _Saved(NamedTuple):
    """What the forward pass left to the backward pass."""

    states: Tensor
    inputs: Differentiable
    index_KT: Tensor | None
    settings: _Settings

    def args(self, grad_y: Tensor) -> ScanArgs:
        softplus, merge, complete, _ = self.settings
        # A gradient has the dtype of what it belongs to, so y's need not be saved.
        return ScanArgs(self.index_KT, softplus, merge, grad_y.dtype, complete)


def _save(ctx, given: ScanInputs, states: Tensor) -> None:
    ctx.save_for_backward(states, *given.differentiable, given.index_KT)
    ctx.settings = _Settings(given.delta_softplus, given.merge, given.index_complete, given.backend)


def _saved(ctx) -> _Saved:
    states, *inputs, index = ctx.saved_tensors
    return _Saved(states, Differentiable(*inputs), index, ctx.settings)


def _plain_scan(inputs: Differentiable, args: ScanArgs, backend: str) -> Tensor:
    """y from PyTorch's operators alone, which can be differentiated in any direction and order."""
    return plain_module(inputs.u.device, backend).scan(*inputs, args).to(args.out_dtype)


def _plain_operator(*inputs) -> tuple[Tensor, Tensor]:
    given = ScanInputs(*inputs)
    y = _plain_scan(given.differentiable, given.args, given.backend)
    return y, no_states(given.u, given.delta, given.A)


def _plain_backward(ctx, grad_y: Tensor) -> Gradients:
    saved = _saved(ctx)

    def scan(*inputs):
        args, backend = saved.args(grad_y), saved.settings.backend
        return _plain_scan(Differentiable(*inputs), args, backend)

    return gradients(scan, saved.inputs, ctx.needs_input_grad, grad_y)


class _Eager(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *inputs):
        given = ScanInputs(*inputs)
        y, states = _forward(given)
        _save(ctx, given, states)
        return y

    @staticmethod
    def backward(ctx, grad_y):
        if differentiated_again(grad_y):
            return _plain_backward(ctx, grad_y)
        # Backends make all gradients in one pass; autograd drops those that nobody wants.
        saved = _saved(ctx)
        backend = _backend(saved.settings.backend, saved.inputs.u)
        grads = backend.backward(grad_y, saved.states, *saved.inputs, saved.args(grad_y))
        return *grads, *WITHOUT_GRADIENT


class _Watched(torch.autograd.Function):
    """The same by way of the operators, whose inputs may be seen and replaced."""

    @staticmethod
    def forward(ctx, *inputs):
        # A graph that was exported where nobody wanted gradients says that nobody does.
        given = ScanInputs(*inputs)._replace(keep_states=True)
        y, states = below_autograd(scan_op, *given)
        _save(ctx, given, states)
        ctx.mark_non_differentiable(states)
        # Else autograd would fill zeros of the states' size, for a gradient that there never is.
        ctx.set_materialize_grads(False)
        return y, states

    @staticmethod
    def backward(ctx, grad_y, grad_states):
        if grad_y is None:
            return (None,) * len(ScanInputs._fields)
        if differentiated_again(grad_y):
            return _plain_backward(ctx, grad_y)
        saved = _saved(ctx)
        found = scan_backward_op(
            grad_y, saved.states, *saved.inputs, saved.index_KT, *saved.settings
        )
        # The operator's list skips inputs that are None; autograd wants a place for each.
        remaining = iter(found)
        grads = [None if x is None else next(remaining) for x in saved.inputs]
        return *grads, *WITHOUT_GRADIENT


differentiate(scan_op, _Watched, _plain_operator)


def run(given: ScanInputs) -> Tensor:
    """y of `scan_op`, by the shorter way for plain tensors that nothing traces or counts."""
    if lowers():
        scan = unrolled_scan if unrolls() else lowered_scan
        return scan(*given.differentiable, given.args)
    # First, as a compiler cannot trace `transformed`.
    if torch.compiler.is_compiling():
        return scan_op(*given)[0]
    if transformed():
        return _plain_operator(*given)[0]
    tensors = (*given.differentiable, given.index_KT)
    # By exact type: subclasses (fake tensors, say) follow operators, and would not see a kernel
    # that is launched past them.
    plain = all(x is None or type(x) in (Tensor, torch.nn.Parameter) for x in tensors)
    if _get_current_dispatch_mode() is not None or not plain:
        return scan_op(*given)[0]
    return _Eager.apply(*given) if given.keep_states else _forward(given)[0]


def _flops(delta_shape, A_shape, index_shape) -> int:
    batch, length, _, channels = delta_shape
    steps = length if index_shape is None else index_shape[1]
    K, _, N = A_shape
    return batch * steps * K * channels * (9 * N + 1)


@register_flop_formula(torch.ops.mmmamba.selective_scan)
def _(
    u_shape,
    delta_shape,
    A_shape,
    B_shape,
    C_shape,
    D_shape,
    bias_shape,
    index_shape,
    *settings,
    out_shape=None,
    **kwargs,
) -> int:
    """The count of the published tables (VMamba): 9 a state, channel and step, 1 for the skip."""
    return _flops(delta_shape, A_shape, index_shape)


@register_flop_formula(torch.ops.mmmamba.selective_scan_backward)
def _(
    grad_shape,
    states_shape,
    u_shape,
    delta_shape,
    A_shape,
    B_shape,
    C_shape,
    D_shape,
    bias_shape,
    index_shape,
    *settings,
    out_shape=None,
    **kwargs,
) -> int:
    """Twice the forward's, the usual convention for a backward pass."""
    return 2 * _flops(delta_shape, A_shape, index_shape)
