"""Pictures of routes: the line from cell to cell, over cells coloured from the first step to the last."""

from collections.abc import Sequence
from io import BytesIO
from os import PathLike

import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from mmmamba.ops import route

CELL = 0.34
"""Inches of a cell's side."""
COLUMNS = 4
"""Panels beside each other."""
COLOURS = "viridis"
PALETTE = 64
"""Colours of the file, few so that it is small."""
NUMBERED = 200
"""Maps of more cells get no step numbers: they could not be read. Nor do panels beside others."""


def draw_routes(
    names: Sequence[str], height: int, width: int, path: str | PathLike | None = None
) -> Figure:
    """One panel for each route over a map of `height` x `width` cells; saved if there is a path.

    Circle: first cell; square: last cell; small number: step; thin line: a jump to a cell that is no neighbour; dashed
    red line with a cross for each hole: steps on padding, between the cells before and after them.

    Raises:
        KeyError: no route of that name.
        ValueError: no names, or a map without cells.
    """
    if not names:
        raise ValueError("draw_routes wants at least one route, got none")
    if height < 1 or width < 1:
        raise ValueError(f"draw_routes wants a map of at least 1x1 cells, got {height}x{width}")
    orders = [route(name, height, width) for name in names]
    across = min(len(names), COLUMNS)
    down = -(-len(names) // across)
    figure = Figure(
        (across * (CELL * width + 0.3), down * (CELL * height + 0.5)), layout="constrained"
    )
    panels = figure.subplots(down, across, squeeze=False).flatten()
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    alone = len(names) == 1
    for axes, name, order in zip(panels, names, orders):
        _draw(axes, order, height, width, numbered=alone and height * width <= NUMBERED)
        holes = int((order < 0).sum())
        axes.set_title(name + (f" ({holes} holes)" if holes else ""), fontsize=8 if alone else 13)
    if path is not None:
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=100 if alone else 48)
        Image.open(buffer).convert("RGB").quantize(PALETTE).save(path, optimize=True)
    return figure


def _draw(axes: Axes, order: Tensor, height: int, width: int, numbered: bool) -> None:
    steps = (order >= 0).nonzero().flatten().tolist()
    cells = [(int(p) % width, int(p) // width) for p in order[order >= 0]]
    shade = torch.full((height * width,), torch.nan)
    shade[order[order >= 0]] = torch.tensor(steps, dtype=torch.float)
    axes.imshow(
        shade.view(height, width).numpy(), cmap=COLOURS, alpha=0.5, vmin=0, vmax=len(order) - 1
    )
    near, far = [], []
    for (start, end), holes in zip(
        zip(cells, cells[1:]), (b - a - 1 for a, b in zip(steps, steps[1:]))
    ):
        if holes:
            axes.plot(*zip(start, end), "--", color="tab:red", linewidth=0.9)
            shares = [(hole + 1) / (holes + 1) for hole in range(holes)]
            axes.plot(
                [start[0] + (end[0] - start[0]) * share for share in shares],
                [start[1] + (end[1] - start[1]) * share for share in shares],
                "x",
                color="tab:red",
                markersize=4,
                markeredgewidth=1,
            )
        elif max(abs(end[0] - start[0]), abs(end[1] - start[1])) == 1:
            near.append((start, end))
        else:
            far.append((start, end))
    axes.add_collection(LineCollection(near, colors="0.15", linewidths=1.8, capstyle="round"))
    axes.add_collection(LineCollection(far, colors="0.35", linewidths=0.6))
    if numbered:
        for step, (x, y) in zip(steps, cells):
            axes.text(x - 0.44, y - 0.42, str(step), fontsize=5, color="0.15", ha="left", va="top")
    if cells:
        axes.plot(*cells[0], "o", color="black", markersize=5)
        axes.plot(*cells[-1], "s", color="black", markersize=4)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal")
    axes.set_xticks([x - 0.5 for x in range(width + 1)], [])
    axes.set_yticks([y - 0.5 for y in range(height + 1)], [])
    axes.tick_params(length=0)
    axes.grid(color="white", linewidth=0.8)
    axes.set_axisbelow(True)
