"""Whether many tensors are finite, with one wait for the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from torch import Tensor, nn

from ...errors import NonFiniteError
from ..bare_model import bare_model
from ..optimizers import wrappers_of
from ..sharding import share

SHOWN = 3


def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether no element of any tensor is NaN or infinite.

    The tensors may have any floating dtypes, and are on one device.
    """
    if not tensors:
        return True
    # A sum of squares overflows long before its terms, so that its being infinite proves nothing;
    # the largest element proves it, but finding that takes many times as long on a CPU.
    return any(bool(total_norm(tensors, power).isfinite()) for power in (2.0, torch.inf))


def total_norm(tensors: Sequence[Tensor], power: float) -> Tensor:
    """The norm of all elements together, still on the device."""
    # Of a sharded tensor a process may have nothing, which has no largest element.
    there = [tensor for tensor in tensors if tensor.numel()]
    return torch.nn.utils.get_total_norm(there, power)


def check_run_finite(runner: Runner, iterations: int) -> None:
    """Refuse to save a run whose weights, averages, buffers or optimizer hold NaN or infinity.

    All processes refuse together.

    Args:
        iterations: that the run has done.

    Raises:
        NonFiniteError: with the names of the first.
    """
    named = dict(_state(runner))
    groups: dict[torch.device, list[Tensor]] = {}
    for tensor in named.values():
        groups.setdefault(tensor.device, []).append(tensor)
    found = not all(all_finite(tensors) for tensors in groups.values())
    # A process that went on alone would wait for the others for ever.
    bad = torch.tensor(found, dtype=torch.int32)
    all_reduce(bad, "max")
    if not bad:
        return
    # One by one only now, as each of these is a wait for the device.
    names = [name for name, tensor in named.items() if not tensor.isfinite().all()]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    shown = f"{', '.join(names[:SHOWN])}{more}" if names else "those of another process"
    raise NonFiniteError(
        f"after iteration {iterations} the state of the run is not finite, and no checkpoint is "
        f"written of it: {shown}.\nCheckpoints of before are as they were. Lower the learning rate "
        "(optim_wrapper.optimizer.lr) or clip gradients (optim_wrapper.clip_grad), and go on from "
        "the last one with --resume"
    )


def _state(runner: Runner) -> Iterator[tuple[str, Tensor]]:
    """What a checkpoint holds of floating-point tensors, by name.

    Of sharded models it is the part of this process.
    """
    models = {"": bare_model(runner.model)}
    averages = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    for number, hook in enumerate(averages):
        models[f"average {number} "] = hook.ema_model.module
    for which, model in models.items():
        for name, tensor in _saved(model):
            yield which + name, share(tensor.detach())
    names = {parameter: name for name, parameter in models[""].named_parameters()}
    for key, wrapper in wrappers_of(runner.optim_wrapper).items():
        for parameter, state in wrapper.optimizer.state.items():
            owner = names.get(parameter, "a parameter")
            for name, value in state.items():
                if isinstance(value, Tensor) and value.is_floating_point():
                    yield f"{key}'s {name} of {owner}", share(value)


def _saved(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters, and those buffers that a state dict has."""
    yield from model.named_parameters()
    for prefix, module in model.named_modules():
        passing = module._non_persistent_buffers_set
        for name, buffer in module.named_buffers(prefix, recurse=False):
            if name.rpartition(".")[2] not in passing and buffer.is_floating_point():
                yield name, buffer
