"""Which class each pixel was taken for: a confusion matrix over a validation, and IoU of each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ...evaluation.segmentation import ious
from .style import chart_style, save_chart, shortened

ROW = 0.24


@chart_style
def draw_ious(matrix: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Write a PNG with a bar for each class, the best first, and the share of labelled pixels that it has.

    Raises:
        OSError: the file cannot be written.
    """
    values, shares = ious(matrix), matrix.sum(axis=1) / max(matrix.sum(), 1)
    order = [index for index in np.argsort(-values, kind="stable") if not np.isnan(values[index])]
    short = shortened(names)
    figure = Figure((7.0, max(ROW * len(order), 0.8) + 1.0), layout="constrained")
    axis = figure.subplots()
    axis.grid(axis="y", visible=False)
    axis.barh(range(len(order)), values[order], color="tab:blue", height=0.7)
    mean = float(np.nanmean(values)) if order else float("nan")
    axis.axvline(mean, color="black", linewidth=1, linestyle="--")
    for place, index in enumerate(order):
        axis.text(
            values[index] + 0.008,
            place,
            f"{values[index]:.3f}",
            va="center",
            fontsize=8,
            bbox=dict(facecolor="white", edgecolor="none", pad=1),
        )
        axis.text(
            1.12,
            place,
            f"{shares[index]:.1%}".replace("%", " %"),
            va="center",
            ha="right",
            fontsize=8,
            color="0.35",
            clip_on=False,
        )
    axis.set_yticks(range(len(order)), [short[index] for index in order])
    axis.set(xlim=(0, 1), ylim=(len(order) - 0.4, -0.6), xlabel="IoU")
    axis.set_title(f"IoU of each class; mean {mean:.3f} (dashed)", loc="left")
    axis.text(1.12, -0.75, "pixels", ha="right", va="bottom", fontsize=8, color="0.35")
    save_chart(figure, path)
