"""How the pictures look: fonts, panels, colour bars, and where a map's cells lie on the image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from os import PathLike

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from torch import Tensor

WIDTH = 7.0
"""Inches across, the text width of a paper."""
BAR = 0.65
"""Of these for a colour bar."""
TITLE = 0.2
DPI = 200
HEAT = "inferno"
NOWHERE = "0.87"
"""Cells without a value (NaN)."""
STEPS = "viridis"

paper_style = rc_context(
    {
        "font.family": "DejaVu Sans",
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.titlepad": 3,
        "figure.titlesize": 9,
        "axes.linewidth": 0.6,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "image.interpolation": "nearest",
    }
)
"""Decorator of the functions that draw."""


@dataclass(frozen=True)
class Picture:
    """An image and how much of the network's input it fills (the rest, at the bottom and right, is padding)."""

    image_HW3: np.ndarray
    filled: tuple[float, float] = (1.0, 1.0)
    """Shares of the input's height and width."""

    @classmethod
    def blank(cls, height: int, width: int) -> Picture:
        """Nothing to draw on but a size."""
        return cls(np.full((height, width, 3), 255, np.uint8))

    @property
    def aspect(self) -> float:
        return self.image_HW3.shape[0] / self.image_HW3.shape[1]

    def cell_size(self, height: int, width: int) -> tuple[float, float]:
        """Of a map of the whole input, in pixels of the image, down and across."""
        H, W = self.image_HW3.shape[:2]
        return H / self.filled[0] / height, W / self.filled[1] / width

    def position(self, row: float, column: float, height: int, width: int) -> tuple[float, float]:
        """x and y of a cell's centre."""
        down, across = self.cell_size(height, width)
        return (column + 0.5) * across, (row + 0.5) * down

    def cell(self, x: float, y: float, height: int, width: int) -> tuple[int, int]:
        """Row and column of the cell that holds a pixel.

        Raises:
            ValueError: the pixel lies outside.
        """
        H, W = self.image_HW3.shape[:2]
        if not (0 <= x < W and 0 <= y < H):
            raise ValueError(
                f"pixel {x:g} {y:g} lies outside the image of {W}x{H} (x y, from the top left)"
            )
        down, across = self.cell_size(height, width)
        return min(int(y / down), height - 1), min(int(x / across), width - 1)

    def crop(self, map_HW: Tensor) -> Tensor:
        """The cells that the image fills; channels may follow."""
        H, W = map_HW.shape[:2]
        return map_HW[
            : math.ceil(H * self.filled[0] - 1e-6), : math.ceil(W * self.filled[1] - 1e-6)
        ]

    def draw(self, axes: Axes, title: str = "", dim: float = 0.0) -> None:
        """The image, washed out towards white by `dim`."""
        H, W = self.image_HW3.shape[:2]
        axes.imshow(
            self.image_HW3 / 255 * (1 - dim) + dim, extent=(0, W, H, 0), interpolation="antialiased"
        )
        axes.set(xlim=(0, W), ylim=(H, 0), autoscale_on=False)
        axes.set_title(title)

    def draw_map(self, axes: Axes, map_HW: Tensor, title: str = "", **kwargs) -> None:
        """A map of the whole input where the image is, by `imshow`; grey where it is NaN."""
        self.draw_cropped(axes, self.crop(map_HW), map_HW.shape[:2], title, **kwargs)

    def draw_cropped(
        self, axes: Axes, cropped_HW: Tensor, whole: tuple[int, int], title: str = "", **kwargs
    ) -> None:
        """What `crop` left of a map of `whole` cells."""
        H, W = self.image_HW3.shape[:2]
        down, across = self.cell_size(*whole)
        axes.set_facecolor(NOWHERE)
        axes.imshow(
            cropped_HW.numpy(),
            extent=(0, cropped_HW.shape[1] * across, cropped_HW.shape[0] * down, 0),
            **kwargs,
        )
        axes.set(xlim=(0, W), ylim=(H, 0))
        axes.set_title(title)


def panels(
    count: int, aspect: float, columns: int | None = None, rows_high: float = TITLE
) -> tuple[Figure, np.ndarray]:
    """A figure and its `count` axes without ticks, with room for a colour bar at the right.

    Args:
        aspect: height / width of a panel's content.
        rows_high: inches of a panel's title.
    """
    columns = columns or (count if count <= 4 else math.ceil(count / 2) if count <= 8 else 4)
    rows = math.ceil(count / columns)
    panel = min((WIDTH - BAR) / columns, 3.6)
    figure = Figure(
        (panel * columns + BAR, rows * (panel * aspect + rows_high) + 0.25), layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.02, wspace=0.01, hspace=0.01)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure, axes[:count]


def readable(route: str) -> str:
    """A route's name as a title."""
    return route.replace("_", " ")


def log_colours(decades: int) -> LogNorm:
    """Colours for shares of the largest value, over so many powers of ten; below, the lowest colour."""
    return LogNorm(10.0**-decades, 1.0)


def colour_bar(
    figure: Figure,
    axes: np.ndarray,
    norm: Normalize,
    label: str,
    colours: str = HEAT,
    ticks: dict[float, str] | None = None,
) -> None:
    """One bar for several panels."""
    bar = figure.colorbar(
        ScalarMappable(norm, colours), ax=list(axes), aspect=22, pad=0.015, label=label
    )
    bar.outline.set_linewidth(0.6)
    bar.ax.tick_params(width=0.6, length=2)
    if ticks is not None:
        bar.set_ticks(list(ticks), labels=list(ticks.values()))
        bar.minorticks_off()


def save(figure: Figure, path: str | PathLike | None) -> Figure:
    """Write a PNG if there is a path."""
    if path is not None:
        figure.savefig(path, dpi=DPI, bbox_inches="tight", pad_inches=0.03)
    return figure
