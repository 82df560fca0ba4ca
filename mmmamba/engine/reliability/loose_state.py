"""State of a run that no `state_dict` holds, kept in the message hub, which each checkpoint holds.

MMEngine, mmdet and mmseg have few things that training changes and checkpoints lack: what `LOOSE`
names, and the running statistics of all processes but the first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
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

KEY = "loose_state"
"""Under which the message hub has it: a text of JSON for each process."""
TUPLE = "tuple"
"""The one key of what stands for a tuple, which JSON lacks."""
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


@dataclass(frozen=True)
class _Loose:
    """An attribute that changes while a run trains, wherever it is."""

    key: str
    """What a checkpoint calls it: `model.roi_head.iou_history`, `NanGuardHook.0.in_a_row`."""
    owner: Any
    attribute: str
    """Dotted where the owner's class is not the one that holds it."""

    def get(self) -> Any:
        return attrgetter(self.attribute)(self.owner)

    def set(self, value: Any) -> None:
        parent, _, last = self.attribute.rpartition(".")
        setattr(attrgetter(parent)(self.owner) if parent else self.owner, last, value)


def remember_state(runner: Runner) -> None:
    """Put a run's loose state into the message hub, before a checkpoint is saved.

    All processes have to ask.
    """
    remember_buffers(runner)
    state = {one.key: _to_json(one.get()) for one in _loose(runner)}
    runner.message_hub.update_info(KEY, _gather(json.dumps(state)))


def restore_state(runner: Runner) -> None:
    """Hand a run's loose state out of the message hub, after a checkpoint was read.

    Raises:
        UsageError: the hub holds what no such state is.
    """
    restore_buffers(runner)
    state = _read(runner.message_hub.get_info(KEY) or ["{}"])
    for one in _loose(runner):
        if one.key in state:
            value, ours = state.pop(one.key), one.get()
            if not _alike(value, ours):
                raise UsageError(
                    f"the checkpoint's {KEY} has {printable(repr(value))} for {one.key}, which is "
                    f"{ours!r} here"
                )
            one.set(value)
    if state:
        names = printable_names(sorted(state))
        print_log(f"the checkpoint holds state that has no place here: {names}", "current", 30)
    _stop_again(runner)


def _loose(runner: Runner) -> Iterator[_Loose]:
    """What of a run's modules and hooks is loose."""
    for where, owner in _owners(runner).items():
        # By name along the bases: the classes need not be imported, and derived ones are found.
        for kind in type(owner).__mro__:
            for attribute in LOOSE.get(kind.__name__, ()):
                yield _Loose(f"{where}.{attribute}", owner, attribute)


def _owners(runner: Runner) -> dict[str, Any]:
    """Modules by the place in the model, hooks by class and number among those of their class."""
    modules = bare_model(runner.model).named_modules()
    owners: dict[str, Any] = {f"model.{name}": module for name, module in modules}
    for hook in runner.hooks:
        kind = type(hook).__name__
        number = sum(where.startswith(f"{kind}.") for where in owners)
        owners[f"{kind}.{number}"] = hook
    return owners


def _stop_again(runner: Runner) -> None:
    """End a run at once that had stopped early, unless the hook is more patient by now."""
    for hook in runner.hooks:
        if isinstance(hook, EarlyStoppingHook) and _had_stopped(hook):
            print_log(
                f"the run had stopped early ({hook.monitor} {hook.best_score:.4g}); more patience "
                "lets it go on",
                "current",
                30,
            )
            runner.train_loop.stop_training = True


def _had_stopped(hook: EarlyStoppingHook) -> bool:
    # The hook keeps no note of having stopped: its conditions are asked again of what it counted.
    threshold = hook.stopping_threshold
    reached = threshold is not None and hook.rule_map[hook.rule](hook.best_score, threshold)
    return reached or 0 < hook.wait_count >= hook.patience


def _read(lines: Any) -> dict[str, Any]:
    """What this process had, by name."""
    try:
        # A checkpoint of fewer processes has no line for some of these: the first one's serves,
        # as thresholds and counts are nearly the same in all.
        own = get_rank() if get_rank() < len(lines) else 0
        state = json.loads(lines[own], object_hook=_from_json)
    except (LookupError, RecursionError, TypeError, ValueError) as error:
        raise UsageError(f"the checkpoint's {KEY} cannot be read: {printable(error)}") from error
    if not isinstance(state, dict):
        raise UsageError(
            f"the checkpoint's {KEY} is a {type(state).__name__}, wanted values by name"
        )
    return state


def _alike(value: Any, ours: Any) -> bool:
    """Whether a value from a file may stand in the place of ours.

    Numbers for a number, several for several; where ours is not there yet, either will do.
    """
    several = isinstance(value, (list, tuple))
    numbers = all(_is_number(one) for one in (value if several else [value]))
    if value is None or ours is None:
        return value is None or numbers
    return numbers and several == isinstance(ours, (list, tuple))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _to_json(value: Any) -> Any:
    """A value as JSON has it, tuples marked."""
    if isinstance(value, list):
        return [_to_json(one) for one in value]
    if isinstance(value, tuple):
        return {TUPLE: [_to_json(one) for one in value]}
    return value.item() if isinstance(value, np.generic) else value


def _from_json(found: dict[str, Any]) -> Any:
    """A tuple from what `_to_json` made of it; other dictionaries as they are."""
    return tuple(found[TUPLE]) if found.keys() == {TUPLE} else found


def _gather(line: str) -> list[str]:
    """The lines of all processes.

    They travel as tensors of bytes, all of one length: gathered as objects they would be pickles,
    which a process runs when it reads them.
    """
    # Lengths first: gathering wants tensors of one shape, and the zeros at the end come off again.
    data = torch.frombuffer(bytearray(line.encode()), dtype=torch.uint8)
    lengths = [int(length) for length in all_gather(torch.tensor([len(data)]))]
    padded = torch.nn.functional.pad(data, (0, max(lengths) - len(data)))
    rows = zip(all_gather(padded), lengths)
    return [bytes(row[:length].tolist()).decode() for row, length in rows]
