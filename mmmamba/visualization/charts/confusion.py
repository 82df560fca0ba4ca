"""The picture of a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure

from .style import chart_style, save_chart, shortened

NUMBERED = 20
"""Classes up to which the shares stand in the cells."""
MOST = 200
CELL = 0.52
SMALL_CELL = 0.15
NOTHING = "nothing"


@chart_style
def draw_confusion(
    matrix: np.ndarray, names: Sequence[str], path: Path, unit: str, caption: str
) -> None:
    """Write a PNG of a matrix (C, C) of counts, each row as shares of its sum.

    Args:
        names: C of rows and columns.
        unit: of what the counts are, in the plural.
        caption: a line above the matrix.

    Raises:
        OSError: the file cannot be written.
    """
    if len(matrix) > MOST:
        largest = np.sort(np.argsort(-matrix.sum(axis=1), kind="stable")[:MOST])
        caption += f" The {MOST} most frequent of {len(matrix)} classes."
        matrix, names = matrix[np.ix_(largest, largest)], [names[index] for index in largest]
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.full(matrix.shape, np.nan), where=totals > 0)
    numbered = len(matrix) <= NUMBERED
    side = max(len(matrix) * (CELL if numbered else SMALL_CELL), 2.2)
    figure = Figure((side + 2.0, side + 1.2))
    axis = figure.subplots()
    axis.grid(False)
    axis.spines[:].set_visible(False)
    colours = colormaps["Blues"].with_extremes(bad="0.92")
    # Without numbers, small shares are seen by their colour alone.
    drawn = axis.imshow(
        shares, cmap=colours, norm=Normalize(0, 1) if numbered else PowerNorm(0.5, 0, 1)
    )
    size = 9 if numbered else 6.5
    short = shortened(names)
    rows = (
        [f"{name} ({int(total):,})" for name, total in zip(short, totals[:, 0])]
        if numbered
        else short
    )
    axis.set_xticks(range(len(matrix)), short, rotation=90 if len(matrix) > 4 else 0, fontsize=size)
    axis.set_yticks(range(len(matrix)), rows, fontsize=size)
    axis.tick_params(length=0)
    axis.set(xlabel="predicted", ylabel=f"labelled ({unit})" if numbered else "labelled")
    axis.set_title(caption, loc="left", fontsize=9)
    for row, column in zip(*np.nonzero(matrix)) if numbered else ():
        share = shares[row, column]
        axis.text(
            column,
            row,
            f"{share:.2f}" if share >= 0.005 else "<.01",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if share > 0.55 else "black",
        )
    bar = figure.colorbar(drawn, ax=axis, fraction=0.035, pad=0.02, label="share of the row")
    bar.outline.set_visible(False)
    save_chart(figure, path)
