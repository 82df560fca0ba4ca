"""Whether a module may be passed by: what it computes taken from its parameters."""

from torch import nn
from torch.nn.modules import module as torch_module

from . import packed

SAME = {nn.Linear: packed.Linear, nn.Conv2d: packed.Conv2d}
"""Classes that compute what PyTorch's do, in other ways on a CPU."""


def bare(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether calling the module would run `kind.forward` and nothing else.

    Hooks want to see the call; a subclass, a parametrization or a `forward` of the module's own may
    compute something else; and one that was compiled in its place is to run so.
    """
    return (
        type(module) in (kind, SAME.get(kind))
        and "forward" not in module.__dict__
        and module._compiled_call_impl is None
        and not (
            module._forward_hooks
            or module._forward_pre_hooks
            or module._backward_hooks
            or module._backward_pre_hooks
            or torch_module._has_any_global_hook()
        )
    )
