"""Figures of several panels under one title, with a colour bar at the right."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from .style import HEAT

WIDTH = 7.0
"""Inches across, the text width of a paper."""
BAR = 0.65
"""Inches of the width that the colour bar takes."""
TITLE = 0.2
"""Inches of a panel's title."""
WIDEST = 3.6
"""Inches of a panel."""


def panels(
    count: int, aspect: float, columns: int | None = None, rows_high: float = TITLE
) -> tuple[Figure, np.ndarray]:
    """A figure and its `count` axes without ticks, with room for a colour bar at the right.

    Args:
        aspect: height / width of a panel's content.
        rows_high: inches of a panel's title.
    """
    columns = columns or _columns(count)
    rows = math.ceil(count / columns)
    panel = min((WIDTH - BAR) / columns, WIDEST)
    # The quarter of an inch is for the figure's own title.
    size = panel * columns + BAR, rows * (panel * aspect + rows_high) + 0.25
    # A figure of its own, without pyplot, whose global state would keep it in memory.
    figure = Figure(size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.02, wspace=0.01, hspace=0.01)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure, axes[:count]


def _columns(count: int) -> int:
    """Up to four panels stand in one row, up to eight in two, more in rows of four."""
    if count <= 4:
        return count
    return math.ceil(count / 2) if count <= 8 else 4


def readable(route: str) -> str:
    """A route's name as a title."""
    return route.replace("_", " ")


def log_colours(decades: int) -> LogNorm:
    """Colours of shares of the largest value, over so many powers of ten; the lowest one below."""
    return LogNorm(10.0**-decades, 1.0)


def colour_bar(
    figure: Figure,
    axes: np.ndarray,
    norm: Normalize,
    label: str,
    colours: str = HEAT,
    ticks: dict[float, str] | None = None,
) -> None:
    """One bar for several panels."""
    shown = ScalarMappable(norm, colours)
    bar = figure.colorbar(shown, ax=list(axes), aspect=22, pad=0.015, label=label)
    bar.outline.set_linewidth(0.6)
    bar.ax.tick_params(width=0.6, length=2)
    if ticks is not None:
        bar.set_ticks(list(ticks), labels=list(ticks.values()))
        bar.minorticks_off()


def mark_ends(
    axes: Axes, first: tuple[float, float], last: tuple[float, float], size: float
) -> None:
    """A circle where a walk begins and a square where it ends."""
    for point, marker in ((first, "o"), (last, "s")):
        line = dict(color="black", markeredgecolor="white", markeredgewidth=0.6)
        axes.plot(*point, marker, markersize=size, clip_on=False, zorder=5, **line)
