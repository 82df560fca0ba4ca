"""Where a value that is not finite comes from.

The step is done again under watch, and the file is written that it is replayed from.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine import structures as mmengine_structures
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmengine.runner.checkpoint import get_torch_safe_globals
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ...errors import UsageError
from ..bare_model import bare_model
from ..sharding import gathered_weights, share
from .run_config import FILE as CONFIG
from .seeding import rng_state, set_rng_state
from .whole_files import write_whole

FILE = "replay.pth"


@dataclass(frozen=True)
class Step:
    """A training step, and what it takes to do it again.

    Args:
        iteration: counted from 1.
        batch: as the loop was given it.
        rng: the state of all random generators before it.
    """

    iteration: int
    batch: Any
    rng: dict[str, Any]


@dataclass
class Finding:
    """What of a training step is not finite, by name.

    `forward` and `backward` are in the order of computing.
    """

    weights: list[str] = field(default_factory=list)
    batch: list[str] = field(default_factory=list)
    forward: list[str] = field(default_factory=list)
    losses: dict[str, float] = field(default_factory=dict)
    backward: list[str] = field(default_factory=list)
    gradients: list[str] = field(default_factory=list)

    @property
    def finite(self) -> bool:
        """Whether loss and gradients are."""
        return not self.gradients and all(abs(value) < torch.inf for value in self.losses.values())

    def lines(self) -> Iterator[str]:
        """The finding for a reader, the earliest cause first."""
        for names, text in (
            (self.weights, "not finite before the step: parameter or buffer"),
            (self.batch, "not finite in the batch:"),
            (self.forward, "first module with a bad output:"),
            ([f"{k} {v:g}" for k, v in self.losses.items() if not abs(v) < torch.inf], "loss:"),
            (self.backward, "first module whose output has a bad gradient:"),
            (self.gradients, "bad gradient of parameter"),
        ):
            if names:
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                yield f"{text} {names[0]}{more}"
        if self.finite:
            yield "everything is finite when the step is done again"


def examine(model: nn.Module, wrapper: OptimWrapper | None, batch: Any) -> Finding:
    """Forward and backward pass of a model in training mode, every module watched.

    No step is taken.

    Gradients are those of this batch alone afterwards, buffers those after it.
    """
    # Without DDP around it, so that the gradients are this process's own, not all processes' mean.
    model = bare_model(model)
    finding = Finding(weights=[name for name, value in _read(model) if not _finite(value)])
    watched = [item for item in model.named_modules() if item[0] and item[0] != "data_preprocessor"]
    handles = [module.register_forward_hook(_watch(name, finding)) for name, module in watched]
    model.zero_grad()
    try:
        with wrapper.optim_context(model) if wrapper is not None else torch.enable_grad():
            data = model.data_preprocessor(batch, True)
            finding.batch = [
                name for name, part in data.items() if not all(map(_finite, _leaves(part)))
            ]
            losses = model._run_forward(data, mode="loss")
        loss, values = model.parse_losses(losses)
        # The sum stands first there.
        finding.losses = {name: value.item() for name, value in reversed(values.items())}
        loss.backward()
    finally:
        for handle in handles:
            handle.remove()
    finding.gradients = [
        name for name, p in model.named_parameters() if p.grad is not None and not _finite(p.grad)
    ]
    return finding


def save_report(runner: Runner, wrapper: OptimWrapper, step: Step) -> str:
    """Do a step again under watch, from the weights as they are, and save what replays it.

    Returns what was found, with the command that replays it.
    """
    name = f"nan_{step.iteration}" + (f"_rank{runner.rank}" if runner.world_size > 1 else "")
    folder = Path(runner.work_dir) / name
    model = bare_model(runner.model)
    position = dict(epoch=runner.epoch, iter=step.iteration - 1, rank=runner.rank, seed=runner.seed)
    content = dict(
        state_dict=gathered_weights(model),
        batch=step.batch,
        rng=step.rng,
        position=position,
    )
    # Written before the step is done again, which changes running means.
    file = io.BytesIO()
    torch.save(content, file)
    write_whole(folder / FILE, file.getvalue())
    # With the random numbers of the step, or dropout would leave another cause out.
    now = rng_state()
    set_rng_state(step.rng)
    found = "\n".join(examine(model, wrapper, step.batch).lines())
    set_rng_state(now)
    write_whole(folder / "finding.txt", f"{found}\n".encode())
    return f"{found}\nReplay it: mmmamba train {folder.with_name(CONFIG)} --replay {folder}"


def replay(runner: Runner, folder: str | Path) -> Finding:
    """Do a saved step again with a run's model and precision.

    Raises:
        UsageError: there is no saved step, or it is another model's.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise UsageError(
            f"--replay {folder}: there is no {path}; a run that met a bad value names the folder"
        )
    # A batch is made of the libraries' classes, which are allowed by name for this file alone.
    with torch.serialization.safe_globals([*get_torch_safe_globals(), *_data_classes()]):
        content = torch.load(path, map_location="cpu", weights_only=True)
    model = bare_model(runner.model)
    try:
        model.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        raise UsageError(
            f"--replay {folder}: the step was taken by another model than {runner.cfg.filename}: "
            f"{error}"
        ) from error
    model.to(get_device()).train()
    # Some heads and preprocessors of mmdet ask the hub how far the training is.
    for key in ("epoch", "iter"):
        runner.message_hub.update_info(key, content["position"][key])
    # For its context alone, which is that of mixed precision where the run had it.
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    set_rng_state(content["rng"])
    return examine(model, wrapper, content["batch"])


def _data_classes() -> list[type]:
    """What batches are made of, all of it plain containers.

    Nothing else is read from a replay file.
    """
    from mmdet import structures as mmdet_structures
    from mmdet.structures import bbox, mask
    from mmseg import structures as mmseg_structures

    modules = [mmengine_structures, mmdet_structures, bbox, mask, mmseg_structures]
    # Imported by a config that asks for it, and by nothing else.
    if mmpretrain_structures := sys.modules.get("mmpretrain.structures"):
        modules.append(mmpretrain_structures)
    return [
        value for module in modules for value in vars(module).values() if isinstance(value, type)
    ]


def _watch(name: str, finding: Finding) -> Callable[[nn.Module, Any, Any], None]:
    def watch(module: nn.Module, inputs: Any, output: Any) -> None:
        tensors = [*_leaves(output)]
        if not all(map(_finite, tensors)):
            finding.forward.append(name)
        for tensor in tensors:
            if tensor.requires_grad:
                # Asked for when the gradient arrives, which is in the reverse order of the modules.
                tensor.register_hook(
                    lambda grad: None if _finite(grad) else finding.backward.append(name)
                )

    return watch


def _read(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters, and buffers of frozen modules.

    Running means of the others are written by the step, not read.
    """
    yield from model.named_parameters()
    for name, module in model.named_modules():
        if not module.training:
            yield from (
                (f"{name}.{key}", value) for key, value in module.named_buffers(recurse=False)
            )


def _leaves(node: Any) -> Iterator[Tensor]:
    """The tensors in nested containers."""
    if isinstance(node, Tensor):
        yield node
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _leaves(value)
    elif isinstance(node, (dict, BaseDataElement)):
        yield from _leaves([*node.values()])
    elif hasattr(node, "tensor"):
        # Boxes of mmdet.
        yield from _leaves(node.tensor)


def _finite(tensor: Tensor) -> bool:
    return bool(share(tensor).isfinite().all())
