"""The picture of a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure

from ..style import save_figure, shortened
from .chart import DPI, chart_style

NUMBERED = 20
"""Classes up to which the shares stand in the cells."""
MOST = 200
"""Classes that are drawn."""
CELL = 0.52
"""Inches of a cell with its share in it."""
SMALL_CELL = 0.15
NOTHING = "nothing"
"""Name of the row of what is not there, and of the column of what was not found."""


@chart_style
def draw_confusion(
    matrix: np.ndarray, names: Sequence[str], path: Path, unit: str, caption: str
) -> None:
    """Write a PNG of a matrix (C, C) of counts, each row as shares of its sum.

    Args:
        names: C of rows and columns.
        unit: what the counts are, in the plural.
        caption: a line above the matrix.

    Raises:
        OSError: the file cannot be written.
    """
    if len(matrix) > MOST:
        # Chosen by size, shown in the order of the classes.
        largest = np.sort(np.argsort(-matrix.sum(axis=1), kind="stable")[:MOST])
        caption += f" The {MOST} most frequent of {len(matrix)} classes."
        matrix, names = matrix[np.ix_(largest, largest)], [names[index] for index in largest]
    totals = matrix.sum(axis=1, keepdims=True)
    # Rows of classes that do not occur have no shares: they stay NaN, which is drawn grey.
    shares = np.divide(matrix, totals, out=np.full(matrix.shape, np.nan), where=totals > 0)
    short = [shortened(name) for name in names]
    if len(matrix) <= NUMBERED:
        rows = [f"{name} ({int(total):,})" for name, total in zip(short, totals[:, 0])]
        figure, axis = _matrix(shares, short, rows, CELL, 9, Normalize(0, 1))
        axis.set(ylabel=f"labelled ({unit})")
        _write_shares(axis, shares)
    else:
        # Without numbers, small shares are seen by their colour alone.
        figure, axis = _matrix(shares, short, short, SMALL_CELL, 6.5, PowerNorm(0.5, 0, 1))
        axis.set(ylabel="labelled")
    axis.set_title(caption, fontsize=9)
    save_figure(figure, path, DPI)


def _matrix(
    shares: np.ndarray,
    columns: Sequence[str],
    rows: Sequence[str],
    cell: float,
    size: float,
    norm: Normalize,
) -> tuple[Figure, Axes]:
    """A coloured matrix with the names of its rows and columns, `cell` inches a class."""
    side = max(len(shares) * cell, 2.2)
    figure = Figure((side + 2.0, side + 1.2))
    axis = figure.subplots()
    axis.grid(False)
    axis.spines[:].set_visible(False)
    colours = colormaps["Blues"].with_extremes(bad="0.92")
    drawn = axis.imshow(shares, cmap=colours, norm=norm)
    turned = 90 if len(shares) > 4 else 0
    axis.set_xticks(range(len(shares)), columns, rotation=turned, fontsize=size)
    axis.set_yticks(range(len(shares)), rows, fontsize=size)
    axis.tick_params(length=0)
    axis.set(xlabel="predicted")
    bar = figure.colorbar(drawn, ax=axis, fraction=0.035, pad=0.02, label="share of the row")
    bar.outline.set_visible(False)
    return figure, axis


def _write_shares(axis: Axes, shares: np.ndarray) -> None:
    """Every share that is not 0 in its cell."""
    # NaN is not 0 for `nonzero`.
    for row, column in zip(*np.nonzero(np.nan_to_num(shares))):
        share = shares[row, column]
        text = f"{share:.2f}" if share >= 0.005 else "<.01"
        # Dark blue begins about there.
        colour = "white" if share > 0.55 else "black"
        axis.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
