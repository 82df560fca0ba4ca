"""The parameters of S6 as `projected_scan` takes them, made and led back in few operators.

A step size is a product of two factors of rank R. Composed they are one projection of the map,
whose rows stand above those of B and C; A is minus the exponential of its logarithm. Every pass
makes these anew, and autograd would keep a node for each of some twelve small steps, which takes
longer than the steps.

Shape suffixes: K routes, M = R + 2 N rows that project a route's inputs, E channels, N states.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..autocast import full_precision, no_autocast
from ..derivatives import differentiated_again, gradients, watched


class Joined(NamedTuple):
    """What the scan takes of its parameters."""

    weight: Tensor
    """`(K E + 2 K N, E)`: step sizes route by route, then B, then C."""
    A: Tensor
    """`(K, E, N)`"""


class Separate(NamedTuple):
    """The parameters, and likewise their gradients."""

    x_proj_KME: Tensor
    dt_proj_KER: Tensor
    A_log: Tensor
    """`(K, E, N)`, or without some of the axes in between."""


def joined(given: Separate, dtype: torch.dtype | None = None) -> Joined:
    """The weight in `dtype` (by default at least float32) and A in at least float32.

    Composed in float32 also under autocast: to round the product once more would change the step
    sizes.
    """
    if watched():
        return plain_join(given, dtype)
    if torch.is_grad_enabled():
        return Joined(*_Join.apply(*given, dtype))
    return join(given, dtype)


def join(given: Separate, dtype: torch.dtype | None) -> Joined:
    """`joined` without gradients."""
    x_proj, dt_proj, A_log = given
    K, E, R = dt_proj.shape
    N = (x_proj.shape[1] - R) // 2
    up, down = full_precision(dt_proj), full_precision(x_proj)
    weight = up.new_empty(K * E + 2 * K * N, E)
    # Each route's product straight to where it belongs. Autocast does not know operators that write
    # to a place, and leaves them as they are.
    torch.bmm(up, down.narrow(1, 0, R), out=weight.narrow(0, 0, K * E).view(K, E, E))
    _weights(weight, K, E, N).copy_(_rows(down, R))
    A = torch.exp(full_precision(A_log)).neg_()
    return Joined(weight if dtype is None else weight.to(dtype), A.view(K, E, N))


def _weights(weight: Tensor, K: int, E: int, N: int) -> Tensor:
    """The rows of B and C in a joined weight, `(2, K, N, E)`."""
    return weight.narrow(0, K * E, 2 * K * N).view(2, K, N, E)


def _rows(x_proj_KME: Tensor, R: int) -> Tensor:
    """The same rows in the parameter, behind those of the step sizes."""
    return x_proj_KME.narrow(1, R, x_proj_KME.shape[1] - R).unflatten(1, (2, -1)).transpose(0, 1)


def separate(given: Separate, A: Tensor, grads: Joined) -> Separate:
    """Gradients of the parameters from those of what was joined; A is the one that was made."""
    x_proj, dt_proj, A_log = given
    K, E, R = dt_proj.shape
    N = (x_proj.shape[1] - R) // 2
    up, down = full_precision(dt_proj), full_precision(x_proj)
    dweight = grads.weight.to(up.dtype)
    dcomposed_KEE = dweight.narrow(0, 0, K * E).view(K, E, E)
    ddown = torch.empty_like(down)
    torch.bmm(up.transpose(1, 2), dcomposed_KEE, out=ddown.narrow(1, 0, R))
    _rows(ddown, R).copy_(_weights(dweight, K, E, N))
    dup = torch.empty_like(up)
    torch.bmm(dcomposed_KEE, down.narrow(1, 0, R).transpose(1, 2), out=dup)
    # A is its own derivative by the logarithm.
    dA_log = (grads.A * A).view(A_log.shape)
    return Separate(ddown.to(x_proj.dtype), dup.to(dt_proj.dtype), dA_log.to(A_log.dtype))


def plain_join(given: Separate, dtype: torch.dtype | None) -> Joined:
    """`joined` from operators that PyTorch can differentiate again."""
    x_proj, dt_proj, A_log = given
    K, E, R = dt_proj.shape
    N = (x_proj.shape[1] - R) // 2
    with no_autocast(x_proj):
        down, B, C = full_precision(x_proj).split((R, N, N), 1)
        step = full_precision(dt_proj) @ down
    weight = torch.cat([rows.flatten(0, 1) for rows in (step, B, C)])
    A = -torch.exp(full_precision(A_log)).view(K, E, N)
    return Joined(weight if dtype is None else weight.to(dtype), A)


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x_proj, dt_proj, A_log, dtype):
        made = join(Separate(x_proj, dt_proj, A_log), dtype)
        ctx.save_for_backward(x_proj, dt_proj, A_log, made.A)
        ctx.dtype = dtype
        return made.weight, made.A

    @staticmethod
    def backward(ctx, dweight, dA):
        *tensors, A = ctx.saved_tensors
        given, grads = Separate(*tensors), Joined(dweight, dA)
        if differentiated_again(dweight):
            return gradients(
                lambda *tensors: plain_join(Separate(*tensors), ctx.dtype),
                given,
                ctx.needs_input_grad,
                grads,
            )
        return *separate(given, A, grads), None
