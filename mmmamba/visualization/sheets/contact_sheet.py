"""Pictures of a data set with its annotations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ...structures.samples import Mark, Sample

COLUMNS = 4
CELL = 3.6
"""Inches."""
DPI = 110
LEGEND_MOST = 32
ORDER = (1, 2, 9, 4, 6, 8, 0, 5, 7, 3)
"""Of tab10's colours: blue, hard to see on dark images, comes late, and red, which marks faults, last."""
NAMED_MOST = 15
"""Objects up to which each is named beside its box; the legend names the rest."""


def draw_contact_sheet(
    samples: Sequence[Sample], classes: Sequence[str], file: str | Path, title: str
) -> Path:
    """Write a PNG of the samples in rows of `COLUMNS`, with boxes and masks or label maps over them.

    Objects whose annotation is faulty are red and dashed, crowd regions dotted.

    Raises:
        ValueError: no samples.
    """
    if not samples:
        raise ValueError("no samples to draw")
    columns = min(COLUMNS, len(samples))
    rows = -(-len(samples) // columns)
    shown = sorted({label for sample in samples for label in _labels(sample)})
    legend_rows = -(-min(len(shown), LEGEND_MOST + 1) // (2 * columns)) if shown else 0
    height = rows * CELL * _aspect(samples) + 0.5 + 0.25 * legend_rows
    figure = Figure(figsize=(columns * CELL, height), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=12)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    colours = class_colours(len(classes))
    for ax, sample in zip(axes, samples):
        _draw(ax, sample, classes, colours)
    for ax in axes:
        ax.set_axis_off()
        ax.set_anchor("NW")
    if shown:
        patches = [
            Patch(color=colours[label], label=classes[label]) for label in shown[:LEGEND_MOST]
        ]
        if any(sample.labels is not None and (sample.labels < 0).any() for sample in samples):
            patches.append(Patch(color="black", label="ignored"))
        if len(shown) > LEGEND_MOST:
            patches.append(Patch(color="none", label=f"and {len(shown) - LEGEND_MOST} more"))
        figure.legend(
            handles=patches,
            loc="outside lower center",
            ncols=min(2 * columns, len(patches)),
            fontsize=9,
            frameon=False,
        )
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)
    return file


def class_colours(number: int) -> list[tuple[float, float, float]]:
    """One colour a class: well told apart up to 10, then as well as can be."""
    if number <= 20:
        colours = matplotlib.colormaps["tab10" if number <= 10 else "tab20"].colors
        order = ORDER if number <= 10 else range(number)
        return [colours[i] for i in order][:number]
    # Steps of the golden ratio put neighbours far apart on the circle of hues.
    hues = (np.arange(number) * 0.618) % 1.0
    values = 0.65 + 0.35 * (np.arange(number) % 3) / 2
    return [
        tuple(c)
        for c in matplotlib.colors.hsv_to_rgb(
            np.stack([hues, np.full(number, 0.85), values], axis=1)
        )
    ]


def _labels(sample: Sample) -> set[int]:
    if sample.labels is not None:
        return set(np.unique(sample.labels[sample.labels >= 0]).tolist())
    return {mark.label for mark in sample.marks}


def _aspect(samples: Sequence[Sample]) -> float:
    """Height by width of a cell: the median image's, with room for its title."""
    return (
        float(np.clip(np.median([s.image.shape[0] / s.image.shape[1] for s in samples]), 0.5, 1.5))
        + 0.07
    )


def _draw(ax: Axes, sample: Sample, classes: Sequence[str], colours: list) -> None:
    ax.imshow(sample.image)
    amount = (
        ""
        if sample.labels is not None
        else f" · {len(sample.marks)} object{'s'[: len(sample.marks) != 1]}"
    )
    ax.set_title(f"{_shortened(sample.title)}{amount}", fontsize=8, loc="left")
    if sample.labels is not None:
        overlay = np.zeros((*sample.labels.shape, 4))
        for label in _labels(sample):
            overlay[sample.labels == label] = (*colours[label], 0.55)
        overlay[sample.labels < 0] = (0, 0, 0, 0.75)
        ax.imshow(overlay, interpolation="nearest")
        return
    # All masks in one picture: hundreds of layers take minutes.
    overlay = np.zeros((*sample.image.shape[:2], 4), np.float32)
    for mark in sample.marks:
        if mark.mask is not None:
            overlay[mark.mask > 0] = (*colours[mark.label], 0.45)
    ax.imshow(overlay, interpolation="nearest")
    for mark in sample.marks:
        _draw_mark(
            ax,
            mark,
            classes[mark.label] if len(sample.marks) <= NAMED_MOST else "",
            colours[mark.label],
        )
    # Boxes beyond the image are seen, but do not shrink it.
    margin = 0.02 * max(sample.image.shape[:2])
    ax.set_xlim(-margin, sample.image.shape[1] + margin)
    ax.set_ylim(sample.image.shape[0] + margin, -margin)


def _draw_mark(ax: Axes, mark: Mark, name: str, colour: tuple[float, float, float]) -> None:
    if mark.box is None:
        return
    x, y, w, h = mark.box
    style = "--" if mark.faulty else ":" if mark.crowd else "-"
    edge = "red" if mark.faulty else colour
    ax.add_patch(
        Rectangle((x, y), w, h, fill=False, edgecolor=edge, linewidth=1.3, linestyle=style)
    )
    if name:
        # Above the box, or in it where the image ends.
        width, height = ax.get_xlim()[1], ax.get_ylim()[0]
        sides = dict(
            va="top" if y < 0.05 * height else "bottom", ha="right" if x > 0.85 * width else "left"
        )
        at = (min(x + w, width) if sides["ha"] == "right" else max(x, 0), max(y, 0))
        ax.text(
            *at,
            name,
            fontsize=6,
            color="white",
            clip_on=True,
            **sides,
            bbox=dict(facecolor=edge, edgecolor="none", pad=0.8, alpha=0.85),
        )


def _shortened(text: str, most: int = 34) -> str:
    return text if len(text) <= most else f"…{text[-most + 1 :]}"
