"""What docs/model_zoo.md is made of: counted and published sizes, results, configs."""

from .counting import Count, count
from .page import backbone_row, backbone_table, config_table, model_zoo_page
from .sizes import SIZES, Size, agrees

__all__ = [
    "SIZES",
    "Count",
    "Size",
    "agrees",
    "backbone_row",
    "backbone_table",
    "config_table",
    "count",
    "model_zoo_page",
]
