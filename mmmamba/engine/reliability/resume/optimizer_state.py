"""The state of optimizers in a checkpoint, compared with what they optimize before any of it is
loaded.

PyTorch loads it unseen, and a fused optimizer on a CPU then reads and writes as far as its
parameter reaches, however small the state's memory is.
"""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn
from torch.optim import Optimizer

from ....checkpoints.storing import peculiarity
from ....errors import UsageError
from ....printable import printable
from ..finite import all_finite

SHOWN = 5
FILLED_IN = {
    "amsgrad",
    "maximize",
    "foreach",
    "capturable",
    "differentiable",
    "fused",
    "decoupled_weight_decay",
    "nesterov",
    "initial_lr",
}
"""Settings of a group that PyTorch adds where a file lacks them, and what schedules note when they
begin."""
WITHOUT_NUMBERS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What the step of an optimizer may raise that looks at values and finds none."""
State = Mapping[str, Any]


def check_optimizer(
    held: Any, wrapper: OptimWrapper | OptimWrapperDict, model: nn.Module, source: str
) -> None:
    """Refuse a state that is not one of this run's optimizers.

    Args:
        held: what a checkpoint has under `optimizer`.

    Raises:
        UsageError: with the first things that do not fit.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    faults = [*_faults(held, wrapper, names)]
    if faults:
        more = f"\n  and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise UsageError(
            f"{source}: the optimizer's state does not fit this run; nothing was loaded.\n"
            + "\n".join(f"  {fault}" for fault in faults[:SHOWN])
            + f"{more}\nTrain with the config that the checkpoint was made with, or begin a new run from its weights: "
            "without --resume, with --cfg-options load_from=PATH and another --work-dir"
        )


def _faults(
    held: Any, wrapper: OptimWrapper | OptimWrapperDict, names: Mapping[int, str]
) -> Iterator[str]:
    if not isinstance(held, Mapping):
        yield f"it is {_kind(held)}, not a dictionary"
    elif isinstance(wrapper, OptimWrapperDict):
        if held.keys() != {*wrapper.keys()}:
            yield f"it is one of the optimizers {_listed(held)}, here there are {_listed(wrapper.keys())}"
            return
        for key, one in wrapper.items():
            yield from (f"{key}: {fault}" for fault in _faults(held[key], one, names))
    else:
        yield from _wrapper_faults(held, wrapper, names)


def _wrapper_faults(held: State, wrapper: OptimWrapper, names: Mapping[int, str]) -> Iterator[str]:
    scaler = getattr(wrapper, "loss_scaler", None)
    if "loss_scaler" in held:
        if scaler is None:
            print_log(
                "the run had mixed precision (loss_scaler) and this one has none", "current", 30
            )
        else:
            yield from setting_faults(held["loss_scaler"], scaler.state_dict(), "loss_scaler")
    elif scaler is not None and scaler.state_dict():
        print_log(
            "the checkpoint holds no loss_scaler: mixed precision begins with its first scale",
            "current",
            30,
        )
    base = held.get("base_param_settings")
    if base is not None:
        ours = {
            key: value
            for key, value in (wrapper.base_param_settings or {}).items()
            if key != "params"
        }
        yield from setting_faults(base, ours, "base_param_settings", FILLED_IN)
    optimizer = wrapper.optimizer
    groups, state = held.get("param_groups"), held.get("state")
    if not isinstance(groups, list) or not isinstance(state, Mapping):
        yield "it has no list param_groups and no dictionary state"
        return
    found = [*_group_faults(groups, optimizer)]
    yield from found
    if not found:
        yield from _state_faults(state, groups, optimizer, names)


def _group_faults(groups: list, optimizer: Optimizer) -> Iterator[str]:
    sizes = [len(group["params"]) for group in optimizer.param_groups]
    if not all(
        isinstance(group, Mapping) and isinstance(group.get("params"), list) for group in groups
    ):
        yield "a group of it is no dictionary with a list params"
        return
    theirs = [len(group["params"]) for group in groups]
    if theirs != sizes:
        yield f"it is for {_groups(theirs)}, here there are {_groups(sizes)}"
        return
    indices = [index for group in groups for index in group["params"]]
    if not all(type(index) is int for index in indices) or len({*indices}) < len(indices):
        yield "its groups do not name each parameter once by a number"
    for number, (group, ours) in enumerate(zip(groups, optimizer.param_groups)):
        wanted = {key: value for key, value in ours.items() if key != "params"}
        yield from setting_faults(group, wanted, f"group {number}", FILLED_IN)


def setting_faults(
    held: Any, ours: State, where: str, may_lack: set[str] = frozenset()
) -> Iterator[str]:
    """Settings that are missing or of another kind than ours."""
    if not isinstance(held, Mapping):
        yield f"{where} is {_kind(held)}, not a dictionary"
        return
    for key, wanted in ours.items():
        if key not in held:
            if key not in may_lack:
                yield f"{where} has no {key}, which {_kind(wanted)} is wanted for"
        elif not _alike(held[key], wanted):
            yield f"{where}.{key} is {_kind(held[key])}, wanted {_kind(wanted)}"


def _alike(value: Any, wanted: Any) -> bool:
    """Both are switches, finite numbers, pairs of those, or the same kind of anything else."""
    if wanted is None or isinstance(wanted, bool):
        return value is None or isinstance(value, (bool, int, float) if wanted is None else bool)
    if isinstance(wanted, (int, float)) or (isinstance(wanted, Tensor) and wanted.numel() == 1):
        if isinstance(value, Tensor) and value.numel() == 1 and not peculiarity(value):
            value = value.item()
        return (
            isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        )
    if isinstance(wanted, (tuple, list)):
        same = isinstance(value, (tuple, list)) and len(value) == len(wanted)
        return same and all(map(_alike, value, wanted))
    return type(value) is type(wanted)


def _state_faults(
    state: State, groups: list, optimizer: Optimizer, names: Mapping[int, str]
) -> Iterator[str]:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    indices = [index for group in groups for index in group["params"]]
    if strange := state.keys() - {*indices}:
        yield f"it has a state of {_listed(strange)}, which none of its groups has"
    expected = _first_state(optimizer, groups)
    if expected is None:
        print_log(
            f"{type(optimizer).__name__} makes its state in a way that cannot be foreseen: of the "
            "checkpoint's only the memory is looked at",
            "current",
            30,
        )
    tensors: dict[str, Tensor] = {}
    for place, (index, parameter) in enumerate(zip(indices, parameters)):
        name = names.get(id(parameter), f"parameter {place}")
        own = state.get(index)
        if own is None:
            continue
        if not isinstance(own, Mapping):
            yield f"the state of {name} is {_kind(own)}, not a dictionary"
            continue
        if expected is not None:
            yield from _entry_faults(own, expected[place], name)
        tensors.update(
            (f"{key} of {name}", value) for key, value in own.items() if isinstance(value, Tensor)
        )
    without = sum(index not in state for index in indices)
    if without and any(expected or ()):
        print_log(
            f"{without} of {len(indices)} parameters have no state of the optimizer in the "
            "checkpoint: they begin anew, as those do that had no gradient yet",
            "current",
            30,
        )
    yield from _memory_faults(tensors)


def _first_state(optimizer: Optimizer, settings: list[State]) -> list[dict[str, Any]] | None:
    """What each parameter's state is after a first step, found by one without numbers; None where
    that needs some.

    Args:
        settings: of each group, as they will be when the state is loaded.
    """
    trial = object.__new__(type(optimizer))
    # Schedules count the steps of an instance by a function of their own.
    trial.__dict__.update({key: value for key, value in vars(optimizer).items() if key != "step"})
    trial._optimizer_step_pre_hooks, trial._optimizer_step_post_hooks = OrderedDict(), OrderedDict()
    trial.state, trial.param_groups = defaultdict(dict), []
    for group, theirs in zip(optimizer.param_groups, settings):
        stand_ins = [
            nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad)
            for p in group["params"]
        ]
        for stand_in in stand_ins:
            stand_in.grad = torch.empty_like(stand_in)
        switches = {key: False for key in ("fused", "foreach", "capturable") if key in group}
        trial.param_groups.append({**group, **theirs, **switches, "params": stand_ins})
    try:
        type(optimizer).step(trial)
    except WITHOUT_NUMBERS:
        return None
    return [dict(trial.state.get(p, {})) for group in trial.param_groups for p in group["params"]]


def _entry_faults(own: State, expected: State, name: str) -> Iterator[str]:
    for key in expected.keys() - own.keys():
        yield f"the state of {name} has no {key}"
    for key, value in own.items():
        if key not in expected:
            if isinstance(value, Tensor):
                yield f"the state of {name} has {printable(key)}, which this optimizer does not keep"
            continue
        wanted = expected[key]
        if not isinstance(wanted, Tensor):
            if not _alike(value, wanted) and value is not None:
                yield f"{key} of {name} is {_kind(value)}, wanted {_kind(wanted)}"
        elif not isinstance(value, Tensor):
            # Counts of steps were plain numbers once.
            if wanted.numel() > 1 or not _alike(value, wanted):
                yield f"{key} of {name} is {_kind(value)}, wanted {_kind(wanted)}"
        elif flaw := _tensor_fault(value, wanted):
            yield f"{key} of {name} {flaw}"


def _tensor_fault(value: Tensor, wanted: Tensor) -> str:
    if odd := peculiarity(value):
        return f"is {odd}"
    if value.shape != wanted.shape:
        return f"has the shape {tuple(value.shape)}, the parameter's is {tuple(wanted.shape)}"
    if value.dtype != wanted.dtype:
        return f"is {value.dtype}, wanted {wanted.dtype}"
    # The step of an axis of one element means nothing.
    steps = [
        (one, two)
        for one, two, size in zip(value.stride(), wanted.stride(), value.shape)
        if size > 1
    ]
    if any(one != two for one, two in steps):
        return f"has the strides {value.stride()}, the parameter's are {wanted.stride()}"
    return ""


def _memory_faults(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """Each tensor has all of its elements, in memory that it does not share, and each element is
    finite."""
    owners: dict[int, str] = {}
    sound: dict[torch.device, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if odd := peculiarity(tensor):
            yield f"{name} is {odd}"
            continue
        storage = tensor.untyped_storage()
        reach = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride())) + 1
        needed = (tensor.storage_offset() + reach) * tensor.element_size()
        if tensor.numel() and (reach != tensor.numel() or needed > storage.nbytes()):
            room = storage.nbytes() // tensor.element_size()
            yield f"{name} has {tensor.numel():,} elements in the memory of {room:,}"
        elif tensor.numel() and (owner := owners.setdefault(storage.data_ptr(), name)) != name:
            yield f"{name} has its memory in common with {owner}"
        elif tensor.is_floating_point():
            sound.setdefault(tensor.device, {})[name] = tensor
    for group in sound.values():
        if not all_finite([*group.values()]):
            yield from (
                f"{name} holds NaN or infinity"
                for name, one in group.items()
                if not one.isfinite().all()
            )


def _groups(sizes: list[int]) -> str:
    shown = ", ".join(map(str, sizes[:SHOWN])) + (", …" if len(sizes) > SHOWN else "")
    return f"{sum(sizes)} parameters in {len(sizes)} group{'s' * (len(sizes) != 1)} ({shown})"


def _listed(names: Any) -> str:
    return ", ".join(map(printable, sorted(map(str, names))[:SHOWN])) or "none"


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype}"
    if value is None or isinstance(value, (bool, int, float, str)):
        return printable(repr(value))
    return f"a {type(value).__name__}" + (
        f" of {len(value)}" if isinstance(value, (tuple, list)) else ""
    )
