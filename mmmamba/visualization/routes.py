"""Routes: the line from cell to cell, over cells coloured from the first step to the last."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from os import PathLike
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from ..ops import route
from .panels import mark_ends
from .style import STEPS, figure_style, save_figure

CELL = 0.34
"""Inches of a cell's side."""
COLUMNS = 4
"""Panels beside each other."""
PALETTE = 64
"""Colours of the file, few so that it is small."""
DPI_ALONE, DPI_BESIDE = 100, 48
NUMBERED = 200
"""Maps of more cells get no step numbers: they could not be read. Nor do panels beside others."""
HOLE = "tab:red"


class Visit(NamedTuple):
    """A step of a route that is on the map."""

    step: int
    x: int
    y: int


@figure_style
def draw_routes(
    names: Sequence[str], height: int, width: int, path: str | PathLike | None = None
) -> Figure:
    """One panel for each route over a map of `height` x `width` cells; saved if there is a path.

    Circle: first cell; square: last cell; small number: step; thin line: a jump to a cell that is
    no neighbour; dashed red line with a cross for each hole: steps on padding, between the cells
    before and after them.

    Raises:
        KeyError: no route of that name.
        ValueError: no names, or a map without cells.
    """
    if not names:
        raise ValueError("draw_routes wants at least one route, got none")
    if height < 1 or width < 1:
        raise ValueError(f"draw_routes wants a map of at least 1x1 cells, got {height}x{width}")
    # Before anything is drawn: an unknown name raises here.
    orders = [route(name, height, width) for name in names]
    across = min(len(names), COLUMNS)
    down = -(-len(names) // across)
    size = across * (CELL * width + 0.3), down * (CELL * height + 0.5)
    figure = Figure(size, layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flatten()
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    alone = len(names) == 1
    for axes, name, order in zip(panels, names, orders):
        _draw(axes, order, height, width, alone)
        holes = int((order < 0).sum())
        title = name + (f" ({holes} holes)" if holes else "")
        # Several panels are shown smaller: their titles are larger to begin with.
        axes.set_title(title, fontsize=8 if alone else 13)
    return save_figure(figure, path, DPI_ALONE if alone else DPI_BESIDE, PALETTE)


def _draw(axes: Axes, order: Tensor, height: int, width: int, alone: bool) -> None:
    visits = _visits(order, width)
    _draw_grid(axes, order, height, width)
    near, far = [], []
    for one, after in pairwise(visits):
        line = ((one.x, one.y), (after.x, after.y))
        # `visits` lacks the steps on padding: a gap in the numbers is where they were.
        if after.step > one.step + 1:
            _draw_holes(axes, one, after)
        elif max(abs(after.x - one.x), abs(after.y - one.y)) == 1:
            near.append(line)
        else:
            far.append(line)
    axes.add_collection(LineCollection(near, colors="0.15", linewidths=1.8, capstyle="round"))
    axes.add_collection(LineCollection(far, colors="0.35", linewidths=0.6))
    if alone and height * width <= NUMBERED:
        small = dict(fontsize=5, color="0.15", ha="left", va="top")
        for visit in visits:
            axes.text(visit.x - 0.44, visit.y - 0.42, str(visit.step), **small)
    if visits:
        # Panels beside others are shown smaller, like their titles.
        mark_ends(axes, visits[0][1:], visits[-1][1:], size=5 if alone else 9)


def _visits(order: Tensor, width: int) -> list[Visit]:
    """The steps on the map; holes are left out."""
    visits = []
    for step, position in enumerate(order.tolist()):
        if position >= 0:
            visits.append(Visit(step, position % width, position // width))
    return visits


def _draw_grid(axes: Axes, order: Tensor, height: int, width: int) -> None:
    """Cells, coloured by the step that visits them."""
    seen = order >= 0
    # Cells that no step visits stay NaN, which is drawn as nothing.
    shade_L = torch.full((height * width,), torch.nan)
    shade_L[order[seen]] = seen.nonzero().flatten().float()
    shade_HW = shade_L.view(height, width).numpy()
    axes.imshow(shade_HW, cmap=STEPS, alpha=0.5, vmin=0, vmax=len(order) - 1)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal")
    # Grid lines run at ticks: half a cell aside, they are the cells' borders.
    axes.set_xticks(np.arange(width + 1) - 0.5, [])
    axes.set_yticks(np.arange(height + 1) - 0.5, [])
    axes.tick_params(length=0)
    axes.grid(color="white", linewidth=0.8)
    axes.set_axisbelow(True)


def _draw_holes(axes: Axes, one: Visit, after: Visit) -> None:
    """A dashed line between two cells, and on it a cross for each step on padding."""
    xs, ys = (one.x, after.x), (one.y, after.y)
    axes.plot(xs, ys, "--", color=HOLE, linewidth=0.9)
    # Both ends of the line are cells, not holes.
    inner = slice(1, -1)
    steps = after.step - one.step + 1
    crosses = np.linspace(*xs, steps)[inner], np.linspace(*ys, steps)[inner]
    axes.plot(*crosses, "x", color=HOLE, markersize=4, markeredgewidth=1)
