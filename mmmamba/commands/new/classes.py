"""A model for another number of classes, as a config says it."""

from __future__ import annotations

from typing import Any

from ...datasets.checks.usable import BORDER_HEADS, WITHOUT_CLASSES


class Source:
    """A piece of a config's source, in the place of a value."""

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text


CLASSES = Source("num_classes")


def counted(node: Any, count: int | None = None) -> Any:
    """A model's dict with `num_classes`, a variable of the config, for every number of classes.

    Weights of single classes go, as they were chosen for others; that of what is no object, one
    more than there are classes, stays.

    Args:
        count: classes of the head around the node.
    """
    if isinstance(node, (list, tuple)):
        return type(node)(counted(one, count) for one in node)
    if not isinstance(node, dict) or node.get("type") in BORDER_HEADS:
        return node
    if "num_things_classes" in node:
        count = node["num_things_classes"] + node["num_stuff_classes"]
    elif isinstance(node.get("num_classes"), int):
        count = node["num_classes"]
    return {key: _value(key, value, count) for key, value in node.items()}


def _value(key: str, value: Any, count: int | None) -> Any:
    if key in WITHOUT_CLASSES:
        return value
    if key in ("num_classes", "num_things_classes") and isinstance(value, int):
        return CLASSES
    if key == "num_stuff_classes":
        return 0
    if key == "class_weight" and isinstance(value, (list, tuple)) and count is not None:
        if len(value) == count:
            return None
        if len(value) == count + 1:
            return Source(f"[1.0] * num_classes + [{value[-1]}]")
    return counted(value, count)
