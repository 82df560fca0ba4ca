"""Precision against recall, one panel for boxes and one for masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...evaluation.coco_results import Precision
from .style import FEW, chart_style, legend_below, line_colours, save_chart, shortened

MEANS = {0.5: "-", 0.75: "--"}


@chart_style
def draw_precision_recall(found: Sequence[Precision], names: Sequence[str], path: Path) -> None:
    """Write a PNG: each class at the lowest IoU threshold, and means over classes.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure((5.2 * len(found), 4.6), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1)
    for axis, precision in zip(figure.subplots(1, len(found), squeeze=False).ravel(), found):
        _draw(axis, precision, names)
    save_chart(figure, path)


def _draw(axis: Axes, precision: Precision, names: Sequence[str]) -> None:
    lowest = precision.thresholds[0]
    count = precision.values.shape[2]
    for label, (name, colour) in enumerate(zip(shortened(names), line_colours(count))):
        values = precision.values[0, :, label]
        if (values < 0).any():
            continue
        few = count <= FEW
        axis.plot(
            precision.recalls,
            values,
            color=colour if few else "0.75",
            linewidth=1.2 if few else 0.6,
            label=f"{name}  {precision.average(0, label):.3f}" if few else None,
        )
    for threshold, style in MEANS.items():
        index = precision.index(threshold)
        if index is not None:
            axis.plot(
                precision.recalls,
                _mean(precision.values[index]),
                "k",
                linestyle=style,
                linewidth=2,
                label=f"mean at IoU {threshold:g}  {precision.average(index):.3f}",
            )
    spread = f"{lowest:.2f} to {precision.thresholds[-1]:.2f}"
    axis.plot(
        precision.recalls,
        _mean(precision.values),
        "k:",
        linewidth=2,
        label=f"mean over IoU {spread}  {precision.average():.3f}",
    )
    each = "each class" if count <= FEW else f"{count} classes, grey,"
    axis.set(xlim=(0, 1.005), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axis.set_title(f"{precision.kind} precision and AP; {each} at IoU {lowest:.2g}", loc="left")
    legend_below(axis)


def _mean(values: np.ndarray) -> np.ndarray:
    """Over all but recalls (T?, R, C), of classes with objects; NaN where there are none."""
    values = np.where(values > -1, values, np.nan)
    values = values if values.ndim == 2 else values.transpose(1, 0, 2).reshape(values.shape[1], -1)
    values = values[:, ~np.isnan(values).all(axis=0)]
    return values.mean(axis=1) if values.size else np.full(len(values), np.nan)
