"""One of our backbones under a config of mmdet or mmseg: what has to change."""

from .levels import Level, levels_of, trunk_of
from .lines import changes, drop_in_lines
from .recipe import compose, task_of
from .rules import drop_in, part_with_backbone

__all__ = [
    "Level",
    "changes",
    "compose",
    "drop_in",
    "drop_in_lines",
    "levels_of",
    "part_with_backbone",
    "task_of",
    "trunk_of",
]
