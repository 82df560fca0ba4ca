"""State of a run that no `state_dict` holds, kept in the message hub, which each checkpoint holds.

MMEngine, mmdet and mmseg have few things that training changes and checkpoints lack: what `LOOSE`
names, and the running statistics of all processes but the first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather, get_rank
from mmengine.hooks import EarlyStoppingHook
from mmengine.logging import print_log
from mmengine.runner import Runner

from ...errors import UsageError
from ...printable import printable, printable_names
from ..bare_model import bare_model
from .rank_buffers import remember_buffers, restore_buffers

KEY, TUPLE = "loose_state", "tuple"
LOOSE = {
    # Multi-scale training of YOLOX: one size serves ten steps.
    "BatchSyncRandomResize": ["_input_size"],
    # Dynamic R-CNN: thresholds, and what the next ones are made from.
    "DynamicRoIHead": [
        "iou_history",
        "beta_history",
        "bbox_assigner.pos_iou_thr",
        "bbox_assigner.neg_iou_thr",
        "bbox_assigner.min_pos_iou",
        "bbox_head.loss_bbox.beta",
    ],
    "DropBlock": ["iter_cnt"],
    "EarlyStoppingHook": ["best_score", "wait_count"],
    "NanGuardHook": ["in_a_row"],
}
"""Attributes by the name of the class that has them, derived ones included."""


def remember_state(runner: Runner) -> None:
    """Before a checkpoint is saved. All processes have to ask."""
    remember_buffers(runner)
    state = {key: _plain(attrgetter(name)(owner)) for key, owner, name in _loose(runner)}
    runner.message_hub.update_info(KEY, _gather(json.dumps(state)))


def restore_state(runner: Runner) -> None:
    """After a checkpoint was read.

    Raises:
        UsageError: it holds what no such state is.
    """
    restore_buffers(runner)
    state = _read(runner.message_hub.get_info(KEY) or ["{}"])
    for key, owner, name in _loose(runner):
        if key in state:
            value, ours = state.pop(key), attrgetter(name)(owner)
            if not _alike(value, ours):
                raise UsageError(
                    f"the checkpoint's {KEY} has {printable(repr(value))} for {key}, which is "
                    f"{ours!r} here"
                )
            parent, _, last = name.rpartition(".")
            setattr(attrgetter(parent)(owner) if parent else owner, last, value)
    if state:
        names = printable_names(sorted(state))
        print_log(f"the checkpoint holds state that has no place here: {names}", "current", 30)
    for hook in runner.hooks:
        if isinstance(hook, EarlyStoppingHook) and _had_stopped(hook):
            print_log(
                f"the run had stopped early ({hook.monitor} {hook.best_score:.4g}); more patience "
                "lets it go on",
                "current",
                30,
            )
            runner.train_loop.stop_training = True


def _read(lines: Any) -> dict[str, Any]:
    """What this process had."""
    try:
        # A checkpoint of another number of processes has no line for some; thresholds of the first
        # are as good.
        state = json.loads(lines[get_rank() if get_rank() < len(lines) else 0], object_hook=_tuple)
    except (LookupError, RecursionError, TypeError, ValueError) as error:
        raise UsageError(f"the checkpoint's {KEY} cannot be read: {printable(error)}") from error
    if not isinstance(state, dict):
        raise UsageError(
            f"the checkpoint's {KEY} is a {type(state).__name__}, wanted values by name"
        )
    return state


def _alike(value: Any, ours: Any) -> bool:
    """Both are numbers, or both are several, where ours is there to compare with."""
    several = isinstance(value, (list, tuple))
    numbers = all(_is_number(one) for one in (value if several else [value]))
    if value is None or ours is None:
        return value is None or numbers
    return numbers and several == isinstance(ours, (list, tuple))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _loose(runner: Runner) -> Iterator[tuple[str, Any, str]]:
    """What it is called in the checkpoint, who has it, and which attribute it is."""
    model = bare_model(runner.model)
    owners = {f"model.{name}": module for name, module in model.named_modules()}
    for hook in runner.hooks:
        kind = type(hook).__name__
        number = sum(where.startswith(f"{kind}.") for where in owners)
        owners[f"{kind}.{number}"] = hook
    for where, owner in owners.items():
        for kind in type(owner).__mro__:
            for name in LOOSE.get(kind.__name__, ()):
                yield f"{where}.{name}", owner, name


def _had_stopped(hook: EarlyStoppingHook) -> bool:
    threshold = hook.stopping_threshold
    reached = threshold is not None and hook.rule_map[hook.rule](hook.best_score, threshold)
    return reached or 0 < hook.wait_count >= hook.patience


def _plain(value: Any) -> Any:
    """As JSON has it, tuples marked."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, tuple):
        return {TUPLE: [_plain(one) for one in value]}
    return value.item() if isinstance(value, np.generic) else value


def _tuple(found: dict[str, Any]) -> Any:
    return tuple(found[TUPLE]) if found.keys() == {TUPLE} else found


def _gather(line: str) -> list[str]:
    """The lines of all processes, without pickles."""
    data = torch.frombuffer(bytearray(line.encode()), dtype=torch.uint8)
    lengths = [int(length) for length in all_gather(torch.tensor([len(data)]))]
    padded = torch.nn.functional.pad(data, (0, max(lengths) - len(data)))
    return [
        bytes(one[:length].tolist()).decode() for one, length in zip(all_gather(padded), lengths)
    ]
