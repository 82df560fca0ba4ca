"""Models whose parameters lie in shares on all processes (PyTorch's `fully_shard`, "FSDP2").

A sharded model keeps its class, its modules and the names of its parameters, which are DTensors
between steps. Files hold whole tensors: what one number of processes wrote, any other reads.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.device import get_device
from torch import Tensor, nn
from torch.distributed import get_world_size
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from ..errors import UsageError
from ..printable import printable_names
from .bare_model import bare_model

BLOCKS = ("blocks", "layers")
"""What backbones call their lists of blocks; pyramids call their stages `layers`, too."""


def is_sharded(model: nn.Module) -> bool:
    """Whether `shard` was here."""
    return isinstance(bare_model(model), FSDPModule)


def blocks_of(model: nn.Module) -> dict[str, nn.Module]:
    """The blocks of a model's backbone by name: what is gathered for its own forward pass alone.

    They are members of lists called `blocks` or `layers`, the innermost ones. Left out are those
    that hold a parameter which another part of the model has as well.
    """
    backbone = getattr(model, "backbone", model)
    listed = {}
    for name, module in backbone.named_modules():
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] in BLOCKS:
            listed.update({f"{name}.{key}": block for key, block in module.named_children()})
    # Once for each module that has it.
    holders = Counter(id(p) for _, p in _all_parameters(model))
    blocks = {}
    for name, block in listed.items():
        inside = Counter(id(p) for _, p in _all_parameters(block))
        own = all(holders[key] == count for key, count in inside.items())
        # A stage has its step down beside its blocks, and that is called from outside of the stage.
        is_stage = any(other.startswith(f"{name}.") for other in listed)
        if inside and own and not is_stage:
            blocks[name] = block
    return blocks


def _all_parameters(module: nn.Module) -> Any:
    return module.named_parameters(remove_duplicate=False)


def shard(model: nn.Module, *optimizers: Optimizer) -> int:
    """Leave a share of each parameter in this process, and hand the shares to the optimizers.

    Each block of the backbone is gathered for its forward and its backward pass, all else for the
    whole of both.

    Args:
        model: with the same weights in all processes.
        optimizers: of its parameters, which have not taken a step yet.

    Returns:
        How many blocks there are.

    Raises:
        UsageError: a parameter has no axis to be cut along.
    """
    scalars = [name for name, p in model.named_parameters() if p.dim() == 0]
    if scalars:
        raise UsageError(
            f"FSDP cuts parameters along their first axis, and {printable_names(scalars)} of "
            f"{type(model).__name__} have none. Train it without: --cfg-options runner_type=Runner"
        )
    before = {name: id(p) for name, p in model.named_parameters()}
    mesh = init_device_mesh(torch.device(get_device()).type, (get_world_size(),))
    blocks = blocks_of(model)
    for block in blocks.values():
        fully_shard(block, mesh=mesh)
    # Its own default would leave the rest gathered behind a validation, and a file be saved so.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    shares = {before[name]: p for name, p in model.named_parameters()}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["params"] = [shares[id(p)] for p in group["params"]]
    return len(blocks)


def gather_model(model: nn.Module) -> None:
    """Have all of a sharded model's parameters in this process until `release_model`.

    Forward passes ask nothing of other processes then, and there must be no backward pass.
    """
    for module in _sharded_modules(model):
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()


def release_model(model: nn.Module) -> None:
    """Undo `gather_model`."""
    for module in _sharded_modules(model):
        module.set_reshard_after_forward(True, recurse=False)
        module.reshard()


def _sharded_modules(model: nn.Module) -> list[FSDPModule]:
    return [module for module in model.modules() if isinstance(module, FSDPModule)]


def share(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process has: all of one that is not sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor. All processes have to ask for a sharded one."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gathered(tree: Any, keep: bool = True) -> Any:
    """A state with whole tensors on the CPU in the place of sharded ones.

    All processes have to ask; it gathers one tensor after the other.

    Args:
        keep: have the tensors in this process; otherwise it has empty ones.
    """

    def gather(tensor: Tensor) -> Tensor:
        full = whole(tensor).detach()
        return full.cpu() if keep else full.new_empty(0, device="cpu")

    return _mapped(tree, gather)


def gathered_weights(model: nn.Module, keep: bool = True) -> OrderedDict[str, Tensor]:
    """The state dict of a model, `gathered`."""
    state = model.state_dict()
    weights = OrderedDict(gathered(state, keep))
    # The versions of the modules, which MMEngine saves as well.
    weights._metadata = state._metadata
    return weights


def _mapped(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A tree of dictionaries and lists with each tensor changed, in an order of its own."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, Mapping):
        return {key: _mapped(value, change) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(_mapped(value, change) for value in tree)
    return tree


def shared_out(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, which all processes have, cut as another of its shape is."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    there = tensor.to(like.device)
    # No process sends to another: each has read the file.
    return distribute_tensor(there, like.device_mesh, like.placements, src_data_rank=None)


def share_out_state(held: Mapping[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer's state from a file, cut as its parameters are."""
    indices = [index for group in held["param_groups"] for index in group["params"]]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = {}
    for index, parameter in zip(indices, parameters):
        own = held["state"].get(index)
        if own is not None:
            state[index] = {key: _cut(value, parameter) for key, value in own.items()}
    return {**held, "state": state}


def _cut(value: Any, like: Tensor) -> Any:
    return shared_out(value, like) if isinstance(value, Tensor) else value
