"""Writes a short config for the user's own data, over a shipped one."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...config.find import config_name, configs_folder
from ...config.source import source
from ...datasets.checks.usable import WITHOUT_CLASSES
from ...datasets.discovery import CocoData, LabelData
from .data_text import data_text
from .schedule import Schedule

WIDTH = 118
GLUE = "\0"
"""In the place of spaces within a name, where lines are not to break."""
CONFIG = """\
{written_by}
# {images} images to train on. Over {shipped} of mmmamba.
_base_ = {base}

data_root = {root}
{classes}
num_classes = len(classes)
{data}

model = {model}

{schedule}
"""
SCHEDULE = """\
{length} = {number}
train_cfg = dict({length}={length}, val_interval={val})
default_hooks = dict(checkpoint=dict(interval={val}), logger=dict(interval={log}))
# {why}.
optim_wrapper = dict(optimizer=dict({rates}))
# With another batch: --batch; with more GPUs: --auto-scale-lr. The rate follows by the same rule.
auto_scale_lr = dict(enable=False, base_batch_size={batch})
param_scheduler = [
{schedulers}
]"""
HOOKS = """\
{why}
custom_hooks = [
{hooks}
]"""
STAGES = "The recipe's hooks, at this length."
STOPPING = (
    "Training ends early where {monitor} has not risen for {patience} validations: --patience N "
    "sets another number, 0 is never."
)


def config_text(
    base: Config,
    out: Path,
    data: CocoData | LabelData,
    root: Path,
    schedule: Schedule,
    batch: int,
    batch_of_all: int,
    command: str,
) -> str:
    """The text of a config.

    Args:
        base: the shipped config of the backbone and the head.
        out: where the text will stand.
        root: folder of the data.
        batch, batch_of_all: images of a step on one GPU and on all.
        command: that wrote it, for its first line.
    """
    shipped = Path(base.filename)
    written_by = _wrapped(f"Written by: {command}", first="# ", others="#     ")
    return CONFIG.format(
        written_by=written_by,
        images=data.images,
        shipped=config_name(shipped),
        base=source(base_path(shipped, out)),
        # The slash at the end: written paths are joined to it by `+`.
        root=source(f"{root}/"),
        classes=_names("classes", data.classes),
        data=data_text(data, root, batch),
        model=_num_classes(base.model, "_base_.model"),
        schedule=_schedule_text(base, schedule, batch_of_all),
    )


def base_path(shipped: Path, out: Path) -> str:
    """How a config names a shipped one.

    Within one checkout by the way from file to file, which survives moving the checkout; otherwise
    by its full path, which survives moving the file.
    """
    checkout = configs_folder().parent
    inside = (checkout / "pyproject.toml").is_file() and out.resolve().is_relative_to(checkout)
    # Relative to the config, from whichever folder it is read.
    return os.path.relpath(shipped, out.resolve().parent) if inside else str(shipped)


def _schedule_text(base: Config, schedule: Schedule, batch: int) -> str:
    """Length, learning rate and schedulers, and what of the shipped config hangs on them."""
    text = SCHEDULE.format(
        length=f"max_{schedule.unit}",
        number=schedule.length,
        val=schedule.val_interval,
        log=schedule.log_interval,
        why=schedule.rate.why[0].upper() + schedule.rate.why[1:],
        rates=", ".join(f"{key}={value:g}" for key, value in schedule.rate.settings.items()),
        batch=batch,
        schedulers="\n".join(f"    {source(entry)}," for entry in schedule.schedulers),
    )
    text += "\n" + _hooks_text(schedule)
    if base.get("expected"):
        # Published for another data set.
        text += "\nexpected = None"
    return text


def _hooks_text(schedule: Schedule) -> str:
    """The hooks of the shipped config, and the one that ends training early."""
    lines = []
    for index, changed in enumerate(schedule.hooks):
        if changed is not None:
            hook = f"_base_.custom_hooks[{index}]"
            settings = ", ".join(f"{key}={source(value)}" for key, value in changed.items())
            lines.append(f"    dict({hook}, {settings})," if settings else f"    {hook},")
    why = STAGES
    if schedule.stopping is not None:
        why = f"{STAGES} {STOPPING.format(**schedule.stopping)}"
        lines.append(f"    {source(schedule.stopping)},")
    return HOOKS.format(why=_wrapped(why, first="# ", others="# "), hooks="\n".join(lines))


def _num_classes(node: Any, place: str) -> str | None:
    """Source of the dict that sets every `num_classes` below a node, None where there is none.

    Args:
        place: what the written config calls the node. Lists are replaced whole when configs are
            merged, so that their entries are repeated from there.
    """
    if isinstance(node, dict):
        inner = []
        for key, value in node.items():
            if key == "num_classes" and isinstance(value, int):
                inner.append("num_classes=num_classes")
            elif key not in WITHOUT_CLASSES and (text := _num_classes(value, f"{place}.{key}")):
                inner.append(f"{key}={text}")
        return f"dict({', '.join(inner)})" if inner else None
    if not isinstance(node, (list, tuple)):
        return None
    if any(isinstance(one, dict) and "num_classes" in one for one in node):
        return f"[dict(one, num_classes=num_classes) for one in {place}]"
    return None


def _names(key: str, names: Sequence[str]) -> str:
    """An assignment of a tuple of names, which breaks between names if it is long."""
    text = source(tuple(names))
    if len(text) < WIDTH - 10:
        return f"{key} = {text}"
    glued = ", ".join(source(name).replace(" ", GLUE) for name in names)
    lines = _wrapped(glued, first="    ", others="    ").replace(GLUE, " ")
    return f"{key} = (\n{lines},\n)"


def _wrapped(text: str, first: str, others: str) -> str:
    """A text in lines that break at spaces alone.

    Args:
        first, others: what lines begin with.
    """
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
