"""How a scan walks the map of an image: a line from cell to cell, coloured from first to last."""

from __future__ import annotations

from os import PathLike

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from .panels import colour_bar, mark_ends, panels, readable
from .picture import Picture
from .scans import Scan
from .style import STEPS, figure_style, save_figure

SHORT = 1.5
"""Times the usual step; longer ones are jumps, drawn thin."""
THINNEST, THICKEST = 0.3, 2.0
"""Points of a line's width."""


def scan_path(scan: Scan, route: int) -> list[np.ndarray]:
    """The walk of a route, `(cells, 3)` for each sequence that the map is cut into.

    A row holds a cell's row, its column and the step. Padding and extra tokens are left out.
    """
    walks = []
    for cells_T in scan.cells_GKT[:, route].numpy():
        steps = np.flatnonzero(cells_T >= 0)
        rows, columns = np.divmod(cells_T[steps], scan.width)
        walks.append(np.stack([rows, columns, steps], axis=1))
    return walks


@figure_style
def draw_scan_path(scan: Scan, picture: Picture, path: str | PathLike | None = None) -> Figure:
    """A panel for each route over the image.

    Circle: first cell on it; square: last cell; thin lines: jumps. A map that is cut into windows
    is walked window by window at once, each from its own first cell.
    """
    figure, axes = panels(len(scan.routes), picture.aspect)
    windows, _, steps = scan.cells_GKT.shape
    # One scale for all panels; a route of one step must not span nothing.
    norm = Normalize(0, max(steps - 1, 1))
    for route, (axis, name) in enumerate(zip(axes, scan.routes)):
        picture.draw(axis, readable(name), dim=0.45)
        for walk in scan_path(scan, route):
            if len(walk):
                _draw_walk(axis, walk, scan, picture, norm)
    colour_bar(figure, axes, norm, "step", STEPS, {0: "1", norm.vmax: str(steps)})
    title = f"How the map is walked: stage {scan.stage}, block {scan.block}, "
    title += f"{scan.height}×{scan.width} cells"
    figure.suptitle(title + (f" in {windows} windows" if windows > 1 else ""))
    return save_figure(figure, path)


def _draw_walk(axes: Axes, walk: np.ndarray, scan: Scan, picture: Picture, norm: Normalize) -> None:
    down, across = picture.cell_size(scan.height, scan.width)
    points = np.stack([(walk[:, 1] + 0.5) * across, (walk[:, 0] + 0.5) * down], axis=1)
    segments, steps = np.stack([points[:-1], points[1:]], axis=1), walk[:-1, 2]
    # A route that visits every second cell takes steps of two: what is far depends on the route.
    lengths = np.abs(np.diff(walk[:, :2], axis=0)).max(axis=1)
    near = lengths <= SHORT * np.median(lengths)
    # Two thirds of a cell's width stay free, whatever the size of the panel.
    inches = axes.figure.get_figwidth() / axes.get_gridspec().ncols / scan.width
    thick = min(max(inches * 72 * 0.33, THINNEST), THICKEST)
    # Jumps first, so that the walk lies over them.
    for chosen, width in ((~near, 0.35 * thick), (near, thick)):
        look = dict(norm=norm, cmap=STEPS, linewidths=width, capstyle="round")
        axes.add_collection(LineCollection(segments[chosen], array=steps[chosen], **look))
    # The map's last rows and columns may lie on the padding.
    H, W = picture.image_HW3.shape[:2]
    seen = points[(points[:, 0] < W) & (points[:, 1] < H)]
    if len(seen):
        mark_ends(axes, seen[0], seen[-1], size=3 + thick / 2)
