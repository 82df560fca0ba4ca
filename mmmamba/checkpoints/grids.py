"""Tables that hold one row for each cell of a map, such as positions: resized to another map."""

from dataclasses import dataclass
from math import isqrt
from operator import attrgetter
from typing import Literal

import torch
from torch import Tensor, nn

from mmmamba.layers.tokens import resize_cells

from .errors import CheckpointError


@dataclass(frozen=True)
class PositionGrid:
    """Resizes a table `(1, L, C)` or `(L, C)` to the module's grid, as the authors' loaders do.

    Files hold square grids. A class token's row is taken out first; it goes back to its place in
    the new grid if the module has one, else it is dropped.
    """

    class_row: Literal["none", "first", "middle"] = "none"
    """Where the row of a class token stands; "middle" is before cell `L // 2`."""
    grid_size: str = ""
    """Path of the module's attribute that holds its grid's (H, W); a square grid if empty."""

    def __call__(self, table: Tensor, wanted: Tensor, module: nn.Module) -> Tensor:
        """The table at the shape of `wanted`.

        Raises:
            CheckpointError: the rows are no square grid, the channels differ, or the class token's
                row is missing.
        """
        rows, channels = table.shape[-2:]
        if channels != wanted.shape[-1] or table.dim() != wanted.dim():
            raise CheckpointError(
                f"{tuple(table.shape)} cannot become {tuple(wanted.shape)}: only rows may differ"
            )
        # One row more than a square of cells is never a square itself: the number tells them apart.
        has_class = self.class_row != "none" and isqrt(rows) ** 2 != rows
        cells = rows - has_class
        side = isqrt(cells)
        if side**2 != cells:
            raise CheckpointError(
                f"its {rows} rows are no square grid, so its height and width are not known"
            )
        height, width = self._grid_of(wanted, module)
        wants_class = wanted.shape[-2] == height * width + 1
        if wants_class and not has_class:
            raise CheckpointError("the module has a class token and the file has no row for it")
        # Rows are (class,) cells in row-major order; only the cells have neighbours to interpolate.
        grid_LC = table.reshape(rows, channels)
        if has_class:
            place = self._place(cells)
            class_1C = grid_LC[place : place + 1]
            grid_LC = torch.cat([grid_LC[:place], grid_LC[place + 1 :]])
        resized_LC = resize_cells(grid_LC[None], (side, side), (height, width))[0]
        # "middle" is counted in cells, so the place moves with the size of the grid.
        if wants_class:
            place = self._place(height * width)
            resized_LC = torch.cat([resized_LC[:place], class_1C, resized_LC[place:]])
        return resized_LC.reshape(wanted.shape)

    def _grid_of(self, wanted: Tensor, module: nn.Module) -> tuple[int, int]:
        rows = wanted.shape[-2]
        # A module whose grid may be oblong has to say which: rows alone tell of squares only.
        if self.grid_size:
            height, width = attrgetter(self.grid_size)(module)
        else:
            height = width = isqrt(rows)
        allowed = (0, 1) if self.class_row != "none" else (0,)
        if rows - height * width not in allowed:
            raise CheckpointError(
                f"the module's {rows} rows do not fit its grid of {height}x{width}"
            )
        return height, width

    def _place(self, cells: int) -> int:
        return cells // 2 if self.class_row == "middle" else 0


def token_positions(table: Tensor, wanted: Tensor, module: nn.Module) -> Tensor:
    """`PositionGrid` for a backbone with `TokenEmbedding`, which knows where a class token stands.

    A module without one drops the row of a file with one, which stands in the middle in all
    published files.
    """
    place = attrgetter("tokens.class_place")(module)
    return PositionGrid("middle" if place == "none" else place, "tokens.grid_size")(
        table, wanted, module
    )
