"""Loss, results of validation, learning rate and gradients over a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...evaluation.scalars import Lines, read_scalars, series
from ...evaluation.summary import COCO_COLUMNS, COCO_KEY, COCO_ROWS
from ..style import save_figure
from .chart import DPI, chart_style, legend_below, line_colours

COLUMNS = 4
PANEL = (4.2, 3.4)
"""Inches across and down."""
MOST_LINES = 10
DECADES = 30.0
"""Largest by smallest value from which an axis is logarithmic."""
NOT_RESULTS = {"step", "time", "data_time", "memory", "epoch", "iter"}
COCO_SHOWN = ("mAP", "mAP_50", "mAP_75")
FALSE_ALARMS = "Fa"
"""A result of `SmallTargetMetric`: beside percents it would leave these no room."""


@dataclass(frozen=True)
class Panel:
    """Lines of one chart: name to key. `best` marks the best value of the first."""

    title: str
    keys: Mapping[str, str]
    validation: bool = False
    log: bool = False
    best: bool = False


def draw_curves(work_dir: Path, path: Path, iterations_per_epoch: int | None = None) -> bool:
    """Write the curves of a run, with what it did before it was resumed.

    Args:
        iterations_per_epoch: of a run that counts in epochs.

    Returns:
        False if nothing was logged yet.

    Raises:
        OSError: the file cannot be written.
    """
    training, validation = read_scalars(work_dir)
    panels = choose_panels(training, validation)
    if not panels:
        return False
    _draw(panels, training, validation, path, iterations_per_epoch)
    return True


def choose_panels(training: Lines, validation: Lines) -> list[Panel]:
    """The charts that the logged numbers fill."""
    logged, scored = _keys(training), _keys(validation)
    # The sum has a panel of its own.
    losses = [key for key in logged if "loss" in key and key != "loss"]
    # mmdet logs `acc`, mmseg `decode.acc_seg`.
    accuracies = [key for key in logged if key.split(".")[-1].startswith("acc")]
    # The mean IoU or top-1 stands first: the best value of a panel's first line is marked.
    others = [key for key in scored if not COCO_KEY.match(key) and key != FALSE_ALARMS]
    others.sort(key=lambda key: not key.endswith(("mIoU", "/top1")))
    panels = [
        Panel("loss", {"loss": "loss"} if "loss" in logged else {}, log=True),
        Panel("parts of the loss", _by_key(losses) if len(losses) > 1 else {}, log=True),
        *_coco_panels(scored),
        Panel("results of validation", _by_key(others), validation=True, best=True),
        Panel(
            "false alarms, 1e-6 of the pixels",
            _by_key([key for key in scored if key == FALSE_ALARMS]),
            validation=True,
        ),
        Panel("learning rate", {"learning rate": "lr"} if "lr" in logged else {}),
        Panel("accuracy in training, %", _by_key(accuracies)),
        Panel(
            "norm of gradients", {"norm": "grad_norm"} if "grad_norm" in logged else {}, log=True
        ),
    ]
    return [panel for panel in panels if panel.keys]


def _coco_panels(scored: list[str]) -> list[Panel]:
    """AP, AP50 and AP75 of boxes, and of masks."""
    panels = []
    for row, label in COCO_ROWS.items():
        by_column = {}
        for key in scored:
            match = COCO_KEY.match(key)
            if match and match["row"] == row:
                by_column[match["column"]] = key
        lines = {COCO_COLUMNS[c]: by_column[c] for c in COCO_SHOWN if c in by_column}
        panels.append(Panel(f"{label} AP of validation", lines, validation=True, best=True))
    return panels


@chart_style
def _draw(
    panels: list[Panel], training: Lines, validation: Lines, path: Path, per_epoch: int | None
) -> None:
    columns = min(COLUMNS, len(panels) if len(panels) <= 3 else math.ceil(len(panels) / 2))
    rows = math.ceil(len(panels) / columns)
    figure = Figure((columns * PANEL[0], rows * PANEL[1]), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.12)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    # Training logs iterations, validation what the run counts in.
    trained = max((line["step"] for line in training), default=0) / (per_epoch or 1)
    last = max([trained, *(line["step"] for line in validation)])
    for axis, panel in zip(axes, panels):
        axis.set_xlim(0, 1.02 * last)
        if panel.validation:
            _draw_panel(axis, panel, validation, 1)
        else:
            _draw_panel(axis, panel, training, per_epoch or 1)
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=last > 2, steps=(1, 2, 5, 10)))
        axis.set_xlabel("epoch" if per_epoch else "iteration")
    # The last row may not be full.
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    save_figure(figure, path, DPI)


def _draw_panel(axis: Axes, panel: Panel, lines: Lines, unit: int) -> None:
    """The panel's lines over steps in units of `unit` iterations."""
    names = list(panel.keys)[:MOST_LINES]
    drawn: list[float] = []
    for index, (name, colour) in enumerate(zip(names, line_colours(len(names)))):
        steps, values = series(lines, panel.keys[name])
        steps = [step / unit for step in steps]
        axis.plot(
            steps,
            values,
            color=colour,
            label=name,
            linewidth=1.6 if index == 0 else 1.1,
            marker="o" if len(values) < 30 and panel.validation else None,
            markersize=3,
        )
        # NaN and infinity, as of a run that diverged, would spoil the axis and the best value.
        finite = [(x, y) for x, y in zip(steps, values) if math.isfinite(y)]
        drawn += [y for _, y in finite]
        if panel.best and index == 0 and finite:
            _mark_best(axis, *max(finite, key=lambda point: point[1]))
    more = f" ({len(names)} of {len(panel.keys)})" if len(panel.keys) > len(names) else ""
    axis.set_title(panel.title + more)
    axis.margins(y=0.12)
    # Logarithmic only where values span enough of it to be worth reading.
    if panel.log and drawn and min(drawn) > 0 and max(drawn) / min(drawn) > DECADES:
        axis.set_yscale("log")
    elif drawn and min(drawn) >= 0:
        axis.set_ylim(bottom=0)
    if len(names) > 1:
        legend_below(axis, 3 if max(map(len, names)) < 12 else 2)


def _mark_best(axis: Axes, x: float, y: float) -> None:
    ring = dict(markerfacecolor="none", markeredgecolor="black", linestyle="none")
    axis.plot([x], [y], marker="o", markersize=7, **ring)
    # Text that begins or ends at the point stays within the axis.
    share = x / axis.get_xlim()[1]
    side = "right" if share > 0.7 else "left" if share < 0.3 else "center"
    place = dict(xytext=(0, 7), textcoords="offset points", ha=side)
    axis.annotate(f"best {y:.4g}", (x, y), fontsize=8, **place)


def _keys(lines: Lines) -> list[str]:
    """What was logged, in the order in which it was first."""
    keys: dict[str, None] = {}
    for line in lines:
        keys.update(dict.fromkeys(line))
    return [key for key in keys if key not in NOT_RESULTS]


def _by_key(keys: list[str]) -> dict[str, str]:
    """Lines that are named as they are logged."""
    return {key: key for key in keys}
