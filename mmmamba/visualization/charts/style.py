"""How the charts look. They are opened on a screen, so type is larger than in `mmmamba.visualization`'s."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DPI = 130
FEW = 10
"""Classes up to which each has a colour of its own."""

chart_style = rc_context(
    {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.linewidth": 0.7,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": "0.9",
        "grid.linewidth": 0.7,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
    }
)
"""Decorator of the functions that draw."""


def line_colours(count: int) -> list[tuple[float, ...]]:
    """Colours of lines, told apart up to `FEW`, then from one end of the rainbow to the other."""
    if count <= FEW:
        return list(matplotlib.colormaps["tab10"].colors[:count])
    return [
        matplotlib.colormaps["turbo"](0.05 + 0.9 * index / (count - 1)) for index in range(count)
    ]


def legend_below(axes: Axes, columns: int = 2) -> None:
    """Under the axis, where it hides no line."""
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.16),
        ncols=columns,
        handlelength=1.6,
        columnspacing=1.2,
    )


def shortened(names: Sequence[str], most: int = 24) -> list[str]:
    """Names that are no wider than a label may be."""
    return [name if len(name) <= most else f"{name[: most - 1]}…" for name in map(str.strip, names)]


def save_chart(figure: Figure, path: Path) -> None:
    """Write the picture and the folder that it is in.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # What a layout has already fitted need not be measured once more.
    fitted = figure.get_layout_engine() is not None
    figure.savefig(path, dpi=DPI, bbox_inches=None if fitted else "tight", pad_inches=0.12)
