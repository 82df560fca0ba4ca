"""Precision against recall, one panel for boxes and one for masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...evaluation.coco_results import Precision
from ..style import save_figure, shortened
from .chart import DPI, FEW, chart_style, legend_below, line_colours

MEANS = {0.5: "-", 0.75: "--"}
"""Lines of the means at single IoU thresholds."""


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
    save_figure(figure, path, DPI)


def _draw(axis: Axes, precision: Precision, names: Sequence[str]) -> None:
    lowest, highest = precision.thresholds[0], precision.thresholds[-1]
    count = precision.values.shape[2]
    _draw_classes(axis, precision, names)
    for threshold, style in MEANS.items():
        index = precision.index(threshold)
        if index is not None:
            label = f"mean at IoU {threshold:g}  {precision.average(index):.3f}"
            # A slice keeps the axis of thresholds that `_mean` wants.
            mean_R = _mean(precision.values[index : index + 1])
            axis.plot(precision.recalls, mean_R, "k", linestyle=style, linewidth=2, label=label)
    label = f"mean over IoU {lowest:.2f} to {highest:.2f}  {precision.average():.3f}"
    axis.plot(precision.recalls, _mean(precision.values), "k:", linewidth=2, label=label)
    each = "each class" if count <= FEW else f"{count} classes, grey,"
    axis.set(xlim=(0, 1.005), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axis.set_title(f"{precision.kind} precision and AP; {each} at IoU {lowest:.2g}")
    legend_below(axis)


def _draw_classes(axis: Axes, precision: Precision, names: Sequence[str]) -> None:
    """A line for each class that has objects: coloured and named where they are few, else grey."""
    count = precision.values.shape[2]
    for label, (name, colour) in enumerate(zip(names, line_colours(count))):
        values_R = precision.values[0, :, label]
        # COCOeval's -1: the class has no objects.
        if (values_R < 0).any():
            continue
        if count <= FEW:
            text = f"{shortened(name)}  {precision.average(0, label):.3f}"
            axis.plot(precision.recalls, values_R, color=colour, linewidth=1.2, label=text)
        else:
            axis.plot(precision.recalls, values_R, color="0.75", linewidth=0.6)


def _mean(values_TRC: np.ndarray) -> np.ndarray:
    """The mean (R,) over thresholds and classes with objects; NaN where there are none."""
    recalls = values_TRC.shape[1]
    lines_RX = values_TRC.transpose(1, 0, 2).reshape(recalls, -1)
    # COCOeval writes -1 for a class without objects.
    lines_RX = lines_RX[:, (lines_RX > -1).any(axis=0)]
    return lines_RX.mean(axis=1) if lines_RX.size else np.full(recalls, np.nan)
