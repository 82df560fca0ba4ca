"""Loss, results of validation, learning rate and gradients over a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...evaluation.scalars import Lines, read_scalars, series
from ...evaluation.summary import COCO_COLUMNS, COCO_KEY, COCO_ROWS
from .style import chart_style, legend_below, line_colours, save_chart

COLUMNS = 4
PANEL = (4.2, 3.4)
MOST_LINES = 10
DECADES = 30.0
"""Of largest by smallest from which an axis is logarithmic."""
NOT_RESULTS = {"step", "time", "data_time", "memory", "epoch", "iter"}
COCO_SHOWN = ("mAP", "mAP_50", "mAP_75")


@dataclass(frozen=True)
class Panel:
    """Lines of one chart: name to key. `best` marks the best value of the first."""

    title: str
    keys: Mapping[str, str]
    validation: bool = False
    log: bool = False
    best: bool = False


def draw_curves(work_dir: Path, path: Path, iterations_per_epoch: int | None = None) -> bool:
    """Write the curves of a run, with what it did before it was resumed. False if nothing was logged yet.

    Args:
        iterations_per_epoch: of a run that counts in epochs.

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
    losses = {key: key for key in logged if "loss" in key and key != "loss"}
    coco = {key: match for key in scored if (match := COCO_KEY.match(key))}
    panels = [Panel("loss", {"loss": "loss"} if "loss" in logged else {}, log=True)]
    panels.append(Panel("parts of the loss", losses if len(losses) > 1 else {}, log=True))
    for row, label in COCO_ROWS.items():
        named = {m["column"]: key for key, m in coco.items() if m["row"] == row}
        lines = {COCO_COLUMNS[column]: named[column] for column in COCO_SHOWN if column in named}
        panels.append(Panel(f"{label} AP of validation", lines, validation=True, best=True))
    rest = sorted((key for key in scored if key not in coco), key=lambda key: "mIoU" not in key)
    panels.append(
        Panel("results of validation", {key: key for key in rest}, validation=True, best=True)
    )
    panels.append(Panel("learning rate", {"learning rate": "lr"} if "lr" in logged else {}))
    accuracy = {key: key for key in logged if key.split(".")[-1].startswith("acc")}
    panels.append(Panel("accuracy in training, %", accuracy))
    panels.append(
        Panel("norm of gradients", {"norm": "grad_norm"} if "grad_norm" in logged else {}, log=True)
    )
    return [panel for panel in panels if panel.keys]


@chart_style
def _draw(
    panels: list[Panel], training: Lines, validation: Lines, path: Path, per_epoch: int | None
) -> None:
    columns = min(COLUMNS, len(panels) if len(panels) <= 3 else math.ceil(len(panels) / 2))
    rows = math.ceil(len(panels) / columns)
    figure = Figure((columns * PANEL[0], rows * PANEL[1]), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.12)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    trained = max((line["step"] for line in training), default=0) / (per_epoch or 1)
    last = max([trained, *(line["step"] for line in validation)])
    for axis, panel in zip(axes, panels):
        lines = validation if panel.validation else training
        step = per_epoch if per_epoch and not panel.validation else 1
        axis.set_xlim(0, 1.02 * last)
        _draw_panel(axis, panel, lambda key, lines=lines: series(lines, key), step)
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=last > 2, steps=(1, 2, 5, 10)))
        axis.set_xlabel("epoch" if per_epoch else "iteration")
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    save_chart(figure, path)


def _draw_panel(axis: Axes, panel: Panel, values_of: Callable, step: int) -> None:
    names = list(panel.keys)[:MOST_LINES]
    every: list[float] = []
    for index, (name, colour) in enumerate(zip(names, line_colours(len(names)))):
        steps, values = values_of(panel.keys[name])
        steps = [x / step for x in steps]
        finite = [(x, y) for x, y in zip(steps, values) if math.isfinite(y)]
        every += [y for _, y in finite]
        axis.plot(
            steps,
            values,
            color=colour,
            label=name,
            linewidth=1.6 if index == 0 else 1.1,
            marker="o" if len(values) < 30 and panel.validation else None,
            markersize=3,
        )
        if panel.best and index == 0 and finite:
            _mark_best(axis, *max(finite, key=lambda point: point[1]))
    more = f" ({len(names)} of {len(panel.keys)})" if len(panel.keys) > len(names) else ""
    axis.set_title(panel.title + more, loc="left")
    axis.margins(y=0.12)
    if panel.log and every and min(every) > 0 and max(every) / min(every) > DECADES:
        axis.set_yscale("log")
    elif every and min(every) >= 0:
        axis.set_ylim(bottom=0)
    if len(names) > 1:
        legend_below(axis, 3 if max(map(len, names)) < 12 else 2)


def _mark_best(axis: Axes, x: float, y: float) -> None:
    axis.plot(
        [x],
        [y],
        marker="o",
        markersize=7,
        markerfacecolor="none",
        markeredgecolor="black",
        linestyle="none",
    )
    side = (
        "right"
        if x > 0.7 * axis.get_xlim()[1]
        else "left"
        if x < 0.3 * axis.get_xlim()[1]
        else "center"
    )
    axis.annotate(
        f"best {y:.4g}", (x, y), xytext=(0, 7), textcoords="offset points", ha=side, fontsize=8
    )


def _keys(lines: Iterable[Mapping]) -> list[str]:
    """In the order in which they were first logged."""
    return [
        key
        for key in dict.fromkeys(key for line in lines for key in line)
        if key not in NOT_RESULTS
    ]
