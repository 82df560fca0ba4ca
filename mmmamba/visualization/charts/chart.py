"""How charts look: the figures' style with a grid and larger type, to be read on a screen."""

from __future__ import annotations

import matplotlib
from matplotlib import rc_context
from matplotlib.axes import Axes

from ..style import STYLE

DPI = 130
FEW = 10
"""Classes up to which each has a colour of its own."""

chart_style = rc_context(
    STYLE
    | {
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titlepad": 6,
        "axes.titlelocation": "left",
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": "0.9",
        "grid.linewidth": 0.6,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
    }
)
"""Decorator of the functions that draw charts."""


def line_colours(count: int) -> list[tuple[float, ...]]:
    """Colours of lines, told apart up to `FEW`, then from one end of the rainbow to the other."""
    if count <= FEW:
        return list(matplotlib.colormaps["tab10"].colors[:count])
    rainbow = matplotlib.colormaps["turbo"]
    # Both ends of the map are dark.
    return [rainbow(0.05 + 0.9 * index / (count - 1)) for index in range(count)]


def legend_below(axes: Axes, columns: int = 2) -> None:
    """Under the axis, where it hides no line."""
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.16),
        ncols=columns,
        handlelength=1.6,
        columnspacing=1.2,
    )
