"""Writes a short config for the user's own data, over a shipped one."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

from ...config.find import configs_folder
from ...config.source import source
from ...datasets.discovery import ClassData, CocoData, LabelData, SecondImages
from ...models.drop_in import changes
from ...structures.tiles import Tiling
from .classes import counted
from .classifier import with_classes
from .composed_text import best_of, imports_of, length_settings, optimizer_of, resets
from .data_text import data_text
from .heads import Base
from .schedule import Schedule

WIDTH = 118
GLUE = "\0"
"""In the place of spaces within a name, where lines are not to break."""
CONFIG = """\
{written_by}
# {images} images to train on. Over {shipped} of {package}.
_base_ = {base}
{imports}
data_root = {root}
{classes}
num_classes = len(classes)
{data}

model = {model}

{schedule}
"""
SCHEDULE = """\
{length} = {number}
train_cfg = dict({length}={length}, val_interval={val}{more})
default_hooks = dict(checkpoint=dict(interval={val}{best}), logger=dict(interval={log}))
# {why}.
optim_wrapper = {optimizer}
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
    base: Base,
    out: Path,
    data: CocoData | LabelData | ClassData,
    root: Path,
    schedule: Schedule,
    batch: int,
    batch_of_all: int,
    command: str,
    second: SecondImages | None = None,
    tiling: Tiling | None = None,
) -> str:
    """The text of a config.

    Args:
        base: the config of the backbone and the head.
        out: where the text will stand.
        root: folder of the data.
        batch, batch_of_all: images of a step on one GPU and on all.
        command: that wrote it, for its first line.
        second: the second images of pairs.
        tiling: what images are cut into.
    """
    shipped = Path(base.written.filename)
    written_by = _wrapped(f"Written by: {command}", first="# ", others="#     ")
    model = with_classes(base.config, len(data.classes)) if base.classifies else None
    model = model or counted(base.config.model)
    return CONFIG.format(
        written_by=written_by,
        images=data.images,
        shipped=base.name.rpartition("::")[2],
        package=base.package,
        base=source(base_path(shipped, out)),
        imports=imports_of(base),
        # The slash at the end: written paths are joined to it by `+`.
        root=source(f"{root}/"),
        classes=_names("classes", data.classes),
        data=data_text(data, root, batch, base.config, second, tiling),
        model=changes(base.written.model, model),
        schedule=_schedule_text(base, schedule, batch_of_all),
    )


def base_path(shipped: Path, out: Path) -> str:
    """How a config names a shipped one.

    Within one checkout by the way from file to file, which survives moving the checkout; otherwise
    by its full path, which survives moving the file.
    """
    checkout = configs_folder().parent
    inside = (checkout / "pyproject.toml").is_file() and out.resolve().is_relative_to(checkout)
    # Those of other packages are none of the checkout, wherever its environment lies.
    inside = inside and shipped.is_relative_to(configs_folder())
    # Relative to the config, from whichever folder it is read.
    return os.path.relpath(shipped, out.resolve().parent) if inside else str(shipped)


def _schedule_text(base: Base, schedule: Schedule, batch: int) -> str:
    """Length, learning rate and schedulers, and what of the shipped config hangs on them."""
    text = SCHEDULE.format(
        length=f"max_{schedule.unit}",
        number=schedule.length,
        val=schedule.val_interval,
        more=length_settings(base.written),
        best=best_of(base),
        log=schedule.log_interval,
        why=schedule.rate.why[0].upper() + schedule.rate.why[1:],
        optimizer=optimizer_of(base, schedule.rate.settings),
        batch=batch,
        schedulers="\n".join(f"    {source(entry)}," for entry in schedule.schedulers),
    )
    return "\n".join([text, _hooks_text(schedule), *resets(base)])


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
