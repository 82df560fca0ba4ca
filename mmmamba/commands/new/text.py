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
from ...datasets.discovery import CocoData, LabelData, Part
from .schedule import Schedule

WIDTH = 118
GLUE = "\0"
COCO_COLOURS = 80
"""Colours that mmdet's CocoDataset brings along."""


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
    parts = [
        *textwrap.wrap(
            f"Written by: {command}",
            WIDTH,
            initial_indent="# ",
            subsequent_indent="#     ",
            break_on_hyphens=False,
            break_long_words=False,
        ),
        f"# {data.images} images to train on. Over {config_name(shipped)} of mmmamba.",
        f"_base_ = {source(base_path(shipped, out))}",
        "",
        f"data_root = {source(str(root) + '/')}",
        _names("classes", data.classes),
        "num_classes = len(classes)",
        *_data_lines(data, root, batch),
        "",
        f"model = {_num_classes(base.model, '_base_.model')}",
        "",
        *_schedule_lines(base, schedule, batch_of_all),
    ]
    return "\n".join(parts) + "\n"


def base_path(shipped: Path, out: Path) -> str:
    """How a config names a shipped one.

    Within one checkout by the way from file to file, which survives moving the checkout; otherwise
    by its full path, which survives moving the file.
    """
    checkout = configs_folder().parent
    inside = (checkout / "pyproject.toml").is_file() and out.resolve().is_relative_to(checkout)
    return os.path.relpath(shipped, out.resolve().parent) if inside else str(shipped)


def _data_lines(data: CocoData | LabelData, root: Path, batch: int) -> list[str]:
    lines = _coco_lines if isinstance(data, CocoData) else _label_lines
    return lines(data, root, batch)


def _coco_lines(data: CocoData, root: Path, batch: int) -> list[str]:
    def dataset(part: Part) -> list[str]:
        return [
            "    dataset=dict(",
            "        data_root=data_root,",
            f"        ann_file={source(_below(root, part.annotations))},",
            f"        data_prefix=dict(img={source(_below(root, part.images))}),",
            "        metainfo=metainfo,",
            "    ),",
            ")",
        ]

    colours = ", palette=[(37 * i % 256, 91 * i % 256, 157 * i % 256) for i in range(num_classes)]"
    lines = [
        f"metainfo = dict(classes=classes{colours if len(data.classes) > COCO_COLOURS else ''})",
        "",
        "train_dataloader = dict(",
        f"    batch_size={batch},",
        *dataset(data.train),
    ]
    for split, part in (("val", data.val), ("test", data.test)):
        lines += (
            [
                f"{split}_dataloader = dict(",
                *dataset(part),
                f"{split}_evaluator = dict(ann_file={_path(root, part.annotations)})",
            ]
            if part
            else []
        )
    return (
        lines
        if data.test
        else [*lines, "test_dataloader = val_dataloader", "test_evaluator = val_evaluator"]
    )


def _label_lines(data: LabelData, root: Path, batch: int) -> list[str]:
    def dataset(split: str, part: Part) -> list[str]:
        names = [f"        ann_file={_path(root, part.names)},"] if part.names else []
        folders = f"img_path={source(_below(root, part.images))}, seg_map_path={source(_below(root, part.annotations))}"
        return [
            "    dataset=dict(",
            "        **labels,",
            *names,
            f"        data_prefix=dict({folders}),",
            f"        pipeline=_base_.{split}_dataloader.dataset.pipeline,",
            "    ),",
            ")",
        ]

    lines = [
        "labels = dict(",
        "    _delete_=True,",
        '    type="BaseSegDataset",',
        "    data_root=data_root,",
        f"    img_suffix={source(data.image_suffix)},",
        f"    seg_map_suffix={source(data.label_suffix)},",
        f"    reduce_zero_label={data.zero_ignored},",
        "    metainfo=dict(classes=classes),",
        ")",
        "",
        "train_dataloader = dict(",
        f"    batch_size={batch},",
        *dataset("train", data.train),
    ]
    for split, part in (("val", data.val), ("test", data.test)):
        lines += [f"{split}_dataloader = dict(", *dataset(split, part)] if part else []
    return lines if data.test else [*lines, "test_dataloader = val_dataloader"]


def _schedule_lines(base: Config, schedule: Schedule, batch: int) -> list[str]:
    length = f"max_{schedule.unit}"
    rates = ", ".join(f"{key}={value:g}" for key, value in schedule.optimizer.items())
    lines = [
        f"{length} = {schedule.length}",
        f"train_cfg = dict({length}={length}, val_interval={schedule.val_interval})",
        f"default_hooks = dict(checkpoint=dict(interval={schedule.val_interval}), "
        f"logger=dict(interval={schedule.log_interval}))",
        f"# {schedule.why_rate[0].upper()}{schedule.why_rate[1:]}.",
        f"optim_wrapper = dict(optimizer=dict({rates}))",
        "# With another batch or more GPUs: --auto-scale-lr.",
        f"auto_scale_lr = dict(enable=False, base_batch_size={batch})",
        "param_scheduler = [",
        *(f"    {source(entry)}," for entry in schedule.schedulers),
        "]",
    ]
    hooks = base.get("custom_hooks") or []
    if any(hook.type == "PipelineSwitchHook" for hook in hooks):
        last = max(schedule.length // 10, 1)
        lines += [
            "# No mosaic in the last tenth.",
            "custom_hooks = [",
            '    *[hook for hook in _base_.custom_hooks if hook.type != "PipelineSwitchHook"],',
            f'    dict(type="PipelineSwitchHook", switch_epoch={schedule.length - last}, '
            "switch_pipeline=_base_.late_pipeline),",
            "]",
        ]
    # Published for another data set.
    return [*lines, "expected = None"] if base.get("expected") else lines


def _num_classes(node: Any, place: str) -> str | None:
    """Source of the dict that sets every `num_classes` below a node. Configs replace lists whole:
    they are repeated."""
    if isinstance(node, dict):
        inner = []
        for key, value in node.items():
            if key == "num_classes" and isinstance(value, int):
                inner.append("num_classes=num_classes")
            elif key not in WITHOUT_CLASSES and (text := _num_classes(value, f"{place}.{key}")):
                inner.append(f"{key}={text}")
        return f"dict({', '.join(inner)})" if inner else None
    if isinstance(node, (list, tuple)) and any(
        isinstance(one, dict) and "num_classes" in one for one in node
    ):
        return f"[dict(one, num_classes=num_classes) for one in {place}]"
    return None


def _names(key: str, names: Sequence[str]) -> str:
    """An assignment of a tuple of names, over several lines if need be; no line breaks within a
    name."""
    text = source(tuple(names))
    if len(text) < WIDTH - 10:
        return f"{key} = {text}"
    glued = ", ".join(source(name).replace(" ", GLUE) for name in names)
    wrapped = textwrap.fill(
        glued,
        WIDTH,
        initial_indent="    ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{key} = (\n{wrapped.replace(GLUE, ' ')},\n)"


def _below(root: Path, path: Path) -> str:
    """From the data's root, or the full path of what lies elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _path(root: Path, path: Path) -> str:
    """Source of a path."""
    return (
        f"data_root + {source(_below(root, path))}"
        if path.is_relative_to(root)
        else source(str(path))
    )
