"""LayerNorm or RMSNorm over the last dimension, alone or with the residual sum before it.

Under CUDA autocast PyTorch's `F.layer_norm` writes float32, and a linear layer that follows reads
that and writes it again in the low precision. Here one kernel computes in float32 and writes what
the consumer takes.

Which way is taken is decided in `kernels_take` and nowhere else: Triton's kernels on CUDA for
float32, float16 and bfloat16; else PyTorch's own, the same arithmetic in float32: on a CPU,
without Triton and for float64.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .add_scaled import scaled
from .autocast import autocast_dtype
from .derivatives import differentiated_again, gradients, transformed
from .launch import DTYPES, HAS_TRITON
from .library import below_autograd, differentiate, refuse_derivatives, register
from .lowering import lowers

BACKENDS = ("triton", "torch")
MAX_WIDTH = 8192
"""A kernel holds whole rows in registers."""


def layer_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    eps: float = 1e-5,
    *,
    feeds_linear: bool = False,
    backend: str = "",
) -> Tensor:
    """`(x - mean) / sqrt(var + eps) * weight + bias` over the last dimension C.

    (Ba et al., arXiv 1607.06450.) Without a bias `x / sqrt(mean(x^2) + eps) * weight`, RMSNorm
    (Zhang and Sennrich, arXiv 1910.07467).

    Args:
        x: `(..., C)`.
        weight, bias: `(C,)`; None for the bias of RMSNorm.
        feeds_linear: every consumer takes autocast's dtype, as linear layers and convolutions do:
            under autocast return that, rounded once from float32, as the consumer would. Otherwise
            it is what `F.layer_norm` returns: under CUDA autocast float32, else x's dtype.
        backend: "triton" or "torch"; by default the kernels where they can run.

    Raises:
        ValueError: shapes that do not fit, or another backend.
    """
    _check(x, weight, bias, backend)
    dtype = output_dtype(x, x.dtype, feeds_linear)
    if kernels_take(x, x.dtype, backend):
        return _launch(x, None, weight, bias, eps, dtype, None)[0]
    return _plain(x, weight, bias, eps, dtype, feeds_linear)


def add_layer_norm(
    x: Tensor,
    branch: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    eps: float = 1e-5,
    *,
    feeds_linear: bool = False,
    backend: str = "",
    factor: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`layer_norm(x + branch)`, and that sum, which the residual stream goes on with.

    Without a branch it goes on with x. Whatever it is, its gradient and the norm's are added up in
    one pass over the map.

    Args:
        factor: `(B,)` of the branch's dtype, what each image of the branch is multiplied by before
            it is added; it gets no gradient.

    Raises:
        ValueError: shapes that do not fit, or another backend.
    """
    if branch is None:
        return _norm_beside(x, weight, bias, eps, feeds_linear, backend)
    _check(x, weight, bias, backend)
    if x.shape != branch.shape:
        raise ValueError(
            f"add_layer_norm: x is {tuple(x.shape)}, branch {tuple(branch.shape)}, "
            "wanted the same shape"
        )
    total = torch.promote_types(x.dtype, branch.dtype)
    dtype = output_dtype(x, total, feeds_linear)
    takes = kernels_take(x, total, backend)
    if factor is not None:
        _check_factor(factor, branch)
        if not takes or torch.compiler.is_compiling() or transformed():
            branch, factor = scaled(branch, factor), None
    if takes:
        y, sums, _ = _launch(x, branch, weight, bias, eps, dtype, factor)
        assert sums is not None
        return y, sums
    residual = x + branch
    return _plain(residual, weight, bias, eps, dtype, feeds_linear), residual


def _check_factor(factor: Tensor, branch: Tensor) -> None:
    if factor.shape != branch.shape[:1] or factor.dtype != branch.dtype:
        raise ValueError(
            f"add_layer_norm: factor is {tuple(factor.shape)} of {factor.dtype}, wanted "
            f"{tuple(branch.shape[:1])} of {branch.dtype}, as the branch"
        )
    if factor.requires_grad:
        raise ValueError("add_layer_norm: factor wants a gradient, which is not computed")


def _norm_beside(
    x: Tensor, weight: Tensor, bias: Tensor | None, eps: float, feeds_linear: bool, backend: str
) -> tuple[Tensor, Tensor]:
    """`layer_norm(x)` and x."""
    # Only a backward pass in eager mode has anything to add up.
    simple = torch.compiler.is_compiling() or transformed() or not torch.is_grad_enabled()
    if simple or not kernels_take(x, x.dtype, backend):
        return layer_norm(x, weight, bias, eps, feeds_linear=feeds_linear, backend=backend), x
    _check(x, weight, bias, backend)
    dtype = output_dtype(x, x.dtype, feeds_linear)
    y, x, _ = _EagerBeside.apply(x, None, weight, bias, eps, dtype, None)
    return y, x


def _plain(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    eps: float,
    dtype: torch.dtype,
    feeds_linear: bool,
) -> Tensor:
    y = _by_pytorch(x, weight, bias, eps)
    return y.to(dtype) if feeds_linear else y


def _by_pytorch(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    if bias is None:
        return F.rms_norm(x, x.shape[-1:], weight, eps)
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def _check(x: Tensor, weight: Tensor, bias: Tensor | None, backend: str) -> None:
    for name, p in (("weight", weight), ("bias", bias)):
        if p is not None and p.shape != x.shape[-1:]:
            raise ValueError(
                f"layer_norm: {name} is {tuple(p.shape)}, but x {tuple(x.shape)} asks for "
                f"{tuple(x.shape[-1:])}"
            )
    if backend and backend not in BACKENDS:
        raise ValueError(
            f"layer_norm has no backend {backend!r}, wanted one of {', '.join(map(repr, BACKENDS))}"
        )


def kernels_take(x: Tensor, dtype: torch.dtype, backend: str) -> bool:
    # Whoever names a backend gets it or an error: on a CPU it is how the interpreter is reached.
    if backend:
        return backend == "triton"
    known = x.is_cuda and dtype in DTYPES and x.shape[-1] <= MAX_WIDTH
    return HAS_TRITON and known and not lowers()


def output_dtype(x: Tensor, dtype: torch.dtype, feeds_linear: bool) -> torch.dtype:
    low = autocast_dtype(x)
    # Autocast leaves float64 alone.
    if dtype == torch.float64 or low is None:
        return dtype
    return low if feeds_linear else torch.float32


def _kernels(*inputs) -> tuple[Tensor, Tensor | None, Tensor]:
    """y, the sum with the branch (None without one), and the rows' mean and 1 / std."""
    from .kernels import layer_norm as layer_norm_triton

    return layer_norm_triton.forward(*inputs)


def _layer_norm(
    x: Tensor,
    branch: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    eps: float,
    out_dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """The operator's body."""
    y, sums, stats = _kernels(x, branch, weight, bias, eps, out_dtype)
    # An operator's schema knows no optional results, so an empty tensor stands for none.
    return y, x.new_empty(0) if sums is None else sums, stats


layer_norm_op = register("layer_norm", _layer_norm)


@torch.library.register_fake("mmmamba::layer_norm")
def _(x, branch, weight, bias, eps, out_dtype):
    sums = (
        x.new_empty(0)
        if branch is None
        else x.new_empty(x.shape, dtype=torch.promote_types(x.dtype, branch.dtype))
    )
    rows = x.numel() // x.shape[-1]
    stats = x.new_empty((1 if bias is None else 2, rows), dtype=torch.float32)
    return x.new_empty(x.shape, dtype=out_dtype), sums, stats


def _layer_norm_backward(
    grad_y: Tensor,
    grad_sum: Tensor | None,
    normed: Tensor,
    stats: Tensor,
    weight: Tensor,
    x_dtype: torch.dtype,
    branch_dtype: torch.dtype | None,
    rms: bool,
) -> list[Tensor]:
    from .kernels import layer_norm as layer_norm_triton

    found = layer_norm_triton.backward(
        grad_y, grad_sum, normed, stats, weight, x_dtype, branch_dtype, rms
    )
    # An operator's outputs may not share memory, as the parameters' gradients do.
    of_parameters = slice(1, 2 if rms else 3)
    found[of_parameters] = [gradient.clone() for gradient in found[of_parameters]]
    return found


layer_norm_backward_op = register("layer_norm_backward", _layer_norm_backward)
refuse_derivatives(layer_norm_backward_op, "layer_norm")


@torch.library.register_fake("mmmamba::layer_norm_backward")
def _(grad_y, grad_sum, normed, stats, weight, x_dtype, branch_dtype, rms):
    # A single list of results, not a tuple, as their number depends on dtypes.
    dtypes = [x_dtype] if branch_dtype in (None, x_dtype) else [x_dtype, branch_dtype]
    first, *more = [normed.new_empty(normed.shape, dtype=dtype) for dtype in dtypes]
    return [first, *[torch.empty_like(weight) for _ in range(1 if rms else 2)], *more]


def plain_operator(
    x: Tensor,
    branch: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    eps: float,
    out_dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """The operator's outputs from PyTorch's own operators, without the rows' mean and deviation."""
    sums = x if branch is None else x + branch
    dtype = torch.promote_types(sums.dtype, torch.float32)
    y = _by_pytorch(sums.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype), eps)
    return y.to(out_dtype), x.new_empty(0) if branch is None else sums, x.new_empty(0)


def _save(ctx, inputs, output) -> None:
    x, branch, weight, bias, ctx.eps, _, factor = inputs
    _, sums, stats = output
    # What was normalised and two numbers a row are enough: y is never needed again.
    ctx.save_for_backward(x if branch is None else sums, stats, weight, bias, factor)
    ctx.dtypes = (x.dtype, None if branch is None else branch.dtype)
    ctx.mark_non_differentiable(stats)
    # An output that nobody used then gives None, instead of zeros to be written and read.
    ctx.set_materialize_grads(False)


class _Gradients(NamedTuple):
    """What the autograd functions return: gradients of the operator's six inputs and the factor."""

    x: Tensor | None = None
    branch: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    eps: None = None
    out_dtype: None = None
    factor: None = None


def _backward(ctx, grad_y, grad_sum, compute) -> _Gradients:
    """The gradients, by the kernels that `compute` calls or by PyTorch's operators."""
    x_dtype, branch_dtype = ctx.dtypes
    if grad_y is None:
        # At most the sum was used, whose gradient passes through to both sides.
        if grad_sum is None:
            return _Gradients()
        dbranch = None if branch_dtype is None else _of_branch(grad_sum, ctx)
        return _Gradients(grad_sum.to(x_dtype), dbranch)
    if differentiated_again(grad_y):
        return _plain_backward(ctx, grad_y, grad_sum)
    normed, stats, weight, bias, factor = ctx.saved_tensors
    rms = bias is None
    more = () if factor is None else (factor,)
    dx, dweight, *others = compute(
        grad_y, grad_sum, normed, stats, weight, x_dtype, branch_dtype, rms, *more
    )
    dbias, dbranch = (None, others) if rms else (others[0], others[1:])
    if branch_dtype is None:
        return _Gradients(dx, None, dweight, dbias)
    # Both sides of a sum have one gradient, written twice where their dtypes or factors differ.
    return _Gradients(dx, dbranch[0] if dbranch else dx, dweight, dbias)


def _of_branch(dsum: Tensor, ctx) -> Tensor:
    """The branch's gradient, from the sum's."""
    factor = ctx.saved_tensors[-1]
    dbranch = dsum.to(ctx.dtypes[1])
    return dbranch if factor is None else scaled(dbranch, factor)


def _plain_backward(ctx, grad_y, grad_sum) -> _Gradients:
    normed, _, weight, bias, _ = ctx.saved_tensors

    def norm(normed, weight, bias):
        return plain_operator(normed, None, weight, bias, ctx.eps, grad_y.dtype)[0]

    of_x, of_branch, of_weight, of_bias = ctx.needs_input_grad[:4]
    wants = (of_x or of_branch, of_weight, of_bias)
    dnormed, dweight, dbias = gradients(norm, (normed, weight, bias), wants, grad_y)
    if dnormed is None:
        return _Gradients(weight=dweight, bias=dbias)
    if grad_sum is not None:
        dnormed = dnormed + grad_sum
    return _Gradients(
        dnormed.to(ctx.dtypes[0]) if of_x else None,
        _of_branch(dnormed, ctx) if of_branch else None,
        dweight,
        dbias,
    )


class _Watched(torch.autograd.Function):
    """The operator, seen by whoever traces or counts."""

    @staticmethod
    def forward(ctx, *inputs):
        output = below_autograd(layer_norm_op, *inputs)
        _save(ctx, (*inputs, None), output)
        return output

    @staticmethod
    def backward(ctx, grad_y, grad_sum, grad_stats):
        # Without a branch the second output is nothing, and whatever is said of it too.
        has_sum = ctx.dtypes[1] is not None
        grad_sum = grad_sum if has_sum else None
        return _backward(ctx, grad_y, grad_sum, layer_norm_backward_op)[:6]


differentiate(layer_norm_op, _Watched, plain_operator)


class _Eager(torch.autograd.Function):
    """The operator without the dispatcher, whose way through Python is longer than the kernels'."""

    @staticmethod
    def forward(ctx, *inputs):
        output = _kernels(*inputs)
        _save(ctx, inputs, output)
        return output

    @staticmethod
    def backward(ctx, grad_y, grad_sum, grad_stats):
        from .kernels import layer_norm as layer_norm_triton

        return _backward(ctx, grad_y, grad_sum, layer_norm_triton.backward)


class _EagerBeside(_Eager):
    """The operator without a branch, which returns x in the place of the sum."""

    @staticmethod
    def forward(ctx, x, *others):
        output = _kernels(x, *others)
        _save(ctx, (x, *others), output)
        y, _, stats = output
        return y, x, stats


def _launch(*inputs) -> tuple[Tensor, Tensor | None, Tensor]:
    # Only eager mode knows of factors.
    if torch.compiler.is_compiling():
        return layer_norm_op(*inputs[:-1])
    if transformed():
        return plain_operator(*inputs[:-1])
    return _Eager.apply(*inputs) if torch.is_grad_enabled() else _kernels(*inputs)
