"""The lines of a written config that are there because it was composed."""

from __future__ import annotations

import textwrap
from typing import Any

from mmengine.config import Config

from ...config.source import source
from .heads import Base

OURS = "mmmamba.detection"
SEVERAL = 6
"""Names of parameters with equal settings that are written as one group."""
WIDTH = 96


def imports_of(base: Base) -> str:
    """The import of what mmdet's and mmseg's own configs do not know."""
    if base.package == "mmmamba":
        return ""
    given = (base.written.get("custom_imports") or {}).get("imports") or []
    names = [given] if isinstance(given, str) else list(given)
    return f"custom_imports = {source(dict(imports=[*names, OURS]))}\n"


def optimizer_of(base: Base, settings: dict[str, float]) -> str:
    """Source of the optimizer's wrapper, with the learning rate for this batch.

    Args:
        settings: of the optimizer, as `Rate` has them.
    """
    rates = ", ".join(f"{key}={value:g}" for key, value in settings.items())
    if not base.composed or base.config.optim_wrapper == base.written.optim_wrapper:
        return f"dict(optimizer=dict({rates}))"
    wrapper = base.config.optim_wrapper.to_dict()
    optimizer = {**wrapper.pop("optimizer"), **settings}
    paramwise = wrapper.pop("paramwise_cfg", None)
    lines = ["_delete_=True"]
    lines += [f"{key}={source(value)}" for key, value in wrapper.items()]
    lines.append(f"optimizer={source(optimizer)}")
    if paramwise:
        lines.append(f"paramwise_cfg={_groups(paramwise)}")
    return "dict(\n" + "".join(f"    {line},\n" for line in lines) + ")"


def _groups(paramwise: dict[str, Any]) -> str:
    """Parameter groups, whose names are no names of Python's."""
    given = dict(paramwise)
    keys = given.pop("custom_keys", {})
    items = [f"{key}={source(value)}" for key, value in given.items()]
    if keys:
        items.append(f"custom_keys={{\n{_keys(keys)}        }}")
    return "dict(\n" + "".join(f"        {item},\n" for item in items) + "    )"


def _keys(keys: dict[str, dict]) -> str:
    """Names and their settings; many names with the same ones stand together."""
    together: dict[str, list[str]] = {}
    for name, settings in keys.items():
        together.setdefault(source(dict(settings)), []).append(source(name))
    lines = []
    for settings, names in together.items():
        if len(names) < SEVERAL:
            lines += [f"            {name}: {settings},\n" for name in names]
        else:
            several = textwrap.indent(textwrap.fill(", ".join(names), WIDTH), " " * 20)
            lines.append(
                f"            **dict.fromkeys(\n                (\n{several},\n                ),\n"
                f"                {settings},\n            ),\n"
            )
    return "".join(lines)


def length_settings(base: Config) -> str:
    """Settings of the loop that hold for the published length alone, as they are by default."""
    defaults = {"dynamic_intervals": None, "val_begin": 1}
    return "".join(f", {key}={value}" for key, value in defaults.items() if key in base.train_cfg)


def best_of(base: Base) -> str:
    """That the best checkpoint stays, which ours say already."""
    if base.package == "mmmamba":
        return ""
    metric = "mIoU" if base.segments else "coco/bbox_mAP"
    return f', max_keep_ckpts=3, save_best="{metric}", rule="greater"'


def resets(base: Base) -> list[str]:
    """Lines that take back what holds for the published data alone."""
    lines = []
    if base.written.get("expected"):
        lines.append("expected = None")
    if base.written.get("load_from"):
        # A whole model, with the old backbone and for other classes.
        lines.append("load_from = None")
    return lines
