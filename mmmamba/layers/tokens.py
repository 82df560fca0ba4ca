"""Maps as token sequences with extra tokens (class token, registers) among them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .precision import full_precision

CLASS_TOKENS = ("none", "head", "middle")


class TokenLayout(NamedTuple):
    """Where the cells of a map, row-major, and the extra tokens stand in a sequence."""

    height: int
    width: int
    places: tuple[int, ...] = ()
    """Places of the extra tokens in the sequence, ascending."""

    @property
    def cells(self) -> int:
        return self.height * self.width

    def insert(self, cells: Tensor, extra: Tensor, dim: int = 1) -> Tensor:
        """The whole sequence from the cells and the extra tokens, joined along `dim`."""
        pieces, start = [], 0
        for k, place in enumerate(self.places):
            # Of the tokens before this place, k are extra ones and `start` cells are taken.
            length = place - k - start
            pieces += [cells.narrow(dim, start, length), extra.narrow(dim, k, 1)]
            start += length
        if not pieces:
            return cells
        rest = cells.narrow(dim, start, cells.shape[dim] - start)
        return torch.cat([*pieces, rest], dim)

    def cut(self, sequence: Tensor, dim: int = 1) -> tuple[Tensor, Tensor]:
        """The cells and the extra tokens of a sequence, the inverse of `insert`."""
        if not self.places:
            # No extra tokens: an empty piece of the right shape, so that callers need not ask.
            return sequence, sequence.narrow(dim, 0, 0)
        pieces, start = [], 0
        for place in self.places:
            pieces.append(sequence.narrow(dim, start, place - start))
            start = place + 1
        rest = sequence.narrow(dim, start, sequence.shape[dim] - start)
        extra = [sequence.narrow(dim, place, 1) for place in self.places]
        return torch.cat([*pieces, rest], dim), torch.cat(extra, dim)


def resize_cells(table_BLC: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """A table of one row for each cell of a map, for a map of another size: bicubic.

    The positions of all families, learned and rotary, in modules and in files, are resized here.

    Args:
        table_BLC: row-major, L = H W of `grid`.
        grid, size: (H, W) of the two maps.
    """
    if grid == size:
        return table_BLC
    maps_BCHW = table_BLC.transpose(1, 2).unflatten(2, grid)
    # Half precision would round between the taps.
    wide = full_precision(maps_BCHW)
    resized = F.interpolate(wide, size, mode="bicubic", align_corners=False)
    return resized.flatten(2).transpose(1, 2).to(table_BLC.dtype)


def resize_positions(table_BLC: Tensor, layout: TokenLayout, wanted: TokenLayout) -> Tensor:
    """A table of position embeddings for another map.

    The rows of extra tokens move to their new places.
    """
    if layout == wanted:
        return table_BLC
    cells_BLC, extra_BEC = layout.cut(table_BLC)
    grid, size = (layout.height, layout.width), (wanted.height, wanted.width)
    return wanted.insert(resize_cells(cells_BLC, grid, size), extra_BEC)


class TokenEmbedding(nn.Module):
    """Patches to a sequence, the class token among them, with learned positions.

    The positions are resized to the map at hand.

    Args:
        dim: width C.
        grid_size: (H, W) of the map that the positions are learned for.
        cls_token: where the class token stands: "none" (nowhere), "head", or "middle" (before cell
            H W // 2).

    Raises:
        ValueError: another `cls_token`.
    """

    def __init__(self, dim: int, grid_size: Sequence[int], cls_token: str = "none"):
        super().__init__()
        if cls_token not in CLASS_TOKENS:
            raise ValueError(
                f"cls_token is {cls_token!r}, wanted one of {', '.join(map(repr, CLASS_TOKENS))}"
            )
        self.class_place = cls_token
        height, width = grid_size
        self.grid_size = (height, width)
        layout = self.layout(*self.grid_size)
        self.pos_embed = nn.Parameter(torch.empty(1, layout.cells + len(layout.places), dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim)) if cls_token != "none" else None
        if self.cls_token is not None:
            nn.init.trunc_normal_(self.cls_token, std=0.02)

    def layout(self, height: int, width: int) -> TokenLayout:
        """The layout of the sequence that a map of this size becomes."""
        if self.class_place == "none":
            return TokenLayout(height, width)
        place = 0 if self.class_place == "head" else height * width // 2
        return TokenLayout(height, width, (place,))

    def forward(self, x_BHWC: Tensor) -> tuple[Tensor, TokenLayout]:
        layout = self.layout(*x_BHWC.shape[1:3])
        x_BLC = x_BHWC.flatten(1, 2)
        if self.cls_token is not None:
            x_BLC = layout.insert(x_BLC, self.cls_token.expand(len(x_BLC), -1, -1))
        # Each time anew: the table learns, and at other sizes its gradient comes through the
        # resizing.
        positions_1LC = resize_positions(self.pos_embed, self.layout(*self.grid_size), layout)
        return x_BLC + positions_1LC, layout

    def extra_repr(self) -> str:
        return f"grid_size={self.grid_size}, cls_token={self.class_place!r}"
