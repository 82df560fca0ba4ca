"""What becomes of operators with a backward pass of their own when more is asked of them.

A kernel gives values, and another the gradients of these. Forward mode, the transforms of
`torch.func` (jvp, grad, vmap, jacrev, …) and gradients that are to be differentiated again take the
operator's plain form instead: the same values from operators that PyTorch can differentiate in any
direction and order.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode


def transformed() -> bool:
    """Whether this runs inside a transform of `torch.func` or a level of forward mode.

    Not for code that `torch.compile` traces.
    """
    # PyTorch has no public way of asking for either.
    in_a_transform = torch._C._functorch.peek_interpreter_stack() is not None
    return in_a_transform or forward_ad._current_level >= 0


def watched() -> bool:
    """Whether a compiler, a dispatch mode or a transform wants to see every operator as it is."""
    return (
        torch.compiler.is_compiling() or _get_current_dispatch_mode() is not None or transformed()
    )


def unwatched(x: Tensor) -> bool:
    """Whether x is on a GPU, and nobody is there who wants to see every operator as it is."""
    return x.is_cuda and not watched()


def differentiated_again(grad: Tensor) -> bool:
    """Whether what a backward pass makes of `grad` is to be differentiated or transformed too."""
    # Gradients that come many at once, by `is_grads_batched=True`, are none of torch.func's.
    batched = torch._C._functorch.is_legacy_batchedtensor(grad)
    return torch.is_grad_enabled() or transformed() or batched


def gradients(
    plain: Callable[..., Tensor | Sequence[Tensor]],
    tensors: Sequence[Tensor | None],
    wants: Sequence[bool],
    grad: Tensor | Sequence[Tensor],
) -> tuple[Tensor | None, ...]:
    """Gradients of `plain(*tensors)` for an autograd function to return; differentiable again.

    Args:
        tensors: the function's first inputs.
        wants: its `needs_input_grad`; the result is None where this is false.
        grad: of what it returns, one for each where these are several tensors.
    """
    again = torch.is_grad_enabled()
    device = (grad if isinstance(grad, Tensor) else grad[0]).device.type
    # The plain form keeps to the dtypes that were saved, wherever the backward pass is called.
    with torch.enable_grad(), torch.autocast(device, enabled=False):
        given, wanted = [], []
        for x, want in zip(tensors, wants):
            if x is not None and want:
                # One may be made of another, or be it: none depends on another's view.
                x = x.view_as(x)
                wanted.append(x)
            given.append(x)
        y = plain(*given)
        found = torch.autograd.grad(y, wanted, grad, create_graph=again, allow_unused=True)
    remaining = iter(found)
    return tuple(next(remaining) if want else None for want in wants)
