"""An image as a network sees it, to draw its maps, cells and boxes on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from .style import NOWHERE


@dataclass(frozen=True)
class Picture:
    """An image and how much of the network's input it fills.

    The rest of the input, at the bottom and right, is padding.
    """

    image_HW3: np.ndarray
    filled: tuple[float, float] = (1.0, 1.0)
    """Shares of the input's height and width."""

    @classmethod
    def blank(cls, height: int, width: int) -> Picture:
        """Nothing to draw on but a size."""
        return cls(np.full((height, width, 3), 255, np.uint8))

    @property
    def aspect(self) -> float:
        """Height divided by width."""
        return self.image_HW3.shape[0] / self.image_HW3.shape[1]

    def cell_size(self, height: int, width: int) -> tuple[float, float]:
        """How many of the image's pixels a cell of a map of the whole input has: down, across."""
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
        # Rounding may put the last pixel behind the last cell.
        return min(int(y / down), height - 1), min(int(x / across), width - 1)

    def crop(self, map_HW: Tensor) -> Tensor:
        """The cells that the image fills; channels may follow."""
        # A share such as 0.7 is not exact in binary: no cell is taken for a rounding error.
        rows, columns = (
            math.ceil(cells * share - 1e-6) for cells, share in zip(map_HW.shape, self.filled)
        )
        return map_HW[:rows, :columns]

    def draw(self, axes: Axes, title: str = "", dim: float = 0.0) -> None:
        """The image, washed out towards white by `dim`."""
        H, W = self.image_HW3.shape[:2]
        # Lines on top of a washed-out image stand out.
        shown = self.image_HW3 / 255 * (1 - dim) + dim
        # All that follows is drawn in the image's pixels, y downwards.
        axes.imshow(shown, extent=(0, W, H, 0), interpolation="antialiased")
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
        extent = (0, cropped_HW.shape[1] * across, cropped_HW.shape[0] * down, 0)
        # `imshow` leaves NaN transparent, so the ground shows there.
        axes.set_facecolor(NOWHERE)
        axes.imshow(cropped_HW.numpy(), extent=extent, **kwargs)
        # The last cells may reach into the padding; what does is cut off.
        axes.set(xlim=(0, W), ylim=(H, 0))
        axes.set_title(title)

    def draw_box(self, axes: Axes, box: tuple[float, float, float, float]) -> None:
        """A box (x1, y1, x2, y2), white in black: seen on any ground."""
        x1, y1, x2, y2 = box
        for colour, thick in (("black", 2.2), ("white", 1.2)):
            line = dict(fill=False, edgecolor=colour, linewidth=thick)
            axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **line))

    def draw_region(self, axes: Axes, region_HW: Tensor) -> None:
        """The border of a region of the whole input."""
        H, W = self.image_HW3.shape[:2]
        inside = self.crop(region_HW).numpy()
        axes.contour(inside, [0.5], colors="white", linewidths=0.8, extent=(0, W, 0, H))

    def draw_cell(self, axes: Axes, cell: tuple[int, int], height: int, width: int) -> None:
        """A ring at the centre of a cell (row, column) of a map of the whole input."""
        x, y = self.position(*cell, height, width)
        for colour, thick in (("white", 2.0), ("tab:cyan", 1.1)):
            line = dict(markerfacecolor="none", markeredgecolor=colour, markeredgewidth=thick)
            axes.plot(x, y, "o", markersize=6, **line)
