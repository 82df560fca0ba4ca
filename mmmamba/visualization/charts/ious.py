"""IoU of each class as bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ...evaluation.segmentation import ious
from ..style import percent, save_figure, shortened
from .chart import DPI, chart_style

ROW = 0.24
"""Inches of a class."""
SHARES_AT = 1.12
"""Where the shares of the pixels end, in units of IoU."""
GREY = "0.35"


@chart_style
def draw_ious(matrix: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Write a PNG with a bar for each class, the best first, and its share of the labelled pixels.

    Args:
        matrix: (C, C) counts of pixels, as `PixelConfusion` counts them.

    Raises:
        OSError: the file cannot be written.
    """
    values, shares = ious(matrix), matrix.sum(axis=1) / max(matrix.sum(), 1)
    order = [index for index in np.argsort(-values, kind="stable") if not np.isnan(values[index])]
    figure = Figure((7.0, max(ROW * len(order), 0.8) + 1.0), layout="constrained")
    axis = figure.subplots()
    axis.grid(axis="y", visible=False)
    axis.barh(range(len(order)), values[order], color="tab:blue", height=0.7)
    mean = float(np.nanmean(values)) if order else float("nan")
    axis.axvline(mean, color="black", linewidth=1, linestyle="--")
    # White behind the numbers, as the line of the mean may run through them.
    ground = dict(facecolor="white", edgecolor="none", pad=1)
    right = dict(ha="right", fontsize=8, color=GREY, clip_on=False)
    for place, index in enumerate(order):
        value, share = f"{values[index]:.3f}", percent(shares[index])
        axis.text(values[index] + 0.008, place, value, va="center", fontsize=8, bbox=ground)
        axis.text(SHARES_AT, place, share, va="center", **right)
    axis.text(SHARES_AT, -0.75, "pixels", va="bottom", **right)
    axis.set_yticks(range(len(order)), [shortened(names[index]) for index in order])
    # From the largest place down to the smallest, so that the best class is on top.
    axis.set(xlim=(0, 1), ylim=(len(order) - 0.4, -0.6), xlabel="IoU")
    axis.set_title(f"IoU of each class; mean {mean:.3f} (dashed)")
    save_figure(figure, path, DPI)
