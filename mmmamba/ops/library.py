"""Operators of `torch.library`: one node each for torch.compile, torch.export and FLOP counting."""

from collections.abc import Callable

import torch
from torch import Tensor

from .derivatives import transformed

# A fragment, as `torch.library.custom_op` defines others in the same namespace. It is kept here
# because operators go with the object that registered them.
LIBRARY = torch.library.Library("mmmamba", "FRAGMENT")


def register(name: str, function: Callable):
    """An operator whose body runs as it is, with the schema of the function's annotations.

    `torch.library.custom_op` would look at every argument and result again.
    """
    schema = torch.library.infer_schema(function, mutates_args=())
    LIBRARY.define(name + schema, tags=torch.Tag.pt2_compliant_tag)
    # One body for every device; PyTorch neither derives gradients from it nor looks inside.
    LIBRARY.impl(name, function, "CompositeExplicitAutograd")
    return getattr(torch.ops.mmmamba, name).default


def below_autograd(op, *inputs):
    """Runs the operator's body, for the forward pass of an autograd function."""
    # Below, or the call would come back to `run`, which is this operator's rule at that level.
    with torch._C._AutoDispatchBelowAutograd():
        return op(*inputs)


def differentiate(op, function: type[torch.autograd.Function], plain: Callable) -> None:
    """Gradients of an operator from an autograd function, everything else from its plain form.

    `torch.library.register_autograd` knows only the first: forward derivatives would be zero.
    """

    def run(*inputs):
        if transformed():
            return plain(*inputs)
        return function.apply(*inputs) if _wants_gradients(inputs) else below_autograd(op, *inputs)

    LIBRARY.impl(op, run, "Autograd")


def refuse_derivatives(op, of: str) -> None:
    """Makes derivatives of an operator that is itself a backward pass an error."""

    def run(*inputs):
        if transformed() or _wants_gradients(inputs):
            raise NotImplementedError(
                f"{op} has no derivative; differentiate {of} with create_graph=True"
            )
        return below_autograd(op, *inputs)

    LIBRARY.impl(op, run, "Autograd")


def _wants_gradients(inputs) -> bool:
    return torch.is_grad_enabled() and any(
        isinstance(x, Tensor) and x.requires_grad for x in inputs
    )
