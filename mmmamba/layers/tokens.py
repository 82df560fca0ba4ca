"""Maps as token sequences with extra tokens (class token, registers) among them."""

from collections.abc import Sequence
from itertools import chain, pairwise
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
        if not self.places:
            return cells
        # Split and not sliced: the gradient of a slice is a sequence of zeros with a piece in it,
        # which many extra tokens would have summed for every piece.
        *runs, rest = cells.split(self._runs(cells.shape[dim]), dim)
        pieces = chain.from_iterable(zip(runs, extra.split(1, dim)))
        return torch.cat([*pieces, rest], dim)

    def cut(self, sequence: Tensor, dim: int = 1) -> tuple[Tensor, Tensor]:
        """The cells and the extra tokens of a sequence, the inverse of `insert`."""
        if not self.places:
            # No extra tokens: an empty piece of the right shape, so that callers need not ask.
            return sequence, sequence.narrow(dim, 0, 0)
        *runs, rest = self._runs(sequence.shape[dim] - len(self.places))
        lengths = chain.from_iterable((run, 1) for run in runs)
        pieces = sequence.split([*lengths, rest], dim)
        return torch.cat(pieces[0::2], dim), torch.cat(pieces[1::2], dim)

    def _runs(self, cells: int) -> list[int]:
        """How many cells stand before each of the extra tokens, and behind the last."""
        # Of the tokens before the k-th place, k are extra ones.
        before = [0, *[place - k for k, place in enumerate(self.places)], cells]
        return [end - start for start, end in pairwise(before)]


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
        positions: False for a sequence without positions, to which `grid_size` says nothing.

    Raises:
        ValueError: another `cls_token`.
    """

    def __init__(
        self,
        dim: int,
        grid_size: Sequence[int],
        cls_token: str = "none",
        positions: bool = True,
    ):
        super().__init__()
        if cls_token not in CLASS_TOKENS:
            raise ValueError(
                f"cls_token is {cls_token!r}, wanted one of {', '.join(map(repr, CLASS_TOKENS))}"
            )
        self.class_place = cls_token
        height, width = grid_size
        self.grid_size = (height, width)
        layout = self.layout(*self.grid_size)
        length = layout.cells + len(layout.places)
        self.pos_embed = _learned(length, dim) if positions else None
        self.cls_token = _learned(1, dim) if cls_token != "none" else None

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
            x_BLC = layout.insert(x_BLC, self.cls_token.expand(x_BLC.shape[0], -1, -1))
        if self.pos_embed is None:
            return x_BLC, layout
        # Each time anew: the table learns, and at other sizes its gradient comes through the
        # resizing.
        positions_1LC = resize_positions(self.pos_embed, self.layout(*self.grid_size), layout)
        return x_BLC + positions_1LC, layout

    def extra_repr(self) -> str:
        return f"grid_size={self.grid_size}, cls_token={self.class_place!r}"


class RegisterEmbedding(nn.Module):
    """Patches to a sequence with learned registers spread through it, and learned positions.

    Mamba-R, arXiv 2405.14858, section 3.2. The k-th register of n follows the k-th run of
    H W // (n + 1) cells; the cells that are left over follow the last. Positions of the cells are
    resized to the map at hand, and registers keep theirs.

    Args:
        dim: width C.
        grid_size: (H, W) of the map that the positions are learned for.
        registers: their number n.
    """

    def __init__(self, dim: int, grid_size: Sequence[int], registers: int):
        super().__init__()
        height, width = grid_size
        self.grid_size, self.registers = (height, width), registers
        self.pos_embed = _learned(height * width, dim)
        # As published files name them: Vim's one class token became several.
        self.cls_token = _learned(registers, dim)
        self.pos_embed_cls = _learned(registers, dim)

    def layout(self, height: int, width: int) -> TokenLayout:
        """The layout of the sequence that a map of this size becomes."""
        run = height * width // (self.registers + 1)
        places = tuple(k * (run + 1) + run for k in range(self.registers))
        return TokenLayout(height, width, places)

    def forward(self, x_BHWC: Tensor) -> tuple[Tensor, TokenLayout]:
        H, W = x_BHWC.shape[1:3]
        layout = self.layout(H, W)
        cells_BLC = x_BHWC.flatten(1, 2) + resize_cells(self.pos_embed, self.grid_size, (H, W))
        registers_1EC = self.cls_token + self.pos_embed_cls
        return layout.insert(cells_BLC, registers_1EC.expand(cells_BLC.shape[0], -1, -1)), layout

    def extra_repr(self) -> str:
        return f"grid_size={self.grid_size}, registers={self.registers}"


def _learned(length: int, dim: int) -> nn.Parameter:
    """A table `(1, length, dim)`."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, length, dim), std=0.02))
