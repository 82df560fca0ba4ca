"""The state of optimizers in a checkpoint, compared with what they optimize before it is loaded.

PyTorch loads it unseen, and a fused optimizer on a CPU then reads and writes as far as its
parameter reaches, however small the state's memory is. Every function here yields or returns
faults, each a sentence for a user; nothing is changed.
"""

from __future__ import annotations

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
from .settings import State, alike, kind_of, setting_faults

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
"""Settings of a group that a file may lack: PyTorch adds them, or schedules when they begin."""
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
ALONE = (
    ". It has a group for each parameter, as other programs make them: go on with --cfg-options "
    "optim_wrapper.constructor=DefaultOptimWrapperConstructor"
)
Names = Mapping[int, str]
"""What parameters are called in the model, by their `id`."""


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
        shown = "\n".join(f"  {fault}" for fault in faults[:SHOWN])
        more = f"\n  and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise UsageError(
            f"{source}: the optimizer's state does not fit this run; nothing was loaded.\n"
            f"{shown}{more}\nTrain with the config that the checkpoint was made with, or begin a "
            "new run from its weights: without --resume, with --cfg-options load_from=PATH and "
            "another --work-dir"
        )


def _faults(held: Any, wrapper: OptimWrapper | OptimWrapperDict, names: Names) -> Iterator[str]:
    if not isinstance(held, Mapping):
        yield f"it is {kind_of(held)}, not a dictionary"
    elif not isinstance(wrapper, OptimWrapperDict):
        yield from _wrapper_faults(held, wrapper, names)
    elif held.keys() != {*wrapper.keys()}:
        ours = _listed(wrapper.keys())
        yield f"it is one of the optimizers {_listed(held)}, here there are {ours}"
    else:
        for key, one in wrapper.items():
            for fault in _faults(held[key], one, names):
                yield f"{key}: {fault}"


def _wrapper_faults(held: State, wrapper: OptimWrapper, names: Names) -> Iterator[str]:
    """MMEngine's wrapper around an optimizer keeps a scaler and first settings beside its state."""
    yield from _scaler_faults(held, getattr(wrapper, "loss_scaler", None))
    base = held.get("base_param_settings")
    if base is not None:
        ours = _without_parameters(wrapper.base_param_settings or {})
        yield from setting_faults(base, ours, "base_param_settings", FILLED_IN)
    groups, state = held.get("param_groups"), held.get("state")
    if not isinstance(groups, list) or not isinstance(state, Mapping):
        yield "it has no list param_groups and no dictionary state"
        return
    found = [*_group_faults(groups, wrapper.optimizer)]
    yield from found
    # Which parameter a state belongs to is told by the groups alone.
    if not found:
        yield from _state_faults(state, groups, wrapper.optimizer, names)


def _scaler_faults(held: State, scaler: Any) -> Iterator[str]:
    """Mixed precision may begin or end with a resumed run; a scale that is there has to be one."""
    if "loss_scaler" in held and scaler is not None:
        yield from setting_faults(held["loss_scaler"], scaler.state_dict(), "loss_scaler")
    elif "loss_scaler" in held:
        print_log("the run had mixed precision (loss_scaler) and this one has none", "current", 30)
    elif scaler is not None and scaler.state_dict():
        print_log(
            "the checkpoint holds no loss_scaler: mixed precision begins with its first scale",
            "current",
            30,
        )


def _group_faults(groups: list, optimizer: Optimizer) -> Iterator[str]:
    """The groups hold as many parameters as ours, each once, and settings of the same kinds."""
    for group in groups:
        if not isinstance(group, Mapping) or not isinstance(group.get("params"), list):
            yield "a group of it is no dictionary with a list params"
            return
    theirs = [len(group["params"]) for group in groups]
    ours = [len(group["params"]) for group in optimizer.param_groups]
    if theirs != ours:
        each_alone = set(theirs) == {1} and sum(theirs) == sum(ours)
        yield f"it is for {_groups(theirs)}, here there are {_groups(ours)}" + ALONE * each_alone
        return
    indices = _indices(groups)
    if not all(type(index) is int for index in indices) or len({*indices}) < len(indices):
        yield "its groups do not name each parameter once by a number"
    for number, (group, own) in enumerate(zip(groups, optimizer.param_groups)):
        yield from setting_faults(group, _without_parameters(own), f"group {number}", FILLED_IN)


def _state_faults(state: State, groups: list, optimizer: Optimizer, names: Names) -> Iterator[str]:
    """Each parameter's state is what the optimizer would keep for it.

    Args:
        groups: of the checkpoint, which fit the optimizer's.
    """
    indices = _indices(groups)
    if strange := state.keys() - {*indices}:
        yield f"it has a state of {_listed(strange)}, which none of its groups has"
    # With the file's settings, which the run goes on with: `amsgrad` alone adds an entry.
    expected = _first_state(optimizer, groups)
    if expected is None:
        print_log(
            f"{type(optimizer).__name__} makes its state in a way that cannot be foreseen: of the "
            "checkpoint's only the memory is looked at",
            "current",
            30,
        )
    tensors: dict[str, Tensor] = {}
    # The order of the parameters in the groups is what joins the file's numbers to ours.
    for place, (index, parameter) in enumerate(zip(indices, _parameters(optimizer))):
        name = names.get(id(parameter), f"parameter {place}")
        own = state.get(index)
        if own is None:
            continue
        if not isinstance(own, Mapping):
            yield f"the state of {name} is {kind_of(own)}, not a dictionary"
            continue
        if expected is not None:
            yield from _entry_faults(own, expected[place], name)
        for key, value in own.items():
            if isinstance(value, Tensor):
                tensors[f"{key} of {name}"] = value
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
    """What each parameter's state is after a first step, found by taking one without numbers.

    A copy of the optimizer steps parameters on the `meta` device, which have shapes and no values.
    None where its step needs values.

    Args:
        settings: of each group, as they will be when the state is loaded.
    """
    # Without its `__init__`, whose arguments differ with each kind of optimizer.
    trial = object.__new__(type(optimizer))
    # Schedules count the steps of an instance by a function of their own, which must not count.
    trial.__dict__.update({key: value for key, value in vars(optimizer).items() if key != "step"})
    # Nor may others' hooks run in a step that is none.
    trial._optimizer_step_pre_hooks, trial._optimizer_step_post_hooks = OrderedDict(), OrderedDict()
    trial.state = defaultdict(dict)
    trial.param_groups = [
        _without_values(group, theirs) for group, theirs in zip(optimizer.param_groups, settings)
    ]
    try:
        type(optimizer).step(trial)
    except WITHOUT_NUMBERS:
        return None
    return [dict(trial.state.get(parameter, {})) for parameter in _parameters(trial)]


def _without_values(group: dict, settings: State) -> dict:
    """A group over stand-ins of its parameters, whose step is taken in the simplest way."""
    stand_ins = []
    for parameter in group["params"]:
        # As a plain tensor, whole also where the parameter is sharded.
        form = tuple(parameter.shape), parameter.stride()
        empty = torch.empty_strided(*form, dtype=parameter.dtype, device="meta")
        stand_in = nn.Parameter(empty, parameter.requires_grad)
        stand_in.grad = torch.empty_like(stand_in)
        stand_ins.append(stand_in)
    # Fused and capturable steps refuse the meta device; what they keep has the same shapes.
    switches = {key: False for key in ("fused", "foreach", "capturable") if key in group}
    return {**group, **settings, **switches, "params": stand_ins}


def _entry_faults(own: State, expected: State, name: str) -> Iterator[str]:
    """The state of one parameter has the entries that are expected, each of the right kind."""
    for key in expected.keys() - own.keys():
        yield f"the state of {name} has no {key}"
    for key, value in own.items():
        if key in expected:
            if fault := _value_fault(value, expected[key]):
                yield f"{key} of {name} {fault}"
        elif isinstance(value, Tensor):
            yield f"the state of {name} has {printable(key)}, which this optimizer does not keep"


def _value_fault(value: Any, wanted: Any) -> str:
    if isinstance(value, Tensor) and isinstance(wanted, Tensor):
        return _tensor_fault(value, wanted)
    if isinstance(wanted, Tensor):
        # Counts of steps were plain numbers once.
        fits = wanted.numel() == 1 and alike(value, wanted)
    else:
        fits = value is None or alike(value, wanted)
    return "" if fits else f"is {kind_of(value)}, wanted {kind_of(wanted)}"


def _tensor_fault(value: Tensor, wanted: Tensor) -> str:
    if odd := peculiarity(value):
        return f"is {odd}"
    if value.shape != wanted.shape:
        return f"has the shape {tuple(value.shape)}, the parameter's is {tuple(wanted.shape)}"
    if value.dtype != wanted.dtype:
        return f"is {value.dtype}, wanted {wanted.dtype}"
    for size, step, wanted_step in zip(value.shape, value.stride(), wanted.stride()):
        # The step of an axis of one element means nothing.
        if size > 1 and step != wanted_step:
            return f"has the strides {value.stride()}, the parameter's are {wanted.stride()}"
    return ""


def _memory_faults(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """Each tensor has all of its elements, in memory of its own, and each element is finite."""
    owners: dict[int, str] = {}
    sound: dict[torch.device, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        # First, as sparse and nested tensors have no strides or memory to ask about.
        if odd := peculiarity(tensor):
            yield f"{name} is {odd}"
        elif not _has_room(tensor):
            room = tensor.untyped_storage().nbytes() // tensor.element_size()
            yield f"{name} has {tensor.numel():,} elements in the memory of {room:,}"
        elif owner := _other_owner(tensor, name, owners):
            yield f"{name} has its memory in common with {owner}"
        elif tensor.is_floating_point():
            sound.setdefault(tensor.device, {})[name] = tensor
    for group in sound.values():
        # One look at all of a device; at each only where something was found.
        if not all_finite([*group.values()]):
            for name, tensor in group.items():
                if not tensor.isfinite().all():
                    yield f"{name} holds NaN or infinity"


def _has_room(tensor: Tensor) -> bool:
    """Whether each element has a place of its own in the tensor's memory."""
    if not tensor.numel():
        return True
    # From the first element to the last, both counted. More than there are elements: gaps between
    # them. Fewer: some share a place, as in an expanded tensor.
    reach = 1 + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride()))
    needed = (tensor.storage_offset() + reach) * tensor.element_size()
    return reach == tensor.numel() and needed <= tensor.untyped_storage().nbytes()


def _other_owner(tensor: Tensor, name: str, owners: dict[int, str]) -> str:
    """The tensor that came with the same memory before, "" if none did; notes this one."""
    # Memory of no bytes has the address 0, whoever owns it.
    if not tensor.numel():
        return ""
    owner = owners.setdefault(tensor.untyped_storage().data_ptr(), name)
    return "" if owner == name else owner


def _without_parameters(group: State) -> dict[str, Any]:
    """The settings of a group."""
    return {key: value for key, value in group.items() if key != "params"}


def _parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _indices(groups: list) -> list:
    """The numbers that stand for parameters in a checkpoint's groups."""
    return [index for group in groups for index in group["params"]]


def _groups(sizes: list[int]) -> str:
    shown = ", ".join(map(str, sizes[:SHOWN])) + (", …" if len(sizes) > SHOWN else "")
    return f"{sum(sizes)} parameters in {len(sizes)} group{'s' * (len(sizes) != 1)} ({shown})"


def _listed(names: Any) -> str:
    return ", ".join(map(printable, sorted(map(str, names))[:SHOWN])) or "none"
