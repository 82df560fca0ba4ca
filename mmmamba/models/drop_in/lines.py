"""The lines to write under `_base_` that make one model's config of another."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from ...config.source import source
from .rules import drop_in

WIDTH = 100
INDENT = "    "


def drop_in_lines(cfg: Config, arch: str, **arguments: Any) -> str:
    """What a user writes under `_base_` to put one of our backbones into a config.

    Args:
        arch: a name of `list_backbones()`.
        arguments: more of the backbone's.

    Raises:
        UsageError: the model takes no other backbone, or not this one.
        ValueError: there is no such backbone.
    """
    model = changes(cfg.model, drop_in(cfg, arch, **arguments).model)
    return f'custom_imports = dict(imports=["mmmamba"])\nmodel = {model}'


def changes(old: dict, new: dict, place: str = "_base_.model") -> str:
    """Source of the dict that MMEngine merges into the old config to get the new one."""
    return _expression(old, new, place, 0, len("model = "))


def _expression(old: Any, new: Any, place: str, depth: int, used: int) -> str:
    """Source of the new value, by what differs where the old one is kept.

    Args:
        used: columns before it.
    """
    if isinstance(old, dict) and isinstance(new, dict) and _merges(old, new):
        # Where a value begins, were each key on a line of its own.
        begun = len(INDENT) * (depth + 1) + len("=")
        items = {
            key: _expression(old.get(key), value, f"{place}.{key}", depth + 1, begun + len(key))
            for key, value in _changed(old, new).items()
        }
        return _call(items, depth, used)
    if isinstance(new, dict):
        # Of another type or with fewer keys: MMEngine would merge what is left of the old one.
        deleted = {"_delete_": "True"} if isinstance(old, dict) else {}
        arguments = {key: source(_plain(value)) for key, value in new.items()}
        return _call(deleted | arguments, depth, used)
    if _lists_of_dicts(old, new):
        parts = [_element(a, b, f"{place}[{i}]") for i, (a, b) in enumerate(zip(old, new))]
        return _wrapped("[", parts, "]", depth, used)
    return source(_plain(new))


def _changed(old: dict, new: dict) -> dict:
    return {
        key: value
        for key, value in new.items()
        if key not in old or _plain(old[key]) != _plain(value)
    }


def _merges(old: dict, new: dict) -> bool:
    # A merge changes keys and adds some, but takes none away.
    return old.get("type") == new.get("type") and set(old) <= set(new)


def _lists_of_dicts(old: Any, new: Any) -> bool:
    if not all(isinstance(one, (list, tuple)) for one in (old, new)) or len(old) != len(new):
        return False
    dicts = all(isinstance(one, dict) for one in [*old, *new])
    return dicts and all(map(_merges, old, new))


def _element(old: dict, new: dict, place: str) -> str:
    """A list is replaced whole: its elements are those of the base with what differs."""
    changed = [f"{key}={source(_plain(value))}" for key, value in _changed(old, new).items()]
    return f"dict({', '.join([place, *changed])})" if changed else place


def _call(items: dict[str, str], depth: int, used: int) -> str:
    return _wrapped("dict(", [f"{key}={text}" for key, text in items.items()], ")", depth, used)


def _wrapped(opening: str, parts: list[str], closing: str, depth: int, used: int) -> str:
    line = f"{opening}{', '.join(parts)}{closing}"
    # The model's own parts stand on a line each.
    if "\n" not in line and used + len(line) < WIDTH and not (depth == 0 and len(parts) > 1):
        return line
    inner = INDENT * (depth + 1)
    lines = "".join(f"{inner}{part},\n" for part in parts)
    return f"{opening}\n{lines}{INDENT * depth}{closing}"


def _plain(value: Any) -> Any:
    """Without the config's own classes, whose repr is not source."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(one) for one in value)
    return value
