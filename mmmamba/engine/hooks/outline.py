"""A run in ten lines, told before its first step."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from ...config.signatures import class_name
from ...structures.classes import class_names
from ..bare_model import bare_model
from ..log import DETAILS
from ..optimizers import wrappers_of
from .results import FILE

NAMED = 5
"""Classes up to which each is named."""


class OutlineHook(Hook):
    """Tells what a run trains, on which data and machine, for how long, and where it writes."""

    # Behind hooks that change the model or its schedule before the first step.
    priority = "LOWEST"

    def before_train(self, runner: Runner) -> None:
        lines = outline(runner)
        width = max(map(len, lines))
        text = "\n".join(f"  {name.ljust(width)}  {value}" for name, value in lines.items())
        runner.logger.info(f"this run\n{text}")


def outline(runner: Runner) -> dict[str, str]:
    """What there is to say, by its subject."""
    network = bare_model(runner.model)
    device = next(network.parameters()).device
    lines = {
        "model": _model(network, class_name(runner.cfg.model["type"])),
        "weights": _weights(runner, network),
        "training": _data(runner, "train"),
        "validation": "none",
        "device": _device(device),
        "precision": _precision(runner, device),
        "batch": _batch(runner),
        "schedule": _schedule(runner),
        "optimizer": _optimizer(runner),
        "written to": f"{runner.work_dir}: {FILE}, checkpoints, pictures",
        "log": f"{Path(runner.log_dir, runner.timestamp)}.log; environment, config and hooks "
        f"are in {DETAILS} beside it",
    }
    if runner.val_loop is not None:
        lines["validation"] = f"{_data(runner, 'val')}, {_interval(runner)}"
    return lines


def _model(network: nn.Module, name: str) -> str:
    parameters = list(network.parameters())
    total = sum(one.numel() for one in parameters)
    trained = sum(one.numel() for one in parameters if one.requires_grad)
    backbone = getattr(network, "backbone", None)
    on = f" on {type(backbone).__name__}" if backbone is not None else ""
    frozen = f", {_millions(trained)} of them trained" if trained < total else ""
    return f"{name}{on}, {_millions(total)} parameters{frozen}"


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}"


def _weights(runner: Runner, network: nn.Module) -> str:
    source = runner._load_from
    if runner._resume and runner.iter:
        return f"the run goes on behind iteration {runner.iter}"
    if source:
        return str(source)
    init = getattr(getattr(network, "backbone", None), "init_cfg", None) or {}
    if not isinstance(init, dict) or not init.get("checkpoint"):
        return "none loaded, all begin at random"
    return f"backbone from {init['checkpoint']}"


def _data(runner: Runner, mode: str) -> str:
    """Type, number of images, and classes of a data set."""
    dataset = getattr(runner, f"{mode}_dataloader").dataset
    loader = runner.cfg.get(f"{mode}_dataloader") or {}
    # What is read may stand in a wrapper of ours; the config has the name that the user knows.
    kind = class_name(loader.get("dataset", {}).get("type", type(dataset)))
    text = f"{kind}, {len(dataset):,} images"
    classes = getattr(dataset, "metainfo", {}).get("classes")
    if not classes:
        return text
    names = class_names(classes)
    shown = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
    return f"{text}, {len(names)} class{'es' * (len(names) > 1)} ({shown})"


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        threads = torch.get_num_threads()
        name = f"{device.type}, {threads} thread{'s' * (threads > 1)}"
    return f"{get_world_size()} x {name}" if get_world_size() > 1 else name


def _precision(runner: Runner, device: torch.device) -> str:
    if any(isinstance(one, AmpOptimWrapper) for one in _wrappers(runner)):
        casts = [getattr(one, "cast_dtype", None) for one in _wrappers(runner)]
        # Without a dtype, autocast takes its own of the device.
        default = torch.get_autocast_dtype(device.type)
        return f"mixed, {str(casts[0] or default).removeprefix('torch.')} and float32"
    tf32 = device.type == "cuda" and torch.backends.cuda.matmul.allow_tf32
    return "float32, products in TF32" if tf32 else "float32"


def _batch(runner: Runner) -> str:
    size = getattr(runner.train_dataloader, "batch_size", None)
    if size is None:
        size = runner.cfg.get("train_dataloader", {}).get("batch_size")
    if size is None:
        return "of its loader's making"
    steps = max((one._accumulative_counts for one in _wrappers(runner)), default=1)
    whole = size * get_world_size() * steps
    parts = [f"{size} images"]
    if get_world_size() > 1:
        parts.append(f"{get_world_size()} processes")
    if steps > 1:
        parts.append(f"{steps} steps gathered")
    return parts[0] if len(parts) == 1 else f"{' x '.join(parts)} = {whole}"


def _schedule(runner: Runner) -> str:
    loop = runner.train_loop
    if isinstance(loop, EpochBasedTrainLoop):
        per_epoch = len(runner.train_dataloader)
        return f"{loop.max_epochs} epochs of {per_epoch:,} steps, {loop.max_iters:,} in all"
    return f"{loop.max_iters:,} steps"


def _interval(runner: Runner) -> str:
    interval = getattr(runner.train_loop, "val_interval", None)
    if interval is None:
        return "when its loop says"
    unit = "epoch" if isinstance(runner.train_loop, EpochBasedTrainLoop) else "step"
    return f"each {unit}" if interval == 1 else f"every {interval:,} {unit}s"


def _optimizer(runner: Runner) -> str:
    found = []
    for one in _wrappers(runner):
        groups = one.optimizer.param_groups
        rate = max(group.get("initial_lr", group["lr"]) for group in groups)
        found.append(f"{type(one.optimizer).__name__}, learning rate {rate:g}")
    return "; ".join(found) or type(runner.optim_wrapper).__name__


def _wrappers(runner: Runner) -> list:
    return list(wrappers_of(runner.optim_wrapper).values())
